"""Did each client get what its upstream sent: once, in order, whole, with a gap event where something is missing?

The plan: replay the history in the order of time. A `Ledger` says at each moment what was sent and what has to be kept;
each connection has a place in one source. A position is only a word for the place of the client that was given it.

Rules (each fault begins with the one it breaks):
 I1  What a client gets are events of one source, their numbers growing. What is missing is covered by gap events that
     begin where the client stands, and was not to be had. `lost` is right or null.
 I2  What comes was sent before, and is whole.
 I3  A position that was handed out can be resumed until what is behind it may have been dropped, also behind a restart.
 I4  One connection to the upstream of a source at a time; tokens grow with the numbers, and no two share a connection.
 I5  The numbers in positions of a run are those of its entries, without a hole.
 I6  One end, the same for all who are there, and nothing behind it. No upstream is left while there are readers.
 I7  What is stopped is closed at once, and nothing follows.
 I8  A request is sent upstream once, one with a known position not at all, and no position of sseproxy ever.
 I9  Events reach the login that they belong to, no other.
 I10 Memory is bounded, and free in the end.
 I11 What is sent arrives at once.
 I12 Type and own id are those that were sent.

Hazards: an own id may occur twice, and then stands for its first place that is kept. Where the clock leaves two
truths, both are right.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tests.sim.aftermath import Aftermath, Allowance
from tests.sim.history import (
    Asked,
    ClientEvent,
    Ended,
    Event,
    Failed,
    Gap,
    Given,
    Got,
    Head,
    Left,
    Paused,
    Requested,
    Resumed,
)
from tests.sim.ledger import NEVER, Ledger, Source
from tests.sim.places import OURS, Connection, Place, Places, gap_faults, missing


def check(history: Iterable[Event], allowance: Allowance | None = None) -> list[str]:
    """Return what is wrong, in words; empty: nothing is."""
    replay = _Replay(allowance or Allowance())
    faults = [fault for event in history for fault in replay.take(event)]
    return faults + list(replay.aftermath.faults(replay.ledger, replay.connections.values()))


class _Replay:
    def __init__(self, allowance: Allowance) -> None:
        self.ledger = Ledger()
        self.aftermath = Aftermath(allowance)
        self.connections: dict[int, Connection] = {}
        self._places = Places(self.ledger)

    def take(self, event: Event) -> Iterator[str]:
        self.ledger.now = event.at
        if isinstance(event, Requested):
            self.connections[event.client] = self._places.begin(event)
        elif isinstance(event, ClientEvent):
            connection = self.connections[event.client]
            for fault in self._of_client(connection, event):
                yield f"{fault} (client {event.client} at {event.at:.3f})"
        else:
            self.ledger.take(event)
            self.aftermath.take(event, self.ledger, self.connections.values())
            if isinstance(event, Asked):
                yield from self._asked(event)

    def _asked(self, event: Asked) -> Iterator[str]:
        if self._places.is_given(event.position):
            yield f"I8 {event.position} was sent upstream"
        source = self.ledger.sources[event.source]
        asking = [each for each in self.connections.values() if each.requested.request == event.request]
        if not source.stream.is_answer:
            for each in asking if source.emptied == event.at else ():
                if each.head < NEVER:
                    continue
                each.is_known, each.place = False, Place(None, ())  # it begins anew
            return
        if sum(call.asked.request == event.request for call in self.ledger.calls.values()) > 1:
            yield f"I8 request {event.request} was sent upstream twice"
        for each in asking:
            is_due = self._is_newest(each, besides=source)
            if each.is_known and is_due and not each.place.is_end and self._is_resumable(each.place):
                yield f"I8 request {event.request} has a known position, and was sent upstream"
            each.is_known, each.place = False, Place(None, ())

    def _is_newest(self, connection: Connection, *, besides: Source | None = None) -> bool:
        """An own id is looked for in the newest answer only; one may have come since the request did."""
        requested = connection.requested
        newest = self.ledger.newest(requested.key, requested.login, besides=besides)
        return self._places.is_given(requested.position) or connection.place.source is newest

    def _is_resumable(self, place: Place) -> bool:
        source = place.source
        if source is None or place.gaps or place.at <= source.emptied:
            return False
        return self.ledger.is_resumable(source, max(place.has))

    def _of_client(self, connection: Connection, event: ClientEvent) -> Iterator[str]:
        if connection.end < NEVER and not isinstance(event, Resumed):
            yield f"I6 {type(event).__name__} behind the end"
        match event:
            case Head():
                yield from self._head(connection, event)
            case Got():
                yield from self._got(connection, event)
            case Gap():
                yield from self._gap(connection, event)
            case Given() | Failed():
                connection.has_failed |= isinstance(event, Failed)
                yield from self._give(connection, event.position, is_end=isinstance(event, Failed))
            case Paused():
                connection.pauses.append([event.at, NEVER])
            case Resumed() if connection.pauses:
                connection.pauses[-1][1] = event.at
            case Left():
                connection.end, connection.has_left = event.at, True
            case Ended():
                connection.end = event.at
                yield from self._ended(connection, event)

    def _head(self, connection: Connection, event: Head) -> Iterator[str]:
        place = connection.place
        if event.status == 200:
            connection.head = event.at
            source = self.ledger.sources.get(event.source) or self._places.source_of(connection.requested)
            is_elsewhere = source is not place.source and not self._places.is_given(connection.requested.position)
            # What an own id stands for may have been trimmed since the request was sent.
            if source is not None and (
                place.source is None or is_elsewhere or connection.requested.position in source.own
            ):
                connection.is_known = connection.is_known and not is_elsewhere
                self._places.resolve(connection, source)
        elif place.source is not None and not place.is_end:
            if event.status == 204:
                lacking = missing(place, place.source, max(place.source.first, default=0) + 1)
                is_over = place.source.over < NEVER and not lacking
                # A feed that was over may have begun anew.
                if not is_over and (place.source.stream.is_answer or place.source.last_over < 0):
                    yield f"I1 204 at {connection.stands}, behind which there is more"
            elif self._is_resumable(place) and self._is_newest(connection):
                yield f"I3 {event.status} at {connection.stands}, which must be kept"

    def _got(self, connection: Connection, event: Got) -> Iterator[str]:
        source, n = self.ledger.sources.get(event.source), event.n
        sent = None if source is None else source.seen.get(n)
        if source is None or sent is None or n not in source.first or not event.is_intact:
            yield f"I2 {event.source} {n} was not sent, or not so"
            return
        if source.stream.owner not in ("", connection.requested.login):
            yield f"I9 {event.source} {n} belongs to {source.stream.owner}"
        if source.stopped < sent.at:
            yield f"I7 {event.source} {n} was sent when it had been stopped"
        is_other = sent.id is not None and sent.id != event.position
        if (
            is_other
            or sent.type != event.type
            or (event.position in source.own and min(source.own[event.position]) > n)
        ):
            yield f"I12 {event.source} {n} has the type {event.type} and the id {event.position}"
        place = connection.place
        if place.source is not source:
            if connection.is_known or connection.got:
                yield f"I1 {event.source} {n} on a stream of {place.source and place.source.stream.source}"
            place = self._places.start(connection, source)
        yield from self._step(connection, place, source, n)
        connection.place = Place(source, (n,))
        connection.got.setdefault(n, event.at)
        self.aftermath.note(event.position, source, n)
        yield from self._give(connection, event.position)

    def _step(self, connection: Connection, place: Place, source: Source, n: int) -> Iterator[str]:
        """From a place to the next event."""
        requested = connection.requested
        is_asking = any(call.asked.request == requested.request for call in source.calls)
        is_named = requested.position not in ("", "oldest")
        if source.stream.is_answer:
            # One with an id of another answer may join: it gets events that it has, rather than none.
            is_named = OURS.fullmatch(requested.position) is not None
        is_unknown = is_named and not (connection.is_known or is_asking or requested.position in source.own)
        if is_unknown and not connection.got and not place.gaps:
            yield f"I1 {requested.position} is unknown, and nothing was said of it"
        # What its upstream sends again can only be known again by its own id, and while that is kept.
        may_repeat = n in source.again and (source.seen[n].id is None or not self.ledger.must_keep(source, n))
        if n - 1 not in place.has and n <= max(place.has) and not may_repeat:
            yield f"I1 got {n} of {source.stream.source} after {max(place.has)}"
        yield from gap_faults(place, source, n, self.ledger)

    def _gap(self, connection: Connection, event: Gap) -> Iterator[str]:
        place, source = connection.place, connection.place.source
        if source is None:
            yield f"I1 gap on a stream of which nothing was sent: {event.reason}"
            return
        has_stood = self._places.is_given(connection.stands)
        if event.origin == event.position or (has_stood and not source.own and event.origin != connection.stands):
            yield f"I1 gap from {event.origin} to {event.position}, where the client stands at {connection.stands}"
        if any((gap.origin, gap.position) == (event.origin, event.position) for gap in place.gaps):
            yield f"I1 gap from {event.origin} twice"
        if event.reason == "unknown":
            if (
                connection.got
                or not connection.requested.position
                or (connection.is_known and self._is_resumable(place))
            ):
                yield f"I3 {connection.requested.position} is said to be unknown"
            place = Place(source, range(self.ledger.first_kept(source)))
        connection.place = replace(place, gaps=(*place.gaps, event))
        yield from self._give(connection, event.position)

    def _give(self, connection: Connection, position: str, *, is_end: bool = False) -> Iterator[str]:
        connection.stands = position or connection.stands
        yield from self._places.give(position, replace(connection.place, is_end=is_end, at=self.ledger.now))

    def _ended(self, connection: Connection, event: Ended) -> Iterator[str]:
        place, source = connection.place, connection.place.source
        if event.is_clean and event.has_rest:
            yield "I2 half an event before a clean end"
        if source is None or connection.head == NEVER:
            return
        had_pause = self.aftermath.is_stalled(connection, event.at)
        lacking = missing(place, source, max(source.first, default=0) + 1)
        if place.gaps:
            lacking = [n for n in lacking if self.ledger.must_keep(source, n)]
        # The beginning may be gone when a client that takes no gap event begins to read.
        came = source.first.get(lacking[0]) if lacking and not event.is_clean else None
        is_cut = came is not None and came.at <= connection.head and not self.ledger.must_keep(source, lacking[0])
        if is_cut or self.ledger.is_fault_at(event.at):
            return
        self.aftermath.ended(connection, source, event)
        if source.stream.is_answer and lacking and (event.is_clean or not had_pause):
            yield f"I1 {source.stream.source} ended before {lacking[0]}"
