"""What did upstreams send until now, and which of it has to be kept still?"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.sim.history import Aborted, Asked, Drained, Emitted, Fault, Finished, Lost, Opened, Refused, Stopped, Stream

NEVER = float("inf")

#: Refusals of an upstream that may be asked again.
_LATER = (408, 425, 429)


@dataclass(slots=True)
class Call:
    """A request that an upstream got. closed: when neither side used it any more."""

    asked: Asked
    opened: float = NEVER
    closed: float = NEVER


class Arrival(NamedTuple):
    """How an event came first over a connection: behind so many events, bytes and openings.

    What came in one piece is kept, or dropped, together: order and bytes are those of the first event of the piece.
    """

    at: float
    order: int
    bytes: int
    opened: int
    call: int
    piece: int


@dataclass(slots=True)
class Source:
    """All that is on record of one source.

    seen: events by number; first: when each came over a connection, in the order of coming. own: numbers by own id.
    again: what came over more than one connection.
    over: when an answer had its end, or a feed its last
    one, `last_over`. emptied: whatever came before may be gone.
    """

    stream: Stream
    seen: dict[int, Emitted] = field(default_factory=dict)
    first: dict[int, Arrival] = field(default_factory=dict)
    own: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    again: set[int] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)
    bytes: int = 0
    opened: int = 0
    over: float = NEVER
    last_over: float = -NEVER
    is_clean: bool = False
    stopped: float = NEVER
    emptied: float = -NEVER
    arrived: int = 0

    def is_seen(self, n: int) -> bool:
        """Return whether a client that gets event `n` sees anything of it."""
        return n in self.seen and not self.seen[n].is_silent

    def has_named(self, own_id: str) -> bool:
        """Return whether an event of that id has come over a connection."""
        return own_id in self.own and any(n in self.first for n in self.own[own_id])


class Ledger:
    """Takes the events of upstreams and of the nemesis as they come, so that it always says how things stand now."""

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}
        self.calls: dict[int, Call] = {}
        self.faults: list[Fault] = []
        self.drained = NEVER
        self.now = 0.0

    def take(self, event: object) -> None:  # noqa: C901, PLR0912 - a table
        match event:
            case Stream():
                self.sources[event.source] = Source(event)
            case Asked():
                self.calls[event.call] = call = Call(event)
                source = self.sources[event.source]
                source.calls.append(call)
                rested = max((call.closed for call in source.calls[:-1]), default=NEVER)
                # Behind its end, and when it has slept for so long, a feed begins anew.
                if not source.stream.is_answer and (source.over < NEVER or rested + source.stream.age <= event.at):
                    source.over, source.emptied = NEVER, event.at
            case Opened():
                self.calls[event.call].opened = event.at
                self.source_of(event.call).opened += 1
            case Refused():
                self._close(
                    event.call,
                    event.at,
                    is_over=(400 <= event.status < 500 and event.status not in _LATER) or event.status == 204,
                )
            case Aborted() | Finished():
                self._close(event.call, event.at, is_clean=isinstance(event, Finished) and event.is_clean)
            case Emitted():
                self._emit(event)
            case Stopped(status=204) if event.source in self.sources:
                source = self.sources[event.source]
                if source.stream.is_answer and source.stream.owner in ("", event.login):
                    source.stopped = min(source.stopped, event.at)
            case Lost():
                for source in [self.sources[event.source]] if event.source else self.sources.values():
                    source.emptied = event.at
            case Drained():
                self.drained = min(self.drained, event.at)
            case Fault():
                self.faults.append(event)

    def source_of(self, call: int) -> Source:
        return self.sources[self.calls[call].asked.source]

    def newest(self, key: str, login: str, *, besides: Source | None = None) -> Source | None:
        """Return what a request with this key and login is about: the feed, or the answer that was begun last."""
        for source in reversed(self.sources.values()):
            if source.stream.key == key and source.stream.owner in ("", login) and source is not besides:
                return source
        return None

    def last(self, source: Source) -> int:
        """Return the number of the last event there ever was."""
        return max(source.seen, default=0)

    def must_keep(self, source: Source, n: int) -> bool:
        """Return whether event `n` has come over a connection, and nothing allows to have dropped it."""
        if n not in source.first:
            return False
        came, terms = source.first[n], source.stream
        behind = source.arrived - came.order - 1
        # What stands for a hole counts as an entry, and there may be one for each connection.
        is_within = terms.events is None or behind + 1 + source.opened - came.opened <= terms.events
        end = source.over if terms.is_answer else came.at
        return (
            is_within
            and source.bytes - came.bytes <= terms.bytes
            and self.now < end + terms.age
            and came.at > source.emptied
        )

    def first_kept(self, source: Source) -> int:
        """Return the first number that must be kept; behind all if there is none."""
        return next((n for n in sorted(source.first) if self.must_keep(source, n)), self.last(source) + 1)

    def is_resumable(self, source: Source, n: int) -> bool:
        """Return whether a client that has all up to `n` must get the rest."""
        return self.must_keep(source, n or 1)

    def is_fault_at(self, at: float) -> bool:
        return self.drained <= at or any(fault.at <= at <= fault.done for fault in self.faults)

    def _emit(self, event: Emitted) -> None:
        source = self.sources[event.source]
        if event.n not in source.seen and event.id is not None:
            source.own[event.id].append(event.n)
        if event.call and event.n in source.first:
            source.again.add(event.n)
            source.arrived += 1
            source.bytes += event.size
        source.seen.setdefault(event.n, event)
        if event.call and event.n not in source.first:
            before = source.first.get(event.n - 1)
            is_same_piece = before is not None and event.piece and before.piece == event.piece
            order, size = (before.order, before.bytes) if before and is_same_piece else (source.arrived, source.bytes)
            source.first[event.n] = Arrival(event.at, order, size, source.opened, event.call, event.piece)
            source.arrived += 1
            source.bytes += event.size

    def _close(self, number: int, at: float, *, is_clean: bool = False, is_over: bool = False) -> None:
        call = self.calls[number]
        if call.closed < NEVER:
            return
        call.closed = at
        source = self.source_of(number)
        if is_over or source.stream.is_answer:
            source.over, source.is_clean = min(source.over, at), is_clean or source.is_clean
            source.last_over = at
