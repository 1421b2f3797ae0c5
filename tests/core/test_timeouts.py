"""Does the table know which deadline comes first?"""

import pytest

from sseproxy.core.stream.timeouts import Timer, TimerTable


def test_no_timer_no_deadline() -> None:
    table = TimerTable()
    assert table.next_deadline() is None
    assert not table.expired(now=1e9)


def test_the_earliest_deadline_is_the_next() -> None:
    table = TimerTable()
    table.set(Timer.IDLE, 30.0)
    table.set(Timer.HEARTBEAT, 15.0)
    table.set(Timer.MAX_DURATION, None)
    assert table.next_deadline() == 15.0
    table.stop(Timer.HEARTBEAT)
    assert table.next_deadline() == 30.0


@pytest.mark.parametrize(("now", "expired"), [(9.999, False), (10.0, True), (11.0, True)])
def test_a_timer_expires_at_its_deadline(now: float, expired: bool) -> None:
    table = TimerTable()
    table.set(Timer.WRITE, 10.0)
    assert table.expired(now=now) == [Timer.WRITE] * expired


def test_the_time_zero_is_a_time_like_any_other() -> None:
    table = TimerTable()
    table.set(Timer.DRAIN, 0.0)
    assert table.next_deadline() == 0.0
    assert table.expired(now=0.0) == [Timer.DRAIN]


def test_stop_all() -> None:
    table = TimerTable()
    for timer in Timer:
        table.set(timer, 1.0)
    table.stop_all()
    assert table.next_deadline() is None


def test_what_is_final_is_served_first() -> None:
    assert list(Timer) == sorted(Timer)
    assert min(Timer) is Timer.DRAIN_DEADLINE
    assert max(Timer) is Timer.HEARTBEAT
