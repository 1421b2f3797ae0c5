"""Are all calls made, at their time, in order, and at the price of one timer of the loop?"""

import asyncio
import itertools
import random
from contextvars import Context
from functools import partial
from typing import Any

import pytest
import uvloop

from sseproxy.engine.live import LiveStreams
from sseproxy.timers import Timers
from tests.support.settled import eventually


class OneTimerLoop(asyncio.SelectorEventLoop):
    """A loop that counts how many of its own timers wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: set[asyncio.TimerHandle] = set()

    def call_at(  # type: ignore[override]  # typeshed counts the arguments of the callback
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = super().call_at(when, callback, *args, context=context)
        self.waiting.add(handle)
        return handle

    @property
    def pending(self) -> int:
        return sum(not handle.cancelled() and handle.when() > self.time() for handle in self.waiting)


async def _until(timers: Timers) -> None:
    async with asyncio.timeout(30):
        while len(timers):  # noqa: ASYNC110 - nobody tells of what is waited for here
            await asyncio.sleep(0.001)


async def test_calls_come_in_order_and_never_early() -> None:
    loop = asyncio.get_running_loop()
    timers, began = Timers(loop), loop.time()
    called: list[tuple[float, float]] = []

    def note(delay: float) -> None:
        called.append((delay, loop.time() - began))

    delays = [random.Random(1).uniform(0, 0.2) for _ in range(500)]
    for delay in delays:
        timers.call_at(began + delay, partial(note, delay))
    await _until(timers)
    assert [delay for delay, _ in called] == sorted(delays)
    assert all(at >= delay for delay, at in called)


async def test_what_is_called_off_is_not_called() -> None:
    loop = asyncio.get_running_loop()
    timers, called = Timers(loop), list[int]()
    entries = [timers.call_at(loop.time() + 0.001 * n, partial(called.append, n)) for n in range(100)]
    for entry in entries[::2]:
        entry.cancel()
        entry.cancel()
    assert len(timers) == 50
    await _until(timers)
    assert called == list(range(1, 100, 2))
    entries[1].cancel()  # too late, and no matter
    assert len(timers) == 0


async def test_cancelled_entries_do_not_pile_up() -> None:
    loop = asyncio.get_running_loop()
    timers = Timers(loop)
    for _ in range(10_000):
        timers.call_at(loop.time() + 1000, print).cancel()
    assert len(timers._entries) < 200


async def test_nothing_is_left_of_a_crowd_that_was_called_off() -> None:
    """But the one timer of the loop, which goes off once for nothing."""
    loop = asyncio.get_running_loop()
    timers = Timers(loop)
    for entry in [timers.call_at(loop.time() + 0.01, print) for _ in range(10)]:
        entry.cancel()
    assert timers._entries == []
    await eventually(lambda: timers._wake_up is None)


async def test_whoever_comes_behind_a_crowd_that_was_called_off_is_called() -> None:
    loop = asyncio.get_running_loop()
    timers, called = Timers(loop), list[str]()
    timers.call_at(loop.time() + 0.005, print).cancel()
    timers.call_at(loop.time() + 0.01, partial(called.append, "later"))
    timers.call_at(loop.time() + 0.001, partial(called.append, "sooner"))
    await _until(timers)
    assert called == ["sooner", "later"]


async def test_a_call_may_ask_for_the_next() -> None:
    loop = asyncio.get_running_loop()
    timers, left = Timers(loop), [200]

    def again() -> None:
        left[0] -= 1
        if left[0]:
            timers.call_at(loop.time(), again)

    timers.call_at(loop.time(), again)
    await _until(timers)
    assert left == [0]


async def test_a_crowd_leaves_room_for_bytes_in_between() -> None:
    loop = asyncio.get_running_loop()
    timers, called, seen = Timers(loop), [0], list[int]()

    def count() -> None:
        called[0] += 1

    def look() -> None:
        seen.append(called[0])
        if len(timers):
            loop.call_soon(look)

    for _ in range(1000):
        timers.call_at(loop.time(), count)
    loop.call_soon(look)
    await _until(timers)
    assert called == [1000]
    steps = [later - earlier for earlier, later in itertools.pairwise(seen)]
    assert max(steps) <= 64


async def test_a_defect_in_one_call_leaves_the_others() -> None:
    loop = asyncio.get_running_loop()
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    timers, called = Timers(loop), list[str]()

    def fail() -> None:
        raise ZeroDivisionError

    timers.call_at(loop.time(), fail)
    timers.call_at(loop.time(), lambda: called.append("the next"))
    await _until(timers)
    assert called == ["the next"]
    assert isinstance(reports[0]["exception"], ZeroDivisionError)


@pytest.mark.parametrize("streams", [1, 10_000])
def test_the_loop_has_one_timer(streams: int) -> None:
    with asyncio.Runner(loop_factory=OneTimerLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, OneTimerLoop)

        async def main() -> int:
            timers = Timers(loop)
            for n in range(streams):
                timers.call_at(loop.time() + 100 + n % 7, print)
            return loop.pending

        assert runner.run(main()) == 1


async def test_streams_of_one_loop_share_a_clock() -> None:
    streams = LiveStreams()
    assert streams.clock() is streams.clock()


def test_another_loop_has_another_clock() -> None:
    streams, clocks = LiveStreams(), list[Timers]()

    async def main() -> None:
        clocks.append(streams.clock())

    asyncio.run(main())
    asyncio.run(main())
    assert clocks[0] is not clocks[1]


def test_a_call_under_uvloop_takes_no_second_turn() -> None:
    """uvloop's timers may come early; what is then left of a millisecond must not be spent in turns of the loop."""
    turns = 0

    class Counting(Timers):
        def _call_due(self) -> None:
            nonlocal turns
            turns += 1
            super()._call_due()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        timers = Counting(loop)
        for n in range(40):
            timers.call_at(loop.time() + 0.0013 * n + 0.0007, print)
            await _until(timers)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    assert turns <= 40 + 4
