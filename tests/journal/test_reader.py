"""How does a reader begin, go on, wait for its history, and end?"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sseproxy.core.errors import OriginError, ReaderBehind, Unavailable, UpstreamBroken
from sseproxy.core.journal.cursor import PLAIN
from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.positions import Mark
from sseproxy.core.journal.window import STREAM, Block
from sseproxy.core.journal.window_policy import WindowLimits
from sseproxy.journal.catching_up import CatchingUp
from sseproxy.journal.history import Page
from sseproxy.journal.reader import Reader
from tests.support.journal_sink import IDS, Room, Sink, turn
from tests.support.virtual_clock import passing
from tests.support.whatwg import Event


class Store:
    """Answers when it is let; `answer` makes the page, or raises. asked: each mark."""

    def __init__(self, answer: Callable[[Mark], Page], *, is_open: bool = True) -> None:
        self.answer = answer
        self.asked: list[Mark] = []
        self.cancelled = 0
        self.open = asyncio.Event()
        if is_open:
            self.open.set()

    async def page(self, after: Mark, most: int) -> Page:
        self.asked.append(after)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.answer(after)


def numbers(top: int, size: int = 3) -> Callable[[Mark], Page]:
    """A store with the events 1 to `top`, in pages of `size`."""

    def answer(after: Mark) -> Page:
        found = range(after[1] + 1, min(after[1] + size, top) + 1)
        blocks = tuple(Block((0, number), 1, b"data: %d\n\n" % number) for number in found)
        return Page(blocks, after, (0, max([after[1], *found])))

    return answer


def trimmed(room: Room, count: int) -> None:
    """The window has seen so many events, and has none of them."""
    room.append(count)
    room.window.trim(WindowLimits(events=0), now=0.0, upto=room.window.top)
    room.fanout.publish()


# The beginning.


async def test_nothing_is_handed_out_before_the_sink_can_be_connected() -> None:
    room = Room()
    room.publish(2)
    _, sink = room.reader((0, 0), has_primer=True)
    assert sink.got == []
    await room.idle()
    assert sink.got == [b"id: 0-0\n\n", b"id: 0-1\ndata: 1\n\nid: 0-2\ndata: 2\n\n"]


async def test_several_streams_begin_when_all_are_ready() -> None:
    one, other = Room(base=(1, 0)), Room(base=(2, 0))
    sink = Sink()
    reader = Reader(sink, IDS, one.loop, has_primer=True)
    places = [reader.place(room.fanout) for room in (one, other)]
    places[1].begin((2, 0))
    one.publish()
    other.publish()
    await one.idle()
    await other.idle()
    assert sink.got == []
    places[0].begin((1, 0))
    places[0].begin((1, 1))  # once is enough
    await one.idle()
    await other.idle()
    assert sink.got[0] == b"id: V.1-0.2-0\n\n"
    assert sorted(sink.data) == ["1", "1"]
    assert sink.events[-1].last_event_id == "V.1-1.2-1"


async def test_a_place_may_be_added_while_the_first_one_begins() -> None:
    room = Room(base=(1, 0))
    sink = Sink()
    reader = Reader(sink, IDS, room.loop, has_primer=True)
    reader.place(room.fanout).begin((1, 0))
    second = reader.place(room.fanout)
    await room.idle()
    assert sink.got == []
    second.begin((1, 0))
    await room.idle()
    assert sink.got == [b"id: V.1-0.1-0\n\n"]


async def test_a_gap_at_the_beginning_is_told_once_for_all_streams() -> None:
    one, other = Room(base=(1, 0)), Room(base=(2, 0))
    sink = Sink()
    reader = Reader(sink, IDS, one.loop, named=b"nonsense", has_primer=True)
    for lost, room in enumerate((one, other), 3):
        reader.place(room.fanout).begin(room.window.top, Missing(GapReason.UNKNOWN, lost))
    await one.idle()
    assert sink.events == [Event("gap", '{"reason": "unknown", "from": "nonsense", "lost": 7}', "V.1-0.2-0")]
    assert reader.gaps == 1


async def test_a_reader_without_ids_has_neither_primer_nor_gap() -> None:
    room = Room()
    _, sink = room.reader((0, 0), PLAIN, has_primer=True)
    missing = Sink()
    Reader(missing, PLAIN, room.loop).place(room.fanout).begin((0, 0), Missing(GapReason.UNKNOWN))
    await room.idle()
    assert (sink.got, sink.error) == ([], None)
    assert isinstance(missing.error, ReaderBehind)


async def test_a_reader_that_has_left_does_not_begin() -> None:
    room = Room()
    sink = Sink()
    reader = Reader(sink, IDS, room.loop)
    place = reader.place(room.fanout)
    reader.abort()
    place.begin((0, 0))
    reader.resume()
    reader.pause()
    room.publish()
    await room.idle()
    assert (sink.got, len(room.fanout)) == ([], 0)


@pytest.mark.parametrize("when", ["begin", "primer", "chunk"])
async def test_a_sink_that_pauses_gets_nothing_until_it_resumes(when: str) -> None:
    room = Room(chunk=20)
    room.publish(10)
    reader, sink = room.reader((0, 0), has_primer=True)
    calls = {"begin": 0, "primer": 1, "chunk": 2}[when]
    if calls:
        sink.within = lambda: reader.pause() if len(sink.got) == calls else None
    else:
        reader.pause()
    await room.idle()
    room.publish()
    await room.idle()
    assert len(sink.got) == calls
    reader.resume()
    reader.resume()
    await room.idle()
    assert [event.last_event_id for event in sink.events] == [f"0-{number + 1}" for number in range(11)]


async def test_a_replay_gives_others_a_turn() -> None:
    room = Room(catching_up=CatchingUp(asyncio.get_running_loop(), steps=2), chunk=20)
    room.publish(20)
    readers = [room.reader((0, 0))[1] for _ in range(4)]
    seen = []
    for _ in range(6):
        await turn()
        seen.append(sum(len(sink.got) for sink in readers))
    assert all(later - before <= 2 for before, later in zip([0, *seen], seen, strict=False))
    await room.idle()
    assert {len(sink.events) for sink in readers} == {20}


# The history.


async def test_what_the_window_no_longer_has_comes_from_the_store() -> None:
    store = Store(numbers(10))
    room = Room(history=store)
    trimmed(room, 8)
    room.publish(2)
    _, sink = room.reader((0, 1))
    await room.idle()
    assert [event.last_event_id for event in sink.events] == [f"0-{number}" for number in range(2, 11)]
    assert store.asked == [(0, 1), (0, 4), (0, 7)]
    room.publish()
    assert sink.data[-1] == "11"


async def test_only_so_many_pages_are_asked_for_at_once() -> None:
    store = Store(numbers(8), is_open=False)
    room = Room(history=store, catching_up=CatchingUp(asyncio.get_running_loop(), pages=2))
    trimmed(room, 8)
    readers = [room.reader((0, 5)) for _ in range(5)]
    for _ in range(10):
        await turn()
    assert len(store.asked) == 2
    readers[0][0].abort()
    readers[4][0].abort()
    for _ in range(10):
        await turn()
    assert (len(store.asked), store.cancelled) == (3, 1)
    store.open.set()
    await room.idle()
    assert [sink.data for _, sink in readers] == [[], *[["6", "7", "8"]] * 3, []]
    assert len(room.catching_up) == 0


async def test_a_paused_reader_has_one_page_and_asks_for_no_other() -> None:
    store = Store(numbers(8), is_open=False)
    room = Room(history=store)
    trimmed(room, 8)
    reader, sink = room.reader((0, 1))
    await turn()
    await turn()
    reader.pause()
    store.open.set()
    await room.idle()
    assert (store.asked, sink.got) == ([(0, 1)], [])
    reader.resume()
    await room.idle()
    assert sink.data == [str(number) for number in range(2, 9)]


async def test_a_large_page_is_handed_out_in_chunks() -> None:
    room = Room(history=Store(numbers(3)), chunk=10)
    trimmed(room, 3)
    _, sink = room.reader((0, 0))
    await room.idle()
    assert sink.got == [b"id: 0-1\ndata: 1\n\nid: 0-2\ndata: 2\n\n", b"id: 0-3\ndata: 3\n\n"]


async def test_what_the_store_lacks_is_told() -> None:
    def answer(after: Mark) -> Page:
        return Page((Block((0, 7), 1, b"data: 7\n\n"),), (0, 6), (0, 7), Missing(GapReason.TRIMMED, 4))

    room = Room(history=Store(answer))
    trimmed(room, 8)
    room.window.restart((0, 7))
    room.fanout.publish()
    _, sink = room.reader((0, 2))
    await room.idle()
    assert sink.events == [
        Event("gap", '{"reason": "trimmed", "from": "0-2", "lost": 4}', "0-6"),
        Event("message", "7", "0-7"),
    ]


async def test_a_window_that_has_more_than_the_store_goes_before_it() -> None:
    def answer(after: Mark) -> Page:
        return Page((), (0, 10), (0, 10), Missing(GapReason.TRIMMED, 8))

    room = Room(history=Store(answer))
    trimmed(room, 8)
    room.publish(2)
    _, sink = room.reader((0, 2))
    await room.idle()
    assert sink.events == [
        Event("gap", '{"reason": "trimmed", "from": "0-2", "lost": null}', "0-8"),
        Event("message", "9", "0-9"),
        Event("message", "10", "0-10"),
    ]


async def test_a_position_ahead_of_the_window_waits_for_it() -> None:
    """Another process has seen more of the stream, and the store confirms it."""
    store = Store(numbers(5))
    room = Room(history=store)
    room.publish(2)
    _, sink = room.reader((0, 5))
    await room.idle()
    assert (sink.got, store.asked) == ([], [(0, 5)])
    room.publish(2)
    room.publish(2)
    await room.idle()
    assert sink.data == ["6"]
    room.publish()
    assert sink.data == ["6", "7"]


async def test_a_position_that_the_store_does_not_know() -> None:
    def answer(after: Mark) -> Page:
        return numbers(2)((0, 0)) if after > (0, 2) else numbers(2)(after)

    def unknown(after: Mark) -> Page:
        page = answer(after)
        return Page(page.blocks, (0, 0), page.end, Missing(GapReason.UNKNOWN)) if after > (0, 2) else page

    room = Room(history=Store(unknown))
    room.publish(2)
    _, sink = room.reader((9, 9))
    await room.idle()
    assert sink.events == [
        Event("gap", '{"reason": "unknown", "from": "9-9", "lost": null}', "0-0"),
        Event("message", "1", "0-1"),
        Event("message", "2", "0-2"),
    ]


async def test_who_waits_ahead_hears_when_the_stream_begins_anew() -> None:
    room = Room(base=(5, 0), history=Store(lambda after: Page((), after, after)))
    _, sink = room.reader((6, 0))
    await room.idle()
    room.fanout.break_in((2, 0), Missing(GapReason.STORE))
    await room.idle()
    room.publish()
    assert [event.last_event_id for event in sink.events] == ["2-0", "2-1"]


async def test_a_page_of_a_stream_that_has_begun_anew_is_not_used() -> None:
    store = Store(numbers(8), is_open=False)
    room = Room(base=(0, 8), history=store)
    _, sink = room.reader((0, 3))
    await turn()
    await turn()
    room.fanout.break_in((0, 1), Missing(GapReason.STORE))
    store.open.set()
    await room.idle()
    assert sink.events == [Event("gap", '{"reason": "store", "from": "0-3", "lost": null}', "0-1")]


async def test_a_store_that_is_away_is_asked_again() -> None:
    failing = [True]

    def answer(after: Mark) -> Page:
        if failing:
            raise Unavailable("The store is away.", retry_after=1)
        return numbers(8)(after)

    store = Store(answer)
    room = Room(history=store)
    trimmed(room, 8)
    (reader, sink), (leaving, _) = room.reader((0, 6)), room.reader((0, 6))
    await passing(3.5)
    assert len(store.asked) == 8
    leaving.abort()
    failing.clear()
    await passing(1.0)
    assert (sink.data, room.defects, len(store.asked)) == (["7", "8"], [], 9)
    reader.abort()


async def test_a_store_that_lags_behind_the_window_is_asked_again() -> None:
    tops = [6, 6, 8, 8]

    def answer(after: Mark) -> Page:
        return numbers(tops.pop(0))(after)

    store = Store(answer)
    room = Room(history=store)
    trimmed(room, 8)
    _, sink = room.reader((0, 6))
    await passing(0.5)
    assert store.asked == [(0, 6)]
    await passing(2.0)
    assert sink.data == ["7", "8"]


@pytest.mark.parametrize(
    ("error", "told", "defects"),
    [
        (ZeroDivisionError(), UpstreamBroken, 1),
        (UpstreamBroken("It broke.", proxy_status="x"), UpstreamBroken, 0),
        (ReaderBehind("It is slow.", proxy_status="x"), ReaderBehind, 0),
    ],
)
async def test_a_history_that_fails_ends_its_reader(error: Exception, told: type[OriginError], defects: int) -> None:
    def fail(after: Mark) -> Page:
        raise error

    room = Room(history=Store(fail))
    trimmed(room, 2)
    _, sink = room.reader((0, 0))
    await room.idle()
    assert type(sink.error) is told
    assert (len(room.defects), len(room.fanout)) == (defects, 0)


# The end.


async def test_the_owner_hears_of_the_end_once() -> None:
    room = Room()
    ended: list[int] = []
    reader, sink = room.reader((0, 0), on_done=lambda: ended.append(len(room.fanout)))
    await room.idle()
    reader.abort()
    reader.abort()
    assert ended == [0]
    room.publish()
    assert sink.got == []


async def test_a_sink_that_fails_at_the_end_harms_nothing() -> None:
    room = Room(STREAM)

    class Failing(Sink):
        def receive_error(self, error: OriginError) -> None:
            raise ZeroDivisionError

    reader = Reader(Failing(), PLAIN, room.loop)
    reader.place(room.fanout).begin((0, 0))
    ((_, other),) = await room.live(1)
    room.window.break_in((5, 0), Missing(GapReason.STORE), now=0.0)
    room.publish()
    assert [type(defect) for defect in room.defects] == [ZeroDivisionError]
    assert other.data[-1] == "1"


async def test_a_step_that_fails_stops_no_other() -> None:
    room = Room()
    steps: list[int] = []

    def fail() -> None:
        raise ZeroDivisionError

    for step in (fail, lambda: steps.append(1), fail, lambda: steps.append(2)):
        room.catching_up.soon(step)
    await room.idle()
    assert steps == [1, 2]
    assert [type(defect) for defect in room.defects] == [ZeroDivisionError] * 2


async def test_a_page_whose_reader_fails_stops_no_other() -> None:
    room = Room()
    pages: list[Any] = []

    def fail(page: Page | Exception) -> None:
        raise ZeroDivisionError

    store = Store(numbers(1))
    room.catching_up.ask(store, (0, 0), fail)
    room.catching_up.ask(store, (0, 0), pages.append)
    await room.idle()
    assert [type(page) for page in pages] == [Page]
    assert [type(defect) for defect in room.defects] == [ZeroDivisionError]
