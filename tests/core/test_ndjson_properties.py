"""Whatever the records, the cuts and the moments of the heartbeats: does every reader get the same?

The properties are plain functions of one `RecordCase`, so that test_the_suite_bites.py can ask whether they notice
anything.
"""

import json
from dataclasses import replace
from enum import Enum

from hypothesis import given, settings
from hypothesis import strategies as st

from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.heartbeat import WhiteSpace
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import CloseReason
from tests.support.record_trips import (
    RecordCase,
    RecordTrip,
    any_streams,
    by_line,
    in_a_row,
    last_word,
    lines_with_text,
    record_cases,
    record_streams,
    strictly_by_line,
    told_streams,
)
from tests.support.trips import BOM


def readers_get_the_same(case: RecordCase) -> None:
    """The same records, by line and in a row. For streams of records alone."""
    trip = RecordTrip(case)
    trip.run()
    body, stream = bytes(trip.wire), case.stream
    assert by_line(body) == by_line(stream)
    assert in_a_row(body) == in_a_row(stream)
    assert trip.session.stats.events == len(by_line(stream))


def a_strict_reader_gets_the_same(case: RecordCase) -> None:
    """One that parses each line, of a service whose last record is known, with the heartbeats of ``auto``."""
    case = replace(case, white_space=WhiteSpace.AUTO, dialect=Dialect.OLLAMA, stream=without_blank_lines(case.stream))
    trip = RecordTrip(case)
    trip.run()
    assert strictly_by_line(bytes(trip.wire)) == strictly_by_line(case.stream)


def without_blank_lines(stream: bytes) -> bytes:
    return b"".join(line + b"\n" for line in stream.split(b"\n") if line.strip())


def the_rules_hold(case: RecordCase) -> None:
    """At each step, as `RecordTrip` states them; and in bytes when all is over."""
    trip = RecordTrip(case)
    trip.run()
    session = trip.session
    assert (session.close_reason, session.clean) == (CloseReason.UPSTREAM_END, True)
    assert trip.dropped + restored(trip) == trip.gone
    stats, is_whole = session.stats, trip.left == len(case.stream)
    assert is_whole or last_word(trip.gone) == "done"
    assert (stats.bytes_in, stats.bytes_out) == (len(trip.received), len(trip.wire))
    assert (stats.heartbeats, stats.heartbeats_skipped) == (len(trip.insertions), trip.skipped)
    assert stats.events == len(lines_with_text(trip.gone.removeprefix(BOM) + b"\n"))


def restored(trip: RecordTrip) -> bytes:
    """The wire without exactly what was inserted, found by its place."""
    wire = bytes(trip.wire)
    for insertion in trip.insertions:
        at = max(insertion.at - len(trip.dropped), 0)
        assert wire[at : at + 1] == insertion.data
        wire = wire[:at] + wire[at + 1 :]
    return wire


def nothing_changes_without_heartbeats(case: RecordCase) -> None:
    """Each piece leaves as it came and when it came, whatever else is off; but part of a BOM waits for its rest."""
    trip = RecordTrip(replace(case, white_space=WhiteSpace.OFF, early=None))
    trip.run()
    assert bytes(trip.wire) == trip.gone
    assert not trip.insertions


class End(Enum):
    """How a stream ends before its time."""

    UPSTREAM_ERROR = "the upstream breaks"
    CLIENT_GONE = "the client leaves"
    IDLE = "the upstream is silent for too long"
    MAX_DURATION = "the stream is too old"
    DRAIN = "the proxy shuts down"
    STOPPED = "its client asks for the end"
    KILLED = "an operator ends it"


class _EndingTrip(RecordTrip):
    """Ends at the piece with the number `moment`. said: what it has said at last."""

    def __init__(self, case: RecordCase, end: End, moment: int) -> None:
        self.end, self.moment, self.said = end, moment, b""
        super().__init__(case)

    def receive(self, piece: bytes) -> None:
        super().receive(piece)
        self.moment -= 1
        if self.moment == 0 and self.session.close_reason is None:
            self._end_it()

    def take(self, data: bytes) -> None:
        """Where the session has ended in a piece, it has passed on the record that was under way, and said the rest."""
        if self.session.close_reason is not None and self.session.close_reason is not CloseReason.UPSTREAM_END:
            record = len(self.received[self.left :].partition(b"\n")[0]) + 1
            data, self.said = data[:record], data[record:]
        super().take(data)

    def _end_it(self) -> None:
        session = self.session
        match self.end:
            case End.UPSTREAM_ERROR | End.CLIENT_GONE | End.KILLED:
                session.receive_error(CloseReason[self.end.name], now=self.now)
                self.said = session.data_to_send()
            case End.IDLE:
                self._block(False)
                self.sleep(6)
            case End.DRAIN:
                session.drain(at=None, deadline=self.now + 6)
            case End.STOPPED:
                session.stop(CloseReason.STOPPED, now=self.now)

    def _check_end(self) -> None:
        self.said = self.session.data_to_send()


def an_end_cuts_no_record(case: RecordCase, end: End, moment: int) -> None:
    """A clean end is the upstream's, or behind whole records that are the last or were not wanted any more."""
    timeouts = TimeoutPolicy(
        idle=4.0 if end is End.IDLE else None, write=None, max_duration=moment if end is End.MAX_DURATION else None
    )
    trip = _EndingTrip(replace(case, timeouts=timeouts), end, moment)
    trip.run()
    session, gone = trip.session, trip.gone
    reason, is_told = session.close_reason, last_word(gone) if case.dialect is Dialect.OLLAMA else None
    is_between = not gone or gone.endswith(b"\n")
    if trip.said:
        said = json.loads(trip.said)
        assert trip.said.endswith(b"\n")
        assert isinstance(said["error"], str)
        assert case.dialect is Dialect.OLLAMA
        assert is_between
        assert is_told is None
        assert not session.clean
    elif case.dialect is Dialect.OLLAMA and is_between and not session.clean:
        assert is_told == "error" or reason is CloseReason.CLIENT_GONE
    if session.clean:
        assert reason in (CloseReason.UPSTREAM_END, CloseReason.STOPPED)
        assert is_between or reason is CloseReason.UPSTREAM_END
        assert reason is CloseReason.STOPPED or trip.left == len(case.stream) or is_told == "done"
    assert trip.dropped + restored(trip) == gone
    before = len(trip.wire)
    session.receive_data(b'{"late": 1}\n', now=trip.now)
    session.handle_timeout(now=trip.now + 1000)
    session.receive_eof(now=trip.now + 1000)
    assert (session.data_to_send(), session.next_deadline(), len(trip.wire)) == (b"", None, before)


def _examples(count: int) -> settings:
    """`count` examples, always the same; more, and new ones, with --hypothesis-profile=explore."""
    profile = settings()
    more = max(count, profile.max_examples)
    return settings(max_examples=more, derandomize=profile.derandomize, deadline=None, database=None)


@_examples(1500)
@given(record_cases(st.one_of(record_streams, told_streams)).filter(lambda case: case.dialect is not Dialect.OLLAMA))
def test_readers_get_the_same(case: RecordCase) -> None:
    readers_get_the_same(case)


@_examples(1000)
@given(record_cases(told_streams))
def test_a_strict_reader_gets_the_same(case: RecordCase) -> None:
    a_strict_reader_gets_the_same(case)


@_examples(2500)
@given(record_cases(any_streams))
def test_every_rule_holds_at_every_step(case: RecordCase) -> None:
    the_rules_hold(case)


@_examples(500)
@given(record_cases(any_streams))
def test_nothing_changes_without_heartbeats(case: RecordCase) -> None:
    nothing_changes_without_heartbeats(case)


@_examples(1500)
@given(case=record_cases(any_streams), end=st.sampled_from(End), moment=st.integers(1, 12))
def test_an_end_cuts_no_record(case: RecordCase, end: End, moment: int) -> None:
    an_end_cuts_no_record(case, end, moment)


def test_the_cases_have_something_to_show() -> None:
    """A byte order mark that is dropped behind a heartbeat, and one that stays."""
    dropped = RecordTrip(RecordCase(BOM + b"1\n", (), early=0))
    dropped.run()
    kept = RecordTrip(RecordCase(BOM + b"1\n", ()))
    kept.run()
    assert (bytes(dropped.wire), bytes(kept.wire)) == (b" 1\n", BOM + b"1\n")
