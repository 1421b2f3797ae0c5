"""Where are the connections to an upstream kept between two requests?"""

import asyncio
import errno
from collections import deque
from collections.abc import Awaitable, Callable

from sseproxy.http1.client import UpstreamConnection

#: Seconds that an unused connection is kept: less than the common servers keep it (gunicorn 2, uvicorn and Node 5),
#: so that it is not closed at the very moment in which it is used again.
KEEPALIVE = 1.5

#: Unused connections that are kept for one upstream. A crowd of requests that end together leaves no more behind.
MAX_IDLE = 256

#: Errors of a process, or a system, without a descriptor for another connection.
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE))

#: Seconds in which an event loop has closed what it was asked to close.
_CLOSING = 0.01


class PoolGroup:
    """The pools of one process, which share its descriptors."""

    def __init__(self) -> None:
        self._pools: list[Pool] = []

    def add(self, pool: "Pool") -> None:
        """Let `pool` have a part in it."""
        self._pools.append(pool)

    def discard(self, pool: "Pool") -> None:
        """Let `pool` go its own way: it has no idle connections any more."""
        if pool in self._pools:
            self._pools.remove(pool)

    def close_idle(self) -> int:
        """Close all connections that wait for a request. Return how many there were."""
        return sum(pool.close_idle() for pool in self._pools)


class Lease:
    """The use of one connection for one request. Ends with `release` or `close`, of which the first one counts."""

    __slots__ = ("_pool", "protocol")

    def __init__(self, pool: "Pool", connection: UpstreamConnection) -> None:
        self._pool = pool
        self.protocol = connection

    def release(self) -> None:
        """Return the connection to the pool, which keeps it if it can serve another request."""
        self._pool.take_back(self, reusable=True)

    def close(self) -> None:
        """Close the connection."""
        self._pool.take_back(self, reusable=False)


class Pool:
    """The connections to one upstream. Must be made while the event loop runs.

    connect: opens a new connection. keepalive: seconds that an unused one is kept; max_idle: how many are.
    group: the pools that close their unused connections where a new one finds no descriptor.
    """

    # Plan: a stack. The connection that was used last is lent first, so that in a quiet time the others grow old and
    # are closed; the oldest ones are at the bottom, where both limits find them.
    #
    # Rules:
    # 1. A connection is leased, idle or not in the pool; only idle ones are lent.
    # 2. A connection is lent only if it is connected, and has been idle for less than `keepalive` seconds.
    # 3. Where an idle connection is there, lending it takes no await: the event loop does not turn.
    # 4. After `close` nothing is kept: what is still leased, or being opened, is closed when it comes back.
    #
    # Hazard: upstreams close idle connections at any time, also while a request is on its way to them. The pool
    # cannot see that. `connect(anew=True)` is for the second try of such a request: after a restart of the upstream all
    # idle connections are stale.

    def __init__(
        self,
        connect: Callable[[], Awaitable[UpstreamConnection]],
        *,
        keepalive: float = KEEPALIVE,
        max_idle: int = MAX_IDLE,
        group: PoolGroup | None = None,
    ) -> None:
        self._group = PoolGroup() if group is None else group
        self._group.add(self)
        self._loop = asyncio.get_running_loop()
        self._connect = connect
        self._keepalive = keepalive
        self._max_idle = max_idle
        self._idle: deque[tuple[UpstreamConnection, float]] = deque()  # and since when, the oldest first
        self._pruning: asyncio.TimerHandle | None = None
        self._leased: set[Lease] = set()

    @property
    def leased(self) -> int:
        """How many connections are in use."""
        return len(self._leased)

    @property
    def idle(self) -> int:
        """How many connections are kept for further requests."""
        return len(self._idle)

    def take_idle(self) -> Lease | None:
        """Lend the idle connection that was used last; None if there is none."""
        while self._idle:
            connection, since = self._idle.pop()
            if connection.is_connected() and self._loop.time() - since < self._keepalive:
                lease = Lease(self, connection)
                self._leased.add(lease)
                return lease
            connection.close()
        return None

    async def connect(self, *, anew: bool = False) -> Lease:
        """Lend an idle connection or a new one; always a new one if `anew`. Raises what `faults.our_errors` reads."""
        idle = None if anew else self.take_idle()
        if idle is not None:
            return idle
        try:
            connection = await self._connect()
        except OSError as error:
            # Hazard: clients that all turn to another upstream need its connections while those to the last one wait.
            if error.errno not in _EXHAUSTED or not self._group.close_idle():
                raise
            await asyncio.sleep(_CLOSING)
            connection = await self._connect()
        lease = Lease(self, connection)
        self._leased.add(lease)
        return lease

    def close_idle(self) -> int:
        """Close the connections that wait for a request. Return how many there were."""
        count = len(self._idle)
        while self._idle:
            self._idle.pop()[0].close()
        return count

    def take_back(self, lease: Lease, *, reusable: bool) -> None:
        """End `lease`, once. reusable: keep its connection, if that can serve another request."""
        if lease not in self._leased:
            return
        self._leased.discard(lease)
        connection = lease.protocol
        if not reusable or connection.should_close or not connection.is_connected() or not self._max_idle:
            connection.close()
            return
        if len(self._idle) >= self._max_idle:
            self._idle.popleft()[0].close()
        self._idle.append((connection, self._loop.time()))
        if self._pruning is None:
            self._pruning = self._loop.call_later(self._keepalive, self._prune)

    def retire(self) -> None:
        """Keep no connection any more: those in use are closed when they come back."""
        if self._pruning is not None:
            self._pruning.cancel()
            self._pruning = None
        self._max_idle = 0
        self.close_idle()
        self._group.discard(self)

    async def close(self) -> None:
        """Close all connections, idle and leased."""
        self.retire()
        for lease in list(self._leased):
            lease.protocol.close()
        self._leased.clear()

    def _prune(self) -> None:
        """Close what has been idle for too long; once per `keepalive` at most, and not once per connection."""
        self._pruning = None
        oldest = self._loop.time() - self._keepalive
        while self._idle and self._idle[0][1] <= oldest:
            self._idle.popleft()[0].close()
        if self._idle:
            self._pruning = self._loop.call_at(self._idle[0][1] + self._keepalive, self._prune)
