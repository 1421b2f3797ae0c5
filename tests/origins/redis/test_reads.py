"""Are large entries read a few at a time, and entries and state of one moment taken for one?"""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from sseproxy.core.errors import ReplyError, Unavailable
from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.policy import Format
from sseproxy.core.journal.positions import Mark
from sseproxy.journal.catching_up import CatchingUp
from sseproxy.journal.history import Page
from sseproxy.origins.redis.bells import Ring
from sseproxy.origins.redis.continuity import NO_STREAM
from sseproxy.origins.redis.own_ids import OwnIds
from sseproxy.origins.redis.pages import Mirrored, StreamPages
from sseproxy.origins.redis.reads import Entry, StreamReads
from sseproxy.origins.redis.shared import FollowLimits, Shared, Terms
from sseproxy.origins.redis.stats import RedisStats


class ScriptedLink:
    """Replies what a test has written down, one pipeline after the other, the last one again and again."""

    def __init__(self, *replies: list[Any]) -> None:
        self.replies = list(replies)
        self.asked: list[Sequence[Any]] = []

    async def run_all(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        self.asked.append(commands)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    async def run(self, *command: Any) -> Any:
        [reply] = await self.run_all([command])
        return reply


def reads(*replies: list[Any]) -> tuple[StreamReads, ScriptedLink]:
    link = ScriptedLink(*replies)
    return StreamReads(link, b"s"), link  # type: ignore[arg-type]


def entry(number: int, size: int = 1) -> list[Any]:
    return [b"%d-0" % number, [b"data", b"x" * size]]


def state(first: int | None, last: int) -> dict[bytes, Any]:
    return {
        b"length": 0 if first is None else last - first + 1,
        b"last-generated-id": b"%d-0" % last,
        b"entries-added": last,
        b"first-entry": None if first is None else entry(first),
    }


async def test_the_first_read_of_a_stream_with_large_entries_is_small() -> None:
    shown = state(1, 2) | {b"last-entry": entry(2, 1 << 20)}
    stream, _ = reads([shown])
    await stream.state()
    assert stream.fitting(512) == 8


async def test_own_ids_are_looked_for_a_few_entries_at_a_time_where_they_are_large() -> None:
    stream, link = reads([[entry(9, 1 << 20)]], [[]])
    await stream.entries((9, 0), 1)
    await OwnIds(stream, Format.JSON, 1 << 20).has_passed((9, 0), b"own")
    assert link.asked[-1][0][-1] == 8


async def test_entries_that_are_large_are_read_a_few_at_a_time() -> None:
    stream, _ = reads([[entry(1, 1 << 20)]], [[entry(2, 1 << 20)]], [[entry(3)]])
    assert stream.fitting(512) == 512
    await stream.entries((0, 0), 512)
    assert stream.fitting(512) == 8
    assert stream.fitting(4) == 4
    for _ in range(20):  # a small one does not make it forget at once
        await stream.entries((0, 0), 8)
    assert stream.fitting(512) == 512


async def test_a_stream_that_is_trimmed_between_two_commands_is_read_again() -> None:
    stream, link = reads(
        [[entry(5), entry(6)], state(6, 7)],  # 5 was trimmed in between
        [[], state(7, 7)],  # 7 was added in between
        [[entry(7)], state(7, 8)],
    )
    entries, found = await stream.entries_and_state((4, 0), 10)
    assert [each.mark for each in entries] == [(7, 0)]
    assert found.first == (7, 0)
    assert len(link.asked) == 3


async def test_a_front_that_never_rests_is_not_waited_for() -> None:
    stream, link = reads([[entry(5)], state(6, 7)])
    entries, _ = await stream.entries_and_state((4, 0), 10)
    assert entries == [Entry((5, 0), [b"data", b"x"])]
    assert len(link.asked) == 5


async def test_a_front_that_lies_before_what_is_read_may_move() -> None:
    stream, link = reads([[entry(5)], state(2, 5)])
    await stream.entries_and_state((4, 0), 10)
    assert len(link.asked) == 1


async def test_there_is_no_page_of_another_stream_before_the_follower_has_noticed() -> None:
    """Its events would come again, from the window."""
    rung: list[Ring] = []
    with pytest.raises(Unavailable):
        await page_of([[]], [[], state(1, 3)], [[entry(1), entry(2), entry(3)]], rung=rung)
    assert rung == [Ring.BELL]


async def test_a_page_behind_the_end_of_the_stream_begins_at_its_oldest() -> None:
    """The reader is ahead of a follower that knows the stream."""
    page = await page_of([[]], [[], state(1, 3)], [[entry(1), entry(2), entry(3)]], end=(3, 0))
    assert page.missing == Missing(GapReason.UNKNOWN)
    assert page.start < (1, 0)
    assert [block.last for block in page.blocks] == [(1, 0), (2, 0), (3, 0)]


async def test_a_page_behind_which_nothing_is_left_ends_where_the_follower_is() -> None:
    """What was between the two was taken out."""
    page = await page_of([[entry(5)]])
    assert (page.blocks, page.start, page.end, page.missing) == ((), (5, 0), (9, 0), None)


async def page_of(*replies: list[Any], end: Mark = (9, 0), rung: list[Ring] | None = None) -> Page:
    """Of what is behind 5-0, by a follower that has read up to `end`; what it is asked to look for is in `rung`."""
    stream, link = reads(*replies)
    loop = asyncio.get_running_loop()
    shared = Shared(
        link=link,  # type: ignore[arg-type]
        stats=RedisStats(),
        loop=loop,
        clock=loop,
        catching_up=CatchingUp(loop),
        budget=None,
        limits=FollowLimits(),
        chance=lambda: 0.5,
    )
    pages = StreamPages(
        stream, Terms(Format.TEXT, 100), shared, lambda: Mirrored(end, None), ([] if rung is None else rung).append
    )
    return await pages.page((5, 0), 10)


async def test_what_redis_refuses_is_raised() -> None:
    wrong, gone = ReplyError("WRONGTYPE Operation against a key"), ReplyError("ERR no such key")
    stream, _ = reads([[], gone])
    assert (await stream.entries_and_state((4, 0), 10))[1] is NO_STREAM
    for replies in ([wrong, wrong], [[], wrong]):
        stream, _ = reads(replies)
        with pytest.raises(ReplyError):
            await stream.entries_and_state((4, 0), 10)
