"""Where does a client stand, and what may come next for it?"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.sim.history import Gap, Requested
from tests.sim.ledger import NEVER, Ledger, Source

OURS = re.compile(r"(.+)\.(\d+)-(\d+)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client stands: it has all up to one of `has`, and what `gaps` say since. is_end: behind the end.

    at: when it was there; no matter for one that an own id stands for.
    """

    source: Source | None
    has: Sequence[int]
    gaps: tuple[Gap, ...] = ()
    is_end: bool = False
    at: float = NEVER


@dataclass(slots=True)
class Connection:
    """One request of a client. stands: the last position that it was given, or named. latest: the last number
    there was when it was asked.
    """

    requested: Requested
    place: Place
    stands: str
    is_known: bool
    latest: int
    head: float = NEVER
    end: float = NEVER
    has_left: bool = False
    has_failed: bool = False
    got: dict[int, float] = field(default_factory=dict)
    pauses: list[list[float]] = field(default_factory=list)

    def due(self, at: float, latency: float) -> float:
        """Return until when the client must have got what was there at `at`. latency: seconds in which it reads."""
        due = at + latency
        for since, until in self.pauses:
            if until > at and since < due:
                due = until + latency
        return due


class Places:
    """The places that positions stand for."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._given: dict[str, Place] = {}

    def give(self, position: str, place: Place) -> Iterator[str]:
        """Keep what a client has that was given `position`; own ids are in the ledger."""
        source = place.source
        if not position or source is None or position in source.own:
            return
        before = self._given.setdefault(position, place)
        # Where events have ids of their own, one of sseproxy stays the last id for some of them.
        low, high = sorted((before.has, place.has), key=max)
        is_same = not any(map(source.is_seen, range(max(low) + 1, min(high) + 1)))
        if before.source is not source or not (source.own or is_same or before.gaps or place.gaps):
            yield f"I5 {position} stands for two places"

    def is_given(self, position: str) -> bool:
        return position in self._given

    def begin(self, event: Requested) -> Connection:
        """Return the connection that a request begins."""
        source = self._ledger.sources.get(event.source) or self._ledger.newest(event.key, event.login)
        latest = max(source.first, default=0) if source is not None else 0
        place = self._given.get(event.position, Place(None, ()))
        if place.source is not None and place.source.stream.owner not in ("", event.login):
            place = Place(None, ())
        if place.source is None and source is not None and source.has_named(event.position):
            place = self._at_own(event.position, source)
        return Connection(event, place, event.position, place.source is not None, latest)

    def resolve(self, connection: Connection, source: Source) -> None:
        """Find the place of a client that named nothing known, once its source is known."""
        position = connection.requested.position
        is_asking = any(call.asked.request == connection.requested.request for call in source.calls)
        if position not in source.own or is_asking:
            connection.place, connection.is_known = self.start(connection, source), False
        elif connection.is_known:
            connection.place = self._at_own(position, source)
        elif source.has_named(position):
            # It has come since: before or behind the moment in which it was looked for.
            starts, own = self.start(connection, source), self._at_own(position, source)
            connection.place = Place(source, (*starts.has, *own.has))
        else:
            connection.place = self.start(connection, source)

    def _at_own(self, name: str, source: Source) -> Place:
        """The first place of an own id; a later one only if the ones before it may be gone."""
        numbers: list[int] = []
        for number in source.own[name]:
            numbers.append(number)
            if self._ledger.must_keep(source, number):
                break
        return Place(source, numbers)

    def source_of(self, requested: Requested) -> Source | None:
        """Return what a request without a known position is about, as far as that can be said."""
        for call in self._ledger.calls.values():
            if call.asked.request == requested.request:
                return self._ledger.sources[call.asked.source]
        return self._ledger.sources.get(requested.source) or self._ledger.newest(requested.key, requested.login)

    def start(self, connection: Connection, source: Source) -> Place:
        """Return where a client without a known position begins."""
        requested = connection.requested
        is_asking = any(call.asked.request == requested.request for call in source.calls)
        if source.stream.is_answer and (is_asking or not (requested.position or requested.starts_latest)):
            return Place(source, (0,))
        if not source.stream.is_answer and is_asking and requested.position in source.own:
            # The upstream may know it, or begin with what is new.
            return Place(source, range(self._ledger.last(source) + 1))
        takes_start = not requested.position or (source.stream.is_answer and requested.position != "oldest")
        if is_asking or (requested.starts_latest and takes_start):
            last = self._ledger.last(source)
            return Place(source, range(min(connection.latest, last), last + 1))
        return Place(source, range(self._ledger.first_kept(source)))


def missing(place: Place, source: Source, n: int) -> list[int]:
    """Return the numbers that a client at `place` lacks when it gets `n`: those that have something to see."""
    if n - 1 in place.has:
        return []
    return [each for each in range(max(place.has) + 1, n) if source.is_seen(each)]


def gap_faults(place: Place, source: Source, n: int, ledger: Ledger) -> Iterator[str]:
    """Judge what gap events said of what is missing."""
    gaps, lacking = place.gaps, missing(place, source, n)
    stretch = f"{lacking[0]} to {lacking[-1]}" if lacking else "nothing"
    if lacking and not gaps:
        yield f"I1 {stretch} of {source.stream.source} lost in silence"
        return
    kept = next((n for n in lacking if ledger.must_keep(source, n)), None)
    if kept is not None:
        yield f"I1 gap over {stretch} of {source.stream.source}, of which {kept} was to be had"
    # Where the upstream was opened again, what it had meanwhile may be missing, and be trimmed.
    has_hole = source.opened > (source.first[n - 1].opened if n - 1 in source.first else 1)
    if n - 1 <= min(place.has) and not has_hole and any(gap.reason == "trimmed" for gap in gaps):
        yield f"I1 gap at {gaps[0].origin}, where nothing is missing"
    counts = [gap.lost for gap in gaps if gap.lost is not None]
    is_sure = len(place.has) == 1 and len(counts) == len(gaps) and not source.again.intersection((n, *lacking))
    # Those of which there is nothing to see may be counted, or not.
    if gaps and is_sure and not len(lacking) <= sum(counts) <= n - 1 - place.has[0]:
        yield f"I1 {sum(counts)} said to be lost, and it was {stretch}"
