"""After which data is a broken connection as good as a clean end? (docs/eventsource.md, `marker`)"""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.event_reader import EventReader
from sseproxy.core.stream.transfer import CloseReason
from tests.support.playbook import Play, closed, data, eof, error, error_of, sent, sleep, stream
from tests.support.traced import traced
from tests.support.trips import Case, TripWithoutRules, cases, is_between_events, streams
from tests.support.whatwg import parse

BROKEN = CloseReason.UPSTREAM_ERROR
END = CloseReason.UPSTREAM_END
DONE = b"data: [DONE]\n\n"
ERROR = error_of(BROKEN)


@pytest.mark.parametrize(
    ("received", "is_end"),
    [
        (DONE, True),
        (b"data: x\n\ndata:[DONE]\n\n", True),
        (b"data: [DONE]\r\n\r\n", True),
        (b"data: [DONE]\r\r", True),
        (b"data: [DONE]\r\n\r", True),
        (b"\xef\xbb\xbf" + DONE, True),
        (b"event: last\nid: 7\n: comment\ndata: [DONE]\nretry: 5\n\n", True),
        (DONE + b": comment\n\n\n\n", True),
        (DONE + b": comment\n", True),
        (DONE + b": comment\n: another\nretry: 5\n", True),
        (DONE + b": comment\r\n", True),
        (DONE + b"id: 7\n", False),
        (DONE + b"event: x\n: comment\n", False),
        (DONE + b": comment\ndata: x\n: comment\n", False),
        (b"", False),
        (b"data: [DONE]", False),
        (b"data: [DONE]\n", False),
        (DONE + b"data: x\n\n", False),
        (DONE + b"data: x", False),
        (DONE + b"data: x\n", False),
        (DONE + b"data\n\n", False),
        (b"data: [DONE] \n\n", False),
        (b"data:  [DONE]\n\n", False),
        (b"data: [DONE\n\n", False),
        (b"data: [DONE]]\n\n", False),
        (b"data: [DONE]\ndata\n\n", False),
        (b"data\ndata: [DONE]\n\n", False),
        (b"event: [DONE]\n\n", False),
        (b": data: [DONE]\n\n", False),
        (b"data : [DONE]\n\n", False),
        (b'data: {"x": "' + b"y" * 100_000 + b'[DONE]"}\n\n', False),
    ],
)
@pytest.mark.parametrize("interval", [15.0, None])
@pytest.mark.parametrize("size", [1, 5, 1_000_000])
def test_after_which_stream(received: bytes, is_end: bool, interval: float | None, size: int) -> None:
    session = stream(interval=interval, marker="[DONE]")
    out = b""
    for at in range(0, min(len(received), 200) if size == 1 else len(received), size):
        out += session.forward(received[at : at + size], 0.0)
    session.receive_error(BROKEN, now=0.0)
    # An unfinished line that is held back has not left, so the marker is the last thing that the client has seen.
    is_end = is_end or (interval is not None and received == DONE + b"data: x")
    assert (session.close_reason, session.clean) == ((END, True) if is_end else (BROKEN, False))
    assert received.startswith(out)


def test_the_end_is_told_as_any_other(play: Play) -> None:
    session = stream(marker="[DONE]", end_message=EndMessage(id="over"))
    play(session) >> data(b"data: x\n\n") >> data(DONE) >> error(BROKEN) << sent(b"id: over\n\n") << closed(END)
    broken = play(stream(marker="[DONE]", end_message=EndMessage(id="over"))) >> data(b"data: x\n\n")
    broken >> error(BROKEN) << sent(ERROR) << closed(BROKEN, clean=False)


def test_comments_behind_the_marker_change_nothing(play: Play) -> None:
    session = stream(marker="[DONE]", end_message=EndMessage(id="over"))
    book = play(session) >> data(DONE + b": closing\n") << sent(DONE + b": closing\n")
    book >> error(BROKEN) << sent(b"id: over\n\n") << closed(END)


def test_a_clean_end_needs_no_marker(play: Play) -> None:
    play(stream(marker="[DONE]")) >> data(b"data: x\n\n") >> eof() << closed(END)


@pytest.mark.parametrize("reason", [CloseReason.CLIENT_GONE, CloseReason.CLIENT_STALLED, CloseReason.BEHIND])
def test_a_client_that_leaves_has_left(play: Play, reason: CloseReason) -> None:
    play(stream(marker="[DONE]")) >> data(DONE) >> error(reason) << closed(reason, clean=False)


def test_a_heartbeat_between_cr_and_lf(play: Play) -> None:
    """The LF that is dropped is still one half of a line end, and the one behind it ends the event."""
    book = play(stream(marker="x")) >> data(b"data: x\r") >> sleep(15) << sent(b": heartbeat\n")
    book >> data(b"\n\n") << sent(b"\n") >> error(BROKEN) << closed(END)


def test_a_line_that_is_let_through_in_pieces(play: Play) -> None:
    """Its rest looks like a marker."""
    book = play(stream(line=16, marker="x")) >> data(b"data: " + b"y" * 20) >> data(b"data: x\n\n")
    book >> error(BROKEN) << sent(ERROR) << closed(BROKEN, clean=False)


def test_what_is_kept_is_bounded() -> None:
    def feed(last: EventReader) -> None:
        for _ in range(100):
            last.feed(b"data: " + b"x" * 10_000, 1.0)
            last.feed(b"x" * 10_000 + b"\n", 2.0)
        last.feed(b"y" * 100_000, 3.0)

    kept, _ = traced(EventReader, feed)
    assert kept < 20_000


def test_of_long_data_both_ends_are_kept() -> None:
    last = EventReader()
    for piece in (b"event: a\ndata: {be", b"x" * 9000, b"y" * 9000 + b"en", b"d}\n\n"):
        last.feed(piece, 7.0)
    assert (last.name, last.data[:3], last.data[-4:], len(last.data) <= 2048) == (b"a", b"{be", b"end}", True)
    assert last.at == 7.0


def a_break_is_judged_as_the_standard_reads_it(case: Case) -> None:
    trip = TripWithoutRules(case)
    trip.answer()
    trip.travel()
    trip.session.receive_error(BROKEN, now=trip.now)
    left = trip.received[: trip.left]  # An unfinished line that is held back has not left.
    events = parse(left).events
    whole = is_between_events(left) and not left.endswith(b"\xef\xbb\xbf")
    is_end = bool(events) and events[-1].data == case.marker and whole
    wanted = (END, True) if is_end and trip.answered else (BROKEN, False)
    assert (trip.session.close_reason, trip.session.clean) == wanted


MARKERS = st.sampled_from(["x", "y", "s", '{"id":"c","choices":[{}]}'])
ENDINGS = st.sampled_from(
    [b"", b"\n\ndata: x\n\n", b"\r\rdata: x\r\r", b"\r\n\r\ndata: x\r\n\r\n", b"\n\ndata:y\n\n: c\n\n"]
)


@settings(max_examples=max(1200, settings().max_examples), deadline=None, database=None)
@given(
    case=st.builds(
        replace,
        cases,
        stream=st.builds(bytes.__add__, streams, ENDINGS),
        marker=MARKERS,
        interval=st.sampled_from([1.0, 1.0, None]),
    )
)
def test_the_last_event_counts(case: Case) -> None:
    a_break_is_judged_as_the_standard_reads_it(case)
