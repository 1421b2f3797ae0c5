"""Does a body that is no event stream pass untouched, under its clocks, to exactly one end?"""

import pytest

from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import CloseReason, Transfer
from tests.support.playbook import (
    Play,
    blocked,
    closed,
    data,
    drain,
    eof,
    error,
    late,
    nothing,
    progressed,
    sent,
    sleep,
    unblocked,
)


def body(*, idle: float | None = 60.0, write: float | None = 30.0) -> Transfer:
    return Transfer(TimeoutPolicy(idle=idle, write=write), now=0.0)


def test_bytes_pass_as_they_are_and_at_once(play: Play) -> None:
    (
        play(body())
        >> data(b"\xef\xbb")
        >> data(b"\xbf\0\xff")
        << sent(b"\xbf\0\xff")
        >> eof()
        << closed(CloseReason.UPSTREAM_END)
    )


def test_several_pieces_come_out_in_order_as_one() -> None:
    transfer = body()
    for piece in (b"a", b"", b"b", b"c"):
        transfer.receive_data(piece, now=0.0)
    assert transfer.data_to_send() == b"abc"
    assert transfer.data_to_send() == b""


def test_silence_of_the_upstream_ends_it(play: Play) -> None:
    book = play(body()) >> sleep(59.9) >> data(b"x") >> sleep(59.9) << nothing
    book >> sleep(0.2) << closed(CloseReason.IDLE_TIMEOUT, clean=False)


def test_a_timeout_that_is_off_never_comes() -> None:
    transfer = body(idle=None, write=None)
    assert transfer.next_deadline() is None
    transfer.pause_writing(unsent=1, now=0.0)
    assert transfer.next_deadline() is None


def test_a_client_that_takes_nothing_is_cut_off(play: Play) -> None:
    book = play(body()) >> data(b"x") >> blocked() >> sleep(29) >> progressed() >> sleep(29.9) << nothing
    book >> sleep(0.2) << closed(CloseReason.CLIENT_STALLED, clean=False)


def test_the_upstream_is_not_blamed_while_the_client_blocks(play: Play) -> None:
    book = play(body(write=None)) >> sleep(50) >> blocked() >> sleep(500) >> unblocked() >> sleep(9.9) << nothing
    book >> sleep(0.2) << closed(CloseReason.IDLE_TIMEOUT, clean=False)


def test_to_hear_twice_that_a_client_takes_nothing_is_to_hear_it_once(play: Play) -> None:
    book = play(body(write=None)) >> sleep(50) >> blocked() >> sleep(400) >> blocked() >> sleep(100) >> unblocked()
    book >> sleep(9.9) << nothing >> sleep(0.2) << closed(CloseReason.IDLE_TIMEOUT, clean=False)


def test_a_draining_body_may_go_on_until_the_deadline(play: Play) -> None:
    book = play(body()) >> drain(after=1, within=25) >> sleep(24) >> data(b"x") << sent(b"x")
    book >> sleep(1.1) << closed(CloseReason.DRAIN, clean=False)


@pytest.mark.parametrize("reason", [CloseReason.UPSTREAM_ERROR, CloseReason.CLIENT_GONE])
def test_what_breaks_is_never_a_clean_end(reason: CloseReason, play: Play) -> None:
    play(body()) >> data(b"x") >> error(reason) << closed(reason, clean=False)


def test_there_is_one_end_and_nothing_after_it(play: Play) -> None:
    book = play(body()) >> error(CloseReason.UPSTREAM_ERROR) << closed(CloseReason.UPSTREAM_ERROR, clean=False)
    book >> eof() >> error(CloseReason.CLIENT_GONE) >> drain() >> blocked() >> late(1000) >> data(b"x") << nothing
    assert book.session.close_reason is CloseReason.UPSTREAM_ERROR
    assert book.session.next_deadline() is None


def test_a_call_that_comes_too_early_does_nothing(play: Play) -> None:
    book = play(body()) >> late(59) << nothing
    assert book.session.next_deadline() == 60.0


def test_the_books(play: Play) -> None:
    book = play(body()) >> sleep(2) >> data(b"abc") >> sleep(7) >> data(b"d") >> sleep(1) >> data(b"e")
    stats = book.session.stats
    assert (stats.opened_at, stats.first_byte_at, stats.last_upstream_at, stats.longest_silence) == (0, 2, 10, 7)
    assert (stats.bytes_in, stats.bytes_out) == (5, 5)


def test_the_silence_that_ends_it_is_in_the_books(play: Play) -> None:
    book = play(body()) >> sleep(2) >> data(b"abc") >> sleep(61) << closed(CloseReason.IDLE_TIMEOUT, clean=False)
    assert (book.session.stats.longest_silence, book.session.stats.last_upstream_at) == (60, 2)


def test_a_client_that_stalls_is_no_silence_of_the_upstream(play: Play) -> None:
    book = play(body()) >> sleep(2) >> data(b"abc") >> blocked() >> sleep(31)
    book << closed(CloseReason.CLIENT_STALLED, clean=False)
    assert book.session.stats.longest_silence == 2
