"""What does an `EventSource` hear at the end of a stream, and does it change what it has heard before? (section 5)"""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.error_events import StreamError, error_event
from sseproxy.core.stream.last_words import LastWords
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import CloseReason
from tests.core.test_properties import is_heartbeat
from tests.support.playbook import (
    Play,
    blocked,
    closed,
    data,
    drain,
    eof,
    error,
    error_of,
    refusal,
    response,
    sent,
    sleep,
    stream,
)
from tests.support.trips import BOM, Case, TripWithoutRules, cases, is_between_events
from tests.support.whatwg import parse

END = CloseReason.UPSTREAM_END
LAST_WORDS = EndMessage(("end", "bye"), "over")
TOLD = b"event: end\ndata: bye\n\nid: over\n\n"


@pytest.mark.parametrize("interval", [15.0, None])
def test_a_clean_end(play: Play, interval: float | None) -> None:
    session = stream(interval=interval, end_message=LAST_WORDS)
    play(session) >> data(b"data: x\n\n") >> eof() << sent(TOLD) << closed(END)


@pytest.mark.parametrize("interval", [15.0, None])
def test_an_empty_stream(play: Play, interval: float | None) -> None:
    play(stream(interval=interval, end_message=LAST_WORDS)) >> eof() << sent(TOLD) << closed(END)


def test_a_stream_that_is_nothing_but_a_bom(play: Play) -> None:
    """A BOM is nothing to a client; behind a heartbeat it would be part of our first line."""
    play(stream(interval=None, end_message=LAST_WORDS)) >> data(BOM) >> eof() << sent(TOLD) << closed(END)
    play(stream(end_message=LAST_WORDS)) >> data(BOM) << sent() >> eof() << sent(BOM, TOLD) << closed(END)
    heard = play(stream(end_message=LAST_WORDS)) >> sleep(15) << sent(b": heartbeat\n")
    heard >> data(BOM) << sent() >> eof() << sent(TOLD) << closed(END)
    prelude = play(stream(interval=None, prelude=True, end_message=LAST_WORDS)) << sent(b": heartbeat\n")
    prelude >> data(BOM[:2]) << sent() >> data(BOM[2:]) << sent() >> eof() << sent(TOLD) << closed(END)


def test_half_a_bom_is_half_a_line(play: Play) -> None:
    play(stream(end_message=LAST_WORDS)) >> data(BOM[:2]) << sent() >> eof() << sent(BOM[:2]) << closed(END)


@pytest.mark.parametrize(
    "last",
    [
        b"data: y\n",
        b"data: y",
        b"data: y\r\n",
        b"data\n",
        b": y",
        b": y\n: z",
        b"id: 7",
        b"id: 7\n",
        b"id\n",
        b"event: y\n",
        b"event\n: y\n",
        b": y\ndata: y\n: y\n",
    ],
)
def test_inside_an_event_nothing_is_said(play: Play, last: bytes) -> None:
    """It would end the event, which the client must never see: the upstream has not finished it."""
    session = stream(interval=None, end_message=LAST_WORDS)
    play(session) >> data(b"data: x\n\n") >> data(last) >> eof() << closed(END)


@pytest.mark.parametrize(
    ("last", "eol"),
    [
        (b": y\n", b"\n"),
        (b": y\n:\n:z\n", b"\n"),
        (b": y\r\n", b"\r\n"),
        (b"retry: 5\n", b"\n"),
        (b"Data: y\nidx: 5\neventually\ndata : y\n", b"\n"),
    ],
)
@pytest.mark.parametrize("interval", [15.0, None])
@pytest.mark.parametrize("first", [b"data: x%b%b", b""])
def test_what_belongs_to_no_event_is_no_event(
    play: Play, first: bytes, last: bytes, eol: bytes, interval: float | None
) -> None:
    """A service whose last word is a comment has not begun an event: there is nothing that we would end."""
    received = (first % (eol, eol) if first else b"") + last
    for size in (1, len(received)):
        session = stream(interval=interval, end_message=LAST_WORDS)
        out = b"".join(session.forward(received[at : at + size], 0.0) for at in range(0, len(received), size))
        session.receive_eof(now=0.0)
        assert out + session.data_to_send() == received + LAST_WORDS.write(eol=eol)
        assert session.clean


def test_what_is_held_back_counts(play: Play) -> None:
    book = play(stream(end_message=LAST_WORDS)) >> data(b"data: x\n\ndata: y") << sent(b"data: x\n\n")
    book >> eof() << sent(b"data: y") << closed(END)


@pytest.mark.parametrize(
    ("received", "eol"),
    [
        (b"data: x\r\n\r\n", b"\r\n"),
        (b"data: x\r\r", b"\r"),
        (b"data: x\n\r\n", b"\r\n"),
        (b"data: x\r\n\n", b"\r\n"),
        (b"data: x\r\n\r", b"\r\n"),
    ],
)
@pytest.mark.parametrize("interval", [15.0, None])
def test_the_line_ends_are_the_streams_own(play: Play, received: bytes, eol: bytes, interval: float | None) -> None:
    session = stream(interval=interval, end_message=LAST_WORDS)
    play(session) >> data(received) >> eof() << sent(LAST_WORDS.write(eol=eol)) << closed(END)


def test_after_a_heartbeat_line(play: Play) -> None:
    book = play(stream(end_message=LAST_WORDS)) >> data(b"data: x\n\n") >> sleep(15) << sent(b": heartbeat\n")
    book >> eof() << sent(TOLD) << closed(END)


def test_a_client_that_takes_nothing_hears_it_later(play: Play) -> None:
    session = stream(end_message=LAST_WORDS)
    play(session) >> data(b"data: x\n\n") >> blocked() >> eof() << sent(TOLD) << closed(END)


def test_an_end_that_is_not_clean(play: Play) -> None:
    reason = CloseReason.UPSTREAM_ERROR
    session = stream(end_message=LAST_WORDS)
    play(session) >> data(b"data: x\n\n") >> error(reason) << sent(error_of(reason)) << closed(reason, clean=False)


def test_ends_of_ours_are_followed_by_a_reconnect(play: Play) -> None:
    (
        play(stream(end_message=LAST_WORDS, comes_back=True))
        >> drain(retry=5)
        >> sleep(0)
        << sent(b"retry: 5\n\n")
        << closed(CloseReason.DRAIN)
    )
    timeouts = TimeoutPolicy(idle=None, write=None, max_duration=5.0)
    old = play(stream(timeouts=timeouts, end_message=LAST_WORDS, comes_back=True)) >> sleep(5)
    old << sent(b"retry: 1000\n\n") << closed(CloseReason.MAX_DURATION)
    silent = play(stream(interval=None, timeouts=TimeoutPolicy(idle=5.0), end_message=LAST_WORDS)) >> sleep(5)
    silent << sent(error_of(CloseReason.IDLE_TIMEOUT)) << closed(CloseReason.IDLE_TIMEOUT, clean=False)


def test_an_upstream_that_ends_while_we_drain(play: Play) -> None:
    session = stream(interval=None, end_message=LAST_WORDS, comes_back=True)
    book = play(session) >> data(b"data: x\n") >> drain() >> sleep(1)
    book >> data(b"\n") << sent(b"\nretry: 1000\n\n") << closed(CloseReason.DRAIN) >> eof()


def test_after_a_late_stream(play: Play) -> None:
    book = play(stream(responded=False, end_message=LAST_WORDS)) << sent(b": heartbeat\n") >> response()
    book >> data(b"data: x\n\n") >> eof() << sent(TOLD) << closed(END)


def test_after_a_late_refusal(play: Play) -> None:
    """The farewell of the stream is for a clean end of the upstream: behind an error event there is none."""
    book = play(stream(responded=False, end_message=LAST_WORDS)) << sent(b": heartbeat\n")
    told = error_event(Dialect.GENERIC, StreamError("upstream_response", 404, "the upstream refused"))
    book >> refusal(404) << sent(told) << closed(END, clean=False)


def test_after_a_late_failure_there_is_a_reconnect(play: Play) -> None:
    book = play(stream(responded=False, end_message=LAST_WORDS)) << sent(b": heartbeat\n")
    reason = CloseReason.CONNECT_ERROR
    book >> error(reason) << sent(error_of(reason)) << closed(reason, clean=False)


def test_after_a_late_refusal_of_ours_there_is_a_reconnect() -> None:
    session = stream(responded=False, end_message=LAST_WORDS)
    assert session.data_to_send() == b": heartbeat\n"
    session.receive_refusal(StreamError("unavailable", 503, "not now"), CloseReason.CONNECT_ERROR, now=20.0)
    assert session.data_to_send() == error_event(Dialect.GENERIC, StreamError("unavailable", 503, "not now"))
    assert (session.close_reason, session.clean) == (CloseReason.CONNECT_ERROR, False)


def test_a_client_that_would_come_back_for_the_same_answer(play: Play) -> None:
    """It gets the block whose reconnect is answered 204, also on a route without `end`."""
    for error_, told in ((StreamError("upstream_response", 401, "no"), True), (None, False)):
        session = stream(responded=False, comes_back=True)
        session.data_to_send()
        session.receive_refusal(error_, end_message=EndMessage(None, "over"), now=20.0)
        out = session.data_to_send()
        assert out.endswith(b"id: over\n\n")
        assert (b"event: error" in out) is told
        assert session.clean


def test_an_end_without_the_marker_lets_the_browser_come_back(play: Play) -> None:
    for last, told in ((b"data: [DONE]\n\n", TOLD), (b"data: x\n\n", b"")):
        session = stream(marker="[DONE]", only_marker=True, end_message=LAST_WORDS)
        play(session) >> data(last) >> eof() << sent(told) << closed(END)


# Whatever the stream.


def the_client_has_seen_all_of_it_before(case: Case) -> None:
    trip = TripWithoutRules(case)
    trip.run()
    whole = is_between_events(case.stream)
    seen, meant = parse(bytes(trip.wire)), parse(case.stream)
    events = [event for event in seen.events if not is_heartbeat(event, case.form)]
    told = [("end", "bye", meant.last_event_id)] if whole else []
    assert [tuple(event) for event in events] == [*meant.events, *told]
    assert seen.last_event_id == ("over" if whole else meant.last_event_id)
    assert seen.retries == meant.retries
    assert trip.session.stats.events == len(meant.events)
    assert (trip.session.close_reason, trip.session.clean) == (END, True)


@settings(max_examples=max(1200, settings().max_examples), deadline=None, database=None)
@given(st.builds(replace, cases, end_message=st.just(LAST_WORDS), interval=st.sampled_from([1.0, 1.0, None])))
def test_last_words_change_nothing_that_was_seen(case: Case) -> None:
    the_client_has_seen_all_of_it_before(case)


def test_the_property_bites(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said inside an event, the last words would change it."""
    case = Case(b"data: x\n", (), end_message=LAST_WORDS)
    the_client_has_seen_all_of_it_before(case)
    monkeypatch.setattr(LastWords, "is_between_events", True)
    with pytest.raises(AssertionError):
        the_client_has_seen_all_of_it_before(case)
