"""Whatever the stream, the cuts and the moments of the heartbeats: does a compliant client see the same?

The properties are plain functions of one `Case`, so that test_the_suite_bites.py can ask whether they notice anything.
"""

from dataclasses import replace
from enum import Enum

from hypothesis import given, settings
from hypothesis import strategies as st

from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.heartbeat import HeartbeatForm
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import CloseReason
from tests.support.trips import BOM, LAST_RESPONSE_DATA, Case, Trip, TripWithoutRules, cases, is_between_events
from tests.support.whatwg import Event, parse

#: What the heartbeats of the forms that a page can see look like to it.
_VISIBLE = {
    HeartbeatForm.EVENT: ("heartbeat", "{}"),
    HeartbeatForm.ANTHROPIC: ("ping", '{"type": "ping"}'),
    HeartbeatForm.OPENAI_RESPONSES: ("keepalive", '{"type":"keepalive"}'),
}
#: Marks of services stand nowhere in the streams, so that no end is taken for theirs.
DIALECTS = [dialect for dialect in Dialect if dialect is not Dialect.AUTO]
_EMPTY_DELTA = '"choices":[{"index":0,"delta":{},"finish_reason":null}]}'


def is_heartbeat(event: Event, form: HeartbeatForm) -> bool:
    if form is HeartbeatForm.OPENAI_CHAT:
        return event.type == "message" and event.data.endswith(_EMPTY_DELTA)
    return event[:2] == _VISIBLE.get(form)


def the_client_sees_the_same(case: Case, trip_type: type[Trip] = TripWithoutRules) -> None:
    """The same events with the same ids, types and data in the same order, and the same reconnection times."""
    trip = trip_type(case)
    trip.run()
    seen, meant = parse(bytes(trip.wire)), parse(case.stream)
    heartbeats = [event for event in seen.events if is_heartbeat(event, case.form)]
    assert [event for event in seen.events if not is_heartbeat(event, case.form)] == meant.events
    assert (seen.retries, seen.last_event_id) == (meant.retries, meant.last_event_id)
    assert len(heartbeats) == sum(each.data.startswith((b"event:", b"data:")) for each in trip.insertions)
    assert trip.session.stats.events == len(meant.events)


def the_rules_hold(case: Case) -> None:
    """At each step, as `Trip` states them; and in bytes when all is over: only what was dropped is gone."""
    trip = Trip(case)
    trip.run()
    assert trip.left == len(case.stream)
    assert restored(trip) == without(case.stream, trip.dropped)
    stats = trip.session.stats
    assert (stats.bytes_in, stats.bytes_out) == (len(case.stream), len(trip.wire))
    assert (stats.heartbeats, stats.heartbeats_skipped) == (len(trip.insertions), trip.skipped)
    assert (trip.session.close_reason, trip.session.clean) == (CloseReason.UPSTREAM_END, True)


def without(stream: bytes, places: list[int]) -> bytes:
    return bytes(byte for at, byte in enumerate(stream) if at not in places)


def restored(trip: Trip) -> bytes:
    """The wire without exactly what was inserted, found from the back by its place."""
    wire, gone = bytes(trip.wire), 0
    for insertion in trip.insertions:
        at = insertion.at - sum(place < insertion.at for place in trip.dropped)
        assert wire[at : at + len(insertion.data)] == insertion.data
        wire, gone = wire[:at] + wire[at + len(insertion.data) :], gone + len(insertion.data)
    assert gone == len(trip.wire) - len(wire)
    return wire


def nothing_changes_without_heartbeats(case: Case) -> None:
    """Each piece leaves as it came and when it came; but part of a BOM waits for the rest of it."""
    trip = _TripWithoutHeartbeats(replace(case, interval=None, prelude=False, early=None))
    trip.run()
    assert bytes(trip.wire) == case.stream
    assert trip.session.stats.events == len(parse(case.stream).events)


def a_prelude_alone_changes_no_event(case: Case) -> None:
    """With heartbeats off only the prelude, or the promise, is in front of the stream."""
    trip = TripWithoutRules(replace(case, interval=None, prelude=True))
    trip.run()
    assert bytes(trip.wire) == trip.insertions[0].data + case.stream.removeprefix(BOM)
    seen = [event for event in parse(bytes(trip.wire)).events if not is_heartbeat(event, case.form)]
    assert seen == parse(case.stream).events


class _TripWithoutHeartbeats(Trip):
    def _check_held(self) -> None:
        assert self.received[self.left :] in (b"", BOM[:1], BOM[:2])
        assert self.left or len(self.received) < len(BOM)


class End(Enum):
    """How a stream ends before its time."""

    UPSTREAM_ERROR = "the upstream breaks"
    CLIENT_GONE = "the client leaves"
    IDLE = "the upstream is silent for too long"
    MAX_DURATION = "the stream is too old"
    DRAIN = "the proxy shuts down"
    DRAIN_WITH_RETRY = "the proxy shuts down, and the client comes back by itself"


class _EndingTrip(TripWithoutRules):
    """Ends at the piece with the number `moment`."""

    def __init__(self, case: Case, end: End, moment: int) -> None:
        super().__init__(case)
        self.end = end
        self.moment = moment

    def receive(self, piece: bytes) -> None:
        super().receive(piece)
        assert self.session.clean or self.session.close_reason is not CloseReason.DRAIN, "it was at no boundary"
        self.moment -= 1
        if self.moment == 0 and self.session.close_reason is None:
            self._end()

    def _end(self) -> None:
        session = self.session
        match self.end:
            case End.UPSTREAM_ERROR:
                session.receive_error(CloseReason.UPSTREAM_ERROR, now=self.now)
                if said := session.data_to_send():
                    self._insert(said)
            case End.CLIENT_GONE:
                session.receive_error(CloseReason.CLIENT_GONE, now=self.now)
            case End.IDLE:
                self.blocked = False
                session.resume_writing(now=self.now)
                self.sleep(6)
            case End.DRAIN:
                session.drain(at=None, deadline=self.now + 6)
            case End.DRAIN_WITH_RETRY:
                session.drain(at=self.now, deadline=self.now + 6, retry=4711)


def an_end_cuts_no_event(case: Case, end: End, moment: int) -> None:
    """At whatever moment a stream ends, the client has seen the events that had left, whole, and no others."""
    timeouts = TimeoutPolicy(
        idle=5.0 if end is End.IDLE else None, write=None, max_duration=moment if end is End.MAX_DURATION else None
    )
    trip = _EndingTrip(replace(case, timeouts=timeouts, comes_back=end is End.DRAIN_WITH_RETRY), end, moment)
    trip.run()
    session = trip.session
    gone = trip.received[: trip.left]
    seen, meant = parse(bytes(trip.wire)), parse(gone)
    events = [event for event in seen.events if not is_heartbeat(event, case.form)]
    told = events[len(meant.events) :]
    assert events[: len(meant.events)] == meant.events
    assert len(told) <= (session.close_reason not in (CloseReason.CLIENT_GONE, CloseReason.UPSTREAM_END)), told
    assert not told or not session.clean
    assert [retry for retry in seen.retries if retry != 4711] == meant.retries
    _check_end(case, trip, end)


def _check_end(case: Case, trip: Trip, end: End) -> None:
    session = trip.session
    if session.close_reason in (CloseReason.DRAIN, CloseReason.MAX_DURATION) and session.clean:
        assert is_between_events(trip.received[: trip.left])
    if session.close_reason is CloseReason.UPSTREAM_END and end is not End.UPSTREAM_ERROR:  # behind a last event
        events = parse(trip.received[: trip.left]).events
        assert trip.left == len(case.stream) or (
            case.dialect is Dialect.OPENAI_RESPONSES and events[-1].data.startswith(LAST_RESPONSE_DATA)
        )
    if session.close_reason is CloseReason.UPSTREAM_ERROR and not trip.blocked:
        assert len(trip.received[trip.left :].splitlines()) <= 1, "a whole line was lost"
    before = len(trip.wire)
    session.receive_data(b"data: late\n\n", now=trip.now)
    session.handle_timeout(now=trip.now + 1000)
    session.receive_eof(now=trip.now + 1000)
    assert (session.data_to_send(), session.next_deadline(), len(trip.wire)) == (b"", None, before)


def _examples(count: int) -> settings:
    """`count` examples, always the same; more, and new ones, with --hypothesis-profile=explore."""
    profile = settings()
    more = max(count, profile.max_examples)
    return settings(max_examples=more, derandomize=profile.derandomize, deadline=None, database=None)


@_examples(4000)
@given(cases)
def test_nobody_misreads_a_heartbeat(case: Case) -> None:
    the_client_sees_the_same(case)


@_examples(4000)
@given(cases)
def test_every_rule_holds_at_every_step(case: Case) -> None:
    the_rules_hold(case)


@_examples(800)
@given(cases)
def test_nothing_changes_without_heartbeats(case: Case) -> None:
    nothing_changes_without_heartbeats(case)


@_examples(700)
@given(cases)
def test_a_prelude_alone_changes_no_event(case: Case) -> None:
    a_prelude_alone_changes_no_event(case)


@_examples(2500)
@given(
    case=st.builds(replace, cases, dialect=st.sampled_from(DIALECTS), interval=st.sampled_from([1.0, 1.0, None])),
    end=st.sampled_from(End),
    moment=st.integers(1, 12),
)
def test_an_end_cuts_no_event(case: Case, end: End, moment: int) -> None:
    an_end_cuts_no_event(case, end, moment)
