"""Is what goes straight to a client what its relay would have sent, and is it counted as if the relay had?"""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import pytest

from sseproxy.core.flow import Bypass, Writable
from sseproxy.core.journal.cursor import PLAIN, Flavour
from sseproxy.core.journal.window import Block
from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.tally import TALLY_PIECES, Sum, Tally
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.relay import Relay
from sseproxy.journal.place import Place
from sseproxy.journal.reader import Reader
from tests.support.journal_sink import IDS, Room
from tests.support.virtual_clock import VirtualLoop

_HISTORIES = 60

#: Forms that need to know: nothing of the stream; whether it has ids; its last event.
_FORMS = (HeartbeatForm.COMMENT_LINE, HeartbeatForm.AUTO, HeartbeatForm.OPENAI_CHAT)

Looks = list[dict[str, Any]]


class Client:
    """A client of a room, its relay and its session. within: what it does in the middle of the next write."""

    def __init__(self, room: Room, flavour: Flavour, form: HeartbeatForm) -> None:
        heartbeat = HeartbeatPolicy(interval=7.0, form=form)
        plan = StreamPlan(heartbeat=heartbeat, form=form, timeouts=TimeoutPolicy(idle=60.0, write=None))
        self.out = b""
        self.end = ""
        self.is_blocked = False
        self.within: Callable[[], None] | None = None
        self.relay = Relay(StreamSession(plan, now=room.loop.time()), self)
        reader = Reader(self.relay, flavour, room.loop, has_primer=flavour is IDS)
        reader.place(room.fanout).begin(room.window.top)
        self.relay.connect(reader)
        self.relay.start()

    def write(self, data: bytes) -> None:
        assert data
        assert not self.end
        self.out += data
        within, self.within = self.within, None
        if within is not None:
            within()

    def block(self) -> None:
        if not self.is_blocked and not self.end:
            self.is_blocked = True
            self.relay.pause_writing()

    def take(self) -> None:
        if self.is_blocked:
            self.is_blocked = False
            self.relay.resume_writing()

    def unsent(self) -> int:
        return int(self.is_blocked)

    def acknowledged(self) -> int | None:
        return None

    def finish(self) -> None:
        self.end = "finish"

    def abort(self) -> None:
        self.end = "abort"

    def seen(self) -> dict[str, Any]:
        return {**asdict(self.relay.stats), "out": self.out, "end": self.end, "reason": self.relay.close_reason}


class History:
    """One history of a room, the same for each seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.room = Room(readers=self.chance.choice([2, 3, 256]))
        self.clients: list[Client] = []
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
                client.within = {"look within": self.look, "block within": client.block}[name]

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
            self.clients.append(Client(self.room, chance.choice([IDS, PLAIN, PLAIN]), chance.choice(_FORMS)))

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

_end, _add, _between = Place.end, Tally.add, Tally.between
_SINCE = vars(Place)["_since"]


def _all_of_it(self: Place) -> Sum | None:
    """As if this one had had its turn."""
    tally, self.tally = self.tally, None
    return None if tally is None else tally.between(_SINCE.__get__(self), len(tally))


def _from_its_beginning(self: Place) -> Sum | None:
    _SINCE.__set__(self, 0)
    return _end(self)


def _receive_beside_it(self: Place, text: bytes, events: int, now: float) -> None:
    self.sink.receive_events(text, events, now)


def _add_anything(self: Tally, data: bytes, events: int, now: float) -> bool:
    if not _add(self, data, events, now):
        _add(self, b"data\n\n", events, now)
    return True


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
        pytest.param(Place, "end", _all_of_it, id="what is still to come is counted"),
        pytest.param(Place, "end", _from_its_beginning, id="what the relay had is counted again"),
        pytest.param(Place, "receive", _receive_beside_it, id="the relay gets a piece before it has counted"),
        pytest.param(Tally, "add", _add_anything, id="anything goes past"),
        pytest.param(Tally, "between", _newest_for_all, id="all have the newest"),
        pytest.param(Tally, "between", _without_silences, id="silences do not count"),
        pytest.param(Relay, "close_bypass", _never_closed, id="nothing is counted"),
        pytest.param(Relay, "open_bypass", _open_at_once, id="a session is not asked"),
    ],
)
def test_a_broken_rule_is_noticed(owner: type, name: str, instead: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, name, instead)
    assert difference(_HISTORIES) is not None
