"""Where are tickets kept if this process is the only one?"""

import heapq
from dataclasses import dataclass, field
from math import inf

from sseproxy.core.errors import StoreFull
from sseproxy.core.store import StorePolicy
from sseproxy.stores.base import KeptRequest, TicketState, TicketTerms
from sseproxy.timers import Clock, Timer

#: Requests that are kept, and bytes that they may take all together.
MOST_TICKETS = 10_000
MOST_BYTES = StorePolicy().memory

#: So many clients at least it takes to fill it: each may have this part of it.
SHARES = 8

_RETRY_AFTER = 5  # seconds

#: Stale times in the heap that are kept at least, before it is cleared of them.
_WORTH_CLEARING = 64


# A ticket waits, is open, or has ended; each state has one time at which it is removed.
#
#   keep ─► waits ──open──► open ──end(spent)──► ended ──(remembered)──► gone
#             ▲  └─(ttl)─► gone │ └─ release: the request itself is dropped, unless the ticket reopens
#             └───end(not spent)┘
#
# Invariants
#   1. `_requests`, `_size` and `_owners` count exactly the entries that have a request.
#   2. An open ticket does not expire; every other one has its `expires_at` in the heap.
#   3. The heap may hold times that hold no longer; one counts only if it is that of its ticket (`_is_due`). So a
#      change of state is one push, and nothing is searched.
#   4. Memory is bounded: requests by number and bytes, ended tickets by number, stale times by the length of the rest.
#
# Hazards
#   - The timer comes late on a busy loop: `_find` looks at the clock itself, or an expired ticket could be opened.
#   - A thousand clients of one network, each within its share, would fill the store: networks have shares, too.
#   - `end` comes twice, or for an opening that was cancelled before it began: only one that is in `openings` counts.


@dataclass(eq=False, slots=True)
class _Entry:
    """request: ``None`` once it will not be sent again. waits_until: unless it is sent. expires_at: never, if open."""

    terms: TicketTerms
    request: KeptRequest | None
    size: int
    waits_until: float
    expires_at: float = inf
    is_spent: bool = False
    openings: set[bytes] = field(default_factory=set)

    @property
    def waits(self) -> bool:
        return not (self.is_spent or self.openings)


@dataclass(eq=False, slots=True)
class _Share:
    """What one owner has kept."""

    requests: int = 0
    size: int = 0


class MemoryTicketStore:
    """A `TicketStore` in this process.

    Requests count until they are sent for the last time; what is left of a ticket then is small, and of ended ones
    there are at most `most_tickets` too: the oldest are removed early. shares: a client has one of so many at most,
    of tickets and of bytes, and the networks around it two, four and so on; a single request may be larger.
    """

    def __init__(
        self, clock: Clock, *, most_tickets: int = MOST_TICKETS, most_bytes: int = MOST_BYTES, shares: int = SHARES
    ) -> None:
        self._clock = clock
        self._most_tickets = most_tickets
        self._most_bytes = most_bytes
        self._shares = shares
        self._owners: dict[bytes, _Share] = {}
        self._entries: dict[bytes, _Entry] = {}
        self._ended: dict[bytes, None] = {}  # without a request, in the order in which they ended
        self._requests = 0
        self._size = 0
        self._expiries: list[tuple[float, bytes]] = []
        self._wake_up: Timer | None = None
        self._wake_up_at = inf

    def __len__(self) -> int:
        """Return how many tickets are known, in whatever state."""
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
        for level, owner in enumerate(terms.owners):
            # A wider network has twice the share of the one before.
            if self._has_had_a_share(owner, size, parts=1 << level):
                whose = "network" if level else "client"
                raise StoreFull(f"Too many requests of this {whose} are kept.", retry_after=_RETRY_AFTER)
        self._remove(key)
        entry = self._entries[key] = _Entry(terms, request, size, self._clock.time() + terms.ttl)
        self._count(entry, 1)
        self._expire(key, entry, entry.waits_until)

    async def look(self, key: bytes) -> TicketState | None:
        entry = self._find(key)
        return None if entry is None else TicketState(entry.terms, entry.waits)

    async def open(self, key: bytes, opening: bytes) -> KeptRequest | None:
        entry = self._find(key)
        if entry is None or entry.request is None or (entry.openings and not entry.terms.reopens):
            return None
        entry.openings.add(opening)
        entry.expires_at = inf
        return entry.request

    async def release(self, key: bytes, opening: bytes) -> None:
        entry = self._find(key)
        if entry is not None and opening in entry.openings:
            self._spend(entry)

    async def end(self, key: bytes, opening: bytes, *, spent: bool) -> None:
        entry = self._find(key)
        if entry is None or opening not in entry.openings:
            return
        entry.openings.discard(opening)
        if spent:
            self._spend(entry)
        if entry.openings:
            return
        if entry.request is None:
            self._ended[key] = None
            if len(self._ended) > self._most_tickets:
                self._remove(next(iter(self._ended)))
        after = self._clock.time() + entry.terms.remembered
        self._expire(key, entry, after if entry.is_spent else entry.waits_until)

    async def delete(self, key: bytes) -> None:
        self._remove(key)

    async def close(self) -> None:
        for key in list(self._entries):
            self._remove(key)
        self._expiries.clear()
        self._arm()

    # Private.

    def _find(self, key: bytes) -> _Entry | None:
        """A ticket that has not expired: the timer that clears it away may be a little late."""
        entry = self._entries.get(key)
        return None if entry is None or entry.expires_at <= self._clock.time() else entry

    def _remove(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._drop_request(entry)
            self._ended.pop(key, None)

    def _spend(self, entry: _Entry) -> None:
        entry.is_spent = True
        if not entry.terms.reopens:
            self._drop_request(entry)

    def _drop_request(self, entry: _Entry) -> None:
        if entry.request is not None:
            entry.request = None
            self._count(entry, -1)

    def _has_had_a_share(self, owner: bytes, size: int, *, parts: int) -> bool:
        has = self._owners.get(owner)
        return has is not None and (
            (has.requests + 1) * self._shares > parts * self._most_tickets
            or (has.size + size) * self._shares > parts * self._most_bytes
        )

    def _count(self, entry: _Entry, sign: int) -> None:
        self._requests += sign
        self._size += sign * entry.size
        for owner in entry.terms.owners:
            share = self._owners.setdefault(owner, _Share())
            share.requests += sign
            share.size += sign * entry.size
            if not share.requests:
                del self._owners[owner]

    # Time.

    def _expire(self, key: bytes, entry: _Entry, when: float) -> None:
        entry.expires_at = when
        if len(self._expiries) > _WORTH_CLEARING + 2 * len(self._entries):
            self._expiries = [expiry for expiry in self._expiries if self._is_due(*expiry)]
            heapq.heapify(self._expiries)
        heapq.heappush(self._expiries, (when, key))
        self._arm()

    def _is_due(self, when: float, key: bytes) -> bool:
        """True if a time in the heap still is that of its ticket."""
        entry = self._entries.get(key)
        return entry is not None and entry.expires_at == when

    def _arm(self) -> None:
        """Wake up when the first ticket expires, or earlier: one that no client asks for must go, too."""
        if self._wake_up is not None and (not self._expiries or self._expiries[0][0] < self._wake_up_at):
            self._wake_up.cancel()
            self._wake_up = None
        if self._wake_up is None and self._expiries:
            self._wake_up_at = self._expiries[0][0]
            self._wake_up = self._clock.call_at(self._wake_up_at, self._remove_expired)

    def _remove_expired(self) -> None:
        self._wake_up = None
        now = self._clock.time()
        while self._expiries and self._expiries[0][0] <= now:
            when, key = heapq.heappop(self._expiries)
            if self._is_due(when, key):
                self._remove(key)
        self._arm()
