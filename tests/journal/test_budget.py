"""What happens when all windows together take too much memory?"""

from sseproxy.core.errors import ReaderBehind
from sseproxy.core.journal.cursor import PLAIN
from sseproxy.core.journal.window import CHANNEL
from sseproxy.journal.budget import WindowBudget
from tests.support.journal_sink import Room


async def test_the_largest_windows_shrink_first() -> None:
    budget = WindowBudget(1_000_000)
    rooms = [Room(budget=budget) for _ in range(3)]
    for room in rooms:
        reader, _ = room.reader((0, 0))
        reader.pause()
    rooms[0].publish(10, size=10_000)
    rooms[1].publish(50, size=10_000)
    assert [room.window.events for room in rooms] == [10, 50, 0]
    rooms[2].publish(40, size=10_000)
    assert [room.window.events for room in rooms] == [10, 1, 40]
    assert budget.total < 750_000


async def test_a_slow_reader_of_a_channel_is_broken_off() -> None:
    budget = WindowBudget(100_000)
    room = Room(CHANNEL, budget=budget)
    (slow, sink), (_, live) = await room.live(2, PLAIN)
    slow.pause()
    room.publish(20, size=10_000)
    assert isinstance(sink.error, ReaderBehind)
    assert len(live.events) == 20
    assert budget.total == 0


async def test_windows_that_cannot_shrink_are_left_alone() -> None:
    """All of them have their last event only: to try again at each event would take all the time there is."""
    budget = WindowBudget(10_000)
    rooms = [Room(budget=budget) for _ in range(20)]
    for room in rooms:
        room.publish(size=1000)
    assert budget.total > 20_000
    shrunk: list[object] = []

    class Window:
        def shrink(self) -> None:
            shrunk.append(self)

    budget.note(Window(), 300)
    assert shrunk == []
    budget.note(Window(), 2000)
    assert len(shrunk) == 2


async def test_a_window_that_is_closed_takes_nothing() -> None:
    budget = WindowBudget(10_000)
    room = Room(budget=budget)
    room.publish(3)
    assert budget.total > 600
    room.fanout.close()
    assert budget.total == 0
