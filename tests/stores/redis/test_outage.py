"""How many lines does an outage write?"""

import pytest

from sseproxy.stores.redis.outage import Outage


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_outage_is_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    clock = _Clock()
    outage = Outage("Redis at redis://h:1", clock)
    for _ in range(20):
        outage.failed("connection refused")
        clock.now += 2
    outage.ended()
    outage.ended()
    assert caplog.messages == [
        "Redis at redis://h:1 away: connection refused",
        "Redis at redis://h:1 is back after 40.0 s",
    ]


def test_a_long_one_is_repeated_each_minute_and_a_new_reason_is_said(caplog: pytest.LogCaptureFixture) -> None:
    clock = _Clock()
    outage = Outage("it", clock)
    for second in range(130):
        outage.failed("loading" if 10 <= second < 20 else "refused")
        clock.now += 1
    assert caplog.messages == ["it away: refused", "it away: loading", "it away: refused"]


def test_one_that_flaps_writes_a_pair_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = _Clock()
    outage = Outage("it", clock)
    for _ in range(59):
        outage.failed("refused")
        outage.ended()
        clock.now += 1
    assert caplog.messages == ["it away: refused", "it is back after 0.0 s"]
    clock.now += 1
    outage.failed("refused")
    assert len(caplog.messages) == 3
