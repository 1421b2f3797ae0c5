"""What leaves for a client of NDJSON, when, and how does it end?"""

import json

import pytest

from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.heartbeat import WhiteSpace
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import CloseReason
from tests.support.playbook import (
    Play,
    blocked,
    closed,
    data,
    drain,
    eof,
    error,
    error_record,
    json_response,
    nothing,
    records,
    refusal,
    response,
    sent,
    sleep,
    stop,
    unblocked,
)

ONE, TWO, DONE = b'{"a":1}\n', b'{"b":2}\n', b'{"done":true}\n'
END, BROKEN = CloseReason.UPSTREAM_END, CloseReason.UPSTREAM_ERROR
BOM = b"\xef\xbb\xbf"

SPACE, NEWLINE, OFF, AUTO = WhiteSpace.SPACE, WhiteSpace.NEWLINE, WhiteSpace.OFF, WhiteSpace.AUTO
GENERIC = Dialect.GENERIC


class TestHeartbeats:
    @pytest.mark.parametrize(
        ("dialect", "white_space", "beat"),
        [
            (Dialect.OLLAMA, AUTO, b" "),
            (Dialect.OLLAMA, NEWLINE, b"\n"),
            (GENERIC, SPACE, b" "),
            (GENERIC, NEWLINE, b"\n"),
            (GENERIC, AUTO, b""),
            (Dialect.OPENAI_CHAT, AUTO, b""),
            (GENERIC, OFF, b""),
            (Dialect.OLLAMA, OFF, b""),
        ],
    )
    def test_which_there_are(self, play: Play, dialect: Dialect, white_space: WhiteSpace, beat: bytes) -> None:
        session = records(dialect=dialect, white_space=white_space)
        play(session) >> data(ONE) >> sleep(15) << sent(beat) >> sleep(15) << sent(beat) >> data(TWO)
        assert session.stats.heartbeats == 2 * bool(beat)

    def test_any_number_stands_before_one_record(self, play: Play) -> None:
        book = play(records()) >> data(ONE) >> sleep(45) << sent(b"   ") >> data(TWO)
        book >> sleep(15) << sent(b" ") >> data(DONE) >> eof() << closed(END)

    def test_none_goes_into_a_record(self, play: Play) -> None:
        book = play(records()) >> data(ONE + b'{"b"') << sent(ONE) >> sleep(30) << sent(b"  ")
        book >> data(b':2}\n{"c') << sent(TWO)

    def test_nor_into_one_that_is_longer_than_the_limit(self, play: Play) -> None:
        session = records(line=16)
        book = play(session) >> data(b'{"long": "' + b"l" * 16) >> sleep(15) << nothing >> data(b'"}')
        book >> sleep(15) << nothing >> data(b"\n") >> sleep(15) << sent(b" ")
        assert session.stats.heartbeats_skipped == {"mid_line": 2}

    def test_none_while_the_client_takes_nothing(self, play: Play) -> None:
        session = records()
        play(session) >> data(ONE) >> blocked() >> sleep(15) << nothing >> unblocked() >> sleep(15) << sent(b" ")
        assert session.stats.heartbeats_skipped == {"backpressure": 1}

    @pytest.mark.parametrize(
        "last",
        [
            DONE,
            b'{"model": "m", "done" : true, "context": [' + b"1, " * 60_000 + b"1]}\r\n",
            b'{"error": "no"}\n',
            b'{"error": {"message": "no"}}\n',
            ONE + b"\n" + DONE + b"\n",
        ],
    )
    def test_none_behind_the_last_record(self, play: Play, last: bytes) -> None:
        session = records()
        play(session) >> data(last[:7]) << nothing
        play(session) >> data(last[7:]) << sent(last)
        session.handle_timeout(now=15.0)
        assert session.data_to_send() == b""
        assert session.stats.heartbeats_skipped.get("at_end", 0) or session.close_reason is END

    @pytest.mark.parametrize(
        "record", [b'{"message": {"done": true}}\n', b'{"done": false}\n', b'{"error": null}\n', b'"done"\n', b"x\n"]
    )
    def test_but_behind_all_others(self, play: Play, record: bytes) -> None:
        play(records()) >> data(record) >> sleep(15) << sent(b" ")

    def test_they_have_a_lead_of_their_own(self, play: Play) -> None:
        play(records(lead=1.5)) >> data(ONE) >> sleep(13) << nothing >> sleep(0.5) << sent(b" ")


class TestBytes:
    def test_nothing_is_held_where_there_are_no_heartbeats(self, play: Play) -> None:
        session = records(dialect=GENERIC)
        for piece in (b"{", b'"a"', b":1}", b"\n", BOM, b"x"):
            play(session) >> data(piece)

    def test_crlf_and_a_lone_cr(self, play: Play) -> None:
        book = play(records()) >> data(b'{"a":1}\r') << nothing >> sleep(15) << sent(b" ")
        book >> data(b"\n") << sent(b'{"a":1}\r\n') >> sleep(15) << sent(b" ")

    def test_a_bom_stays_in_front(self, play: Play) -> None:
        play(records()) >> data(BOM + ONE) << sent(BOM + ONE)

    @pytest.mark.parametrize("cut", [1, 2, 3, 5])
    def test_and_goes_behind_a_heartbeat(self, play: Play, cut: int) -> None:
        session = records(responded=False)
        play(session) << sent(b" ") >> response() >> data((BOM + ONE)[:cut]) << nothing
        play(session) >> data((BOM + ONE)[cut:]) << sent(ONE)

    @pytest.mark.parametrize("line", [b"\n", b"\r\n", b" \n", b"no json\n", b"\xff\xfe\n", b'{"half": \n'])
    def test_whatever_a_line_holds_it_passes(self, play: Play, line: bytes) -> None:
        play(records()) >> data(ONE) >> data(line) >> data(line + ONE + line)

    @pytest.mark.parametrize("dialect", [Dialect.OLLAMA, GENERIC])
    def test_records_are_counted(self, dialect: Dialect) -> None:
        session = records(dialect=dialect, white_space=SPACE)
        for piece in (b"\n", ONE, ONE + TWO, b"\n", b"1\n2\n\n", b" \r\n", ONE + b"\n", b"[", b"1]", b"\n", b"3"):
            session.receive_data(piece, now=1.0)
        session.receive_eof(now=2.0)
        assert session.stats.events == 8
        assert session.stats.bytes_out == session.stats.bytes_in == len(session.data_to_send())


class TestEnds:
    def test_the_last_record_needs_no_line_end(self, play: Play) -> None:
        play(records()) >> data(b'{"a":1}') << nothing >> eof() << sent(b'{"a":1}') << closed(END)

    def test_a_break_between_records_is_an_error_record(self, play: Play) -> None:
        play(records()) >> data(ONE) >> error(BROKEN) << sent(error_record(BROKEN)) << closed(BROKEN, clean=False)

    def test_what_is_unfinished_is_dropped(self, play: Play) -> None:
        book = play(records()) >> data(ONE + b'{"b') << sent(ONE)
        book >> error(BROKEN) << sent(error_record(BROKEN)) << closed(BROKEN, clean=False)

    def test_within_a_record_it_is_a_break_alone(self, play: Play) -> None:
        play(records(interval=None)) >> data(b'{"b') >> error(BROKEN) << closed(BROKEN, clean=False)

    def test_of_other_services_there_is_no_error_record(self, play: Play) -> None:
        session = records(dialect=GENERIC, white_space=SPACE)
        play(session) >> data(ONE) >> error(BROKEN) << closed(BROKEN, clean=False)

    def test_an_error_of_the_service_is_the_last_word(self, play: Play) -> None:
        play(records()) >> data(b'{"error":"x"}\n') >> error(BROKEN) << closed(BROKEN, clean=False)

    def test_behind_the_terminal_record_each_end_is_a_clean_one(self, play: Play) -> None:
        play(records()) >> data(DONE) >> error(BROKEN) << closed(END)

    def test_an_upstream_that_does_not_close_behind_it_is_closed(self, play: Play) -> None:
        play(records()) >> data(ONE + DONE) >> sleep(4.9) << nothing >> sleep(0.1) << closed(END)

    def test_also_if_it_trickles_on(self, play: Play) -> None:
        book = play(records()) >> data(DONE) >> sleep(3) >> data(b"{") << nothing
        book >> sleep(3) << closed(END)

    @pytest.mark.parametrize("reason", [CloseReason.IDLE_TIMEOUT, CloseReason.KILLED, CloseReason.INTERNAL_ERROR])
    def test_other_ends(self, play: Play, reason: CloseReason) -> None:
        play(records()) >> data(ONE) >> error(reason) << sent(error_record(reason)) << closed(reason, clean=False)

    def test_idle(self, play: Play) -> None:
        session = records(timeouts=TimeoutPolicy(idle=20, write=None))
        reason = CloseReason.IDLE_TIMEOUT
        book = play(session) >> data(ONE) >> sleep(15) << sent(b" ")
        book >> sleep(5) << sent(error_record(reason)) << closed(reason, clean=False)

    @pytest.mark.parametrize("comes_back", [False, True])
    def test_too_old(self, play: Play, comes_back: bool) -> None:
        """No client comes back for NDJSON by itself."""
        session = records(timeouts=TimeoutPolicy(idle=None, write=None, max_duration=9), comes_back=comes_back)
        reason = CloseReason.MAX_DURATION
        play(session) >> data(ONE) >> sleep(9) << sent(error_record(reason)) << closed(reason, clean=False)

    def test_too_old_in_the_middle_of_a_record(self, play: Play) -> None:
        timeouts = TimeoutPolicy(idle=None, write=None, max_duration=9)
        reason = CloseReason.MAX_DURATION
        book = play(records(interval=None, timeouts=timeouts)) >> data(b'{"a"') >> sleep(9)
        book >> data(b":1}\n" + TWO) << sent(b":1}\n", error_record(reason)) << closed(reason, clean=False)
        session = records(interval=None, timeouts=timeouts)
        play(session) >> data(b'{"a"') >> sleep(13) << nothing >> sleep(1) << closed(reason, clean=False)

    def test_a_drain_lets_it_finish(self, play: Play) -> None:
        reason = CloseReason.DRAIN
        play(records()) >> data(ONE) >> drain(after=None) >> data(TWO) >> eof() << closed(END)
        session = records()
        book = play(session) >> data(ONE) >> drain(after=None) >> sleep(15) << sent(b" ")
        book >> sleep(10) << sent(error_record(reason)) << closed(reason, clean=False)

    def test_stopped(self, play: Play) -> None:
        reason = CloseReason.STOPPED
        play(records()) >> data(ONE) >> stop(reason) << closed(reason)
        book = play(records(interval=None)) >> data(b'{"a"') >> stop(reason)
        book >> data(b":1}\n" + TWO) << sent(b":1}\n") << closed(reason)
        play(records(interval=None)) >> data(b'{"a"') >> stop(reason) >> sleep(1) << closed(reason, clean=False)

    def test_a_client_that_has_gone_is_told_nothing(self, play: Play) -> None:
        reason = CloseReason.CLIENT_GONE
        play(records()) >> data(ONE) >> error(reason) << closed(reason, clean=False)


class TestPromised:
    def test_spaces_then_the_stream(self, play: Play) -> None:
        session = records(responded=False)
        book = play(session) << sent(b" ") >> sleep(15) << sent(b" ") >> response() >> data(ONE) >> data(DONE)
        book >> eof() << closed(END)
        assert (session.stats.heartbeats, session.stats.heartbeats_before_response) == (2, 2)

    def test_no_idle_timeout_before_the_response(self, play: Play) -> None:
        play(records(responded=False, interval=None, timeouts=TimeoutPolicy(idle=5))) >> sleep(100) >> response()

    @pytest.mark.parametrize("cut", range(1, 24, 3))
    def test_json_becomes_one_record(self, cut: int) -> None:
        body = BOM + b'\r\n{"done":\n true,\r\n "n": []\n}\n\n'
        session = records(responded=False)
        session.receive_json(now=1.0)
        for start in range(0, len(body), cut):
            session.receive_data(body[start : start + cut], now=1.0)
        session.receive_eof(now=1.0)
        out = session.data_to_send()
        assert out.endswith(b"}\n")
        assert out.count(b"\n") == 1
        assert json.loads(out) == {"done": True, "n": []}
        assert (session.close_reason, session.clean, session.stats.events) == (END, True, 1)

    def test_line_ends_are_no_way_to_fill_the_memory(self) -> None:
        session = records(responded=False)
        session.receive_json(now=1.0)
        for _ in range(100):
            session.receive_data(b"\n" * 10_000, now=1.0)
        session.receive_data(b"{}", now=1.0)
        session.receive_eof(now=1.0)
        assert session.data_to_send() == b"  {}\n"

    def test_an_empty_body_is_no_json(self, play: Play) -> None:
        book = play(records(responded=False)) << sent(b" ") >> json_response() >> data(b"\n \n") << nothing
        book >> eof() << sent(error_record(BROKEN)) << closed(BROKEN, clean=False)

    def test_json_that_breaks_off(self, play: Play) -> None:
        book = play(records(responded=False)) << sent(b" ") >> json_response() >> data(b'{"a"') << nothing
        book >> error(BROKEN) << sent(error_record(BROKEN)) << closed(BROKEN, clean=False)

    def test_a_refusal_keeps_its_words(self, play: Play) -> None:
        told = b'{"error": "model \\"x\\" not found", "status": 404, "retry_after": "7"}\n'
        book = play(records(responded=False)) << sent(b" ")
        book >> refusal(404, retry_after="7", body=b'{"error": "model \\"x\\" not found"}') << sent(told)
        book << closed(END, clean=False)
