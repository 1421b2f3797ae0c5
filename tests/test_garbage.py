"""Does the garbage collector come before garbage takes much memory, and not for nothing?"""

import gc
import os

from sseproxy.process.garbage import GROWTH, LOOK_EVERY, GarbageNet, loading, resident
from tests.support.hand_clock import HandClock
from tests.support.processes import resident as resident_by_status


class Process:
    """A process whose memory is up to the test. garbage: bytes of it that a collection would free."""

    def __init__(self, used: int | None = 100 * 2**20) -> None:
        self.clock = HandClock()
        self.used = used
        self.garbage = 0
        self.collections = 0
        self.net = GarbageNet(self.clock, memory=lambda: self.used, collect=self._collect)

    def _collect(self) -> None:
        self.collections += 1
        if self.used is not None:
            self.used -= self.garbage
        self.garbage = 0

    def litter(self, size: int) -> None:
        assert self.used is not None
        self.used += size
        self.garbage += size

    def grow(self, size: int) -> None:
        assert self.used is not None
        self.used += size


def test_nothing_is_collected_while_memory_stays_as_it_is() -> None:
    process = Process()
    for size in (GROWTH // 2, -GROWTH // 2) * 50:
        process.grow(size)
        process.clock.advance(LOOK_EVERY)
    assert process.collections == 0


def test_garbage_is_bounded_however_long_it_is_made() -> None:
    process = Process()
    for _ in range(1000):
        process.litter(GROWTH // 8)
        process.clock.advance(LOOK_EVERY)
        assert process.garbage < GROWTH
    assert process.collections == 1000 // 8


def test_memory_that_is_used_is_looked_through_once_for_each_step_of_its_growth() -> None:
    process = Process()
    process.grow(3 * GROWTH)
    process.clock.advance(100 * LOOK_EVERY)
    assert process.collections == 1
    process.grow(GROWTH - 1)
    process.clock.advance(100 * LOOK_EVERY)
    assert process.collections == 1
    process.grow(1)
    process.clock.advance(LOOK_EVERY)
    assert process.collections == 2


def test_growth_counts_from_the_least() -> None:
    process = Process()
    process.grow(-GROWTH)
    process.clock.advance(LOOK_EVERY)
    process.grow(GROWTH)
    process.clock.advance(LOOK_EVERY)
    assert process.collections == 1


def test_where_memory_is_not_known_it_comes_every_five_minutes() -> None:
    process = Process(None)
    process.clock.advance(299)
    assert process.collections == 0
    process.clock.advance(1)
    assert process.collections == 1
    process.clock.advance(300)
    assert process.collections == 2


def test_a_net_that_is_closed_looks_no_more() -> None:
    process = Process()
    process.net.close()
    assert process.clock.armed == []


def test_how_much_memory_is_in_use() -> None:
    used = resident()
    assert used is not None
    assert abs(used - resident_by_status(os.getpid())) < 16 * 2**20


def test_the_collector_rests_until_all_is_loaded() -> None:
    before = gc.get_freeze_count()
    loaded: list[list[int]] = []
    with loading():
        assert not gc.isenabled()
        loaded += [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(loaded)
