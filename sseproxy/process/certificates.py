"""Which certificate do clients see, and how does it stay one pair while its files are renewed?"""

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sseproxy.config.settings import CertificateFiles


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the files of the public side held when they were read. All workers get it, also those that start later."""

    certificate: bytes
    key: bytes = field(repr=False)

    @classmethod
    def read(cls, files: CertificateFiles) -> "Certificate":
        """Read the files. Raises `OSError` for what cannot be read, or is no pair: it may be half renewed."""
        found = cls(Path(files.certificate).read_bytes(), Path(files.key).read_bytes())
        found.context()
        return found

    def context(self) -> ssl.SSLContext:
        """Return the server's side of TLS. Only HTTP/1.1 is offered (RFC 7301): there is no HTTP/2 behind it."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        with path_of(self.certificate) as certificate, path_of(self.key) as key:
            context.load_cert_chain(certificate, key, password=lambda: "")  # or OpenSSL would ask on the terminal
        return context


@contextlib.contextmanager
def path_of(data: bytes) -> Iterator[str]:
    """The path of a file that holds `data`, for the time of a ``with`` block: OpenSSL reads keys from files only.

    On Linux it is in memory; elsewhere in a folder for temporary files, for this user alone.
    """
    if not hasattr(os, "memfd_create"):
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            yield file.name
        return
    with os.fdopen(os.memfd_create("pem"), "wb") as memory:
        memory.write(data)
        memory.flush()
        yield f"/proc/self/fd/{memory.fileno()}"
