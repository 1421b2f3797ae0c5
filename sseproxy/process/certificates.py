"""Which certificate do clients see, and how does it stay one pair while its files are renewed?"""

import contextlib
import os
import ssl
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

from sseproxy.config.settings import CertificateFiles
from sseproxy.core.frozen import frozen
from sseproxy.http1.handshake import server_context


@frozen
class Certificate:
    """What the files of the public side held when they were read. All workers get it, also those that start later."""

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None = None

    @classmethod
    def read(cls, files: CertificateFiles) -> "Certificate":
        """Read the files. Raises `OSError` for what cannot be read, or is no pair: it may be half renewed."""
        client_ca = None if files.client_ca is None else Path(files.client_ca).read_bytes()
        found = cls(Path(files.certificate).read_bytes(), Path(files.key).read_bytes(), client_ca)
        found.context()
        return found

    def context(self) -> ssl.SSLContext:
        """Return the server's side of TLS."""
        with contextlib.ExitStack() as files:
            certificate, key = files.enter_context(path_of(self.certificate)), files.enter_context(path_of(self.key))
            client_ca = None if self.client_ca is None else files.enter_context(path_of(self.client_ca))
            return server_context(certificate, key, client_ca)


@contextlib.contextmanager
def path_of(data: bytes) -> Iterator[str]:
    """The path of a file that holds `data`, for the time of a ``with`` block: OpenSSL reads keys from files only.

    On Linux it is in memory; elsewhere in a folder for temporary files, for this user alone.
    """
    if not hasattr(os, "memfd_create"):
        import tempfile  # noqa: PLC0415 - not on Linux

        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            yield file.name
        return
    with os.fdopen(os.memfd_create("pem"), "wb") as memory:
        memory.write(data)
        memory.flush()
        yield f"/proc/self/fd/{memory.fileno()}"
