"""Is anything left of a reader once it has gone, whatever it was doing?"""

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from sseproxy.core.errors import Unavailable
from sseproxy.core.journal.cursor import PLAIN
from sseproxy.core.journal.positions import Mark
from sseproxy.core.journal.window import CHANNEL
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.journal.history import Page
from tests.support.journal_sink import Room, turn
from tests.support.relayed_client import RelayedClient

READERS = 3000
AT_ONCE = 100
OURS = {
    "RelayedClient",
    "Relay",
    "StreamSession",
    "Tally",
    "Reader",
    "Place",
    "Sink",
    "Asking",
    "Voice",
    "Task",
    "TimerHandle",
    "Future",
    "coroutine",
    "Block",
    "Step",
    "Spot",
}

#: What a window or a loop keeps of its own, and how many of each.
MAY_STAY = {"Block", "Spot", "TimerHandle"}
SPARE = 100


@pytest.fixture
def counted() -> Iterator[Callable[[], Counter[str]]]:
    """Counts what is there, with the collector off: a circle would stay."""

    def count() -> Counter[str]:
        return Counter(name for each in gc.get_objects() if (name := type(each).__name__) in OURS)

    gc.collect()
    gc.disable()
    yield count
    gc.enable()


class Store:
    """One that never answers, is away, or has a page."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    async def page(self, after: Mark, most: int) -> Page:
        if self.kind == "silent":
            await asyncio.Event().wait()
        await turn()
        if self.kind == "away":
            raise Unavailable("The store is away.", retry_after=1)
        if self.kind == "failing":
            raise ZeroDivisionError
        return Page((), after, (0, 10**9))


def _fail() -> None:
    raise ZeroDivisionError


async def _come_and_go(room: Room, mark: Mark, kind: str) -> None:
    readers = [room.reader(mark, PLAIN) for _ in range(AT_ONCE)]
    for _ in range(20):
        await turn()
    for number, (reader, sink) in enumerate(readers):
        if kind == "defect":
            sink.within = _fail
        elif kind in ("paused", "behind") or number % 2:
            reader.pause()
    for _ in range(30 if kind == "behind" else 1):
        room.publish(size=40_000)
    if kind != "behind":
        for reader, _ in readers:
            reader.abort()
    for _ in range(20):
        await turn()


@pytest.mark.parametrize("kind", ["live", "paused", "silent", "away", "failing", "paging", "behind", "defect"])
async def test_nothing_is_left(kind: str, counted: Callable[[], Counter[str]]) -> None:
    history = Store(kind) if kind in ("silent", "away", "failing", "paging") else None
    room = Room(CHANNEL, base=(0, 5), history=history)
    before = counted()
    for _ in range(READERS // AT_ONCE):
        await _come_and_go(room, (0, 0) if history else room.window.top, kind)
        room.defects.clear()
    assert (len(room.fanout), len(room.catching_up)) == (0, 0)
    left = counted()
    left.subtract(before)
    assert {name: count for name, count in left.items() if count > 0 and name not in MAY_STAY} == {}
    assert all(left[name] <= SPARE for name in MAY_STAY)


async def _come_and_go_past_their_relays(room: Room) -> None:
    clients = [RelayedClient(room, PLAIN) for _ in range(AT_ONCE)]
    for _ in range(20):
        await turn()
    room.publish(3)
    for number, client in enumerate(clients):
        match number % 4:
            case 0:
                client.relay.connection_lost()
            case 1:
                client.relay.stop_soon(CloseReason.STOPPED)
            case 2:
                client.reader.fail(ZeroDivisionError())
            case 3:
                client.relay.drain(at=0.0, deadline=0.0)
    for _ in range(20):
        await turn()
    for client in clients:
        assert client.relay.ended.done()
        client.let_go()


async def test_nothing_is_left_of_those_whose_relays_were_passed(counted: Callable[[], Counter[str]]) -> None:
    room = Room(base=(0, 5))
    before = counted()
    for _ in range(READERS // AT_ONCE):
        await _come_and_go_past_their_relays(room)
        assert [type(defect) for defect in room.defects] == [ZeroDivisionError] * (AT_ONCE // 4)
        room.defects.clear()
    assert len(room.fanout) == 0
    left = counted()
    left.subtract(before)
    assert {name: count for name, count in left.items() if count > 0 and name not in MAY_STAY} == {}
    assert all(left[name] <= SPARE for name in MAY_STAY)
