"""How does a test read a response while it is still coming?"""

import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.support.patience import LIMIT


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=LIMIT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(LIMIT)
        self.sock.connect(self._path)


def connection_to(url: str, tls: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
    """A connection to the server of `url`: ``http://``, ``https://`` (with `tls`) or ``unix:/path``."""
    if url.startswith("unix:"):
        return UnixConnection(url.removeprefix("unix:"))
    parts = urlsplit(url)
    assert parts.hostname is not None
    if parts.scheme == "https":
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=LIMIT, context=tls)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=LIMIT)


class Request:
    """One request, sent; the response is waited for when it is looked at. A context manager that closes it."""

    def __init__(
        self,
        url: str,
        target: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._connection = connection_to(url, tls)
        self._response: http.client.HTTPResponse | None = None
        self.body = b""
        self._connection.request(method, target, body, dict(headers or {}))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def response(self) -> http.client.HTTPResponse:
        if self._response is None:
            self._response = self._connection.getresponse()
        return self._response

    @property
    def status(self) -> int:
        return self.response.status

    def field(self, name: str) -> str | None:
        """The header field `name` of the response."""
        return self.response.getheader(name)

    def read_until(self, wanted: Callable[[bytes], object]) -> bytes:
        """The body so far, as soon as it is `wanted`. AssertionError: it ended before. TimeoutError: too silent."""
        while not wanted(self.body):
            data = self.response.read1(65536)
            assert data, f"the body ended with {self.body!r}"
            self.body += data
        return self.body

    def wait_for(self, data: bytes) -> None:
        """Until `data` has come. Raises as `read_until`.

        What was sent in one piece with it has reached sseproxy then, too, if only as the beginning of an event.
        """
        self.read_until(lambda body: data in body)

    def read(self) -> bytes:
        """The whole body. `http.client.IncompleteRead` or `ConnectionError`: it broke off."""
        while data := self.response.read1(65536):
            self.body += data
        return self.body

    def close(self) -> None:
        """Close the connection, whatever is still to come."""
        if self._response is not None:
            self._response.close()
        self._connection.close()


def fetch(
    url: str, target: str, *, headers: Mapping[str, str] | None = None, tls: ssl.SSLContext | None = None
) -> Request:
    """A GET with all of its response."""
    with Request(url, target, headers=headers, tls=tls) as request:
        request.read()
    return request
