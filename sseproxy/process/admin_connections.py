"""How many may be connected to the admin listener, and for how long?"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import cast

from sseproxy.http1.handshake import TlsAcceptor

#: Connections; the descriptors for them are kept back from clients, see `descriptors`.
MOST_CONNECTIONS = 16

#: Seconds from the beginning of a connection to its end. Each is for one request.
MOST_SECONDS = 15.0

#: Connections that have no such limit, beside the others: dashboards, and some that are on their way out.
MOST_KEPT = 8


class _Watched(asyncio.Protocol):
    """A connection that says when it begins and ends. All that it hears is for `inner`."""

    __slots__ = ("_inner", "_on_lost", "_on_made", "transport")

    def __init__(
        self,
        inner: asyncio.Protocol,
        *,
        on_made: Callable[["_Watched"], None],
        on_lost: Callable[["_Watched"], None],
    ) -> None:
        self._inner = inner
        self._on_made = on_made
        self._on_lost = on_lost
        self.transport: asyncio.Transport | None = None

    def abort(self) -> None:
        """Close it, whatever is still to be sent."""
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses
        self._inner.connection_made(transport)
        self._on_made(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._on_lost(self)
        self._inner.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


class AdminConnections:
    """Listens for a server, which `new_protocol` belongs to, and keeps what is connected within bounds.

    One connection too many closes the oldest: clients that are stuck must not keep health checks out, nor hold memory
    and descriptors for long. most, seconds: how many, and for how long. most_kept: see `keep`.
    """

    # An acceptor takes one connection in a turn of the loop. `loop.create_server` takes all that wait, and so many at
    # once would close each other before any of them has been read: a health check among them, too. One that is taken
    # here is read in the next turn and answered some turns later, before `most` others can have come.

    def __init__(
        self,
        new_protocol: Callable[[], asyncio.Protocol],
        *,
        most: int = MOST_CONNECTIONS,
        seconds: float = MOST_SECONDS,
        most_kept: int = MOST_KEPT,
    ) -> None:
        self._new_protocol = new_protocol
        self._most = most
        self._seconds = seconds
        self._most_kept = most_kept
        self._open: dict[_Watched, asyncio.TimerHandle] = {}
        self._acceptors: list[TlsAcceptor] = []
        self._beginning: set[asyncio.Task[object]] = set()
        self._kept: list[_Watched] = []

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept on copies of `sockets`, which are listening and stay the caller's."""
        self._acceptors.extend(TlsAcceptor(sock.dup(), lambda client, _: self.begin(client)) for sock in sockets)

    def stop(self) -> None:
        """Accept no more, and close all."""
        for acceptor in self._acceptors:
            acceptor.close()
        self._acceptors.clear()
        for connection in [*self._open, *self._kept]:
            connection.abort()

    def begin(self, sock: socket.socket) -> None:
        """Serve a connection that was accepted. From here on the socket is not the caller's."""
        task = asyncio.create_task(asyncio.get_running_loop().connect_accepted_socket(self._connect, sock))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    def keep(self, transport: asyncio.BaseTransport) -> None:
        """Let the connection of `transport` last, for as long as its client wants; it is a dashboard's.

        Such connections are counted apart, so that clients that are stuck do not end a dashboard, nor dashboards a
        health check. One too many closes the oldest.
        """
        for connection in self._open:
            if connection.transport is transport:
                self._discard(connection)
                self._kept.append(connection)
                if len(self._kept) > self._most_kept:
                    self._kept.pop(0).abort()
                return

    def _connect(self) -> asyncio.BaseProtocol:
        return _Watched(self._new_protocol(), on_made=self._add, on_lost=self._discard)

    def _add(self, connection: _Watched) -> None:
        if not self._acceptors:  # stopped since it was accepted
            connection.abort()
            return
        if len(self._open) >= self._most:
            oldest = next(iter(self._open))
            self._discard(oldest)
            oldest.abort()
        loop = asyncio.get_running_loop()
        self._open[connection] = loop.call_later(self._seconds, connection.abort)

    def _discard(self, connection: _Watched) -> None:
        if connection in self._kept:
            self._kept.remove(connection)
        timer = self._open.pop(connection, None)
        if timer is not None:
            timer.cancel()
