"""How does an event stream begin, wait and end? And which deadlines does its driver get?"""

import json

import pytest

from sseproxy.core.stream.dialects import Dialect, Marker
from sseproxy.core.stream.ends import row
from sseproxy.core.stream.error_events import StreamError, error_event
from sseproxy.core.stream.heartbeat import HeartbeatForm
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import CloseReason
from tests.support.playbook import (
    Play,
    Playbook,
    blocked,
    closed,
    data,
    drain,
    eof,
    error,
    error_of,
    late,
    nothing,
    progressed,
    refusal,
    response,
    sent,
    sleep,
    stop,
    stream,
    unblocked,
)
from tests.support.whatwg import Event, parse

HB = b": heartbeat\n"
EVENT = b"data: x\n\n"
ENDED = closed(CloseReason.UPSTREAM_END)
NO_TIMEOUTS = TimeoutPolicy(idle=None, write=None)
DIALECTS = [dialect for dialect in Dialect if dialect is not Dialect.AUTO]


def told(book: Playbook, session_output: bytes) -> Event:
    """The one event in what a session said last, before a broken end."""
    assert not book.session.clean
    [event] = parse(session_output).events
    return event


class TestS8BeforeTheResponse:
    def test_the_first_heartbeat_goes_out_at_once(self, play: Play) -> None:
        book = play(stream(responded=False)) << sent(HB) >> sleep(30) << sent(HB * 2)
        book >> response() >> data(EVENT) >> sleep(15) << sent(HB) >> eof() << ENDED
        assert (book.session.stats.heartbeats, book.session.stats.heartbeats_before_response) == (4, 3)

    def test_one_heartbeat_is_enough_where_there_is_a_prelude_too(self, play: Play) -> None:
        play(stream(responded=False, prelude=True)) << sent(HB)

    def test_the_idle_timeout_begins_with_the_response(self, play: Play) -> None:
        book = play(stream(responded=False, interval=500, timeouts=TimeoutPolicy(idle=40))) << sent(HB)
        book >> sleep(400) >> response() >> sleep(39.9) << nothing
        book >> sleep(0.1) << sent(error_of(CloseReason.IDLE_TIMEOUT)) << closed(CloseReason.IDLE_TIMEOUT, clean=False)

    @pytest.mark.parametrize("dialect", DIALECTS)
    @pytest.mark.parametrize(
        ("reason", "status"),
        [
            (CloseReason.CONNECT_ERROR, 502),
            (CloseReason.RESPONSE_TIMEOUT, 504),
            (CloseReason.UPSTREAM_ERROR, 502),
        ],
    )
    def test_a_failure_is_told_in_one_event_and_the_end_is_broken(
        self, dialect: Dialect, reason: CloseReason, status: int, play: Play
    ) -> None:
        session = stream(responded=False, dialect=dialect, request_id=7)
        session.data_to_send()
        session.receive_error(reason, now=1.0)
        [event] = parse(session.data_to_send()).events
        assert (session.close_reason, session.clean) == (reason, False)
        assert str(status) in event.data

    def test_a_refusal_is_told_with_status_retry_after_and_body(self, play: Play) -> None:
        session = stream(responded=False)
        session.data_to_send()
        session.receive_refusal(StreamError("upstream_response", 429, "no", "30", b"slow down"), now=1.0)
        [event] = parse(session.data_to_send()).events
        assert json.loads(event.data) == {
            "type": "upstream_response",
            "status": 429,
            "detail": "slow down",
            "error": {"message": "slow down", "type": "upstream_response", "code": 429},
            "retry_after": "30",
        }
        assert (event.type, session.close_reason, session.clean) == ("error", CloseReason.UPSTREAM_END, False)

    def test_a_client_that_has_gone_is_told_nothing(self, play: Play) -> None:
        book = play(stream(responded=False)) << sent(HB)
        (
            book
            >> error(CloseReason.CLIENT_GONE)
            << closed(CloseReason.CLIENT_GONE, clean=False)
            >> refusal(500)
            << nothing
        )

    def test_after_the_response_a_break_is_told_too(self, play: Play) -> None:
        book = play(stream(responded=False)) << sent(HB) >> response() >> error(CloseReason.UPSTREAM_ERROR)
        book << sent(error_of(CloseReason.UPSTREAM_ERROR)) << closed(CloseReason.UPSTREAM_ERROR, clean=False)

    def test_a_drain_before_the_response_waits_for_it(self, play: Play) -> None:
        book = play(stream(responded=False)) << sent(HB) >> drain(after=None, within=14) >> sleep(13.9) << nothing
        book >> sleep(0.1) << sent(error_of(CloseReason.DRAIN)) << closed(CloseReason.DRAIN, clean=False)

    @pytest.mark.parametrize("size", [1, 3, 100])
    def test_late_json_becomes_one_event_and_a_clean_end(self, size: int) -> None:
        body = b'{\r\n  "a": 1,\r\n\r\n  "b": "x"\r\n}\r\n'
        for dialect, name in ((Dialect.GENERIC, "message"), (Dialect.MCP, "message")):
            session = stream(responded=False, dialect=dialect)
            session.data_to_send()
            session.receive_json(now=1.0)
            out = b"".join(session.forward(body[at : at + size], 2.0) for at in range(0, len(body), size))
            session.receive_eof(now=3.0)
            out += session.data_to_send()
            [event] = parse(out).events
            assert (event.type, json.loads(event.data)) == (name, {"a": 1, "b": "x"})
            assert out.startswith(b"event: message\n") is (dialect is Dialect.MCP)
            assert (session.close_reason, session.clean) == (CloseReason.UPSTREAM_END, True)
            assert (session.stats.events, session.stats.bytes_in) == (1, len(body))

    @pytest.mark.parametrize("body", [b"", b"\n", b"\xef\xbb\xbf"])
    def test_late_json_that_is_empty_is_an_error(self, body: bytes) -> None:
        session = stream(responded=False)
        session.data_to_send()
        session.receive_json(now=1.0)
        out = session.forward(body, 2.0)
        session.receive_eof(now=3.0)
        out += session.data_to_send()
        assert [event.type for event in parse(out).events] == ["error"]
        assert (session.close_reason, session.clean) == (CloseReason.UPSTREAM_ERROR, False)

    def test_late_json_that_breaks_off_is_no_event(self, play: Play) -> None:
        for body in (b"{", b"{\n", b'{\n"a'):
            session = stream(responded=False)
            session.data_to_send()
            session.receive_json(now=1.0)
            out = session.forward(body, 2.0)
            session.receive_error(CloseReason.UPSTREAM_ERROR, now=3.0)
            out += session.data_to_send()
            assert [event.type for event in parse(out).events] == ([] if b"\n" in body else ["error"])
            assert not session.clean


class TestS9Backpressure:
    def test_heartbeats_skip_while_earlier_bytes_are_unsent(self, play: Play) -> None:
        book = play(stream()) >> data(EVENT) >> blocked() >> sleep(45) << nothing
        assert book.session.stats.heartbeats_skipped == {"backpressure": 3}
        book >> unblocked() >> sleep(14.9) << nothing >> sleep(0.1) << sent(HB)

    def test_a_client_that_takes_nothing_is_cut_off(self, play: Play) -> None:
        book = play(stream(timeouts=TimeoutPolicy(write=30))) >> blocked() >> sleep(20) >> progressed() >> sleep(29)
        book >> sleep(1) << closed(CloseReason.CLIENT_STALLED, clean=False)

    def test_the_upstream_is_not_blamed_while_the_client_blocks(self, play: Play) -> None:
        timeouts = TimeoutPolicy(idle=40, write=None)
        book = play(stream(timeouts=timeouts)) >> blocked() >> sleep(400) >> unblocked() >> sleep(39.9) << sent(HB * 2)
        book >> sleep(0.1) << sent(error_of(CloseReason.IDLE_TIMEOUT)) << closed(CloseReason.IDLE_TIMEOUT, clean=False)

    def test_what_arrives_meanwhile_is_handed_on(self, play: Play) -> None:
        play(stream()) >> blocked() >> data(EVENT) >> unblocked() >> data(EVENT)


GIVES_UP = TimeoutPolicy(idle=40, write=None)
TOO_OLD = TimeoutPolicy(idle=None, write=None, max_duration=60)
PLACES = {"at the start": b"", "between events": EVENT, "inside an event": b"data: x\n", "inside a line": b"x" * 20}


class TestS10Ends:
    @pytest.mark.parametrize("dialect", DIALECTS)
    @pytest.mark.parametrize("place", PLACES)
    @pytest.mark.parametrize("reason", [CloseReason.IDLE_TIMEOUT, CloseReason.UPSTREAM_ERROR])
    def test_an_error_event_where_one_can_be(
        self, dialect: Dialect, place: str, reason: CloseReason, play: Play
    ) -> None:
        session = stream(interval=1000, timeouts=GIVES_UP, dialect=dialect, line=16, request_id=7)
        book = play(session) >> data(PLACES[place])
        if reason is CloseReason.IDLE_TIMEOUT:
            session.handle_timeout(now=40.0)
        else:
            session.receive_error(reason, now=40.0)
        out = session.data_to_send()
        assert (session.close_reason, session.clean) == (reason, False)
        if place in ("at the start", "between events"):
            assert row(reason).detail in told(book, out).data
        else:
            assert out == (b"" if place == "inside a line" else b": %b\n" % reason.encode())

    def test_max_duration_between_events(self, play: Play) -> None:
        book = play(stream(interval=1000, timeouts=TOO_OLD)) >> data(EVENT) >> sleep(60)
        book << sent(error_of(CloseReason.MAX_DURATION)) << closed(CloseReason.MAX_DURATION, clean=False)

    def test_max_duration_of_a_client_that_comes_back(self, play: Play) -> None:
        book = play(stream(interval=1000, timeouts=TOO_OLD, comes_back=True, lead=0.5)) >> data(EVENT)
        book >> sleep(60) << sent(b"retry: 1500\n\n") << closed(CloseReason.MAX_DURATION)

    @pytest.mark.parametrize(("place", "rest"), [("inside an event", b"\n"), ("inside a line", b"\n\n")])
    def test_max_duration_inside_an_event_waits_for_its_end(self, place: str, rest: bytes, play: Play) -> None:
        book = play(stream(interval=1000, timeouts=TOO_OLD, line=16)) >> data(PLACES[place]) >> sleep(64) << nothing
        book >> data(rest + b"data: y\n\n") << sent(rest, error_of(CloseReason.MAX_DURATION))
        book << closed(CloseReason.MAX_DURATION, clean=False)

    def test_but_not_for_ever(self, play: Play) -> None:
        book = play(stream(interval=1000, timeouts=TOO_OLD)) >> data(b"data: x\n") >> sleep(64.9) << nothing
        book >> sleep(0.1) << sent(b": max_duration\n") << closed(CloseReason.MAX_DURATION, clean=False)

    def test_heartbeats_go_on_while_an_end_is_waited_for(self, play: Play) -> None:
        book = play(stream(interval=1.0, timeouts=TOO_OLD)) >> data(b"data: x\n") >> sleep(63.5) << sent(HB * 63)
        book >> data(b"\r") << sent(b"\r", error_of(CloseReason.MAX_DURATION))
        book << closed(CloseReason.MAX_DURATION, clean=False)

    def test_clients_that_reject_comments_get_none(self, play: Play) -> None:
        book = play(stream(interval=1000, form=HeartbeatForm.BLANK, timeouts=GIVES_UP)) >> data(b"data: x\n")
        book >> sleep(40) << closed(CloseReason.IDLE_TIMEOUT, clean=False)

    def test_upstream_error_keeps_whole_lines(self, play: Play) -> None:
        book = play(stream(dialect=Dialect.ANTHROPIC)) >> data(EVENT + b"data: y\nda") << sent(EVENT + b"data: y\n")
        book >> error(CloseReason.UPSTREAM_ERROR) << sent(b": upstream_error\n")
        book << closed(CloseReason.UPSTREAM_ERROR, clean=False)

    def test_a_client_that_asks_for_the_end_gets_a_clean_one(self, play: Play) -> None:
        session = stream()
        book = play(session) >> data(EVENT) >> stop(CloseReason.STOPPED) << closed(CloseReason.STOPPED)
        book = play(stream()) >> data(b"data: x\n") >> stop(CloseReason.STOPPED) >> data(b"\n")
        book << closed(CloseReason.STOPPED)
        book = play(stream()) >> data(b"data: x\n") >> stop(CloseReason.STOPPED) >> sleep(0.5)
        book << sent(b": stopped\n") << closed(CloseReason.STOPPED, clean=False)

    def test_client_gone(self, play: Play) -> None:
        book = play(stream()) >> data(b"data: x\nda") << sent(b"data: x\n")
        book >> error(CloseReason.CLIENT_GONE) << closed(CloseReason.CLIENT_GONE, clean=False)

    def test_there_is_one_reason_and_nothing_after_it(self, play: Play) -> None:
        book = play(stream()) >> data(b"data: x\nheld") << sent(b"data: x\n")
        book >> error(CloseReason.CLIENT_GONE) << closed(CloseReason.CLIENT_GONE, clean=False)
        book >> eof() >> data(EVENT) << nothing >> drain(retry=1) >> error(CloseReason.UPSTREAM_ERROR) >> late(1000)
        assert book.session.close_reason is CloseReason.CLIENT_GONE
        assert book.session.next_deadline() is None

    def test_nor_whole_events_that_come_behind_whole_events(self, play: Play) -> None:
        book = play(stream()) >> data(EVENT) >> data(EVENT) >> error(CloseReason.CLIENT_GONE)
        book << closed(CloseReason.CLIENT_GONE, clean=False) >> data(EVENT) << nothing
        assert book.session.stats.events == 2

    def test_of_all_ends_that_are_due_at_once_one_is_told(self, play: Play) -> None:
        timeouts = TimeoutPolicy(idle=60, write=None, max_duration=60)
        book = play(stream(interval=1000, timeouts=timeouts)) >> data(EVENT) >> late(100)
        book << sent(error_of(CloseReason.MAX_DURATION)) << closed(CloseReason.MAX_DURATION, clean=False)


RETRY = b"retry: 1000\n\n"


class TestS10Drain:
    def test_an_answer_is_let_finish(self, play: Play) -> None:
        book = play(stream()) >> data(EVENT) >> drain(after=None) >> sleep(14) >> data(EVENT) >> sleep(9) >> data(EVENT)
        book >> eof() << ENDED

    def test_one_that_does_not_finish_in_time_is_broken(self, play: Play) -> None:
        book = play(stream(interval=1000)) >> data(EVENT) >> drain(after=None) >> sleep(24.9) << nothing
        book >> sleep(0.1) << sent(error_of(CloseReason.DRAIN)) << closed(CloseReason.DRAIN, clean=False)

    def test_a_client_that_comes_back_ends_at_its_moment(self, play: Play) -> None:
        book = play(stream(comes_back=True)) >> data(EVENT) >> drain(after=3) >> sleep(2.9) << nothing
        book >> sleep(0.1) << sent(RETRY) << closed(CloseReason.DRAIN)

    def test_a_client_that_takes_no_retry_gets_none(self, play: Play) -> None:
        book = play(stream(comes_back=True, takes_retry=False)) >> data(EVENT) >> drain()
        book >> sleep(0) << closed(CloseReason.DRAIN)

    def test_until_its_moment_it_goes_on(self, play: Play) -> None:
        book = play(stream(comes_back=True)) >> drain(after=3) >> data(EVENT * 2) >> sleep(3) << sent(RETRY)
        book << closed(CloseReason.DRAIN)
        assert book.session.stats.events == 2

    def test_inside_an_event_it_waits_for_the_end_and_drops_the_rest(self, play: Play) -> None:
        book = play(stream(comes_back=True)) >> data(b"data: x\n") >> drain() >> sleep(14) >> data(b"data: y\n")
        book >> data(b"data: z\n\ndata: next\n\n") << sent(b"data: z\n\n", RETRY) << closed(CloseReason.DRAIN)
        assert book.session.stats.events == 1

    @pytest.mark.parametrize("eol", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
    def test_the_end_of_an_event_is_found_across_pieces(self, eol: bytes, play: Play) -> None:
        book = play(stream(comes_back=True)) >> data(b"data: x" + eol) >> drain() >> sleep(1)
        book >> data(eol + b"data: next" + eol * 2) << sent(eol, b"retry: 1000", eol * 2) << closed(CloseReason.DRAIN)

    def test_without_heartbeats_the_last_bytes_may_be_inside_a_line(self, play: Play) -> None:
        """The three bytes LF LF d end inside a line, but hold a boundary: the one before the event under way."""
        book = play(stream(interval=None, comes_back=True)) >> data(b"d") >> drain() >> sleep(1)
        book >> data(b"ata: x\n\nmore") << sent(b"ata: x\n\n", RETRY) << closed(CloseReason.DRAIN)

    def test_at_the_deadline_it_breaks_off(self, play: Play) -> None:
        book = play(stream(interval=1000, comes_back=True)) >> data(b"data: x\n") >> drain(within=25, retry=500)
        book >> sleep(24.9) << nothing >> sleep(0.1) << sent(b": drain\n") << closed(CloseReason.DRAIN, clean=False)

    def test_a_driver_that_comes_after_the_deadline_ends_it_well_between_events(self, play: Play) -> None:
        book = play(stream(interval=1000, comes_back=True)) >> data(EVENT) >> drain(after=3, within=25) >> late(30)
        book << sent(RETRY) << closed(CloseReason.DRAIN)

    def test_the_upstream_may_end_first(self, play: Play) -> None:
        book = play(stream(comes_back=True)) >> data(b"data: x\nda") << sent(b"data: x\n") >> drain(retry=500)
        book >> sleep(1) >> eof() << sent(b"da") << ENDED

    def test_clients_that_reconnect_are_told_when(self, play: Play) -> None:
        book = play(stream(comes_back=True)) >> data(b"data: x\r\n\r\n") >> drain(retry=4711)
        book >> sleep(0) << sent(b"retry: 4711\r\n\r\n") << closed(CloseReason.DRAIN)

    def test_of_two_ends_that_are_waited_for_the_first_one_counts(self, play: Play) -> None:
        aged = (
            play(stream(interval=1000.0, timeouts=TOO_OLD, comes_back=True))
            >> data(b"data: x\n")
            >> sleep(60)
            >> drain()
            >> sleep(1)
        )
        aged >> data(b"\n") << sent(b"\n", RETRY) << closed(CloseReason.MAX_DURATION)
        drained = (
            play(stream(interval=1000.0, timeouts=TOO_OLD, comes_back=True))
            >> data(b"data: x\n")
            >> sleep(50)
            >> drain()
        )
        drained >> sleep(15) >> data(b"\n") << sent(b"\n", RETRY) << closed(CloseReason.DRAIN)


TERMINAL = {
    Dialect.OPENAI_CHAT: b"data: [DONE]\n\n",
    Dialect.OPENAI_COMPLETIONS: b"data: [DONE]\n\n",
    Dialect.OPENAI_RESPONSES: b'event: response.completed\ndata: {"type":"response.completed"}\n\n',
    Dialect.ANTHROPIC: b'event: message_stop\ndata: {"type":"message_stop"      }\n\n',
}
FINISHED = b'data: {"candidates": [{"finishReason": "STOP"}]}\n\n'


class TestS10TheLastEvent:
    @pytest.mark.parametrize("dialect", TERMINAL)
    def test_behind_it_no_heartbeat_goes_out_and_the_upstream_is_closed(self, dialect: Dialect, play: Play) -> None:
        book = play(stream(interval=1.0, dialect=dialect)) >> data(EVENT) >> sleep(1) << sent(HB)
        book >> data(TERMINAL[dialect]) >> sleep(4.9) << nothing >> sleep(0.1) << ENDED
        assert book.session.stats.heartbeats_skipped == {"at_end": 4}

    @pytest.mark.parametrize("dialect", TERMINAL)
    @pytest.mark.parametrize("before", [b"", EVENT, EVENT * 100])
    def test_the_driver_is_there_in_time_whatever_came_before(
        self, dialect: Dialect, before: bytes, play: Play
    ) -> None:
        book = play(stream(interval=15.0, dialect=dialect)) >> data(EVENT) >> sleep(9) >> data(before)
        book >> data(TERMINAL[dialect]) >> sleep(4.9) << nothing >> sleep(0.1) << ENDED

    @pytest.mark.parametrize("dialect", TERMINAL)
    @pytest.mark.parametrize("reason", [reason for reason in CloseReason if not row(reason).is_by_client])
    def test_every_end_is_a_clean_one(self, dialect: Dialect, reason: CloseReason, play: Play) -> None:
        book = play(stream(dialect=dialect)) >> data(EVENT) >> data(EVENT + TERMINAL[dialect]) >> error(reason)
        book << ENDED

    def test_comments_of_the_upstream_do_not_put_it_off(self, play: Play) -> None:
        book = play(stream(dialect=Dialect.OPENAI_CHAT)) >> data(EVENT) >> data(TERMINAL[Dialect.OPENAI_CHAT])
        book >> sleep(2) >> data(b": ping\n\n") >> sleep(2) >> data(b": ping\n\n") >> sleep(0.9) << nothing
        book >> sleep(0.1) << ENDED

    @pytest.mark.parametrize("rest", [b": x", b"data: x", b"id: 3"])
    def test_an_unfinished_line_behind_it_counts_for_nothing(self, rest: bytes, play: Play) -> None:
        last = TERMINAL[Dialect.OPENAI_CHAT]
        book = play(stream(interval=1.0, dialect=Dialect.OPENAI_CHAT)) >> data(last + rest) << sent(last)
        book >> sleep(3) << nothing >> error(CloseReason.UPSTREAM_ERROR) << ENDED

    def test_of_gemini_it_may_be_inside_a_long_event(self, play: Play) -> None:
        middle = b'"finishReason": "STOP"'
        long = b'data: {"a": "' + b"x" * 9000 + b'", ' + middle + b', "b": "' + b"y" * 9000 + b'"}\n\n'
        for pieces in ([long], [long[:5000], long[5000:]]):
            session = stream(dialect=Dialect.GEMINI, form=HeartbeatForm.BLANK)
            for piece in pieces:
                session.forward(piece, 1.0)
            session.receive_error(CloseReason.DRAIN, now=2.0)
            assert (session.clean, session.data_to_send()) == (True, b"")

    def test_one_that_is_not_complete_is_none(self, play: Play) -> None:
        book = play(stream(dialect=Dialect.OPENAI_CHAT)) >> data(b"data: [DONE]\n") >> error(CloseReason.UPSTREAM_ERROR)
        book << sent(b": upstream_error\n") << closed(CloseReason.UPSTREAM_ERROR, clean=False)

    def test_of_gemini_it_is_not_known_in_time(self, play: Play) -> None:
        timeouts = TimeoutPolicy(idle=40, write=None)
        form = HeartbeatForm.BLANK
        book = play(stream(dialect=Dialect.GEMINI, form=form, timeouts=timeouts)) >> data(FINISHED) >> sleep(39)
        book << sent(b"\n\n") >> sleep(1) << closed(CloseReason.IDLE_TIMEOUT)
        book = play(stream(dialect=Dialect.GEMINI, form=form)) >> data(FINISHED) >> error(CloseReason.UPSTREAM_ERROR)
        book << ENDED

    @pytest.mark.parametrize("dialect", [dialect for dialect in DIALECTS if dialect is not Dialect.MCP])
    def test_an_error_of_the_upstream_is_a_last_word(self, dialect: Dialect, play: Play) -> None:
        said = error_event(dialect, StreamError("overloaded", 529, "busy"))
        book = play(stream(dialect=dialect)) >> data(said) >> error(CloseReason.UPSTREAM_ERROR)
        book << closed(CloseReason.UPSTREAM_ERROR, clean=False)
        play(stream(dialect=dialect)) >> data(said) >> eof() << ENDED

    def test_of_mcp_the_response_is_one(self, play: Play) -> None:
        said = b'event: message\ndata: {"jsonrpc":"2.0","id":7,"result":{}}\n\n'
        book = play(stream(dialect=Dialect.MCP, request_id=7)) >> data(said) >> error(CloseReason.UPSTREAM_ERROR)
        book << closed(CloseReason.UPSTREAM_ERROR, clean=False)

    @pytest.mark.parametrize("marker", [Marker(event="over"), Marker(data="bye")])
    def test_a_route_can_name_its_own(self, marker: Marker, play: Play) -> None:
        last = b"event: over\ndata: bye\n\n"
        book = play(stream(interval=1.0, marker=marker)) >> data(EVENT) >> data(last) >> sleep(5) << ENDED
        book = play(stream(marker=marker)) >> data(last) >> data(EVENT) >> error(CloseReason.UPSTREAM_ERROR)
        book << sent(error_of(CloseReason.UPSTREAM_ERROR)) << closed(CloseReason.UPSTREAM_ERROR, clean=False)


class TestDeadlines:
    """The driver asks once and comes then: nothing may fall due earlier without its knowing."""

    ALL = TimeoutPolicy(idle=40, write=30, max_duration=1000)

    @pytest.mark.parametrize("now", [0.0, 14.999])
    def test_a_spurious_call_does_nothing(self, now: float) -> None:
        session = stream(timeouts=self.ALL)
        session.receive_data(EVENT + b"held", now=0.0)
        session.data_to_send()
        before = (session.next_deadline(), session.stats.heartbeats, dict(session.stats.heartbeats_skipped))
        for _ in range(3):
            session.handle_timeout(now=now)
        assert session.data_to_send() == b""
        assert (session.next_deadline(), session.stats.heartbeats, session.stats.heartbeats_skipped) == before

    @pytest.mark.parametrize("interval", [None, 15.0])
    @pytest.mark.parametrize("timeouts", [ALL, NO_TIMEOUTS, TimeoutPolicy(idle=5, write=None)])
    @pytest.mark.parametrize("piece", [b"held", b"line\n", EVENT, b"x" * 20, b"cr\r", b"\n"])
    def test_bytes_never_bring_a_deadline_forward(
        self, interval: float | None, timeouts: TimeoutPolicy, piece: bytes
    ) -> None:
        session = stream(interval=interval, timeouts=timeouts, line=16)
        for step in range(1, 9):
            armed = session.next_deadline()
            session.receive_data(piece, now=step / 2)
            later = session.next_deadline()
            assert armed == later or (armed is not None and later is not None and armed <= later)

    def test_what_can_bring_it_forward(self) -> None:
        session = stream(interval=None, timeouts=TimeoutPolicy(idle=40, write=30), responded=False)
        assert session.next_deadline() is None
        session.receive_response(now=1.0)
        assert session.next_deadline() == 41.0
        session.pause_writing(unsent=1, now=2.0)
        assert session.next_deadline() == 32.0
        session.drain(at=3.0, deadline=9.0)
        assert session.next_deadline() == 3.0

    def test_an_unblocked_client_brings_the_idle_timeout_back(self) -> None:
        session = stream(interval=None, timeouts=TimeoutPolicy(idle=40, write=None))
        session.pause_writing(unsent=1, now=1.0)
        assert session.next_deadline() is None
        session.resume_writing(now=3.0)
        assert session.next_deadline() == 42.0  # without the two seconds in which nobody listened

    def test_short_waits_for_the_client_do_not_keep_a_silent_upstream_alive(self) -> None:
        """A driver may note each write that does not return at once, that of a heartbeat, too."""
        session = stream(interval=15, timeouts=TimeoutPolicy(idle=40))
        for beat in (15, 30):
            session.handle_timeout(now=beat)
            session.pause_writing(unsent=1, now=beat)
            session.pause_writing(unsent=1, now=beat)
            session.resume_writing(now=beat)
            session.resume_writing(now=beat)
        session.handle_timeout(now=40)
        assert session.close_reason is CloseReason.IDLE_TIMEOUT

    def test_what_arrives_while_the_client_is_behind_counts_from_its_catching_up(self) -> None:
        session = stream(interval=None, timeouts=TimeoutPolicy(idle=40, write=None))
        session.pause_writing(unsent=1, now=1.0)
        session.receive_data(b"data: in flight\n\n", now=2.0)
        session.resume_writing(now=9.0)
        assert session.next_deadline() == 49.0

    def test_each_timer_falls_due_exactly_when_it_says(self) -> None:
        for timeouts, ready in ((TimeoutPolicy(idle=0.3), False), (TimeoutPolicy(idle=None, write=0.7), True)):
            session = stream(interval=None, timeouts=timeouts)
            if ready:
                session.pause_writing(unsent=1, now=0.1)
            deadline = session.next_deadline()
            assert deadline is not None
            session.handle_timeout(now=deadline)
            assert session.close_reason is not None
