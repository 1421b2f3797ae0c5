"""Would the property tests notice? Each rule is broken on purpose, and they must find it out."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sseproxy.core.http.json_members import MemberScanner
from sseproxy.core.stream import events as events_module
from sseproxy.core.stream import records as records_module
from sseproxy.core.stream import session as session_module
from sseproxy.core.stream.dialects import Finality
from sseproxy.core.stream.ends import End, row
from sseproxy.core.stream.error_events import StreamError
from sseproxy.core.stream.event_reader import EventReader
from sseproxy.core.stream.events import LF
from sseproxy.core.stream.heartbeat import HeartbeatWriter
from sseproxy.core.stream.lines import UpstreamLines
from sseproxy.core.stream.ndjson import NdjsonSession, RecordWords
from sseproxy.core.stream.records import RecordReader
from sseproxy.core.stream.scanner import Position, Scanner
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.transfer import CloseReason
from tests.core import test_ndjson_properties as records
from tests.core import test_properties as properties
from tests.support.record_trips import RecordCase, any_streams, record_cases, record_streams, told_streams
from tests.support.trips import Case, TripWithoutRules, cases

Property = Callable[[Case], None]

_BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
_BOUNDARIES = (b"\n\n", b"\r\r", b"\n\r", b"\r\r\n", b"\n\r\n")


@dataclass(frozen=True, slots=True)
class Break:
    """A rule and how to break it. patches: (class or module, name, what is there instead).

    seen_by_client: the events change, too; otherwise only the rule about bytes is hurt.
    """

    rule: str
    patches: tuple[tuple[Any, str, object], ...]
    seen_by_client: bool = True

    def apply(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for owner, name, instead in self.patches:
            assert hasattr(owner, name), f"{owner} has no {name} any more: this break breaks nothing"
            monkeypatch.setattr(owner, name, instead)


def _everywhere(self: Scanner) -> Position:
    return Position.EVENT_BOUNDARY


def _never_mid_line(self: Scanner) -> Position:
    return Position.EVENT_BOUNDARY if self.tail.endswith(_BOUNDARIES) else Position.LINE_BOUNDARY


def _last_two_bytes(self: Scanner) -> Position:
    if self.tail.endswith((b"\n\n", b"\r\r", b"\n\r")):
        return Position.EVENT_BOUNDARY
    return Position.LINE_BOUNDARY if self.tail.endswith((b"\n", b"\r")) else Position.MID_LINE


def _crlf_is_two_lines(self: Scanner) -> Position:
    if self.tail.endswith((*_BOUNDARIES, b"\r\n")):
        return Position.EVENT_BOUNDARY
    return Position.LINE_BOUNDARY if self.tail.endswith((b"\n", b"\r")) else Position.MID_LINE


def _hold_nothing(self: UpstreamLines, data: bytes, *, is_inside_line: bool = False) -> bytes:
    return data


def _hold_without_limit(self: UpstreamLines, data: bytes, *, is_inside_line: bool) -> bytes:
    end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
    lines = self.take() + data[:end] if end else b""
    if end < len(data):
        self.hold(data[end:])
    return lines


def _forget_held(self: StreamSession, *, now: float) -> None:
    super(StreamSession, self).receive_eof(now=now)


_note_inserted = UpstreamLines.note_inserted


def _keep_second_half(self: UpstreamLines, data: bytes, *, after_cr: bool) -> None:
    _note_inserted(self, data, after_cr=False)


def _drop_also_behind_our_cr(self: UpstreamLines, data: bytes, *, after_cr: bool) -> None:
    _note_inserted(self, data, after_cr=after_cr)
    self.drops_lf = after_cr and not self._pieces


def _keep_late_bom(self: UpstreamLines, data: bytes) -> tuple[bytes, bytes]:
    return b"", data


def _always_the_style(self: Scanner) -> bytes:
    return self._style or LF


def _observe_nothing(self: HeartbeatWriter, lines: bytes) -> None:
    """The heartbeats never learn about ids."""


_observe = HeartbeatWriter.observe


def _observe_pieces(self: HeartbeatWriter, lines: bytes) -> None:
    """A piece of a long line is taken for a line."""
    _observe(self, lines.removeprefix(b" "))


_count_lines = EventReader.feed


def _count_split_crlf_twice(self: EventReader, data: bytes, now: float) -> int:
    self._after_cr = False
    return _count_lines(self, data, now)


def _whole_without_a_look_for_cr(data: bytes, boundary: bytes) -> int:
    return int(data.endswith(b"\n\n") and b"data:" in data)


def _whole_whatever_the_end(data: bytes, boundary: bytes) -> int:
    return int(data.startswith(b"data:") and b"\r" not in data and data.endswith(b"\n"))


def _one_line_of_any_number(data: bytes) -> int:
    plain = data.startswith(b"data:") and data.endswith(b"\n\n") and b"\r" not in data
    return data.count(b"\n\ndata:") + 1 if plain else 0


def _one_line_whatever_the_end(data: bytes) -> int:
    return _one_line_events(data if data.endswith(b"\n\n") else data + b"\n")


_one_line_events = events_module.one_line_events


def _always_settled(self: Scanner) -> bytes:
    return b"\n\n"


def _whole_with_any_line_ends(data: bytes, boundary: bytes) -> int:
    return int(data.endswith(boundary) and b"data:" in data)


def _settled_behind_anything(self: Scanner) -> bytes:
    return b"\r\n\r\n" if self.tail.endswith(b"\r\n") else b"\n\n" if self.tail.endswith(b"\n\n") else b""


class _LateDriver(TripWithoutRules):
    """Breaks Rule 1 of the session: it lets the upstream's next bytes overtake a heartbeat."""

    def __init__(self, case: Case) -> None:
        self.late = b""
        super().__init__(case)

    def write_heartbeat(self, data: bytes) -> None:
        self.late += data

    def write_upstream(self, data: bytes) -> None:
        super().write_upstream(data)
        if data:
            super().write_heartbeat(self.late)
            self.late = b""


BREAKS = [
    Break("only comments inside an event, nothing inside a line", ((Scanner, "position", property(_everywhere)),)),
    Break("nothing inside a line", ((Scanner, "position", property(_never_mid_line)),)),
    Break("CRLF CRLF is a boundary, three bytes tell", ((Scanner, "position", property(_last_two_bytes)),), False),
    Break("CRLF is one line end", ((Scanner, "position", property(_crlf_is_two_lines)),)),
    Break("an unfinished line is held back", ((UpstreamLines, "complete", _hold_nothing),), False),
    Break("but not a line of any length", ((UpstreamLines, "complete", _hold_without_limit),), False),
    Break("what is held at a clean end is sent", ((StreamSession, "receive_eof", _forget_held),), False),
    Break("the LF behind something inserted", ((UpstreamLines, "note_inserted", _keep_second_half),)),
    Break("not behind a CR of ours", ((UpstreamLines, "note_inserted", _drop_also_behind_our_cr),)),
    Break("no BOM behind something inserted", ((UpstreamLines, "split_mark", _keep_late_bom),)),
    Break("the line end of what is inserted", ((Scanner, "eol", property(_always_the_style)),)),
    Break("no blank line once there was an id", ((HeartbeatWriter, "observe", _observe_nothing),), False),
    Break("a piece of a long line is no line", ((HeartbeatWriter, "observe", _observe_pieces),), False),
    Break("events are counted as a client counts them", ((EventReader, "feed", _count_split_crlf_twice),)),
    Break("the hot path: whole events end with LF LF", ((session_module, "whole_events", _whole_whatever_the_end),)),
    Break("the hot path: and have no CR", ((session_module, "whole_events", _whole_without_a_look_for_cr),)),
    Break("the hot path: one line each", ((session_module, "one_line_events", _one_line_of_any_number),)),
    Break("the hot path: none is unfinished", ((session_module, "one_line_events", _one_line_whatever_the_end),)),
    Break("the hot path: one kind of line end", ((session_module, "whole_events", _whole_with_any_line_ends),)),
    Break("the hot path: behind CRLF CRLF", ((Scanner, "settled", property(_settled_behind_anything)),)),
    Break("the hot path: it begins at a boundary", ((Scanner, "settled", property(_always_settled)),)),
]


def _anywhere(tail: bytes, data: bytes) -> int | None:
    return len(data)


def _at_once(tail: bytes, data: bytes) -> int | None:
    return 0


def _boundary_in_the_tail(tail: bytes, data: bytes) -> int | None:
    found = _BLANK_LINE.search(tail + data)
    return None if found is None else max(found.end() - len(tail), 0)


ENDING = [
    Break("not in the middle of an event", ((session_module, "first_boundary", _anywhere),)),
    Break("not where the last event ended", ((session_module, "first_boundary", _at_once),)),
    Break("not where the tail still shows it", ((session_module, "first_boundary", _boundary_in_the_tail),)),
]


def _counterexample(check: Property, examples: int = 12_000) -> AssertionError | None:
    """What the property finds, or None. The examples depend on the literals of all sources: so many are drawn."""
    search = settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        report_multiple_bugs=False,
    )

    # One name for all: hypothesis derives the examples from the source of what it is given.
    @search
    @given(cases)
    def examine(case: Case) -> None:
        check(case)

    try:
        examine()
    except AssertionError as found:
        return found
    return None


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.rule)
def test_a_broken_rule_is_noticed(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    broken.apply(monkeypatch)
    assert _counterexample(properties.the_client_sees_the_same if broken.seen_by_client else properties.the_rules_hold)


def test_the_client_notices_a_late_heartbeat() -> None:
    assert _counterexample(lambda case: properties.the_client_sees_the_same(case, _LateDriver))


@pytest.mark.parametrize("broken", ENDING, ids=lambda broken: broken.rule)
def test_an_end_in_the_wrong_place_is_noticed(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    broken.apply(monkeypatch)

    def drained(case: Case) -> None:
        for moment in range(1, 4):
            properties.an_end_cuts_no_event(case, properties.End.DRAIN_WITH_RETRY, moment)
            properties.an_end_cuts_no_event(replace(case, interval=None), properties.End.DRAIN_WITH_RETRY, moment)

    assert _counterexample(drained)


def test_the_bom_in_two_pieces_behind_a_prelude_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UpstreamLines, "whole_mark", _hold_nothing)
    assert _counterexample(properties.a_prelude_alone_changes_no_event)


# Records.


def _at_any_place(self: RecordWords) -> bool:
    return True


def _at_any_line_end(self: UpstreamLines, data: bytes, *, is_inside_line: bool) -> bytes:
    end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
    lines = self.take() + data[:end] if end else b""
    if end < len(data):
        self.hold(data[end:])
    return lines


def _forget_last_line(self: NdjsonSession, *, now: float) -> None:
    super(NdjsonSession, self).receive_eof(now=now)


_feed_records = RecordReader.feed


def _a_cr_ends_a_record(self: RecordReader, data: bytes, now: float) -> int:
    records = _feed_records(self, data, now)
    if data.endswith(b"\r"):
        self.position = Position.EVENT_BOUNDARY
    return records


def _a_blank_line_is_a_record(self: RecordReader, data: bytes, now: float) -> int:
    return max(_feed_records(self, data, now), data.count(b"\n"))


def _the_last_line_is_no_record(self: RecordReader, now: float) -> int:
    return 0


def _never_over(self: RecordWords, heard_at: float) -> bool:
    return False


def _over_behind_the_terminal_record_only(self: RecordWords, heard_at: float) -> bool:
    return self.is_terminal(heard_at)


def _done_anywhere(record: MemberScanner) -> Finality:
    return Finality.TERMINAL


def _reads_no_long_record(self: RecordReader, piece: bytes) -> None:
    self._has_text = True


def _always_settled_records(self: NdjsonSession, data: bytes, now: float) -> None:
    _receive_piece(self, data, now)
    self._settled = LF


_receive_piece = vars(NdjsonSession)["_receive_piece"]


def _two_spaces(self: NdjsonSession) -> bytes:
    return b"\v"


def _no_error_record(self: RecordWords, error: StreamError) -> bytes:
    return b""


def _an_error_for_every_client(self: RecordWords, error: StreamError) -> bytes:
    return b'{"error": "x"}\n'


def _clean_whatever_the_end(*_: object, **__: object) -> End:
    return row(CloseReason.UPSTREAM_END)


_BETWEEN = property(_at_any_place)

RECORD_BREAKS = [
    Break("white space between records only", ((RecordWords, "is_between_events", _BETWEEN),), False),
    Break("a lone CR ends no record", ((RecordReader, "feed", _a_cr_ends_a_record),), False),
    Break("an unfinished line is held back", ((UpstreamLines, "complete", _hold_nothing),), False),
    Break("but not a line of any length", ((UpstreamLines, "complete", _at_any_line_end),), False),
    Break("the last line needs no line end", ((NdjsonSession, "receive_eof", _forget_last_line),)),
    Break("and is a record", ((RecordReader, "end", _the_last_line_is_no_record),)),
    Break("blank lines are no records", ((RecordReader, "feed", _a_blank_line_is_a_record),)),
    Break("no BOM behind something inserted", ((UpstreamLines, "split_mark", _keep_late_bom),)),
    Break("nothing behind the last word", ((RecordWords, "is_over", _never_over),), False),
    Break("an error is a last word", ((RecordWords, "is_over", _over_behind_the_terminal_record_only),), False),
    Break("which record is the last", ((records_module, "record_finality", _done_anywhere),), False),
    Break("also one that leaves in pieces", ((RecordReader, "_begin_line", _reads_no_long_record),), False),
    Break("the hot path begins at a boundary", ((NdjsonSession, "_receive_piece", _always_settled_records),)),
    Break("white space is JSON's", ((NdjsonSession, "write_heartbeat", _two_spaces),)),
]

RECORD_ENDS = [
    Break("an error is a record", ((RecordWords, "write_error", _no_error_record),)),
    Break("of services that have one", ((RecordWords, "write_error", _an_error_for_every_client),)),
    Break("an end of sseproxy's own is no clean one", ((RecordWords, "end", _clean_whatever_the_end),)),
    Break("an end is between records", ((RecordWords, "is_between_events", _BETWEEN),)),
]


def _record_counterexample(
    check: Callable[[RecordCase], None], streams: st.SearchStrategy[bytes]
) -> AssertionError | None:
    search = settings(
        max_examples=6_000,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )

    @search
    @given(record_cases(streams))
    def examine(case: RecordCase) -> None:
        try:
            check(case)
        except ValueError as error:  # a reader cannot read it
            raise AssertionError(str(error)) from error

    try:
        examine()
    except AssertionError as found:
        return found
    return None


@pytest.mark.parametrize("broken", RECORD_BREAKS, ids=lambda broken: broken.rule)
def test_a_broken_rule_of_records_is_noticed(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    broken.apply(monkeypatch)
    if broken.seen_by_client:
        assert _record_counterexample(records.readers_get_the_same, record_streams)
    else:
        assert _record_counterexample(records.the_rules_hold, any_streams)


@pytest.mark.parametrize("broken", RECORD_ENDS, ids=lambda broken: broken.rule)
def test_a_wrong_end_of_records_is_noticed(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    broken.apply(monkeypatch)

    def ended(case: RecordCase) -> None:
        for end in records.End:
            records.an_end_cuts_no_record(case, end, 2)

    assert _record_counterexample(ended, any_streams)


def test_a_strict_reader_notices_a_space_behind_the_last_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecordWords, "is_over", _never_over)
    assert _record_counterexample(records.a_strict_reader_gets_the_same, told_streams)


@pytest.mark.parametrize("check", [properties.the_rules_hold, properties.the_client_sees_the_same])
def test_nothing_is_found_where_nothing_is_broken(check: Property) -> None:
    assert _counterexample(check, 300) is None
