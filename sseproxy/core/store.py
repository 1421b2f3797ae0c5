"""What may outlive a connection, and at what price? (docs/eventsource.md)"""

from dataclasses import dataclass, field

from sseproxy.core.eventsource.policies import TicketPolicy
from sseproxy.core.limits import MIB

#: The largest request body of a ticket takes one part of the memory of a store, out of so many, at most.
_BODIES = 2


@dataclass(frozen=True, slots=True)
class StorePolicy:
    """Where a process keeps what outlives a connection: in its memory. Some routes are served from Redis.

    url: of the Redis of all routes that name none; empty: there is none. prefix: what the names of our own keys and
    channels begin with. timeout: seconds after which Redis counts as away.
    secret: what the ids of ends are signed with where a route has no secret of its own, for replicas that answer each
    other's reconnects; empty: made up when the process starts. memory: bytes of all requests that wait for their
    ticket to be opened; as many again for the newest events of Redis.
    """

    secret: str = field(default="", repr=False)
    memory: int = 256 * MIB
    url: str = field(default="", repr=False)
    prefix: str = "sseproxy"
    timeout: float = 2.0

    def least_memory(self, tickets: TicketPolicy) -> int:
        """The least `memory`, in bytes, with which a ticket's largest body leaves room for the requests of others."""
        return _BODIES * tickets.max_body
