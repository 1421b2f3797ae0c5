"""How does a container ask the sseproxy beside it whether it lives, and whether requests may be sent to it?

The answer has to come within a fraction of a second, every few seconds: nothing of the proxy is loaded, and of the file
only `admin.listen` is looked at. A file with errors in it says nothing about a process that runs with the one before.
"""

import socket
import time
from collections.abc import Mapping
from pathlib import Path

from sseproxy.config.addresses import Address, listen_address
from sseproxy.config.flags import CONFIG_VARIABLE
from sseproxy.config.values import BadValue
from sseproxy.core.frozen import frozen

_ADMIN_VARIABLE = "SSEPROXY_ADMIN"

#: Seconds for one question, from connecting to the last byte.
PATIENCE = 3.0

#: Bytes of an answer that are read.
_LONGEST = 1 << 16

# Hosts that stand for all interfaces, and how the machine itself reaches them.
_NEAR = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


class Unhealthy(Exception):
    """The process does not say that all is well; the text says why, for the operator."""


@frozen
class Question:
    """What is asked, and where. target: ``/healthz`` or ``/readyz``."""

    address: Address
    target: str

    def ask(self, *, patience: float = PATIENCE) -> str:
        """Return what a process says that is well. patience: seconds. Raises `Unhealthy`."""
        deadline = time.monotonic() + patience
        try:
            with self.connect(patience) as connection:
                # HTTP/1.0: the answer is neither chunked nor followed by another one.
                connection.sendall(f"GET {self.target} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
                answer = read_answer(connection, deadline)
        except TimeoutError:
            raise Unhealthy(f"{self.address} does not answer within {patience:g} s") from None
        except OSError as error:
            raise Unhealthy(f"{self.address} cannot be asked: {(error.strerror or str(error)).lower()}") from None
        head, _, body = answer.partition(b"\r\n\r\n")
        protocol, _, status = head.partition(b"\r\n")[0].partition(b" ")
        if not protocol.startswith(b"HTTP/1."):
            raise Unhealthy(f"{self.address} does not speak HTTP")
        said = " ".join(body.decode("utf-8", "replace").split())
        if not status.startswith(b"200"):
            shown = status.decode("ascii", "replace")
            raise Unhealthy(f"{self.address} answers {shown} to {self.target}: {said or 'nothing'}")
        return said

    def connect(self, patience: float) -> socket.socket:
        """Return a connection to the admin listener. Raises `OSError`."""
        if self.address.path is None:
            host = _NEAR.get(self.address.host, self.address.host)
            return socket.create_connection((host, self.address.port), patience)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(patience)
            connection.connect(self.address.path)
        except BaseException:
            connection.close()
            raise
        return connection


def read_answer(connection: socket.socket, deadline: float) -> bytes:
    """Return the whole answer, or its beginning. Raises `TimeoutError` at the deadline, however the bytes come."""
    answer = b""
    while len(answer) < _LONGEST:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        piece = connection.recv(_LONGEST)
        if not piece:
            break
        answer += piece
        if time.monotonic() > deadline:
            raise TimeoutError
    return answer


def admin_address(written: str | None, file: Path | None, environ: Mapping[str, str]) -> Address:
    """Return where to ask: `written`, else ``SSEPROXY_ADMIN``, else `admin.listen` of the file. Raises `Unhealthy`.

    file: as given; ``None`` for the one that ``SSEPROXY_CONFIG`` names.
    """
    named = file or environ.get(CONFIG_VARIABLE)
    origin: str
    value: object
    if written is not None:
        origin, value = "--admin", written
    elif environ.get(_ADMIN_VARIABLE):
        origin, value = _ADMIN_VARIABLE, environ[_ADMIN_VARIABLE]
    elif named:
        origin, value = f"{named}: admin.listen", listen_in_file(Path(named), environ)
    else:
        raise Unhealthy(f"which process? -c FILE, --admin ADDR, {_ADMIN_VARIABLE} or {CONFIG_VARIABLE} names it")
    try:
        address = listen_address(value)
    except BadValue as error:
        raise Unhealthy(f"{origin}: {error.message}") from None
    if address.path is None and address.port == 0:
        raise Unhealthy(f"{origin}: port 0 lets the system choose, so the port is not known here")
    return address


def listen_in_file(path: Path, environ: Mapping[str, str]) -> object:
    """Return what the file says of `admin.listen`. Raises `Unhealthy` if it is not there."""
    from sseproxy.config.reading import read_document  # noqa: PLC0415 (only this way needs YAML)

    document = read_document(path, environ)
    if document.is_broken(("admin", "listen")):
        raise Unhealthy(str(document.problems[0]))
    admin = document.data.get("admin")
    listen: object = admin.get("listen") if isinstance(admin, dict) else None
    if listen is None:
        raise Unhealthy(f"{path}: has no admin.listen, so there is nothing to ask")
    return listen
