"""What may outlive a connection, and at what price? (docs/eventsource.md)"""

from dataclasses import dataclass, field

from sseproxy.core.eventsource.policies import TicketPolicy
from sseproxy.core.limits import MIB

#: The largest request body of a ticket takes one part of the memory of a store, out of so many, at most.
_BODIES = 2


@dataclass(frozen=True, slots=True)
class StorePolicy:
    """Where a process keeps what outlives a connection: in its memory.

    secret: what the ids of ends are signed with where a route has no secret of its own, for replicas that answer each
    other's reconnects; empty: made up when the process starts. memory: bytes of all requests that wait for their
    ticket to be opened.
    """

    secret: str = field(default="", repr=False)
    memory: int = 256 * MIB

    def least_memory(self, tickets: TicketPolicy) -> int:
        """The least `memory`, in bytes, with which a ticket's largest body leaves room for the requests of others."""
        return _BODIES * tickets.max_body
