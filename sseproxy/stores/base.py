"""What does the rest of the house need of a place that keeps tickets?"""

from dataclasses import dataclass, field
from typing import Protocol

from sseproxy.core.http.fields import Headers, Peer

#: Seconds that an ended ticket is known at least, so that a client which comes back hears that it has ended.
REMEMBERED = 60.0

#: Bytes that one ticket and one header field take besides what they hold, at most.
_PER_TICKET = 1024
_PER_FIELD = 160


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A request that waits to be sent, as it came.

    target: in origin form. host: from the field of that name or from the target. body: ``None`` if there is none.
    peer: who sent it here; the upstream hears of nobody else, whoever has it sent on.
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


@dataclass(frozen=True, slots=True)
class TicketTerms:
    """What holds for a ticket until it is forgotten.

    route: the name of its route. owners: who had it kept, in a form that says nothing to anybody else: the client, and
    then the wider networks that it is in. ttl: seconds.
    reopens: it may be opened again and again, until `ttl` after its last end.
    """

    route: str
    owners: tuple[bytes, ...]
    ttl: float
    reopens: bool

    @property
    def remembered(self) -> float:
        """Seconds for which it is known after its end."""
        return self.ttl if self.reopens else max(self.ttl, REMEMBERED)


@dataclass(frozen=True, slots=True)
class TicketState:
    """A ticket that exists, or did until lately. waits: its request was never sent, and nobody is about to."""

    terms: TicketTerms
    waits: bool


class TicketStore(Protocol):
    """Tickets by key. A ticket waits, is open or has ended, and at some time is forgotten, whatever it was.

    Whoever has asked for a ticket to be opened must end that, also if `open` was cancelled and nobody knows what became
    of it. opening: what it is known by, a few random bytes. Of what is kept no owner can take all the room: a client
    has a share, and each wider network twice that of the one before.
    """

    async def keep(self, key: bytes, terms: TicketTerms, request: KeptRequest) -> None:
        """Keep `request` for `terms.ttl`. Raises `StoreFull`: for everybody, or for an owner who has had a share."""

    async def look(self, key: bytes) -> TicketState | None:
        """What is known of a ticket, which changes nothing."""

    async def open(self, key: bytes, opening: bytes) -> KeptRequest | None:
        """The request, if it may be sent now: of all who ask for it, one gets it, unless the ticket reopens."""

    async def release(self, key: bytes, opening: bytes) -> None:
        """The request was sent, by this opening; unless the ticket reopens, it is not needed any more."""

    async def end(self, key: bytes, opening: bytes, *, spent: bool) -> None:
        """An opening is over; one that never was or is over already changes nothing.

        spent: the request may have been sent. If it was not, the ticket waits as before, for what is left of its time.
        """

    async def delete(self, key: bytes) -> None:
        """Forget a ticket, whatever its state."""

    async def close(self) -> None:
        """Let go of everything; the last call."""
