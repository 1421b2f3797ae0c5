"""What does the rest of the house need of a place that keeps tickets?"""

from dataclasses import dataclass
from typing import Protocol

from sseproxy.core.headers import Headers

#: Seconds that an ended ticket is known at least, so that a client which comes back hears that it has ended.
REMEMBERED = 60.0

#: Bytes that one ticket and one header field take besides what they hold, at most.
_PER_TICKET = 1024
_PER_FIELD = 160


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A request that waits to be sent, as it came.

    target: in origin form. host: from the field of that name or from the target. body: ``None`` if there is none.
    """

    method: str
    target: str
    host: bytes
    headers: Headers
    body: bytes | None

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        fields = sum(len(name) + len(value) + _PER_FIELD for name, value in self.headers)
        return _PER_TICKET + fields + len(self.target) + len(self.body or b"")


@dataclass(frozen=True, slots=True)
class TicketTerms:
    """What holds for a ticket until it is forgotten.

    route: the name of its route. binding: what whoever opens it has to show, in a form that says nothing to anybody
    else; empty if nothing. ttl: seconds. reopens: it may be opened again and again, until `ttl` after its last end.
    """

    route: str
    binding: bytes
    ttl: float
    reopens: bool

    @property
    def remembered(self) -> float:
        """Seconds for which it is known after its end."""
        return self.ttl if self.reopens else max(self.ttl, REMEMBERED)


@dataclass(frozen=True, slots=True)
class KnownTicket:
    """A ticket that exists, or did until lately. waits: it was never opened."""

    terms: TicketTerms
    waits: bool


class TicketStore(Protocol):
    """Tickets by key. A ticket waits, is open or has ended, and at some time is forgotten, whatever it was.

    Whoever opens a ticket must end it, in whatever way that comes about.
    """

    async def keep(self, key: bytes, terms: TicketTerms, request: KeptRequest) -> None:
        """Keep `request` for `terms.ttl`. Raises `StoreFull`."""

    async def look(self, key: bytes) -> KnownTicket | None:
        """What is known of a ticket, which changes nothing."""

    async def open(self, key: bytes) -> KeptRequest | None:
        """The request, if it may be sent now: of all who ask for it, one gets it, unless the ticket reopens."""

    async def end(self, key: bytes) -> None:
        """A ticket that was opened is open no more, once. One that was deleted meanwhile stays so."""

    async def delete(self, key: bytes) -> None:
        """Forget a ticket, whatever its state."""

    async def close(self) -> None:
        """Let go of everything; the last call."""
