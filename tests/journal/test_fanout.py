"""Do live readers get what is new at once, together, and without harm to one another?"""

import asyncio

import pytest

from sseproxy.core.errors import ReaderBehind
from sseproxy.core.journal.cursor import PLAIN
from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.window import CHANNEL, STREAM, Block, Spot
from sseproxy.core.journal.window_policy import WindowLimits, WindowPolicy
from sseproxy.core.stream.transfer import CloseReason
from tests.support.journal_sink import Room, turn
from tests.support.whatwg import Event

LARGE = 40_000

#: No store behind it, and each event counted: a run's.
RUN = WindowPolicy(
    tail=WindowLimits(events=5), most=WindowLimits(events=5), least=WindowLimits(events=1), is_counted=True
)


def gap(reason: str, first: str, last: str, lost: str = "null") -> Event:
    return Event("gap", f'{{"reason": "{reason}", "from": "{first}", "lost": {lost}}}', last)


async def test_live_readers_get_it_in_the_call_that_publishes() -> None:
    room = Room()
    readers = await room.live(3)
    room.publish(2)
    assert [sink.got for _, sink in readers] == [[b"id: 0-1\ndata: 1\n\nid: 0-2\ndata: 2\n\n"]] * 3


async def test_all_readers_of_a_flavour_share_the_bytes() -> None:
    room = Room()
    with_ids, without = await room.live(3), await room.live(3, PLAIN)
    room.publish()
    for readers in (with_ids, without):
        assert len({id(sink.got[0]) for _, sink in readers}) == 1
    assert without[0][1].got == [b"data: 1\n\n"]


async def test_readers_of_several_channels_share_them_too() -> None:
    room, other = Room(CHANNEL), Room(CHANNEL)
    readers = [room.reader(room.window.top, PLAIN) for _ in range(2)]
    for reader, _ in readers:
        reader.place(other.fanout).begin(other.window.top)
    await room.idle()
    room.publish(2)
    other.publish()
    assert [sink.data for _, sink in readers] == [["1", "2", "1"]] * 2
    assert len({id(sink.got[0]) for _, sink in readers}) == 1


async def test_a_pass_over_many_readers_gives_others_a_turn() -> None:
    room = Room(readers=2)
    readers = await room.live(5)
    room.publish()
    counts = []
    for _ in range(4):
        counts.append(sum(bool(sink.got) for _, sink in readers))
        await turn()
    assert counts == [2, 4, 5, 5]


async def test_who_begins_at_the_end_of_a_window_during_a_pass_misses_nothing() -> None:
    """The pass has not come so far yet, but the window has."""
    room = Room(RUN, readers=1)
    await room.live(6)
    room.publish()  # a pass of several turns
    room.publish()  # what comes meanwhile
    _, sink = room.reader(room.window.top)
    await room.idle()
    await room.fanout.settled()
    await room.idle()
    room.publish()
    await room.fanout.settled()
    assert sink.events == [Event("message", "3", "0-3")]


async def test_what_comes_during_a_pass_is_the_next_one() -> None:
    room = Room(readers=2)
    readers = await room.live(5)
    for _ in range(4):
        room.publish()
    await room.fanout.settled()
    for _, sink in readers:
        assert sink.data == ["1", "2", "3", "4"]
        assert len(sink.got) == 2


async def test_a_pass_is_bounded_in_bytes() -> None:
    """Otherwise all that a client lacks would be queued for it before it can say that it is too much."""
    room = Room()
    ((reader, sink),) = await room.live(1)
    sink.within = reader.pause
    room.publish(10, size=LARGE)
    assert len(sink.got) == 1
    assert len(sink.events) == 2


async def test_who_joins_during_a_pass_gets_nothing_twice() -> None:
    room = Room(readers=1)
    await room.live(5)
    begin = room.window.top
    room.publish()
    _, late = room.reader(begin)
    _, latest = room.reader(room.window.top)
    room.publish()
    await room.fanout.settled()
    await room.idle()
    assert late.data == ["1", "2"]
    assert latest.data == ["2"]


async def test_who_leaves_within_its_turn_is_gone() -> None:
    room = Room()
    readers = await room.live(3)
    for reader, sink in readers:
        sink.within = reader.abort
    room.publish()
    room.publish()
    assert [len(sink.got) for _, sink in readers] == [1, 1, 1]
    assert len(room.fanout) == 0


async def test_who_aborts_another_one_within_its_turn() -> None:
    """Of those who wait for their turn as of those who have had it."""
    room = Room()
    readers = await room.live(4)
    for number, (_, sink) in enumerate(readers):
        sink.within = readers[number - number % 2 + 1 - number % 2][0].abort
    room.publish()
    assert sorted(len(sink.got) for _, sink in readers) == [0, 0, 1, 1]
    room.publish()
    assert sorted(len(sink.got) for _, sink in readers) == [0, 0, 2, 2]
    assert (len(room.fanout), room.defects) == (2, [])


@pytest.mark.parametrize("number", range(3))
async def test_a_defect_of_one_sink_harms_no_other(number: int) -> None:
    room = Room()
    readers = await room.live(3)

    def fail() -> None:
        raise ZeroDivisionError

    readers[number][1].within = fail
    room.publish()
    readers[number][1].within = None
    room.publish()
    assert [sink.data for index, (_, sink) in enumerate(readers) if index != number] == [["1", "2"]] * 2
    assert readers[number][1].data == ["1"]
    assert isinstance(readers[number][1].error, Exception)
    assert [type(defect) for defect in room.defects] == [ZeroDivisionError]
    assert len(room.fanout) == 2


async def test_live_readers_never_fall_out_however_much_comes_at_once() -> None:
    room = Room(RUN, readers=1)
    readers = await room.live(3)
    for _ in range(10):
        room.publish(10)
    await room.fanout.settled()
    assert all(sink.data == [str(number + 1) for number in range(100)] for _, sink in readers)
    assert room.window.events == 5


async def test_who_pauses_before_its_turn_in_a_pass_finds_what_it_lacks() -> None:
    room = Room(CHANNEL, readers=1)
    readers = await room.live(3, PLAIN)
    room.publish()
    (waiting, sink), *_ = [pair for pair in readers if not pair[1].got]
    waiting.pause()
    await room.fanout.settled()
    waiting.resume()
    await room.idle()
    assert sink.data == ["1"]
    assert sink.error is None


async def test_a_window_keeps_a_tail_and_more_while_a_reader_is_behind() -> None:
    room = Room()
    (reader, _), _ = await room.live(2)
    room.publish(300)
    assert room.window.events == 100
    reader.pause()
    room.publish(300)
    assert room.window.events == 400
    room.publish(1000)
    assert room.window.events == 1000
    reader.abort()
    assert room.window.events == 100


# Channels.


async def test_a_channel_keeps_nothing_that_all_have() -> None:
    room = Room(CHANNEL)
    room.publish(5)
    assert (room.window.events, room.window.bytes) == (0, 0)
    (slow, sink), (_, fast) = await room.live(2, PLAIN)
    room.publish(5)
    assert room.window.events == 0
    slow.pause()
    room.publish(5)
    assert room.window.events == 5
    slow.resume()
    await room.idle()
    assert room.window.events == 0
    assert sink.data == fast.data == [str(number) for number in range(6, 16)]


async def test_a_reader_of_a_channel_that_falls_out_is_broken_off_at_once() -> None:
    room = Room(CHANNEL)
    (slow, sink), (_, fast) = await room.live(2, PLAIN)
    slow.pause()
    for _ in range(26):
        room.publish(size=LARGE)
    assert sink.error is None
    room.publish(size=LARGE)
    assert isinstance(sink.error, ReaderBehind)
    assert sink.error.reason is CloseReason.BEHIND
    assert (len(room.fanout), room.window.events) == (1, 0)
    assert len(fast.data) == 27
    slow.resume()
    await room.idle()
    assert sink.got == []


async def test_only_who_has_fallen_out_is_broken_off() -> None:
    room = Room(CHANNEL)
    readers = await room.live(4, PLAIN)
    for reader, _ in readers[:3]:
        reader.pause()
        room.publish(size=LARGE)
    left = []
    for _ in range(27):
        room.publish(size=LARGE)
        assert room.window.bytes <= 2**20
        left.append(sum(sink.error is None for _, sink in readers))
    assert left == [4] * 23 + [3, 2, 1, 1]
    assert len(readers[3][1].got) == 30


# Gaps.


@pytest.mark.parametrize("is_paused", [False, True])
async def test_a_run_that_went_on_without_a_reader_says_how_much_it_lacks(is_paused: bool) -> None:
    room = Room(RUN, base=(1, 0))
    ((reader, sink),) = await room.live(1)
    room.publish()
    reader.pause()
    room.publish(20)
    if is_paused:
        reader.resume()
    else:
        _, sink = room.reader((1, 1))
    await room.idle()
    assert sink.events[-6] == gap("trimmed", "1-1", "1-16", "15")
    assert sink.data[-5:] == ["17", "18", "19", "20", "21"]


async def test_a_position_that_a_run_has_not_reached_is_unknown() -> None:
    room = Room(RUN, base=(1, 0))
    room.publish(3)
    reader, sink = room.reader((1, 9))
    await room.idle()
    assert sink.events[0] == gap("unknown", "1-9", "1-0")
    assert (sink.data[1:], reader.gaps) == (["1", "2", "3"], 1)


async def test_live_and_late_readers_hear_once_what_is_missing() -> None:
    room = Room(base=(1, 0))
    (paused, behind), (_, live) = await room.live(2)
    room.publish()
    paused.pause()
    room.publish()
    room.fanout.break_in((5, 0), Missing(GapReason.STORE, 7))
    room.publish()
    paused.resume()
    await room.idle()
    missing = gap("store", "1-2", "5-0", "7")
    for sink in (live, behind):
        assert sink.events == [
            Event("message", "1", "1-1"),
            Event("message", "2", "1-2"),
            missing,
            Event("message", "1", "5-1"),
        ]
    _, latest = room.reader(room.window.top)
    _, just_behind = room.reader((5, 0))
    await room.idle()
    assert (latest.data, just_behind.data) == ([], ["1"])


async def test_readers_without_ids_are_broken_off_at_a_gap() -> None:
    room = Room(base=(1, 0))
    ((_, sink),) = await room.live(1, PLAIN)
    room.append()
    room.window.break_in((5, 0), Missing(GapReason.STORE), now=0.0)
    room.publish()
    assert sink.data == ["1"]
    assert isinstance(sink.error, ReaderBehind)
    assert len(room.fanout) == 0


async def test_a_stretch_in_which_nothing_was_is_no_gap() -> None:
    room = Room(base=(1, 0))
    ((_, sink),) = await room.live(1)
    room.fanout.break_in((5, 0), None)
    room.publish()
    assert sink.events == [Event("message", "1", "5-1")]


async def test_a_stream_that_begins_anew_is_told_to_each_once() -> None:
    """The live one has had everything, and hears how much is lost; the others lack what the window had, too."""
    room = Room(base=(5, 0), readers=1)
    (paused, behind), (_, live), (_, other) = await room.live(3)
    room.publish()
    await room.fanout.settled()
    paused.pause()
    room.publish()
    await room.fanout.settled()
    room.fanout.break_in((2, 0), Missing(GapReason.STORE, 4))
    room.publish()
    await room.fanout.settled()
    paused.resume()
    await room.idle()
    for sink in (live, other):
        assert sink.events[2:] == [gap("store", "5-2", "2-0", "4"), Event("message", "1", "2-1")]
    assert behind.events[1:] == [gap("store", "5-1", "2-0"), Event("message", "1", "2-1")]


async def test_a_stream_that_begins_anew_during_a_pass() -> None:
    """Those whose turn has not come get the rest of the pass first, and nothing is given twice or lost."""
    room = Room(base=(5, 0), readers=1)
    readers = await room.live(4)
    room.publish()
    room.fanout.break_in((2, 0), Missing(GapReason.STORE, 4))
    _, early = room.reader((2, 0))
    room.publish()
    await room.fanout.settled()
    await room.idle()
    for _, sink in readers:
        assert sink.events == [
            Event("message", "1", "5-1"),
            gap("store", "5-1", "2-0", "4"),
            Event("message", "1", "2-1"),
        ]
    assert early.events == [Event("message", "1", "2-1")]


async def test_nothing_of_a_stream_that_begins_anew_during_a_pass_is_trimmed() -> None:
    room = Room(RUN, base=(5, 0), readers=1)
    readers = await room.live(4)
    room.publish()
    room.fanout.break_in((2, 0), Missing(GapReason.STORE))
    room.publish(10)
    await room.fanout.settled()
    assert all(sink.data[2:] == [str(number + 1) for number in range(10)] for _, sink in readers)


async def test_a_stream_that_was_seen_to_its_end_begins_anew_without_a_word() -> None:
    room = Room(base=(5, 0))
    (paused, behind), (_, live) = await room.live(2)
    paused.pause()
    room.publish()
    room.fanout.break_in((2, 0), None)
    room.publish()
    paused.resume()
    await room.idle()
    assert live.events == [Event("message", "1", "5-1"), Event("message", "1", "2-1")]
    assert behind.events == [gap("unknown", "5-0", "2-0"), Event("message", "1", "2-1")]


async def test_a_window_begins_where_the_stream_is_found() -> None:
    """It was made before the store was reached."""
    room = Room()
    room.fanout.start((7, 3))
    _, sink = room.reader((7, 3))
    await room.idle()
    room.publish()
    assert sink.events == [Event("message", "4", "7-4")]
    assert room.fanout.at == Spot(1, (7, 4))


async def test_a_producer_that_trims_the_window_itself_loses_nothing_silently() -> None:
    room = Room(RUN)
    ((_, sink),) = await room.live(1)
    room.append(3)
    room.window.trim(WindowLimits(events=1), now=0.0, upto=room.window.top)
    room.fanout.publish()
    await room.idle()
    assert sink.events == [gap("trimmed", "0-0", "0-2", "2"), Event("message", "3", "0-3")]


async def test_waiting_for_the_end_of_a_pass_can_be_cancelled() -> None:
    room = Room(readers=1)
    await room.live(3)
    room.publish()
    waiting = [asyncio.create_task(room.fanout.settled()) for _ in range(2)]
    await turn()
    waiting[0].cancel()
    await waiting[1]
    await room.fanout.settled()
    assert room.defects == []


async def test_a_block_of_several_events_is_handed_out_whole() -> None:
    room = Room(STREAM)
    ((_, sink),) = await room.live(1)
    room.window.append(Block((0, 3), 3, b"data: a\n\ndata: b\n\ndata: c\n\n"), now=0.0)
    room.fanout.publish()
    _, late = room.reader((0, 1))
    await room.idle()
    assert [(event.data, event.last_event_id) for event in sink.events] == [("a", "0-1"), ("b", "0-2"), ("c", "0-3")]
    assert [(event.data, event.last_event_id) for event in late.events] == [("b", "0-2"), ("c", "0-3")]
