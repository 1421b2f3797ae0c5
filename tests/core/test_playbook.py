"""Does a script fail when the session does something else than it says?"""

import pytest

from sseproxy.core.stream.transfer import CloseReason
from tests.support.playbook import Playbook, closed, data, eof, nothing, sent, sleep, stream


def test_it_fails_at_once_where_something_else_was_sent() -> None:
    with pytest.raises(AssertionError) as failure:
        Playbook(stream()) >> data(b"data: x\n") >> sleep(15) << sent(b": wrong\n")
    story = str(failure.value)
    assert story.splitlines()[1:] == [
        "       0  >> open()",
        r"       0  >> data(b'data: x\n')",
        r"       0  >> sleep(15) << sent(b': wrong\n')",
        r"expected  sent(b': wrong\n')",
        r"happened  sent(b': heartbeat\n')",
    ]


def test_it_fails_at_the_next_step_where_nobody_looked() -> None:
    book = Playbook(stream()) >> sleep(15)
    with pytest.raises(AssertionError, match="expected  nothing"):
        book >> data(b"x\n")


def test_it_fails_at_the_next_step_where_nothing_was_expected() -> None:
    book = Playbook(stream()) >> sleep(15) << nothing
    with pytest.raises(AssertionError, match="happened"):
        book >> data(b"x\n")


def test_it_fails_where_data_does_not_go_straight_through() -> None:
    book = Playbook(stream()) >> data(b"held")
    with pytest.raises(AssertionError, match="happened  nothing"):
        book.finish()


def test_it_fails_unfinished() -> None:
    book = Playbook(stream()) >> sleep(15)
    with pytest.raises(AssertionError):
        book.finish()


def test_it_fails_where_an_end_was_not_expected_or_is_another() -> None:
    with pytest.raises(AssertionError, match=r"happened  nothing << closed\(upstream_end, clean=True\)"):
        (Playbook(stream()) >> eof()).finish()
    with pytest.raises(AssertionError, match="expected  nothing << closed"):
        (Playbook(stream()) >> eof() << closed(CloseReason.DRAIN)).finish()
    with pytest.raises(AssertionError, match="expected  nothing << closed"):
        (Playbook(stream()) >> sleep(1) << closed(CloseReason.DRAIN)).finish()


def test_the_clock_jumps_from_deadline_to_deadline() -> None:
    book = Playbook(stream(interval=2)) >> sleep(7) << sent(b": heartbeat\n" * 3)
    assert book.now == 7
    book.finish()
