"""Does a message come once, if two names of a route turn out to be the same?"""

from collections.abc import Iterator

import pytest
import redis

from sseproxy.core.journal.policy import Start
from tests.support.redis_origin import Replica, add, channel, command, stream, until
from tests.support.redis_server import RedisServer

NAMES = ["a", "b", "a"]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(notifications="KEA") as server:
        yield server


@pytest.fixture
def db(server: RedisServer) -> Iterator[redis.Redis]:
    with server.emptied() as client:
        yield client


async def test_an_entry_comes_once_and_its_position_has_a_mark_for_each_name(
    server: RedisServer, db: redis.Redis
) -> None:
    async with Replica(server.url) as replica:
        client = await replica.seated(NAMES)
        assert client.text == b"id: V.0-0.0-0.0-0\n\n"
        for key, number in (("a", 1), ("b", 2), ("a", 3)):
            add(db, key, number, form=f"{number}-1")
            await until(lambda number=number: client.data[-1:] == [str(number)])  # type: ignore[misc]
        assert [event.last_event_id for event in client.events] == ["V.1-1.0-0.0-0", "V.1-1.2-1.0-0", "V.3-1.2-1.0-0"]
        assert replica.origin.streams == 2


async def test_it_resumes_exactly(server: RedisServer, db: redis.Redis) -> None:
    async with Replica(server.url) as replica:
        client = replica.client(NAMES, stream(start=Start.OLDEST))
        for number in range(10):
            add(db, "ab"[number % 2], number)
        await until(lambda: len(client.data) == 10)
        for number, event in enumerate(client.events):
            back = replica.client(NAMES, position=event.last_event_id.encode())
            rest = sorted(client.data[number + 1 :])
            await until(lambda back=back, rest=rest: back.text and sorted(back.data) == rest)  # type: ignore[misc]
            assert back.gaps == []


async def test_names_that_differ_later_are_read_from_the_beginning(server: RedisServer, db: redis.Redis) -> None:
    async with Replica(server.url) as replica:
        add(db, "a", 1, form="1-1")
        add(db, "c", 2, form="1-1")
        client = replica.client(["a", "c"], position=b"V.1-1.0-0")
        await until(lambda: client.data == ["2"])
        assert client.gaps == []


async def test_a_message_of_a_channel_comes_once(server: RedisServer, db: redis.Redis) -> None:
    async with Replica(server.url) as replica:
        client = replica.client(NAMES, channel())
        await until(lambda: all(command(db, "PUBSUB", "NUMSUB", name)[1] == 1 for name in NAMES))
        for number, name in enumerate("abab"):
            command(db, "PUBLISH", name, str(number))
        await until(lambda: len(client.data) >= 4)
        assert sorted(client.data) == ["0", "1", "2", "3"]  # each keeps its order; two have none between them
        assert client.data.index("0") < client.data.index("2")
        assert client.data.index("1") < client.data.index("3")
        assert replica.origin.channels == 2
        client.leave()
        assert replica.origin.channels == 0
