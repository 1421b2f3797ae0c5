"""Whatever happens, in whatever order: is a message ever lost in silence, repeated, or out of order?

Seeded histories with a real Redis and two replicas. Between any two messages that a client got, all that are missing
are covered by one gap event, and where it says how many, it is right.
"""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import redis

from tests.support.nemesis import Nemesis
from tests.support.redis_origin import QUICK, Client, Replica, add, command, until
from tests.support.redis_server import RedisServer

STEPS = 150


@pytest.fixture(scope="module", params=["KEA", ""])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisServer(notifications=request.param) as server:
        yield server


@dataclass
class World:
    """A seeded history under way."""

    key: str
    kinds: str
    chance: random.Random
    db: redis.Redis
    ways: list[Nemesis]
    replicas: list[Replica]
    clients: list[Client]
    added: int = 0

    def add(self) -> None:
        for _ in range(self.chance.choice([1, 1, 2, 10])):
            options = ["MAXLEN", "=", "5"] if "t" in self.kinds and self.chance.random() < 0.05 else []
            command(self.db, "XADD", self.key, *options, "*", "data", self.added)
            self.added += 1

    def trim(self) -> None:
        command(self.db, "XTRIM", self.key, "MAXLEN", "=", self.chance.choice([0, 1, 3, 20]))

    def move(self) -> None:
        client = self.chance.choice(self.clients)
        client.leave()
        self.chance.choice(self.replicas).client(self.key, position=client.position, client=client)

    def pause(self) -> None:
        client = self.chance.choice(self.clients)
        assert client.reader is not None
        self.chance.choice([client.reader.pause, client.reader.resume, client.reader.resume])()

    def cut(self) -> None:
        self.chance.choice(self.ways).cut()

    def heal(self) -> None:
        for way in self.ways:
            way.heal()

    def remove(self) -> None:
        self.db.delete(self.key)

    async def play(self) -> None:
        actions = {"a": self.add, "t": self.trim, "m": self.move, "p": self.pause, "c": self.cut, "h": self.heal}
        actions["d"] = self.remove
        for _ in range(STEPS):
            actions[self.chance.choice(self.kinds)]()
            if self.chance.random() < 0.7:
                await asyncio.sleep(self.chance.choice([0, 0, 0.001, 0.02]))
        self.heal()
        for client in self.clients:
            assert client.reader is not None
            client.reader.resume()
        await until(lambda: all(replica.link.is_up for replica in self.replicas))

    async def end(self) -> None:
        """Two last messages: of the first, a client may have missed what went with the stream; not of the second."""
        add(self.db, self.key, self.added)
        await until(lambda: all(client.data[-1:] == [str(self.added)] for client in self.clients), "the last message")


async def histories(server: RedisServer, kinds: str) -> list[World]:
    """Several at the same time, each with a stream, clients and a network of its own."""
    return await asyncio.gather(*(history(server, seed, kinds) for seed in range(4)))


async def history(server: RedisServer, seed: int, kinds: str) -> World:
    key = f"{kinds}{seed}"
    with server.client() as db:
        db.delete(key)
        add(db, key, "before")
        async with (
            Nemesis(server.port) as one,
            Nemesis(server.port) as two,
            Replica(server.url_at(one.port), bells=QUICK) as first,
            Replica(server.url_at(two.port), bells=QUICK) as second,
        ):
            replicas = [first, second]
            clients = [replicas[number % 2].client(key) for number in range(6)]
            await until(lambda: all(client.text for client in clients))
            world = World(key, kinds, random.Random(seed), db, [one, two], replicas, clients)
            await world.play()
            await world.end()
            return world


@pytest.mark.parametrize("kinds", ["aaaamp", "aaaatmp", "aaaatmpchh"])
async def test_no_message_is_lost_in_silence_or_repeated(server: RedisServer, kinds: str) -> None:
    for world in await histories(server, kinds):
        for client in world.clients:
            check(client, world.added)
            if "t" not in kinds:
                assert client.gaps == []


@pytest.mark.parametrize("kinds", ["aaaadmp", "aaaadtmpchh"])
async def test_nothing_is_repeated_without_a_gap_when_streams_are_made_anew(server: RedisServer, kinds: str) -> None:
    """Behind a gap a client may get all that is kept: a stream that was made anew does not say what it had before."""
    for world in await histories(server, kinds):
        for client in world.clients:
            last = -1
            for event in client.events:
                if event.type == "gap":
                    last = -1
                    continue
                assert int(event.data) > last, "repeated, or out of order"
                last = int(event.data)


def check(client: Client, last: int) -> None:
    expected, covering = 0, []
    for event in client.events:
        if event.type == "gap":
            covering.append(event.data)
            continue
        number = int(event.data)
        assert number >= expected, "repeated, or out of order"
        missing = number - expected
        if missing:
            assert covering, f"{missing} messages before {number} are lost in silence"
        if len(covering) == 1:
            lost = client.gaps[gap_index(client, event)]["lost"]
            assert lost in (None, missing)
        expected, covering = number + 1, []
    assert expected == last + 1


def gap_index(client: Client, event: object) -> int:
    """The number of the gap that precedes `event`."""
    before = client.events[: client.events.index(event)]  # type: ignore[arg-type]
    return sum(each.type == "gap" for each in before) - 1
