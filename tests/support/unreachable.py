"""Where does nobody answer?"""

import socket
from types import TracebackType
from typing import Self


class Unreachable:
    """Two addresses. refusing_url: connecting is refused at once. silent_url: it takes for ever."""

    refusing_url: str
    silent_url: str

    def __enter__(self) -> Self:
        self._bound = socket.socket()  # a port that is taken, but not listened on
        self._bound.bind(("127.0.0.1", 0))
        self.refusing_url = _url(self._bound)
        self._full = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.silent_url = _url(self._full)
        self._queued = [_connecting(self._full) for _ in range(4)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (*self._queued, self._full, self._bound):
            each.close()


def _connecting(server: socket.socket) -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(server.getsockname())
    return client


def _url(server: socket.socket) -> str:
    host, port = server.getsockname()
    return f"http://{host}:{port}"
