"""What may outlive a connection, and at what price? (docs/eventsource.md)"""

from dataclasses import field

from sseproxy.core.eventsource.policies import TicketPolicy
from sseproxy.core.frozen import frozen
from sseproxy.core.limits import MIB

#: Schemes of a Redis. It serves the routes with `redis`; tickets stay in the memory of their process beside it.
REDIS_SCHEMES = ("redis", "rediss", "redis+unix", "redis+sentinel", "redis+cluster")

#: Schemes that `store.url` may have. `stores/open` has what opens each of them.
SCHEMES = (*REDIS_SCHEMES,)

#: The largest request body of a ticket takes one part of the memory of a store, out of so many, at most.
_BODIES = 2


@frozen
class StorePolicy:
    """Where a process keeps what outlives a connection. Some routes are served from Redis.

    url: of the store, with one of `SCHEMES`; empty: memory. A Redis is that of all routes that name none.
    prefix: what the names of our own keys and channels begin with. timeout: seconds after which Redis counts as away.
    secret: what the ids of ends are signed with where a route has no secret of its own, for replicas that answer each
    other's reconnects; empty: made up when the process starts. memory: bytes of all requests that wait for their
    ticket to be opened; as many again for the newest events of Redis, and as many for all runs.
    file: what the runs in memory are written to at the end of a drain, and read from at the start.
    """

    secret: str = field(default="", repr=False)
    memory: int = 256 * MIB
    url: str = field(default="", repr=False)
    prefix: str = "sseproxy"
    timeout: float = 2.0
    file: str | None = None

    @property
    def scheme(self) -> str:
        """The scheme of the URL, or an empty text for memory."""
        return scheme_of(self.url)

    def least_memory(self, tickets: TicketPolicy) -> int:
        """The least `memory`, in bytes, with which a ticket's largest body leaves room for the requests of others."""
        return _BODIES * tickets.max_body


def scheme_of(url: str) -> str:
    """The scheme of a URL in lower case; empty if it has none."""
    scheme, mark, _ = url.partition("://")
    return scheme.lower() if mark else ""
