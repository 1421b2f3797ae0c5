"""Is one snapshot made at a time for all dashboards, and none without one?"""

import asyncio
from collections.abc import Collection

from sseproxy.process.dashboard.view import Order, View
from sseproxy.process.dashboard.watchers import Watchers
from tests.support.settled import eventually

CHAT = View(words=("chat",))


class Work:
    """Makes snapshots, and notes for which views."""

    def __init__(self) -> None:
        self.asked: list[set[View]] = []
        self.fails = 0

    async def __call__(self, views: Collection[View]) -> dict[View, bytes]:
        self.asked.append(set(views))
        if self.fails:
            self.fails -= 1
            raise ValueError("a defect")
        return {view: b"%d %b" % (len(self.asked), view.order.value.encode()) for view in views}


async def turns() -> None:
    """As many turns of the event loop as a task that was to go on would need."""
    for _ in range(100):
        await asyncio.sleep(0.001)


async def test_without_a_dashboard_nothing_is_done() -> None:
    work = Work()
    watchers = Watchers(work, every=0.001)
    assert watchers.is_idle
    with watchers.watching(View()) as watcher:
        assert await watcher.next() == b"1 silence"
        assert await watcher.next() == b"2 silence"
        assert not watchers.is_idle
    assert watchers.is_idle
    made = len(work.asked)
    await turns()
    assert len(work.asked) == made
    with watchers.watching(View()) as watcher:
        assert await watcher.next() == b"%d silence" % (made + 1)


async def test_all_dashboards_are_served_by_one_snapshot() -> None:
    work = Work()
    watchers = Watchers(work, every=0.001)
    with (
        watchers.watching(View()) as one,
        watchers.watching(View()) as another,
        watchers.watching(CHAT) as third,
    ):
        assert [await each.next() for each in (one, another, third)] == [b"1 silence"] * 3
        assert work.asked == [{View(), CHAT}]


async def test_one_too_many_ends_the_oldest() -> None:
    watchers = Watchers(Work(), most=2, every=0.001)
    with watchers.watching(View()) as first, watchers.watching(View()) as second:
        assert await first.next()
        with watchers.watching(View(Order.AGE)) as third:
            assert await first.next() is None
            assert b"age" in (await third.next() or b"")
            assert await second.next()
    assert watchers.is_idle


async def test_who_is_too_slow_sees_the_newest_only() -> None:
    work = Work()
    watchers = Watchers(work, every=0.001)
    with watchers.watching(View()) as watcher:
        await eventually(lambda: len(work.asked) > 5)
        newest = await watcher.next()
        assert newest is not None
        assert int(newest.split()[0]) >= 5


async def test_a_dashboard_that_opens_gets_its_first_snapshot_soon() -> None:
    work = Work()
    watchers = Watchers(work, every=3600)
    with watchers.watching(View()) as first:
        assert await first.next()
        with watchers.watching(CHAT) as second:
            assert await second.next()
            assert work.asked == [{View()}, {View(), CHAT}]


async def test_a_snapshot_that_fails_is_reported_and_is_not_the_last_one() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context.get("exception")))
    work = Work()
    work.fails = 2
    watchers = Watchers(work, every=0.001)
    with watchers.watching(View()) as watcher:
        assert await watcher.next() == b"3 silence"
    assert [str(each) for each in reported] == ["a defect"] * 2


async def test_no_snapshot_is_made_once_it_has_stopped() -> None:
    work = Work()
    watchers = Watchers(work, every=0.001)
    with watchers.watching(View()) as watcher:
        assert await watcher.next()
        watchers.stop()
        assert watchers.is_idle
        made = len(work.asked)
        await turns()
        assert len(work.asked) == made
