"""Is a client that takes nothing told from one that is slow, from nothing but numbers and times?"""

import pytest

from sseproxy.core.stream.delivery import DeliveryWatch

LIMIT = 8.0


def is_stalled(watch: DeliveryWatch, now: float) -> bool:
    at = watch.stalls_at()
    return at is not None and at <= now


def test_a_blocked_client_stalls_when_none_of_its_bytes_has_left() -> None:
    watch = DeliveryWatch(LIMIT, now=0.0)
    watch.block(unsent=100, now=1.0)
    for second in range(2, 9):
        watch.look(unsent=100, acknowledged=None, now=second)
        assert not is_stalled(watch, second)
    watch.look(unsent=100, acknowledged=None, now=9.0)
    assert is_stalled(watch, 9.0)


def test_one_byte_that_leaves_is_progress() -> None:
    watch = DeliveryWatch(LIMIT, now=0.0)
    watch.block(unsent=100, now=1.0)
    watch.look(unsent=99, acknowledged=None, now=8.0)
    assert watch.stalls_at() == 16.0
    watch.look(unsent=200, acknowledged=None, now=9.0)  # more is due to it: no progress
    assert watch.stalls_at() == 16.0


def test_what_is_acknowledged_does_not_count_while_bytes_wait_here() -> None:
    watch = DeliveryWatch(LIMIT, now=0.0)
    watch.block(unsent=100, now=0.0)
    for second in range(1, 9):
        watch.look(unsent=100, acknowledged=second, now=second)
    assert is_stalled(watch, 8.0)


def test_it_tells_for_how_long_the_client_was_blocked() -> None:
    watch = DeliveryWatch(LIMIT, now=0.0)
    watch.block(unsent=1, now=2.0)
    watch.block(unsent=5, now=3.0)
    assert watch.is_blocked
    assert watch.unblock(now=7.0) == 5.0
    assert not watch.is_blocked
    assert watch.unblock(now=9.0) == 0.0
    assert watch.stalls_at() is None


@pytest.mark.parametrize("first", [0, 1000])
def test_a_client_has_vanished_when_the_same_bytes_stay_unacknowledged(first: int) -> None:
    watch = DeliveryWatch(LIMIT, now=0.0)
    watch.look(unsent=0, acknowledged=first, now=8.0)
    watch.look(unsent=0, acknowledged=first, now=15.0)
    assert (watch.stalls_at(), watch.next_look()) == (16.0, 16.0)
    watch.look(unsent=0, acknowledged=first + 1, now=16.0)
    assert watch.stalls_at() == 24.0
    watch.look(unsent=0, acknowledged=None, now=20.0)
    assert (watch.stalls_at(), watch.next_look()) == (None, 28.0)


def test_a_blocked_client_is_looked_at_more_often() -> None:
    watch = DeliveryWatch(LIMIT, now=0.0)
    assert watch.next_look() == 8.0
    watch.block(unsent=1, now=2.0)
    assert watch.next_look() == 3.0


def test_without_a_limit_nothing_depends_on_looks() -> None:
    watch = DeliveryWatch(None, now=0.0)
    watch.block(unsent=1, now=0.0)
    watch.look(unsent=1, acknowledged=None, now=1000.0)
    watch.unblock(now=1000.0)
    watch.look(unsent=0, acknowledged=1, now=1000.0)
    watch.look(unsent=0, acknowledged=1, now=2000.0)
    assert (watch.next_look(), watch.stalls_at()) == (None, None)
