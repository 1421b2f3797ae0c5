"""Where are tickets kept if this process is the only one?"""

import heapq
from dataclasses import dataclass
from math import inf

from sseproxy.core.errors import StoreFull
from sseproxy.core.limits import MIB
from sseproxy.stores.base import KeptRequest, KnownTicket, TicketTerms
from sseproxy.timers import Clock, Timer

#: Requests that are kept, and bytes that they may take all together.
MOST_TICKETS = 10_000
MOST_BYTES = 64 * MIB

_RETRY_AFTER = 5  # seconds

#: Stale times in the heap that are kept at least, before it is cleared of them.
_WORTH_CLEARING = 64


@dataclass(eq=False, slots=True)
class _Entry:
    """request: ``None`` once it will not be sent again. opened: how often it is open now. expires_at: never, if so."""

    terms: TicketTerms
    request: KeptRequest | None
    size: int
    expires_at: float
    waits: bool = True
    opened: int = 0


class MemoryTicketStore:
    """A `TicketStore` in this process.

    Requests count until they are handed out for the last time; what is left of a ticket then is small, and of ended
    ones there are at most `most_tickets` too: the oldest are forgotten early.
    """

    def __init__(self, clock: Clock, *, most_tickets: int = MOST_TICKETS, most_bytes: int = MOST_BYTES) -> None:
        self._clock = clock
        self._most_tickets = most_tickets
        self._most_bytes = most_bytes
        self._entries: dict[bytes, _Entry] = {}
        self._ended: dict[bytes, None] = {}  # without a request, in the order in which they ended
        self._requests = 0
        self._size = 0
        self._expiries: list[tuple[float, bytes]] = []
        self._wake_up: Timer | None = None
        self._wake_up_at = inf

    def __len__(self) -> int:
        """How many tickets are known, in whatever state."""
        return len(self._entries)

    @property
    def requests(self) -> int:
        """How many requests are kept."""
        return self._requests

    @property
    def size(self) -> int:
        """Bytes that they take."""
        return self._size

    # The way of a ticket.

    async def keep(self, key: bytes, terms: TicketTerms, request: KeptRequest) -> None:
        size = request.size
        if self._requests >= self._most_tickets or self._size + size > self._most_bytes:
            raise StoreFull("Too many requests are kept.", retry_after=_RETRY_AFTER)
        self._forget(key)
        entry = self._entries[key] = _Entry(terms, request, size, inf)
        self._requests += 1
        self._size += size
        self._expire(key, entry, self._clock.time() + terms.ttl)

    async def look(self, key: bytes) -> KnownTicket | None:
        entry = self._find(key)
        return None if entry is None else KnownTicket(entry.terms, entry.waits)

    async def open(self, key: bytes) -> KeptRequest | None:
        entry = self._find(key)
        if entry is None or entry.request is None:
            return None
        request = entry.request
        entry.waits = False
        entry.opened += 1
        entry.expires_at = inf
        if not entry.terms.reopens:
            self._drop_request(entry)
        return request

    async def end(self, key: bytes) -> None:
        entry = self._find(key)
        if entry is None:
            return
        entry.opened -= 1
        if entry.opened:
            return
        if entry.request is None:
            self._ended[key] = None
            if len(self._ended) > self._most_tickets:
                self._forget(next(iter(self._ended)))
        self._expire(key, entry, self._clock.time() + entry.terms.remembered)

    async def delete(self, key: bytes) -> None:
        self._forget(key)

    async def close(self) -> None:
        for key in list(self._entries):
            self._forget(key)
        self._expiries.clear()
        self._arm()

    # Private.

    def _find(self, key: bytes) -> _Entry | None:
        """A ticket that has not expired: the timer that clears it away may be a little late."""
        entry = self._entries.get(key)
        return None if entry is None or entry.expires_at <= self._clock.time() else entry

    def _forget(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._drop_request(entry)
            self._ended.pop(key, None)

    def _drop_request(self, entry: _Entry) -> None:
        if entry.request is not None:
            entry.request = None
            self._requests -= 1
            self._size -= entry.size

    # Time.

    def _expire(self, key: bytes, entry: _Entry, when: float) -> None:
        entry.expires_at = when
        if len(self._expiries) > _WORTH_CLEARING + 2 * len(self._entries):
            self._expiries = [expiry for expiry in self._expiries if self._is_due(*expiry)]
            heapq.heapify(self._expiries)
        heapq.heappush(self._expiries, (when, key))
        self._arm()

    def _is_due(self, when: float, key: bytes) -> bool:
        """Whether a time in the heap still is that of its ticket."""
        entry = self._entries.get(key)
        return entry is not None and entry.expires_at == when

    def _arm(self) -> None:
        """Wake up when the first ticket expires, or earlier: what nobody asks for must go too."""
        if self._wake_up is not None and (not self._expiries or self._expiries[0][0] < self._wake_up_at):
            self._wake_up.cancel()
            self._wake_up = None
        if self._wake_up is None and self._expiries:
            self._wake_up_at = self._expiries[0][0]
            self._wake_up = self._clock.call_at(self._wake_up_at, self._look_at_the_clock)

    def _look_at_the_clock(self) -> None:
        self._wake_up = None
        now = self._clock.time()
        while self._expiries and self._expiries[0][0] <= now:
            when, key = heapq.heappop(self._expiries)
            if self._is_due(when, key):
                self._forget(key)
        self._arm()
