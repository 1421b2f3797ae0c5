"""Did each client of real processes get what was sent: once, in order, whole, or a gap event in place of it?

The checker of the simulation is exact, since there an event has arrived once it is sent. Between processes it may be on
its way, and be lost there. So this one keeps, for each client, the range of places where it may stand, and judges times
with an allowance, and not while a fault lasts. Everything else it judges always.

Rules (each fault begins with the one it breaks):
 I1  What a client gets are events of one source, each the next one. What is missing is covered by a gap event that
     begins where the client stands, and had to be missing. `lost` is right or null.
 I2  What comes was sent before, and is whole.
 I3  A position that was handed out can be resumed, also behind a restart, and what is to be kept is.
 I4  One connection to the upstream of a feed at a time; tokens grow.
 I5  A position stands for one place, and the numbers in positions of a run grow by one with each event.
 I6  A clean end comes behind the last event only, to all who are there; nothing comes behind an end, and no end without
     a reason.
 I7  What is stopped is closed soon.
 I8  A question is sent upstream once, and no position of sseproxy ever.
 I9  Events reach the login that they belong to, no other.
 I11 What is sent arrives soon.
 I12 Type and own id are those that were sent.

I10, memory, is judged by the soak itself.
"""

from collections.abc import Iterable, Iterator

from tests.sim.history import (
    Aborted,
    Asked,
    ClientEvent,
    Emitted,
    Ended,
    Event,
    Failed,
    Fault,
    Finished,
    Gap,
    Given,
    Got,
    Head,
    Left,
    Opened,
    Paused,
    Requested,
    Resumed,
    Stopped,
    Stream,
)
from tests.sim.places import OURS
from tests.soak.ledger import NEVER, Allowance, Client, Place, Source
from tests.soak.wire import kind


def check(history: Iterable[Event], allowance: Allowance | None = None) -> list[str]:
    """Return what is wrong, in words; empty: nothing is. The history is in the order of time."""
    checker = Checker(allowance or Allowance())
    return [f"{fault} (at {event.at:.3f})" for event in history for fault in checker.take(event)]


class Checker:
    """Takes the events of a history in the order of time."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._sources: dict[str, Source] = {}
        self._calls: dict[int, Source] = {}
        self._clients: dict[int, Client] = {}
        self._given: dict[str, Place] = {}
        self._newest: dict[tuple[str, str], Source] = {}
        self._early: dict[str, float] = {}  # stops of what had not yet been asked for: they may be in time
        self._faults: list[Fault] = []

    def take(self, event: Event) -> Iterator[str]:
        """Yield what is wrong with the next event."""
        if isinstance(event, Got):  # the most frequent
            yield from self._client(event)
        elif isinstance(event, Emitted):
            yield from self._emitted(event)
        elif isinstance(event, Requested):
            self._clients[event.client] = self._requested(event)
        elif isinstance(event, ClientEvent):
            yield from self._client(event)
        else:
            yield from self._upstream(event)

    # What upstreams did.

    def _upstream(self, event: Event) -> Iterator[str]:  # noqa: C901 - a table
        match event:
            case Stream():
                # One that is asked for twice is judged when that is.
                source = self._sources.setdefault(event.source, Source(event))
                source.replaced = self._early.get(event.source, source.replaced)
                replaced = self._newest.get((event.key, event.owner))
                if event.key and event.owner and replaced is not source and replaced is not None:
                    replaced.replaced = event.at
                self._newest[event.key, event.owner] = source
            case Asked():
                yield from self._asked(event)
            case Opened():
                self._calls[event.call].opened.append(event.at)
            case Finished() | Aborted():
                source = self._calls[event.call]
                source.open.pop(event.call, None)
                if source.stream.is_answer:
                    source.over, source.is_clean = event.at, isinstance(event, Finished) and event.is_clean
            case Stopped(status=204):
                stopped = self._sources.get(event.source)
                if stopped is None:
                    self._early[event.source] = event.at
                elif stopped.stream.owner == event.login and stopped.asked < event.at:
                    stopped.stopped = event.at
            case Stopped() if event.status != 204 and not self._is_fault(event.at, event.at + self._allowance.latency):
                yield f"I7 a stop is answered with {event.status}"
            case Fault():
                self._faults.append(event)

    def _asked(self, event: Asked) -> Iterator[str]:
        source = self._calls[event.call] = self._sources[event.source]
        source.calls += 1
        source.asked = min(source.asked, event.at)
        if event.position in self._given and not source.is_named:
            yield f"I8 {event.position} was sent upstream"
        if source.stream.is_answer and source.calls > 1:
            yield f"I8 {event.source} was asked for {source.calls} times"
        source.open[event.call] = event.at

    def _emitted(self, event: Emitted) -> Iterator[str]:
        source = self._sources[event.source]
        if event.n not in source.sent:
            source.sent[event.n] = event.at
            if not source.numbers or event.n > source.numbers[-1]:
                source.numbers.append(event.n)
                source.times.append(event.at)
        if event.call and not source.first:
            source.first = event.n
        limit = source.stopped + self._allowance.stop
        if event.at > limit and not self._is_fault(source.asked, event.at):
            yield f"I7 {event.source} {event.n} is sent, and it was stopped at {source.stopped:.3f}"
        if len(source.open) > 1:
            # One that a fault has made half open, its upstream sees open for ever.
            well = max((fault.done for fault in self._faults), default=0.0)
            both = sorted(at for at in source.open.values() if at > well)[:2]
            if len(both) > 1 and event.at > both[1] + self._allowance.stop:
                source.open.clear()
                yield f"I4 {event.source} is open twice since {both[1]:.3f}"

    # What clients got.

    def _requested(self, event: Requested) -> Client:
        source = self._sources.get(event.source or event.key.partition("?")[0].rpartition("/")[2])
        position, place = event.position, None
        if position.isdecimal() and source is not None and source.is_named:
            place = Place(source, int(position), int(position)) if int(position) in source.sent else None
        elif position:
            place = self._given.get(position)
        if place is not None:
            return Client(event, Place(place.source, place.low, place.high, place.is_end), position, is_known=True)
        if source is not None and not source.stream.is_answer:
            return Client(event, Place(source, 0, NEVER), position, is_known=False)
        return Client(event, Place(source, 0, 0), position, is_known=False)

    def _client(self, event: ClientEvent) -> Iterator[str]:
        client = self._clients[event.client]
        for fault in self._of_client(client, event):
            yield f"{fault}; client {event.client}: {client.requested.key}"

    def _of_client(self, client: Client, event: ClientEvent) -> Iterator[str]:  # noqa: C901 - a table
        if client.is_over and not isinstance(event, Resumed):
            yield f"I6 {type(event).__name__} behind the end"
        match event:
            case Got():
                yield from self._got(client, event)
            case Head():
                client.head, client.status = event.at, event.status
                yield from self._head(client, event)
            case Gap():
                yield from self._gap(client, event)
            case Given():
                place = client.place
                if not client.count and not client.is_known and place.source and not place.source.stream.is_answer:
                    place.high = min(place.high, place.source.newest(event.at))
                yield from self._give(client, event.position)
            case Failed():
                client.has_failed = True
                if event.position:
                    self._given[event.position] = Place(client.place.source, client.place.low, client.place.high, True)
            case Paused():
                client.paused = event.at
            case Resumed():
                client.has_stalled |= event.at - client.paused >= self._allowance.stall
                client.paused, client.resumed = NEVER, event.at
            case Ended() | Left():
                client.has_stalled |= event.at - client.paused >= self._allowance.stall
                client.is_over = True
                yield from self._late_end(client, event)
                if isinstance(event, Ended) and client.status == 200:
                    yield from self._ended(client, event)

    def _head(self, client: Client, event: Head) -> Iterator[str]:
        place, requested = client.place, client.requested
        source = place.source
        if event.status == 200:
            return
        if requested.key.endswith("/stream"):
            yield from self._nothing(requested, event)
        elif source is not None and not source.stream.is_answer:
            if not self._is_fault(requested.at, event.at):
                yield f"I3 {event.status} for {source.stream.source}"
        elif source is not None and client.is_known:
            lacks = place.low == place.high and source.newest(event.at) > place.high and not place.is_end
            if lacks and source.is_clean and not self._is_fault(source.over, event.at):
                yield f"I3 {event.status} at {requested.position}, behind which there is more"
            elif source.over == source.stopped == NEVER and not self._is_fault(source.asked, event.at):
                yield f"I3 {event.status} at {requested.position} of an answer that is under way"

    def _nothing(self, requested: Requested, event: Head) -> Iterator[str]:
        """A page has asked for the answer of a conversation, and hears that none is under way."""
        newest = self._newest.get((requested.key.split("/")[-2], requested.login))
        if newest is None or not newest.opened or min(newest.over, newest.stopped) < NEVER:
            return
        since = newest.opened[0]
        if since + self._allowance.latency < requested.at and not self._is_fault(since, event.at):
            yield f"I3 {event.status}, and {newest.stream.source} is under way"

    def _got(self, client: Client, event: Got) -> Iterator[str]:
        source, n, place = self._sources.get(event.source), event.n, client.place
        if source is None or n not in source.sent or not event.is_intact:
            yield f"I2 {event.source} {n} was not sent, or not so"
            return
        yield from self._is_what_was_sent(client, source, event)
        if place.source is not source:
            if place.source is not None and client.requested.position != "oldest":
                yield f"I1 {event.source} {n} on a stream of {place.source.stream.source}"
            client.place = place = Place(source, 0, 0 if source.stream.is_answer else NEVER)
        if n <= place.low:
            yield f"I1 {event.source} {n} comes again behind {place.low:.0f}"
        elif n > max(place.high + 1, source.first) and not client.gaps:
            yield f"I1 {place.high + 1:.0f} to {n - 1} of {event.source} are lost in silence"
        if not client.count or client.gaps:
            yield from self._begun(client, source, event)
        else:
            yield from self._late(client, source, event)
        if not source.is_named and event.position:
            yield from self._step(client, event, is_next=n == place.low + 1 and not client.gaps)
        if not client.count and client.stands in self._given and not client.gaps and not source.is_named:
            # Now it is clear what the position stood for that came before the first event.
            known = self._given[client.stands]
            known.low = known.high = n - 1
        place.low = place.high = n
        source.arrived.setdefault(n, event.at)
        client.count += 1
        client.gaps.clear()
        yield from self._give(client, event.position)

    def _is_what_was_sent(self, client: Client, source: Source, event: Got) -> Iterator[str]:
        if source.stream.owner not in ("", client.requested.login):
            yield f"I9 {event.source} {event.n} belongs to {source.stream.owner}"
        if event.type != kind(event.n) or (source.is_named and event.position != str(event.n)):
            yield f"I12 {event.source} {event.n} has the type {event.type} and the id {event.position}"

    def _begun(self, client: Client, source: Source, event: Got) -> Iterator[str]:
        """Judge where a client begins, and what gap events said of what is missing."""
        n, place = event.n, client.place
        if not source.stream.is_answer and not client.gaps and client.requested.position == "oldest":
            if n > self._kept_from(source, event.at):
                yield f"I3 {event.source} begins with {n}, and {source.oldest(event.at)} must be kept"
        elif not client.gaps and not client.is_known and not source.stream.is_answer:
            since = client.requested.at - self._allowance.latency
            if client.requested.position not in ("", "oldest") and not source.is_named:
                yield f"I1 {client.requested.position} is unknown, and nothing was said of it"
            elif n <= source.newest(since) and not source.is_named and not self._is_fault(since, event.at):
                yield f"I1 {event.source} {n} is older than the request"
        reasons = {gap.reason for gap in client.gaps}
        at = client.gaps[-1].at if client.gaps else event.at
        if reasons & {"trimmed", "unknown"} and n > self._kept_from(source, at):
            yield f"I3 a gap up to {n} of {event.source}, and {source.oldest(at)} must be kept"
        if reasons == {"trimmed"} and n == place.low + 1 == place.high + 1:
            yield f"I1 a gap before {n} of {event.source}, where nothing is missing"
        lost = [gap.lost for gap in client.gaps]
        if (
            lost
            and None not in lost
            and place.low == place.high
            and sum(map(int, filter(None, lost))) != n - place.low - 1
        ):
            yield f"I1 {lost} said to be lost between {place.low:.0f} and {n} of {event.source}"

    def _kept_from(self, source: Source, at: float) -> float:
        """Return the number from which all must be kept at `at`. What was sent in a fault may not have arrived."""
        oldest = source.oldest(at)
        sent = source.sent.get(oldest, 0.0)
        # What has arrived in one piece is dropped in one piece; where a process was held up, that is all until then.
        arrived = source.arrived.get(oldest, sent)
        return NEVER if self._is_fault(sent, at) else max(oldest, source.newest(arrived + self._allowance.piece))

    def _late(self, client: Client, source: Source, event: Got) -> Iterator[str]:
        """I11."""
        since = max(source.sent[event.n], client.head, client.resumed)
        if (
            event.at - since > self._allowance.latency
            and not client.has_stalled
            and not self._is_fault(since, event.at)
        ):
            yield f"I11 {event.source} {event.n} took {event.at - since:.1f} s"

    def _step(self, client: Client, event: Got, *, is_next: bool) -> Iterator[str]:
        """I4 and I5: numbers of positions."""
        found = OURS.fullmatch(event.position)
        if found is None:
            yield f"I5 {event.position} is no position"
            return
        run, token, seq = found[1], int(found[2]), int(found[3])
        if client.seq is not None and client.seq[0] == run:
            _, before, number = client.seq
            if token < before or seq <= number or (is_next and token == before and seq != number + 1):
                yield f"I5 from {before}-{number} to {token}-{seq} of {event.source}, with event {event.n}"
        client.seq = run, token, seq

    def _give(self, client: Client, position: str) -> Iterator[str]:
        client.stands = position or client.stands
        place = client.place
        if not position or place.source is None or place.source.is_named:
            return
        known = self._given.get(position)
        if known is None:
            self._given[position] = Place(place.source, place.low, place.high)
        elif known.source is not place.source or known.low > place.high or known.high < place.low:
            yield f"I5 {position} stands for {known.low}-{known.high} and {place.low}-{place.high}"

    def _gap(self, client: Client, event: Gap) -> Iterator[str]:
        source = client.place.source
        if source is None or source.stream.is_answer:
            yield f"I1 a gap in an answer: {event.reason}"
            return
        if client.stands not in ("", "oldest", event.origin) and not source.is_named:
            yield f"I1 a gap from {event.origin}, where the client stands at {client.stands}"
        requested = client.requested.position
        # An own id is dropped together with its event.
        is_kept = client.is_known and not (source.is_named and client.place.high < self._kept_from(source, event.at))
        if event.reason == "unknown" and (is_kept or client.count or not requested):
            yield f"I3 {client.requested.position} is said to be unknown"
        if event.reason == "upstream" and source.is_named:
            yield f"I1 {source.stream.source} goes on where it was, and a gap is told at {client.stands}"
        client.gaps.append(event)
        client.stands = event.position or client.stands
        self._given.setdefault(event.position, Place(source, client.place.low, NEVER))

    # How it ends.

    def _ended(self, client: Client, event: Ended) -> Iterator[str]:
        source, latency = client.place.source, self._allowance.latency
        if event.is_clean and event.has_rest:
            yield "I2 half an event before a clean end"
        since = event.at - latency
        if source is not None and source.stream.is_answer:
            since = min(source.asked, since)
        if source is None or self._is_fault(since, event.at) or client.has_stalled:
            # What ends an answer for good is judged, whatever happens.
            if source is not None and event.is_clean and source.is_clean and source.replaced == NEVER == source.stopped:
                yield from self._lacking(client, source, event)
            return
        if not source.stream.is_answer:
            yield f"I6 {source.stream.source} ends, clean: {event.is_clean}"
        elif source.over > event.at + latency and source.stopped == NEVER and source.replaced == NEVER:
            yield f"I6 {source.stream.source} ends before its end"
        elif not event.is_clean and source.is_clean and source.stopped == NEVER:
            yield f"I6 {source.stream.source} ends badly, and it did not"
        elif event.is_clean and source.stopped == NEVER and source.replaced == NEVER and not client.has_failed:
            yield from self._lacking(client, source, event)

    def _lacking(self, client: Client, source: Source, event: Ended) -> Iterator[str]:
        last = source.newest(event.at)
        if client.place.high < last and not client.has_failed and source.stream.is_answer:
            yield f"I1 {source.stream.source} ended behind {client.place.high:.0f}, before {last}"

    def _late_end(self, client: Client, event: Ended | Left) -> Iterator[str]:
        """I6, I11: a client that is there has the end, and all but the newest events."""
        source, latency = client.place.source, self._allowance.latency
        if source is None or client.status != 200 or client.has_stalled or client.paused < NEVER:
            return
        since = max(min(source.over, source.stopped), client.head, client.resumed)
        if since < NEVER and event.at - since > latency and not self._is_fault(since - latency, event.at):
            yield f"I6 {source.stream.source} was over at {since:.3f}, and its client did not hear of it"
        at = event.at - latency
        lacks = source.newest(at) > client.place.high and source.over == NEVER
        is_there = max(client.head, client.resumed) < at
        if lacks and is_there and not client.gaps and not self._is_fault(at - latency, event.at):
            yield f"I11 {source.stream.source} {source.newest(at)} has not come"

    def _is_fault(self, since: float, until: float) -> bool:
        return any(fault.at <= until and since <= fault.done for fault in self._faults)
