"""Which client connections are open, and which of them are to be closed?"""

import asyncio
from collections.abc import Iterator

from sseproxy.http1.server import DownstreamConnection, Service

#: Seconds in which the head of a request has to come: from the connection's beginning, or the last response's end, on.
IDLE = 75.0

#: Seconds between two looks at which connections are not used.
LOOK_EVERY = 5.0


class ClientConnections:
    """The connections of one listener, and what makes them: a protocol factory for `loop.create_server`.

    scheme: what its clients speak, ``http`` or ``https``. is_unix: it is a unix socket.
    trusts: its peers are trusted proxies, whatever their addresses.
    """

    def __init__(self, service: Service, *, scheme: str, is_unix: bool, trusts: bool) -> None:
        self._service = service
        self._scheme = scheme
        self._is_unix = is_unix
        self._trusts = trusts
        self._loop = asyncio.get_running_loop()
        self._open: set[DownstreamConnection] = set()
        self._next_look: asyncio.TimerHandle | None = None

    def __call__(self) -> DownstreamConnection:
        """Another client has connected; over TLS nobody knows yet whether anything will come of it."""
        return DownstreamConnection(
            self._service,
            scheme=self._scheme,
            is_unix=self._is_unix,
            is_trusted=self._trusts,
            on_made=self._add,
            on_lost=self._open.discard,
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
        for connection in self:
            if connection.is_idle if since is None else connection.is_unused(since):
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

    def _add(self, connection: DownstreamConnection) -> None:
        self._open.add(connection)
        if self._next_look is None:
            self._next_look = self._loop.call_later(LOOK_EVERY, self._look)

    def _look(self) -> None:
        """One timer for all: it is no matter of seconds."""
        self._next_look = None
        self.close_idle(since=self._loop.time() - IDLE)
        if self._open:
            self._next_look = self._loop.call_later(LOOK_EVERY, self._look)
