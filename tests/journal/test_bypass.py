"""Is what goes straight to a client what its relay would have sent, and is it counted as if the relay had?"""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from sseproxy.core.flow import Bypass, Writable
from sseproxy.core.journal.cursor import PLAIN
from sseproxy.core.journal.window import Block
from sseproxy.core.stream import tally
from sseproxy.core.stream.events import Look
from sseproxy.core.stream.heartbeat import HeartbeatForm
from sseproxy.core.stream.tally import TALLY_PIECES, Sum, Tally
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.relay import Relay
from sseproxy.journal.place import Place, Standing
from tests.support.journal_sink import IDS, Room
from tests.support.relayed_client import RelayedClient
from tests.support.virtual_clock import VirtualLoop

_HISTORIES = 60

#: Forms that need to know: nothing of the stream; whether it has ids; its last event.
_FORMS = (HeartbeatForm.COMMENT_LINE, HeartbeatForm.AUTO, HeartbeatForm.OPENAI_CHAT)

Looks = list[dict[str, Any]]


class History:
    """One history of a room, the same for each seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.room = Room(readers=self.chance.choice([2, 3, 256]))
        self.clients: list[RelayedClient] = []
        self.looks: Looks = []
        self.number = 0

    async def run(self) -> Looks:
        chance = self.chance
        for _ in range(chance.randint(2, 6)):
            self.join()
        for _ in range(chance.randint(10, 60)):
            await self.act(chance.choice(list(_WEIGHTS)) if chance.random() < 0.2 else "publish")
        await self.room.idle()
        await asyncio.sleep(1)
        self.look()
        for client in self.clients:
            client.relay.connection_lost()
        self.look()
        assert len(self.room.fanout) == 0
        assert self.room.defects == []
        return self.looks

    async def act(self, name: str) -> None:  # noqa: C901 - a table
        chance, room = self.chance, self.room
        client = chance.choice(self.clients)
        match name:
            case "publish":
                for _ in range(chance.choice([1, 1, 1, 2, TALLY_PIECES])):
                    self.publish()
                for _ in range(chance.choice([0, 1, 5])):
                    await asyncio.sleep(0)
                await asyncio.sleep(chance.choice([0.0, 0.0, 0.5, 2.0]))
            case "join":
                self.join()
            case "sleep":
                await asyncio.sleep(chance.choice([0.5, 3.0, 8.0, 8.0, 61.0]))
            case "look":
                self.look()
            case "block":
                client.block()
            case "take":
                client.take()
                await room.idle()
            case "stop":
                client.relay.stop_soon(chance.choice([CloseReason.STOPPED, CloseReason.CLIENT_GONE]))
            case "drain":
                now = room.loop.time()
                client.relay.drain(at=now + 1.0, deadline=now + 5.0)
            case _:
                client.within = self.within(name, client)

    def within(self, name: str, client: RelayedClient) -> Callable[[], None]:
        def blink() -> None:
            client.block()
            client.take()

        found: dict[str, Callable[[], None]] = {
            "look within": self.look,
            "block within": client.block,
            "blink within": blink,
            "leave within": client.relay.connection_lost,
            "stop within": partial(client.relay.stop_soon, CloseReason.STOPPED),
            "publish within": self.publish,
        }
        return found[name]

    def publish(self) -> None:
        chance, room = self.chance, self.room
        self.number += 1
        count, field = 1, b""
        data = b"data: %d%b\n\n" % (self.number, b"x" * chance.choice([0, 0, 10, 3000]))
        match chance.choice((0, 1, 2, 2, 2, 2, *[3] * 14)):
            case 0:
                field = b"event: nothing\n\n"  # brings no data
                count = 2
            case 1:
                field = b"id: own\n"
            case 2:
                count, field = 2, b'data: {"id": "%d", "choices": [{}]}\n\n' % self.number
        room.window.append(Block((0, room.window.top[1] + count), count, field + data), now=room.loop.time())
        room.fanout.publish()

    def join(self) -> None:
        chance = self.chance
        if len(self.clients) < 8:
            self.clients.append(RelayedClient(self.room, chance.choice([IDS, PLAIN, PLAIN]), chance.choice(_FORMS)))

    def look(self) -> None:
        """Look at all clients, as a page of metrics does."""
        self.looks += [client.seen() for client in self.clients]


_WEIGHTS = (
    "join",
    "sleep",
    "sleep",
    "look",
    "look",
    "block",
    "take",
    "take",
    "stop",
    "drain",
    "look within",
    "block within",
)


def looks(seed: int) -> Looks:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:

        async def run() -> Looks:
            return await History(seed).run()

        return runner.run(run())


@contextmanager
def without_a_bypass() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Relay, "open_bypass", lambda _self, _bypass, _tally: None)
        yield


def difference(histories: int) -> object:
    """Return what differs in any of so many histories from the same one in which each relay gets each event."""
    for seed in range(histories):
        with without_a_bypass():
            expected = looks(seed)
        try:
            found = looks(seed)
        except Exception as error:  # noqa: BLE001 - a broken rule may show in any way
            return error
        if found != expected:
            return next(((seed, one, other) for one, other in zip(found, expected, strict=False) if one != other), seed)
    return None


def test_clients_get_and_count_the_same() -> None:
    assert difference(_HISTORIES) is None


def test_most_events_go_past_the_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above compares a thing with itself."""
    through = 0
    receive = Relay.receive_events

    def count(self: Relay, data: bytes, events: int, now: float) -> None:
        nonlocal through
        through += 1
        receive(self, data, events, now)

    monkeypatch.setattr(Relay, "receive_events", count)
    seen = [looks(seed)[-1]["events"] for seed in range(20)]
    assert through > 0
    with without_a_bypass():
        before, through = through, 0
        assert [looks(seed)[-1]["events"] for seed in range(20)] == seen
    assert before < through / 2


# Would it notice?

_passed, _between, _open = Place.passed, Tally.between, Place.open_bypass
_SINCE = vars(Place)["_since"]


def _all_of_it(self: Place) -> Sum | None:
    """As if this one had had its turn."""
    if self.tally is None:
        return None
    start, end = _SINCE.__get__(self), len(self.tally)
    _SINCE.__set__(self, end)
    return self.tally.between(start, end)


def _from_its_beginning(self: Place) -> Sum | None:
    _SINCE.__set__(self, 0)
    return _passed(self)


def _receive_beside_it(self: Place, text: bytes, events: int, now: float) -> None:
    self.sink.receive_events(text, events, now)


class _BlindToLines(Look):
    """Takes events without data for events."""

    def lines(self, data: bytes) -> int:
        return len(data)


class _BlindToIds(Look):
    def may_have_id(self, data: bytes) -> bool:
        return False


def _open_wherever_it_is(self: Place, tally: Tally) -> None:
    standing, self.standing = self.standing, Standing.LIVE
    _open(self, tally)
    self.standing = standing


def _count_and_go_on(self: Relay) -> None:
    """The bypass stays, whatever happens."""
    bypass = vars(Relay)["_bypass"].__get__(self)
    if bypass is not None and (passed := bypass.passed()) is not None:
        vars(Relay)["_transfer"].__get__(self).count(passed)


def _newest_for_all(self: Tally, start: int, end: int) -> Sum | None:
    found = _between(self, start, end)
    return found if found is None else _between(self, start, len(self))


def _without_silences(self: Tally, start: int, end: int) -> Sum | None:
    found = _between(self, start, end)
    return found and Sum(found.size, found.events, found.newest, found.last_at, found.last_at, 0.0)


def _never_closed(self: Relay) -> None:
    """What went past is not counted."""


def _open_at_once(self: Relay, bypass: Bypass, tally: Tally) -> Writable | None:
    vars(Relay)["_bypass"].__set__(self, bypass)
    return vars(Relay)["_downstream"].__get__(self)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("owner", "name", "instead"),
    [
        pytest.param(Place, "passed", _all_of_it, id="what is still to come is counted"),
        pytest.param(Place, "passed", _from_its_beginning, id="what the relay had is counted again"),
        pytest.param(Place, "receive", _receive_beside_it, id="the relay gets a piece before it has counted"),
        pytest.param(Place, "open_bypass", _open_wherever_it_is, id="past the sink of one that is not live"),
        pytest.param(tally, "LOOK", _BlindToLines(), id="events without data go past"),
        pytest.param(tally, "LOOK", _BlindToIds(), id="ids go past"),
        pytest.param(Tally, "between", _newest_for_all, id="all have the newest"),
        pytest.param(Tally, "between", _without_silences, id="silences do not count"),
        pytest.param(Relay, "close_bypass", _never_closed, id="nothing is counted"),
        pytest.param(Relay, "close_bypass", _count_and_go_on, id="a bypass has no end"),
        pytest.param(Relay, "open_bypass", _open_at_once, id="a session is not asked"),
    ],
)
def test_a_broken_rule_is_noticed(owner: object, name: str, instead: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, name, instead)
    assert difference(_HISTORIES) is not None
