"""What can only be judged when all is over: ends, stops, connections to upstreams, positions, delays, memory."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.sim.history import Aborted, Ended, Event, Measured
from tests.sim.ledger import NEVER, Ledger, Source
from tests.sim.places import OURS, Connection


@dataclass(frozen=True, slots=True)
class Allowance:
    """Seconds, and bytes.

    latency: within which an event or an end arrives. stop: within which what is stopped is closed. settle: for which
    two connections may overlap in the log. idle: of silence, after which an upstream may be left. stall: after which
    a client that takes nothing may be broken off.
    """

    latency: float = 1.0
    stop: float = 1.0
    settle: float = 0.0
    idle: float = NEVER
    stall: float = 30.0
    memory: int = 2**28
    per_reader: int = 2**17


class Aftermath:
    """Keeps what it needs while the history goes by. It is given each event once the ledger has it."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._now = 0.0
        self._measured: list[Measured] = []
        self._ends: list[tuple[Connection, Source, Ended, bool]] = []
        self._left: list[tuple[Aborted, list[Connection]]] = []
        self._marks: dict[str, dict[int, tuple[int, Source, int]]] = defaultdict(dict)
        self._twice: list[str] = []

    def take(self, event: Event, ledger: Ledger, connections: Iterable[Connection]) -> None:
        if isinstance(event, Measured):
            self._measured.append(event)
        elif isinstance(event, Aborted):
            source = ledger.source_of(event.call)
            there = [each for each in connections if each.place.source is source and each.head < event.at < each.end]
            self._left.append((event, there))

    def note(self, position: str, source: Source, n: int) -> None:
        """Keep that event `n` came with `position`."""
        found = None if source.own else OURS.fullmatch(position)
        if found is not None:
            token, seq = int(found[2]), int(found[3])
            known = self._marks[found[1]].setdefault(seq, (token, source, n))
            if known != (token, source, n):
                self._twice.append(
                    f"I5 entry {seq} of {found[1]} is {known[2]} and {n}, of token {known[0]} and {token}"
                )

    def is_stalled(self, connection: Connection, at: float) -> bool:
        """Return whether a client may be broken off since it has taken nothing for too long."""
        return any(min(until, at) - since >= self._allowance.stall for since, until in connection.pauses)

    def ended(self, connection: Connection, source: Source, event: Ended) -> None:
        # A feed that is over may begin again, and its last life be read by a client that knows of it.
        is_over = source.last_over >= (0.0 if connection.is_known or connection.requested.position else connection.head)
        self._ends.append((connection, source, event, is_over))

    def faults(self, ledger: Ledger, connections: Iterable[Connection]) -> Iterator[str]:
        self._now = ledger.now
        yield from self._twice
        there = [each for each in connections if each.head < NEVER and each.place.source is not None]
        for source in ledger.sources.values():
            yield from self._calls(source)
            yield from self._stop(source)
            yield from self._untold(source, [each for each in there if each.place.source is source], ledger)
        for connection in there:
            yield from self._late(connection, ledger)
        for aborted, readers in self._left:
            yield from self._leaving(aborted, readers, ledger)
        for connection, source, event, is_over in self._ends:
            limit = event.at + self._allowance.stop
            if not connection.has_failed:
                yield from self._end(connection, source, event, is_over=is_over or source.over <= limit)
        for run, marks in self._marks.items():
            yield from self._order(run, marks)
        yield from self._memory()

    def _calls(self, source: Source) -> Iterator[str]:
        """I4: one at a time."""
        for call, following in pairwise(source.calls):
            if following.asked.at < call.closed - self._allowance.settle:
                yield f"I4 {source.stream.source} is asked for while it is open, at {following.asked.at:.3f}"
        if source.stream.is_answer and len(source.calls) > 1:
            yield f"I8 {source.stream.source} was asked for {len(source.calls)} times"

    def _stop(self, source: Source) -> Iterator[str]:
        limit = source.stopped + self._allowance.stop
        if limit < self._now and any(call.closed > limit for call in source.calls):
            yield f"I7 {source.stream.source} was stopped at {source.stopped:.3f}, and went on"

    def _untold(self, source: Source, readers: list[Connection], ledger: Ledger) -> Iterator[str]:
        """I6: the end of an answer is told to all who are there."""
        for each in readers:
            limit = each.due(source.over, self._allowance.latency)
            is_there = source.stream.is_answer and each.head <= source.over
            if is_there and limit < min(each.end, self._now) and not ledger.is_fault_at(source.over):
                yield f"I6 client {each.requested.client} did not hear that {source.stream.source} was over"

    def _late(self, connection: Connection, ledger: Ledger) -> Iterator[str]:
        """I11. What is behind something that came is judged by I1."""
        source = connection.place.source
        assert source is not None
        newest = max(connection.got, default=max(connection.place.has, default=0))
        gaps = max((gap.at for gap in connection.place.gaps), default=0.0)
        for n, arrival in source.first.items():
            due = connection.due(max(arrival.at, connection.head), self._allowance.latency)
            is_due = (
                arrival.at > gaps
                and n not in source.again
                and (n in connection.got or (n > newest and source.is_seen(n)))
            )
            is_late = due < min(connection.got.get(n, NEVER), connection.end, self._now)
            if is_due and is_late and not ledger.is_fault_at(arrival.at):
                yield f"I11 client {connection.requested.client} waited too long for {source.stream.source} {n}"

    def _leaving(self, aborted: Aborted, readers: list[Connection], ledger: Ledger) -> Iterator[str]:
        """I6: no upstream is left that is read."""
        call, source = ledger.calls[aborted.call], ledger.source_of(aborted.call)
        last = max((each.at for each in source.first.values() if each.at <= aborted.at), default=call.opened)
        is_stopped = source.stopped <= aborted.at + self._allowance.stop
        is_idle = aborted.at - max(last, call.opened) >= self._allowance.idle
        if readers and call.closed == aborted.at and not (is_stopped or is_idle or ledger.is_fault_at(aborted.at)):
            yield f"I6 {source.stream.source} was left at {aborted.at:.3f}, with {len(readers)} readers"

    def _end(self, connection: Connection, source: Source, event: Ended, *, is_over: bool) -> Iterator[str]:
        limit = event.at + self._allowance.stop
        name = f"client {connection.requested.client} of {source.stream.source} at {event.at:.3f}"
        if (
            event.is_clean
            and source.stopped > limit
            and not (is_over and (source.is_clean or not source.stream.is_answer))
        ):
            yield f"I6 a clean end that the upstream did not send: {name}"
        is_stalled = self.is_stalled(connection, event.at)
        if not event.is_clean and source.stream.is_answer and not is_stalled and not is_over:
            yield f"I6 broken off while the upstream went on: {name}"

    def _order(self, run: str, marks: dict[int, tuple[int, Source, int]]) -> Iterator[str]:
        """I4 and I5, of one run."""
        calls: dict[int, int] = {}
        for seq, (token, source, n) in sorted(marks.items()):
            call = source.first[n].call
            if calls.setdefault(call, token) != token:
                yield f"I4 two tokens of {run} on one connection, at {seq}"
        first = min(marks)
        if first < 1 or (marks[first][1].stream.is_answer and first != marks[first][2]):
            yield f"I5 {run} begins with {marks[first][2]} as {first}"
        for low, high in pairwise(sorted(marks)):
            (token, source, n), (later, other, m) = marks[low], marks[high]
            if other is not source or later < token or m <= n:
                yield f"I4 {run} goes from {token}-{low} to {later}-{high}, from event {n} to {m}"
                continue
            between = sum(each in source.first for each in range(n + 1, m + 1))
            holes = source.first[m].opened - source.first[n].opened
            if not between <= high - low <= between + holes:
                yield f"I5 {run} goes from {low} to {high}, and {between} events were sent"

    def _memory(self) -> Iterator[str]:
        for event in self._measured:
            if event.bytes > self._allowance.memory + event.readers * self._allowance.per_reader:
                yield f"I10 {event.bytes} bytes kept at {event.at:.3f}"
            if event.is_last and (event.bytes or event.runs or event.readers):
                yield f"I10 {event.bytes} bytes, {event.runs} runs and {event.readers} readers are left"
