"""Does an event stream travel by the rules? One class for each; how it begins and ends is in test_session_ends.py."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import CloseReason
from tests.support.playbook import (
    Play,
    closed,
    data,
    eof,
    error,
    error_of,
    late,
    nothing,
    sent,
    sleep,
    stream,
)
from tests.support.whatwg import Event, parse

HB = b": heartbeat\n"
BOM = b"\xef\xbb\xbf"
EVENT = b"data: x\n\n"
ENDED = closed(CloseReason.UPSTREAM_END)
NO_TIMEOUTS = TimeoutPolicy(idle=None, write=None)
RECORDED = sorted((Path(__file__).parents[1] / "e2e/clients/streams").glob("*.sse"))

Cut = Callable[[bytes], list[bytes]]


def whole(body: bytes) -> list[bytes]:
    return [body]


def byte_by_byte(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


def at_random(body: bytes) -> list[bytes]:
    cuts = sorted(random.Random(len(body)).sample(range(1, len(body)), k=len(body) // 10))
    return [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]


CUTS = pytest.mark.parametrize("cut", [whole, byte_by_byte, at_random])
FORMS = pytest.mark.parametrize("form", HeartbeatForm)
SAMPLES = pytest.mark.parametrize("sample", RECORDED, ids=lambda path: path.stem)


def relay(session: StreamSession, pieces: list[bytes], *, silence: float) -> bytes:
    """All that leaves when `silence` seconds pass before each piece and before the end."""
    out, now = session.data_to_send(), 0.0
    for piece in pieces:
        now += silence
        session.handle_timeout(now=now)
        session.receive_data(piece, now=now)
        out += session.data_to_send()
    session.handle_timeout(now=now + silence)
    session.receive_eof(now=now + silence)
    return out + session.data_to_send()


class TestS1Transparent:
    @CUTS
    @SAMPLES
    @pytest.mark.parametrize("interval", [None, 15.0])
    def test_without_silence_the_body_that_leaves_is_the_body_that_came(
        self, sample: Path, cut: Cut, interval: float | None
    ) -> None:
        body = sample.read_bytes()
        assert relay(stream(interval=interval), cut(body), silence=0.001) == body

    @CUTS
    @FORMS
    @SAMPLES
    def test_with_heartbeats_all_the_time_no_event_changes(self, sample: Path, form: HeartbeatForm, cut: Cut) -> None:
        body = sample.read_bytes()
        session = stream(interval=1, form=form)
        seen = parse(relay(session, cut(body), silence=0.1 if cut is byte_by_byte else 1)).events
        meant = parse(body).events
        pings = [event for event in meant if event.type == "ping"]  # one stream brings its own, and they look like ours
        assert session.stats.heartbeats > 0
        assert [event for event in seen if event in meant and event not in pings] == [
            event for event in meant if event not in pings
        ]
        assert session.stats.events == len(meant)

    def test_each_piece_leaves_as_soon_as_it_came(self, play: Play) -> None:
        play(stream(interval=None)) >> data(b"da") >> data(b"ta: x") >> data(b"\r") >> data(b"\n\r\n") >> eof() << ENDED

    def test_an_empty_piece_is_nothing(self, play: Play) -> None:
        play(stream()) >> data(b"") >> data(EVENT) >> data(b"") >> eof() << ENDED

    def test_an_unfinished_last_event_is_passed_on(self, play: Play) -> None:
        play(stream()) >> data(EVENT + b"data: y\n") >> data(b"da") << nothing >> eof() << sent(b"da") << ENDED


class TestS2TwoClocks:
    def test_a_heartbeat_fires_when_downstream_has_heard_nothing(self, play: Play) -> None:
        book = play(stream()) >> sleep(14.9) >> data(EVENT) >> sleep(14.9) << nothing
        book >> sleep(0.1) << sent(HB) >> sleep(14.9) << nothing >> sleep(0.1) << sent(HB)

    def test_each_may_come_early(self) -> None:
        """So that streams which began together do not all beat together."""
        session = stream(form=HeartbeatForm.AUTO, lead=1.5)
        assert session.next_deadline() == 13.5
        session.handle_timeout(now=13.5)
        assert session.data_to_send() == HB + b"\n"
        assert session.next_deadline() == 27.0

    def test_the_example_of_the_design(self, play: Play) -> None:
        play(stream()) >> data(b"data: x\n") >> sleep(15) << sent(b": heartbeat\n")

    def test_what_is_held_back_is_not_heard(self, play: Play) -> None:
        play(stream()) >> sleep(10) >> data(b"dat") << nothing >> sleep(5) << sent(HB)

    def test_heartbeats_never_reset_the_idle_timeout(self, play: Play) -> None:
        book = play(stream(timeouts=TimeoutPolicy(idle=40))) >> data(EVENT) >> sleep(39) << sent(HB * 2)
        book >> sleep(1) << sent(error_of(CloseReason.IDLE_TIMEOUT)) << closed(CloseReason.IDLE_TIMEOUT, clean=False)

    def test_bytes_of_the_upstream_reset_it_also_while_they_are_held(self, play: Play) -> None:
        book = play(stream(interval=100, timeouts=TimeoutPolicy(idle=40))) >> sleep(39) >> data(b"d") << nothing
        book >> sleep(39) >> data(b"a") << nothing >> sleep(39) << sent(HB)

    def test_no_interval_no_heartbeat(self, play: Play) -> None:
        book = play(stream(interval=None)) >> data(EVENT) >> sleep(10_000) << nothing
        assert book.session.next_deadline() is None

    def test_a_driver_that_comes_late_sends_one_heartbeat(self, play: Play) -> None:
        play(stream()) >> late(100) << sent(HB) >> sleep(14.9) << nothing


class TestS3Position:
    @FORMS
    def test_before_the_first_byte_and_after_an_event_any_form(self, form: HeartbeatForm, play: Play) -> None:
        session = stream(form=form)
        relayed = relay(session, [EVENT], silence=15)
        assert session.stats.heartbeats == 2
        assert [event for event in parse(relayed).events if event.data == "x"] == [Event("message", "x", "")]

    @FORMS
    def test_inside_an_event_one_comment_line(self, form: HeartbeatForm, play: Play) -> None:
        book = play(stream(form=form)) >> data(b"event: e\n") >> sleep(15)
        if form is HeartbeatForm.BLANK:
            book << nothing
            assert book.session.stats.heartbeats_skipped == {"inside_event": 1}
        else:
            book << sent(HB)

    def test_inside_a_line_nothing_ever(self, play: Play) -> None:
        book = play(stream(line=16)) >> data(b"data: " + b"x" * 20) >> sleep(150) << nothing
        assert book.session.stats.heartbeats_skipped == {"mid_line": 10}


class TestS4AlwaysInjectable:
    def test_a_stream_that_stalls_inside_a_line_is_kept_alive(self, play: Play) -> None:
        book = play(stream()) >> data(EVENT + b"data: y") << sent(EVENT) >> sleep(15) << sent(HB)
        book >> data(b"z\n\nda") << sent(b"data: yz\n\n")

    def test_a_line_of_the_limit_is_held_and_one_byte_more_is_not(self, play: Play) -> None:
        book = play(stream(line=16)) >> data(b"x" * 16) << nothing >> sleep(15) << sent(HB)
        book >> data(b"y") << sent(b"x" * 16 + b"y") >> sleep(15) << nothing >> data(b"z")
        book >> data(b"\ndata") << sent(b"\n") >> sleep(15) << sent(HB) >> data(b"\n") << sent(b"data\n")

    def test_the_default_limit(self, play: Play) -> None:
        book = play(stream()) >> data(b"x" * 65_536) << nothing
        book >> data(b"x") << sent(b"x" * 65_537) >> data(b"x" * 100_000) >> data(b"\n")

    def test_behind_a_long_line_holding_begins_again(self, play: Play) -> None:
        book = play(stream(line=16)) >> data(b"x" * 17) >> data(b"yy\nda") << sent(b"yy\n")
        book >> data(b"ta: z") << nothing >> sleep(15) << sent(HB) >> data(b"\n") << sent(b"data: z\n")

    def test_what_is_held_when_the_upstream_ends_cleanly_is_sent(self, play: Play) -> None:
        play(stream()) >> data(b"data: x") << nothing >> eof() << sent(b"data: x") << ENDED

    def test_what_is_held_when_it_breaks_is_dropped(self, play: Play) -> None:
        book = play(stream()) >> data(EVENT + b"data: y") << sent(EVENT)
        book >> error(CloseReason.UPSTREAM_ERROR) << sent(error_of(CloseReason.UPSTREAM_ERROR))
        book << closed(CloseReason.UPSTREAM_ERROR, clean=False)

    def test_nothing_is_held_without_heartbeats(self, play: Play) -> None:
        play(stream(interval=None)) >> data(b"data: x") >> data(b"\n")

    def test_a_piece_of_a_long_line_is_not_taken_for_a_field(self, play: Play) -> None:
        book = play(stream(form=HeartbeatForm.AUTO, line=16)) >> data(b"data: " + b"x" * 20) >> data(b"id: 1\n\n")
        book >> sleep(15) << sent(HB + b"\n")


class TestS5CR:
    def test_an_lf_behind_something_inserted_is_dropped(self, play: Play) -> None:
        book = play(stream()) >> data(b"data: x\r") >> sleep(15) << sent(HB)
        book >> data(b"\ndata: y\r\n\r\n") << sent(b"data: y\r\n\r\n")

    def test_an_lf_alone_is_dropped_too(self, play: Play) -> None:
        book = play(stream()) >> data(b"data: x\r") >> sleep(30) << sent(HB * 2) >> data(b"\n") << nothing
        book >> data(b"\n") >> sleep(15) << sent(b": heartbeat\r\n")
        assert book.session.stats.events == 1

    def test_an_lf_is_a_blank_line_where_the_cr_did_not_come_before_it(self, play: Play) -> None:
        play(stream()) >> data(b"data: x\r") >> sleep(15) << sent(HB) >> data(b"data: y\n") >> data(b"\n")

    def test_nothing_inserted_nothing_dropped(self, play: Play) -> None:
        play(stream()) >> data(b"data: x\r") >> sleep(14) >> data(b"\n") >> data(b"\r") >> data(b"\n")

    def test_an_lf_that_ends_a_held_line_is_not_dropped(self, play: Play) -> None:
        book = play(stream()) >> data(b"data: x\rdata: y") << sent(b"data: x\r") >> sleep(15) << sent(HB)
        book >> data(b"\n\n") << sent(b"data: y\n\n")

    def test_behind_a_cr_of_ours_the_lf_belongs_to_it(self, play: Play) -> None:
        """CR, ours with CR, LF, LF: were the first LF dropped, the second would be half of a CRLF, not a blank line."""
        book = play(stream()) >> data(b"data: x\rdata: y\r") >> sleep(15) << sent(b": heartbeat\r") >> data(b"\n\n")
        assert book.session.stats.events == 1

    @pytest.mark.parametrize(
        ("before", "beat"),
        [
            (b"data: x\n", b": heartbeat\n"),
            (b"data: x\r\n", b": heartbeat\r\n"),
            (b"data: x\rdata: y\r", b": heartbeat\r"),
            (b"data: x\rdata: y\n", b": heartbeat\n"),  # a CR of ours would swallow an LF that follows
        ],
    )
    def test_our_line_end_follows_the_stream(self, before: bytes, beat: bytes, play: Play) -> None:
        play(stream()) >> data(before) >> sleep(15) << sent(beat)


class TestS6BOM:
    @CUTS
    def test_a_bom_behind_a_heartbeat_is_removed(self, cut: Cut) -> None:
        assert relay(stream(interval=1), cut(BOM + EVENT), silence=1).replace(HB, b"") == EVENT

    @CUTS
    @pytest.mark.parametrize("interval", [None, 15.0])
    def test_a_bom_behind_a_prelude_is_removed(self, cut: Cut, interval: float | None) -> None:
        session = stream(interval=interval, prelude=True)
        assert relay(session, cut(BOM + EVENT), silence=0.001) == HB + EVENT
        assert session.stats.events == 1

    @CUTS
    @pytest.mark.parametrize("interval", [None, 15.0])
    def test_a_bom_that_comes_first_stays(self, cut: Cut, interval: float | None) -> None:
        session = stream(interval=interval)
        assert relay(session, cut(BOM + EVENT), silence=0.001) == BOM + EVENT
        assert session.stats.events == 1

    def test_only_the_first_bom_is_one(self, play: Play) -> None:
        play(stream()) >> sleep(15) << sent(HB) >> data(BOM + BOM + b"\n") << sent(BOM + b"\n") >> data(BOM + b"\n")

    def test_a_lone_bom_is_first_or_nothing(self, play: Play) -> None:
        play(stream()) >> data(BOM) << nothing >> eof() << sent(BOM) << ENDED
        play(stream()) >> data(BOM) << nothing >> sleep(15) << sent(HB) >> eof() << ENDED


class TestS7Forms:
    """The forms themselves are in test_heartbeat.py; here: that the session tells the writer what it must know."""

    def test_auto_is_a_block_until_the_stream_carries_an_id(self, play: Play) -> None:
        book = play(stream(form=HeartbeatForm.AUTO)) >> data(EVENT) >> sleep(15) << sent(HB + b"\n")
        book >> data(b"i") << nothing >> sleep(15) << sent(HB + b"\n")
        book >> data(b"d: 1\ndata: y\n\n") << sent(b"id: 1\ndata: y\n\n") >> sleep(15) << sent(HB)

    def test_openai_chat_copies_the_chunk_that_came_in_pieces(self, play: Play) -> None:
        book = play(stream(form=HeartbeatForm.OPENAI_CHAT)) >> sleep(15) << sent(HB + b"\n")
        (
            book
            >> data(b'data: {"id":')
            << nothing
            >> data(b'"c","choices":[{}]}\n\n')
            << sent(b'data: {"id":"c","choices":[{}]}\n\n')
        )
        session = book.session
        session.handle_timeout(now=1000)
        assert json.loads(parse(session.data_to_send()).events[0].data)["id"] == "c"

    @pytest.mark.parametrize("behind", [b"", b": a comment\n\n", b"data: text\n\n"])
    def test_openai_chat_copies_the_last_chunk_there_was(self, behind: bytes) -> None:
        session = stream(form=HeartbeatForm.OPENAI_CHAT)
        for name in (b"a", b"b"):
            session.receive_data(b'id: 1\ndata: {"id":"%b","choices":[{}]}\n\n' % name, now=1.0)
        session.receive_data(behind, now=1.0)
        session.data_to_send()
        session.handle_timeout(now=100.0)
        assert json.loads(parse(session.data_to_send()).events[0].data)["id"] == "b"


class TestTheHotPath:
    """Whole events behind a whole event go on as they come; what is counted and noted must be the same."""

    @pytest.mark.parametrize("before", [EVENT, EVENT.replace(b"\n", b"\r\n"), b"data: x\n\r\n"])
    @pytest.mark.parametrize(
        "piece",
        [
            EVENT,
            EVENT * 3,
            b"data: a\r\rdata: b\n\n",
            b"data: a\r\n\r\ndata: b\n\n",
            b"data: a\n\n\n",
            b"data: a\n\n\n\n",
            b"data: a\n\n: c\n\n",
            b"data\n\n",
            b"event: e\ndata: a\n\n",
            b"event: e\n\n",
            b"data: a\ndata: b\n\n",
            b"data: a\r\n\n",
            b"data: a\r\n\r\n",
            b"data: a\r\n\r\ndata: b\r\n\r\n",
            b"id: 1\r\ndata: a\r\n\r\n",
            b"data: a\rdata: b\r\n\r\n",
            b"data: a\n\ndata: b\r\n\r\n",
            b"data: a\r\n\r\n\r\n",
            b"\r\n",
            b"\n\n",
            b"data:\n\n",
        ],
    )
    def test_events_are_counted(self, piece: bytes, before: bytes) -> None:
        session = stream()
        session.receive_data(before, now=1.0)
        session.receive_data(piece, now=2.0)
        session.receive_data(before, now=3.0)
        assert session.stats.events == len(parse(before + piece + before).events)
        assert session.stats.bytes_in == session.stats.bytes_out == len(before + piece + before)
        assert session.data_to_send() == before + piece + before
        assert session.stats.longest_silence == 1.0

    @pytest.mark.parametrize("piece", [b"data: a\rid: 7\n\n", b"id: 7\ndata: a\n\n", b"data: a\nid\n\n"])
    def test_ids_are_noted(self, piece: bytes) -> None:
        session = stream(form=HeartbeatForm.AUTO)
        session.receive_data(EVENT, now=1.0)
        session.receive_data(piece, now=2.0)
        session.handle_timeout(now=100.0)
        assert session.data_to_send() == EVENT + piece + HB

    def test_the_last_chunk_is_noted(self) -> None:
        session = stream(form=HeartbeatForm.OPENAI_CHAT)
        for name in "abc":
            session.receive_data(b'data: {"id":"%b","choices":[{}]}\n\n' % name.encode(), now=1.0)
        session.data_to_send()
        session.handle_timeout(now=100.0)
        assert json.loads(parse(session.data_to_send()).events[0].data)["id"] == "c"

    def test_the_upstream_s_silence_begins_anew(self, play: Play) -> None:
        book = play(stream(interval=None, timeouts=TimeoutPolicy(idle=20.0, write=None)))
        book >> data(EVENT) >> sleep(15) >> data(EVENT) >> sleep(15) >> data(EVENT * 2) >> sleep(19)
        book >> sleep(1) << sent(error_of(CloseReason.IDLE_TIMEOUT)) << closed(CloseReason.IDLE_TIMEOUT, clean=False)

    def test_what_was_decided_before_leaves_before(self) -> None:
        session = stream()
        session.receive_data(EVENT, now=1.0)
        session.handle_timeout(now=16.0)
        session.receive_data(EVENT, now=16.0)
        assert session.forward(EVENT, 16.0) == EVENT + HB + EVENT + EVENT


class TestS12Prelude:
    @FORMS
    def test_one_heartbeat_in_the_routes_form_goes_out_with_the_head(self, form: HeartbeatForm) -> None:
        prelude = stream(form=form, prelude=True).data_to_send()
        session = stream(form=form)
        session.handle_timeout(now=15.0)
        assert prelude == session.data_to_send()

    def test_it_counts_as_heard(self, play: Play) -> None:
        play(stream(prelude=True)) << sent(HB) >> sleep(14.9) << nothing >> sleep(0.1) << sent(HB)


def test_a_known_client_has_a_form_of_its_own() -> None:
    plan = StreamPlan(heartbeat=HeartbeatPolicy(interval=15.0), timeouts=NO_TIMEOUTS, form=HeartbeatForm.BLANK)
    session = StreamSession(plan, now=0.0)
    session.handle_timeout(now=15.0)
    assert session.data_to_send() == b"\n"
