"""Which client connections are open, how many may be, and which of them are to be closed?"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

from sseproxy.http1.handshake import Evictable, HandshakeFailure, TlsHandshake
from sseproxy.http1.policy import ServerPolicy
from sseproxy.http1.server import DownstreamConnection, Service
from sseproxy.http1.sockets import has_unread

#: Connections that are being closed because there are too many. Each costs a descriptor until its client has taken the
#: end; the oldest is aborted when there are more.
_MOST_ENDING = 32


class ConnectionLimit:
    """The connections of one process, over all of its listeners.

    most: how many there may be; ``None``: any number. May be changed: where there are more, each new connection closes
    an idle one. on_reached: called once, the first time that there are so many.
    idle: those without a request, in the order in which they became idle.
    """

    # 1. A connection is in `idle` from its beginning, or its last response, until its next request is complete. It puts
    #    itself there and takes itself out (`DownstreamConnection`): one look at a table for each request, no search.
    #    A client that has not finished its TLS handshake is idle, too.
    # 2. An idle connection makes room for a new one; a busy one never does.
    # 3. What makes room, or is refused, does not count any more, although its descriptor is open until it has closed.
    #    `_MOST_ENDING` of those fit into the reserve that the limit leaves.
    #
    # Hazards: a head that trickles in keeps a connection idle, or a client could hold all places with heads that never
    # end; a client that does not take the end of what it got, over TLS for half a minute.

    __slots__ = ("_ending", "_on_reached", "_open", "idle", "most")

    def __init__(self, most: int | None = None, *, on_reached: Callable[[int], object] = lambda _: None) -> None:
        self.most = most
        self._on_reached: Callable[[int], object] | None = on_reached
        self._open: set[Evictable] = set()
        self._ending: dict[Evictable, None] = {}
        self.idle: dict[Evictable, None] = {}

    def __len__(self) -> int:
        """Return how many are open, without those that are being closed to make room."""
        return len(self._open)

    def admit(self, connection: Evictable) -> bool:
        """Return True if `connection` may be served. If not, the caller refuses it."""
        if self.most is not None and len(self._open) >= self.most:
            if self._on_reached is not None:
                on_reached, self._on_reached = self._on_reached, None
                on_reached(self.most)
            oldest = next(iter(self.idle), None)
            self._begin_end(connection if oldest is None else oldest)
            if oldest is None:
                return False
            oldest.make_room()
        self._open.add(connection)
        self.idle[connection] = None
        return True

    def discard(self, connection: Evictable) -> None:
        """Count `connection` no more: it has closed."""
        self._open.discard(connection)
        self.idle.pop(connection, None)
        self._ending.pop(connection, None)

    def _begin_end(self, connection: Evictable) -> None:
        self.discard(connection)
        if len(self._ending) >= _MOST_ENDING:
            oldest = next(iter(self._ending))
            del self._ending[oldest]
            oldest.abort()
        self._ending[connection] = None


class ClientConnections:
    """The connections of one listener, and what makes them: a protocol factory for `loop.create_server`.

    scheme: what its clients speak, ``http`` or ``https``; may be changed for those to come. is_unix: it is a unix
    socket.
    trusts: its peers are trusted proxies, whatever their addresses. limit: shared by all listeners of the process.
    on_failed_handshake: hears of each client that could not agree on TLS.
    """

    def __init__(
        self,
        service: Service,
        *,
        scheme: str,
        is_unix: bool,
        trusts: bool,
        policy: ServerPolicy = ServerPolicy(),
        limit: ConnectionLimit | None = None,
        on_failed_handshake: Callable[[HandshakeFailure], object] = lambda _: None,
    ) -> None:
        self._service = service
        self.scheme = scheme
        self._is_unix = is_unix
        self._trusts = trusts
        self._policy = policy
        self._limit = ConnectionLimit(policy.connections) if limit is None else limit
        self._on_failed_handshake = on_failed_handshake
        self._loop = asyncio.get_running_loop()
        self._open: set[DownstreamConnection] = set()
        self._handshakes: set[TlsHandshake] = set()
        self._next_look: asyncio.TimerHandle | None = None

    def __call__(self, on_made: Callable[[DownstreamConnection], bool] | None = None) -> DownstreamConnection:
        """Return what speaks with another client. on_made: see `DownstreamConnection`."""
        return DownstreamConnection(
            self._service,
            scheme=self.scheme,
            is_unix=self._is_unix,
            is_trusted=self._trusts,
            policy=self._policy,
            idle=self._limit.idle,
            on_made=on_made or self._add,
            on_lost=self._discard,
        )

    def secure(self, sock: socket.socket, address: Any, context: ssl.SSLContext) -> None:
        """Take the connection of a client that has yet to speak TLS. address: of it, as `accept` returned it."""
        handshake = TlsHandshake()
        if not self._limit.admit(handshake):
            sock.close()  # nothing can be said without TLS
            return

        self._handshakes.add(handshake)

        def end(handshake: TlsHandshake, error: OSError | None) -> None:
            self._end_handshake(handshake)
            if error is not None:
                self._on_failed_handshake(HandshakeFailure.of(address[0], error))

        def admit(connection: DownstreamConnection) -> bool:
            self._end_handshake(handshake)  # first: one client has one place
            return self._add(connection)

        handshake.begin(
            sock,
            context,
            within=self._policy.tls_handshake,
            new_connection=lambda: self(admit),
            on_end=end,
        )

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def __iter__(self) -> Iterator[DownstreamConnection]:
        """Iterate over those that are open now. They may be closed meanwhile."""
        return iter(list(self._open))

    def close_idle(self, *, since: float | None = None) -> None:
        """Close those on which no request is under way or has begun to arrive.

        since: only those on which no response has ended since then, with a request that does not come to its end.
        """
        if since is None:
            for handshake in list(self._handshakes):
                handshake.abort()
        for connection in self:
            if since is not None:
                is_over = connection.is_unused(since)
            else:
                # Hazard: a request that has arrived, and that the event loop has not read yet, would be reset.
                is_over = connection.is_idle and not has_unread(connection.socket)
            if is_over:
                connection.close()

    async def shutdown(self, within: float) -> None:
        """Close all, those last on which a request is under way; it has so many seconds."""
        self.close_idle()
        served = [asyncio.ensure_future(connection.wait_until_served()) for connection in self]
        if served:
            await asyncio.wait(served, timeout=within)
        for connection in self:
            connection.abort()
        if self._next_look is not None:
            self._next_look.cancel()

    def _add(self, connection: DownstreamConnection) -> bool:
        self._open.add(connection)
        if self._next_look is None:
            self._next_look = self._loop.call_later(self._policy.look_every, self._look)
        return self._limit.admit(connection)

    def _end_handshake(self, handshake: TlsHandshake) -> None:
        self._handshakes.discard(handshake)
        self._limit.discard(handshake)

    def _discard(self, connection: DownstreamConnection) -> None:
        self._open.discard(connection)
        self._limit.discard(connection)

    def _look(self) -> None:
        """Close what is idle for too long. One timer for all connections: it is no matter of seconds."""
        self._next_look = None
        self.close_idle(since=self._loop.time() - self._policy.idle)
        if self._open:
            self._next_look = self._loop.call_later(self._policy.look_every, self._look)
