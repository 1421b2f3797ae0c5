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
[signing]
database = {folder}/index.txt
new_certs_dir = {folder}
default_md = sha256
rand_serial = yes
policy = any
[any]
commonName = supplied
"""

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


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

    def client_context_with(self, shown: "Certificate") -> ssl.SSLContext:
        """The same, and it shows the certificate `shown`."""
        context = self.client_context()
        context.load_cert_chain(shown.certificate, shown.key)
        return context

    def server_context_for(self, authority: "Certificate") -> ssl.SSLContext:
        """For a server that shows this certificate, to clients that `authority` has signed."""
        context = self.server_context()
        context.load_verify_locations(cafile=authority.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def new_authority(folder: Path, name: str = "authority") -> Certificate:
    """A certificate that signs others."""
    return _made(folder, name, "ca", "DNS:none", [])


def new_certificate(folder: Path, authority: Certificate, name: str, names: str) -> Certificate:
    """A server's certificate. names: as openssl writes them, ``DNS:api.internal,IP:127.0.0.1``."""
    signed = ["-CA", str(authority.certificate), "-CAkey", str(authority.key)]
    return _made(folder, name, "server", names, signed)


def new_expired_certificate(folder: Path, authority: Certificate, name: str, names: str) -> Certificate:
    """As `new_certificate`; it was valid for a day, long ago."""
    config, certificate, key = _files(folder, name, names)
    request = folder / f"{name}.csr"
    (folder / "index.txt").touch()
    _openssl("req", "-new", "-config", config, *_NEW_KEY, "-keyout", key, "-out", request)
    signing: list[str | Path] = ["-cert", authority.certificate, "-keyfile", authority.key, "-extensions", "server"]
    when = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]
    _openssl(
        "ca",
        "-batch",
        "-name",
        "signing",
        "-config",
        config,
        *signing,
        *when,
        "-notext",
        "-in",
        request,
        "-out",
        certificate,
    )
    return Certificate(certificate, key)


def _made(folder: Path, name: str, section: str, names: str, signed: list[str]) -> Certificate:
    config, certificate, key = _files(folder, name, names)
    made: list[str | Path] = ["-config", config, "-extensions", section, "-days", "2", *signed, *_NEW_KEY]
    _openssl("req", "-x509", *made, "-keyout", key, "-out", certificate)
    return Certificate(certificate, key)


def _files(folder: Path, name: str, names: str) -> tuple[Path, Path, Path]:
    """The configuration of openssl, written, and the places of certificate and key."""
    config, certificate, key = (folder / f"{name}.{suffix}" for suffix in ("cnf", "pem", "key"))
    config.write_text(_CONFIG.format(name=name, names=names, folder=folder))
    return config, certificate, key


def _openssl(*arguments: str | Path) -> None:
    command = [require("openssl"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
