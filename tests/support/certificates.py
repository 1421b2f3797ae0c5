"""Where do tests get certificates from? openssl makes them, for the time of a test."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import require

_CONFIG = """\
[req]
prompt = no
distinguished_name = name
[name]
CN = {name}
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of a certificate and its key."""

    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """For a server that shows this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        """For a client that trusts this authority, and nobody else."""
        return ssl.create_default_context(cafile=self.certificate)


def new_authority(folder: Path, name: str = "authority") -> Certificate:
    """A certificate that signs others."""
    return _made(folder, name, "ca", "DNS:none", [])


def new_certificate(folder: Path, authority: Certificate, name: str, names: str) -> Certificate:
    """A server's certificate. names: as openssl writes them, ``DNS:api.internal,IP:127.0.0.1``."""
    signed = ["-CA", str(authority.certificate), "-CAkey", str(authority.key)]
    return _made(folder, name, "server", names, signed)


def _made(folder: Path, name: str, section: str, names: str, signed: list[str]) -> Certificate:
    config, certificate, key = (folder / f"{name}.{suffix}" for suffix in ("cnf", "pem", "key"))
    config.write_text(_CONFIG.format(name=name, names=names))
    command: list[str | Path] = [require("openssl"), "req", "-x509", "-config", config, "-extensions", section]
    command += ["-days", "2", *signed]
    new_key: list[str | Path] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key]
    done = subprocess.run(
        [*command, *new_key, "-out", certificate], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return Certificate(certificate, key)
