"""Did each client get exactly what was published for it: once, in order, and a gap event where Redis trimmed?

The plan: replay what each lineage saw against what was published. The text of a message says its name and number, so
no id is trusted; ids only say where a client that comes back stands.

Rules, of streams:
 1. What comes is intact, was published before, and is of a name that the lineage may read.
 2. Of each name the numbers grow: nothing comes twice, nothing out of order.
 3. Where numbers are missing, Redis had trimmed every one of them, and a gap event came in their place.
 4. A gap event has its reason: something is missing, or the last message the client had was trimmed itself, so that
    the server could not know better. If it says how many are lost, it is right. It is not told again without a
    further trim, but to a client that has left a server which still had what Redis had trimmed.
 5. At the end each lineage has all there is, or a gap event and the rest.
 6. Well, and connected, a client waits no longer than `Allowance.latency`.

Of channels: 1, 2, and: what was published while a client was connected and Redis was well has come.

Hazards: a message is in Redis at some moment between `begun` and `done`, and a trim takes effect at some moment of
its own. Where that leaves two truths, both are right.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tests.push.history import Closed, Gap, Got, History, Kind, Lineage, Opened, Published, Ready, Start, Trimmed


@dataclass(frozen=True, slots=True)
class Allowance:
    """Seconds. settle: what a subscription, or a message under way, may take. recovery: after a fault has ended.

    latency: within which a message of a stream arrives. again: a reader may have looked at Redis so long before its
    gap event was seen.
    """

    settle: float = 2.0
    recovery: float = 15.0
    latency: float = 15.0
    again: float = 1.0


def check(history: History, allowance: Allowance | None = None) -> list[str]:
    """Return what is wrong, in words; empty: nothing is."""
    log = _Log(history, allowance or Allowance())
    return [
        f"{name}: {fault}"
        for name, lineage in history.lineages.items()
        for fault in (_stream(lineage, log) if lineage.kind is Kind.STREAM else _channel(lineage, log))
    ]


class _Log:
    """What was published, trimmed and broken, by name and time."""

    def __init__(self, history: History, allowance: Allowance) -> None:
        self.allowance = allowance
        self.published: dict[str, list[Published]] = defaultdict(list)
        for message in history.published:
            self.published[message.name].append(message)
        for name, messages in self.published.items():
            assert [message.n for message in messages] == list(range(1, len(messages) + 1)), f"a forged log of {name}"
        self._trims: dict[str, list[Trimmed]] = defaultdict(list)
        for trim in history.trims:
            self._trims[trim.name].append(trim)
        self._faults = history.faults
        self._number = history.number

    def last(self, name: str) -> int:
        return len(self.published[name])

    def begun_before(self, name: str, at: float) -> int:
        """Return the last number of a name that was begun before `at`."""
        return bisect_left(self.published[name], at, key=lambda message: message.begun)

    def trimmed_before(self, name: str, at: float) -> int:
        """Return the first number that may still have been there at `at`, less one."""
        return max((trim.n - 1 for trim in self._trims[name] if trim.begun <= at), default=0)

    def lacks(self, name: str, position: str, at: float) -> bool:
        """Return whether Redis had trimmed what is behind `position`."""
        number = None if self._number is None else self._number(position, name)
        return number is not None and self.trimmed_before(name, at) > number

    def has_trimmed(self, names: Iterable[str], since: float, until: float) -> bool:
        return any(trim.begun <= until and trim.done >= since for name in names for trim in self._trims[name])

    def is_well(self, begun: float, done: float) -> bool:
        return not any(fault.begun <= done and begun <= fault.done + self.allowance.recovery for fault in self._faults)

    def owed(self, name: str, begun: float, done: float, latency: float) -> Iterator[Published]:
        """Yield what was published between these times, if all was well for `latency` seconds."""
        messages = self.published[name]
        first = bisect_left(messages, begun, key=lambda message: message.begun)
        last = bisect_right(messages, done, key=lambda message: message.begun)
        for message in messages[first:last]:
            if message.done <= done and self.is_well(message.begun, message.done + latency):
                yield message


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a client stands in one stream: it had `low`, and what is above `high` is still to come.

    They differ before its first message only. gaps: those that came since its last message.
    """

    low: int
    high: int
    gaps: tuple[Gap, ...] = ()


class _StreamCheck:
    """The places of one lineage, and what it was given at each position that it has used again."""

    def __init__(self, lineage: Lineage, log: _Log) -> None:
        self._lineage, self._log = lineage, log
        self._places: dict[str, _Place] = {}
        self._used = {event.position for event in lineage.events if isinstance(event, Opened) and event.position}
        self._known: dict[str, dict[str, _Place]] = {}
        self._given: set[str] = set()

    def take(self, event: Opened | Ready | Got | Gap) -> Iterator[str]:
        if isinstance(event, Opened):
            yield from self._open(event)
        elif isinstance(event, Ready):
            self._begin(event)
        elif isinstance(event, Got):
            yield from self._message(event)
        else:
            yield from self._gap(event)
        self._given.add(event.position)
        if event.position in self._used:
            self._known[event.position] = dict(self._places)

    def finish(self) -> Iterator[str]:
        for name, place in self._places.items():
            if place.high < self._log.last(name):
                yield from self._stretch(name, place, self._log.last(name) + 1)

    def _open(self, event: Opened) -> Iterator[str]:
        if event.position and event.position not in self._known:
            yield f"resumes at {event.position}, which it was never given"
        self._places = dict(self._known.get(event.position, {}))

    def _begin(self, event: Ready) -> None:
        for name in self._lineage.reads:
            if name not in self._places:
                is_latest = self._lineage.start is Start.LATEST
                before = self._log.begun_before if is_latest else self._log.trimmed_before
                self._places[name] = _Place(0, before(name, event.at))

    def _message(self, event: Got) -> Iterator[str]:
        yield from _sound(event, self._lineage, self._log)
        place = self._places.get(event.name)
        if place is None:
            return
        if event.n <= place.low:
            yield f"got {event.name} {event.n} after {place.low}"
        elif event.n > place.high + 1 or place.gaps:
            yield from self._stretch(event.name, place, event.n)
        self._places[event.name] = _Place(event.n, event.n)

    def _gap(self, event: Gap) -> Iterator[str]:
        if event.reason != "trimmed":
            yield f"gap with reason {event.reason}"
        if event.origin not in self._given:
            yield f"gap at {event.origin}, which it was never given"
        if not any(self._may_miss(name, event) for name in self._places):
            yield f"gap at {event.origin}, although Redis had trimmed nothing there"
        earlier = [place.gaps[-1] for place in self._places.values() if place.gaps]
        # Two streams of one client can be trimmed at once, each with a gap event of its own.
        told = max((len(place.gaps) for place in self._places.values()), default=0)
        since = max((gap.at for gap in earlier), default=0) - self._log.allowance.again
        is_new = self._log.has_trimmed(self._places, since, event.at) or any(
            self._log.lacks(name, event.origin, event.at) for name in self._places
        )
        if told >= len(self._places) and not is_new:
            yield f"gap told again at {event.origin}, although Redis had trimmed nothing since"
        for name, place in self._places.items():
            self._places[name] = replace(place, gaps=(*place.gaps, event))

    def _may_miss(self, name: str, event: Gap) -> bool:
        place = self._places[name]
        return self._log.trimmed_before(name, event.at) >= max(place.low, 1)

    def _stretch(self, name: str, place: _Place, until: int) -> Iterator[str]:
        """Judge that the numbers from `place` to before `until` have not come, and that `place.gaps` have."""
        stretch = f"{name} {place.high + 1} to {until - 1}"
        if not place.gaps:
            yield f"lost {stretch} in silence"
            return
        kept = self._log.trimmed_before(name, place.gaps[-1].at) + 1
        if kept < until and place.high + 1 < until:
            yield f"lost {stretch} behind a gap event, although Redis had all from {kept}"
        # A gap event does not say of which stream it is, and before the first message it is not sure what is missing.
        is_counted = len(self._places) == 1 and place.low == place.high
        lost = [gap.lost for gap in place.gaps if gap.lost is not None]
        if is_counted and len(lost) == len(place.gaps) and sum(lost) != until - 1 - place.high:
            yield f"lost {stretch}, and was given {sum(lost)} as their number"


def _stream(lineage: Lineage, log: _Log) -> Iterator[str]:
    state = _StreamCheck(lineage, log)
    for event in lineage.events:
        if not isinstance(event, Closed):
            yield from state.take(event)
    yield from state.finish()
    yield from _owed(lineage, log, log.allowance.latency, "waited too long for")


def _channel(lineage: Lineage, log: _Log) -> Iterator[str]:
    last: dict[str, int] = defaultdict(int)
    for event in lineage.events:
        if isinstance(event, Gap):
            yield f"gap on a channel at {event.at}"
        if isinstance(event, Got):
            yield from _sound(event, lineage, log)
            if event.n <= last[event.name]:
                yield f"got {event.name} {event.n} after {last[event.name]}"
            last[event.name] = event.n
    yield from _owed(lineage, log, log.allowance.settle, "connected, and did not get")


def _sound(event: Got, lineage: Lineage, log: _Log) -> Iterator[str]:
    """Rule 1."""
    if event.name not in lineage.reads:
        yield f"got {event.name} {event.n}, which is not its own"
    elif not event.intact:
        yield f"got {event.name} {event.n} with a wrong checksum"
    elif not 1 <= event.n <= log.last(event.name):
        yield f"got {event.name} {event.n}, which was never published"
    elif event.at < log.published[event.name][event.n - 1].begun:
        yield f"got {event.name} {event.n} before it was published"


def _owed(lineage: Lineage, log: _Log, latency: float, words: str) -> Iterator[str]:
    """Compare each connection that stood for a while with what was published meanwhile."""
    got: dict[str, dict[int, float]] = {name: {} for name in lineage.reads}
    for event in lineage.events:
        if isinstance(event, Got) and event.name in got:
            got[event.name].setdefault(event.n, event.at)
    for begun, done in _connections(lineage.events):
        for name in lineage.reads:
            for message in log.owed(name, begun + log.allowance.settle, done - latency, latency):
                at = got[name].get(message.n)
                if at is None:
                    # A gap event stands for what was trimmed: rules 3 and 4 have judged it.
                    is_late = lineage.kind is Kind.CHANNEL or log.trimmed_before(name, done) < message.n
                else:
                    is_late = at > message.done + latency
                if is_late:
                    yield f"{words} {name} {message.n}"


def _connections(events: Sequence[object]) -> Iterator[tuple[float, float]]:
    """Yield from when to when a client was connected."""
    seen = [event for event in events if isinstance(event, Ready | Closed)]
    for event, following in pairwise(seen):
        if isinstance(event, Ready):
            yield event.at, following.at
