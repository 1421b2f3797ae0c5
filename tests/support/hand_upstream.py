"""How does a test play the upstream by hand, one piece at a time?

Nothing is sent before the test says so, and it can look at what the client has got in between. So a test shows that
something arrives at once without looking at a clock.
"""

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.support.patience import LIMIT

EVENT_STREAM = (b"Content-Type: text/event-stream; charset=utf-8",)


class HandUpstream:
    """A listening socket, on a loopback port of the kernel's choice unless `listening` is given."""

    def __init__(self, listening: socket.socket | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._socket = listening or socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(LIMIT)
        self._tls = tls
        if self._socket.family == socket.AF_INET:
            self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def accept(self) -> "Call":
        """The next request, read to its end. TimeoutError: none came. ssl.SSLError: no TLS handshake came about."""
        connection = self._socket.accept()[0]
        try:
            connection.settimeout(LIMIT)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            return Call(connection, *_read_request(connection))
        except BaseException:
            connection.close()
            raise


@dataclass(slots=True)
class Call:
    """One request and its connection, which serves no second one. A context manager that closes it."""

    connection: socket.socket
    head: bytes
    body: bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    @property
    def request_line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    @property
    def fields(self) -> dict[bytes, bytes]:
        """The header fields by their names in lower case."""
        lines = (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
        return {name.lower(): value.strip() for name, _, value in lines}

    def begin(self, fields: Sequence[bytes] = EVENT_STREAM, status: bytes = b"200 OK") -> None:
        """Send the head of a chunked response."""
        lines = [b"HTTP/1.1 " + status, *fields, b"Transfer-Encoding: chunked", b"Connection: close"]
        self.connection.sendall(b"\r\n".join([*lines, b"", b""]))

    def send(self, data: bytes) -> None:
        """Send one chunk."""
        self.connection.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def finish(self) -> None:
        """Send the last chunk."""
        self.connection.sendall(b"0\r\n\r\n")

    def answer(self, body: bytes, status: bytes = b"200 OK") -> None:
        """Send a whole response that is no stream."""
        length = b"Content-Length: %d" % len(body)
        lines = [b"HTTP/1.1 " + status, b"Content-Type: text/plain", length, b"Connection: close", b"", body]
        self.connection.sendall(b"\r\n".join(lines))

    def wait_until_left(self) -> None:
        """Wait until the other side has closed the connection. TimeoutError: it has not."""
        try:
            while self.connection.recv(65536):
                pass
        except ConnectionError:
            pass


def _read_request(connection: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _receive(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if fields.get(b"transfer-encoding") == b"chunked":
        while not body.endswith(b"0\r\n\r\n"):
            body += _receive(connection)
    length = int(fields.get(b"content-length", b"0"))
    while len(body) < length:
        body += _receive(connection)
    return head, body


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the request broke off")
    return data
