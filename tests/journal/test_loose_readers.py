"""Does each reader get each event once, however readers come and go while events are loose?"""

import random

import pytest

from sseproxy.core.journal.cursor import PLAIN, Flavour
from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.loose import Loose
from sseproxy.core.journal.window import Block
from sseproxy.core.journal.window_policy import WindowLimits, WindowPolicy
from sseproxy.journal.reader import Reader
from tests.support.journal_sink import IDS, Room, Sink, turn

LARGE = WindowPolicy(WindowLimits(), WindowLimits(), WindowLimits(events=1), is_counted=True, is_held=True)
#: One event of it is a part that would be too large.
SMALL = WindowPolicy(WindowLimits(events=100), WindowLimits(events=100), WindowLimits(events=1), is_counted=True)


class Run(Room):
    """A room whose producer does what that of a run does. looked: how many events were loose."""

    def __init__(self, policy: WindowPolicy = LARGE, *, readers: int = 256, chunk: int = 65_536) -> None:
        super().__init__(policy, base=(1, 0), readers=readers, chunk=chunk)
        self.loose = self.window.loose = Loose()
        self.number = 0

    def bring(self, count: int = 1, *, is_named: bool = False) -> None:
        """So many events in one piece."""
        text = b"".join(b"data: %d\n\n" % (self.number + index + 1) for index in range(count))
        self.number += count
        if is_named or not (self.loose.is_open and self.loose.add(text, count, self.loop.time())):
            block = Block((1, self.number), count, text, is_named)
            self.window.append(block, now=self.loop.time())
            self.fanout.publish_block(block)


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


@pytest.mark.parametrize("flavour", [IDS, PLAIN])
async def test_most_events_of_one_reader_are_loose(flavour: Flavour) -> None:
    room = Run()
    ((_, sink),) = await room.live(1, flavour)
    for _ in range(100):
        room.bring()
    assert room.loose.events > 90
    assert sink.data == numbers(1, 100)
    if flavour.has_ids:
        assert [event.last_event_id for event in sink.events] == [f"1-{number}" for number in range(1, 101)]
    assert room.window.events == 100


async def test_events_of_a_run_that_has_no_reader_are_loose_too() -> None:
    room = Run()
    for _ in range(20):
        room.bring()
    assert room.loose.events > 10
    _, sink = room.reader((1, 0))
    await room.idle()
    room.bring()
    assert sink.data == numbers(1, 21)


async def test_nothing_is_loose_for_several_readers() -> None:
    room = Run()
    readers = await room.live(2)
    for _ in range(10):
        room.bring()
    assert room.loose.events == 0
    assert [sink.data for _, sink in readers] == [numbers(1, 10)] * 2


async def test_nothing_is_loose_where_little_is_kept() -> None:
    room = Run(SMALL)
    await room.live(1)
    for _ in range(10):
        room.bring()
    assert room.loose.events == 0


async def test_many_small_events_do_not_take_along_what_is_kept() -> None:
    """What was loose is a block, which is dropped as a whole."""
    limits = WindowLimits(events=1000)
    room = Run(WindowPolicy(limits, limits, WindowLimits(events=1), is_counted=True))
    await room.live(1, PLAIN)
    for _ in range(500):
        room.bring(30)
        assert room.loose.texts or room.window.events > 850 or room.number < 1000
    assert room.loose.events > 1000


async def test_events_that_the_upstream_has_named_are_not_loose() -> None:
    room = Run()
    ((_, sink),) = await room.live(1)
    room.bring(is_named=True)
    assert not room.loose.is_open
    room.bring(is_named=True)
    assert room.loose.events == 0
    assert [event.last_event_id for event in sink.events] == ["", ""]


async def test_behind_a_long_event_nothing_is_loose() -> None:
    room = Run()
    await room.live(1)
    room.bring(100)
    assert not room.loose.is_open
    room.bring()
    assert room.loose.is_open


async def test_a_break_comes_behind_what_was_loose() -> None:
    room = Run()
    ((_, sink),) = await room.live(1)
    room.bring()
    room.bring()
    room.fanout.break_in((1, 5), Missing(GapReason.UPSTREAM))
    assert [event.type for event in sink.events] == ["message", "message", "gap"]
    assert sink.events[-1].last_event_id == "1-5"


async def test_a_reader_that_leaves_within_an_event_leaves_the_others_whole() -> None:
    room = Run()
    ((reader, sink),) = await room.live(1)
    room.bring()
    sink.within = reader.abort
    room.bring()
    room.bring()
    assert sink.data == ["1", "2"]
    _, other = room.reader((1, 0))
    await room.idle()
    assert other.data == numbers(1, 3)


async def test_a_defect_of_the_reader_ends_that_reader_alone() -> None:
    room = Run()
    ((_, sink),) = await room.live(1)
    room.bring()

    def fail() -> None:
        raise RuntimeError("a defect")

    sink.within = fail
    room.bring()
    assert sink.error is not None
    assert len(room.fanout) == 0
    room.bring()
    assert room.window.top == (1, 3)


async def test_a_reader_says_up_to_where_it_has_come() -> None:
    room = Run()
    sink = Sink()
    place = Reader(sink, IDS, room.loop).place(room.fanout)
    place.begin((1, 0))
    await room.idle()
    for number in range(1, 6):
        room.bring()
        assert place.reached == (1, number)


async def test_the_end_of_the_stream_comes_behind_what_was_loose() -> None:
    room = Run()
    ended: list[list[str]] = []
    sinks: list[Sink] = []
    sinks.append(room.reader((1, 0), on_end=lambda: ended.append(sinks[0].data))[1])
    await room.idle()
    for _ in range(3):
        room.bring()
    room.fanout.end()
    await room.idle()
    assert ended == [numbers(1, 3)]


class Crowd:
    """Clients of one run, who do anything at any time."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.room = Run(readers=dice.choice((1, 2, 256)), chunk=dice.choice((30, 65_536)))
        self.clients: list[tuple[Reader, Sink, int]] = []
        self.gone: list[Reader] = []

    async def act(self) -> None:
        doings = (self.bring, self.bring, self.bring, self.bring, self.look, self.do, self.do, self.join, turn)
        found = self.dice.choice(doings)()
        if found is not None:
            await found

    def bring(self) -> None:
        for _ in range(self.dice.randrange(1, 6)):
            self.room.bring(self.dice.choice((1, 1, 1, 2)))

    def look(self) -> None:
        self.dice.choice((self.room.fanout.tidy, lambda: self.room.window.top))()

    def do(self) -> None:
        if self.clients:
            reader, sink, _ = self.dice.choice(self.clients)
            call = self.dice.choice((reader.pause, reader.resume, reader.resume, lambda: self.leave(reader)))
            if self.dice.random() < 0.3:
                sink.within = call
            else:
                call()

    def leave(self, reader: Reader) -> None:
        self.gone.append(reader)
        reader.abort()

    async def join(self) -> None:
        if len(self.clients) - len(set(map(id, self.gone))) < 2:
            mark = (1, self.dice.randrange(self.room.window.top[1] + 1))
            self.clients.append((*self.room.reader(mark), mark[1]))
            await (self.room.idle() if self.dice.random() < 0.7 else turn())

    async def settle(self) -> None:
        for reader, sink, _ in self.clients:
            sink.within = None
            reader.resume()
        await self.room.fanout.settled()
        await self.room.idle()
        await self.room.fanout.settled()


@pytest.mark.parametrize("seed", range(100))
async def test_each_reader_gets_each_event_once(seed: int) -> None:
    crowd = Crowd(random.Random(seed))
    for _ in range(150):
        await crowd.act()
    await crowd.settle()
    for reader, sink, first in crowd.clients:
        got = [int(event.data) for event in sink.events]
        assert [event.last_event_id for event in sink.events] == [f"1-{number}" for number in got]
        assert got == list(range(first + 1, first + 1 + len(got)))
        assert reader in crowd.gone or first + len(got) == crowd.room.number
    assert crowd.room.defects == []
