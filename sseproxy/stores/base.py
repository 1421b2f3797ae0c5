"""What does the proxy need of a place that keeps tickets?"""

from dataclasses import field
from typing import Protocol

from sseproxy.core.frozen import frozen
from sseproxy.core.http.fields import Headers, Peer

#: Seconds that an ended ticket is known at least, so that a client which comes back hears that it has ended.
REMEMBERED = 60.0

#: Bytes that one ticket and one header field take besides what they hold, at most.
_PER_TICKET = 1024
_PER_FIELD = 160


@frozen
class KeptRequest:
    """A request that waits to be sent, as it came.

    target: in origin form. host: from the field of that name or from the target. body: ``None`` if there is none.
    peer: who sent it here. The upstream hears of this peer only, also when another client opens the ticket.
    """

    method: str
    target: str = field(repr=False)
    host: bytes
    headers: Headers = field(repr=False)
    body: bytes | None = field(repr=False)
    peer: Peer

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        fields = sum(len(name) + len(value) + _PER_FIELD for name, value in self.headers)
        return _PER_TICKET + fields + len(self.target) + len(self.body or b"")


@frozen
class TicketTerms:
    """What holds for a ticket until it is forgotten.

    route: the name of its route. owners: digests of the client that had it kept, and then of the wider networks that
    it is in. ttl: seconds. reopens: it may be opened again and again, until `ttl` after its last end.
    """

    route: str
    owners: tuple[bytes, ...]
    ttl: float
    reopens: bool

    @property
    def remembered(self) -> float:
        """Seconds for which it is known after its end."""
        return self.ttl if self.reopens else max(self.ttl, REMEMBERED)


@frozen
class TicketState:
    """A ticket that exists, or did until lately. waits: its request was not sent, and no opening is in progress."""

    terms: TicketTerms
    waits: bool


class TicketStore(Protocol):
    """Tickets by key. A ticket waits, is open or has ended, and at some time is removed, in whatever state.

    A caller that has called `open` must call `end`, also if `open` was cancelled: the store may have opened the ticket
    before. opening: a few random bytes by which the store tells this opening from others.
    No owner can take all the room: a client has a share, and each wider network twice that of the one before.
    """

    async def keep(self, key: bytes, terms: TicketTerms, request: KeptRequest) -> None:
        """Keep `request` for `terms.ttl`. Raises `StoreFull` if the store is full, or an owner's share of it."""

    async def look(self, key: bytes) -> TicketState | None:
        """Return what is known of a ticket; ``None`` if nothing is. Changes nothing."""

    async def open(self, key: bytes, opening: bytes) -> KeptRequest | None:
        """Return the request if it may be sent now: to one of all callers only, unless the ticket reopens."""

    async def release(self, key: bytes, opening: bytes) -> None:
        """Note that this opening has sent the request; unless the ticket reopens, it is not needed any more."""

    async def end(self, key: bytes, opening: bytes, *, spent: bool) -> None:
        """Note that an opening is over. One that never was, or is over already, changes nothing.

        spent: the request may have been sent. If it was not, the ticket waits as before, for what is left of its time.
        """

    async def delete(self, key: bytes) -> None:
        """Remove a ticket, in whatever state."""

    async def close(self) -> None:
        """Release everything; the last call."""
