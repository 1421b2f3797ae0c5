"""Does each client of a channel get each message once while it is connected, and none hold up others?"""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from sseproxy.core.errors import ReaderBehind
from sseproxy.core.journal.policy import Format, RedisPolicy
from sseproxy.core.journal.window import Window
from sseproxy.journal.reader import Reader
from sseproxy.origins.redis.channels import ChannelFeed
from sseproxy.origins.redis.shared import FollowLimits
from sseproxy.origins.redis.streams import StreamFollower
from tests.support.nemesis import Nemesis
from tests.support.redis_origin import Client, Replica, channel, until
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def db(server: RedisServer) -> Iterator[redis.Redis]:
    with server.emptied() as client:
        yield client


@pytest.fixture
async def replica(server: RedisServer, db: redis.Redis) -> AsyncIterator[Replica]:
    async with Replica(server.url) as replica:
        yield replica


async def subscribed(db: redis.Redis, *names: str) -> None:
    await until(lambda: all(count == 1 for _, count in db.pubsub_numsub(*names)), "one subscription for each channel")


async def test_messages_come_in_order_to_all(replica: Replica, db: redis.Redis) -> None:
    clients = [replica.client("c", channel()) for _ in range(10)]
    await subscribed(db, "c")
    for number in range(200):
        db.publish("c", number)
    await until(lambda: all(len(client.data) == 200 for client in clients))
    assert all(client.data == [str(number) for number in range(200)] for client in clients)
    assert b"id" not in clients[0].text


async def test_several_channels_in_one_stream(replica: Replica, db: redis.Redis) -> None:
    both, one = replica.client(["c", "d"], channel()), replica.client("d", channel())
    await subscribed(db, "c", "d")
    for number in range(50):
        db.publish("cd"[number % 2], number)
    await until(lambda: len(both.data) == 50 and len(one.data) == 25)
    assert one.data == [str(number) for number in range(1, 50, 2)]
    assert [value for value in both.data if int(value) % 2] == one.data


async def test_who_was_not_there_gets_nothing(replica: Replica, db: redis.Redis) -> None:
    first = replica.client("c", channel())
    await subscribed(db, "c")
    db.publish("c", "early")
    await until(lambda: first.data == ["early"])
    late = replica.client("c", channel(), position=b"0-1")
    first.leave()
    db.publish("c", "late")
    await until(lambda: late.data == ["late"])
    assert first.data == ["early"]
    assert late.gaps == []


async def test_formats_are_told_apart(replica: Replica, db: redis.Redis) -> None:
    plain = replica.client("c", channel())
    flask = replica.client("c", channel(Format.FLASK_SSE))
    await until(lambda: replica.origin.channels == 2)
    await until(lambda: db.pubsub_numsub("c") == [("c", 1)])
    message = json.dumps({"data": {"a": 1}, "type": "t", "id": "7"})
    db.publish("c", message)
    db.publish("c", "no JSON")
    await until(lambda: len(plain.data) == 2 and flask.data)
    assert flask.events[0] == ("t", '{"a": 1}', "")
    assert len(flask.data) == 1
    assert replica.origin.stats.unreadable == 1


async def test_a_reader_that_falls_behind_is_broken_off(replica: Replica, db: redis.Redis) -> None:
    slow, quick = replica.client("c", channel()), replica.client("c", channel())
    await subscribed(db, "c")
    db.publish("c", "first")
    await until(lambda: slow.data == ["first"] == quick.data)
    assert slow.reader is not None
    slow.reader.pause()
    for number in range(100):
        db.publish("c", f"{number}" + 10_000 * "x")
    await until(lambda: len(quick.data) == 101)
    assert slow.error is None
    for number in range(100):
        db.publish("c", f"{number}" + 10_000 * "x")
    await until(lambda: slow.error is not None)
    assert isinstance(slow.error, ReaderBehind)
    assert slow.data == ["first"]
    await until(lambda: len(quick.data) == 201)


async def test_a_slow_reader_within_the_limit_gets_everything(replica: Replica, db: redis.Redis) -> None:
    client = replica.client("c", channel())
    await subscribed(db, "c")
    assert client.reader is not None
    client.reader.pause()
    for number in range(500):
        db.publish("c", number)
    await asyncio.sleep(0.1)
    client.reader.resume()
    await until(lambda: len(client.data) == 500)
    assert client.data == [str(number) for number in range(500)]


async def test_a_thousand_readers_share_one_subscription(replica: Replica, db: redis.Redis) -> None:
    clients = [replica.client("c", channel()) for _ in range(1000)]
    await subscribed(db, "c")
    assert len([each for each in db.client_list() if int(each["sub"])]) == 1
    db.publish("c", "x")
    await until(lambda: all(client.data == ["x"] for client in clients))
    for client in clients:
        client.leave()
    await until(lambda: db.pubsub_numsub("c") == [("c", 0)])
    assert replica.origin.channels == 0


async def test_delivery_goes_on_after_an_outage(server: RedisServer, db: redis.Redis) -> None:
    async with Nemesis(server.port) as way, Replica(server.url_at(way.port)) as replica:
        client = replica.client("c", channel())
        await subscribed(db, "c")
        db.publish("c", 1)
        await until(lambda: client.data == ["1"])
        way.cut()
        await until(lambda: db.pubsub_numsub("c") == [("c", 0)])
        db.publish("c", "lost")
        way.heal()
        await subscribed(db, "c")
        db.publish("c", 2)
        await until(lambda: client.data == ["1", "2"])
        assert client.error is None


@pytest.mark.parametrize("kind", ["stream", "channel"])
async def test_what_readers_took_is_given_back(server: RedisServer, kind: str) -> None:
    policy = channel() if kind == "channel" else None
    async with Replica(server.url, follow=FollowLimits(linger=0.2)) as replica:
        await come_and_go(replica, policy)


async def come_and_go(replica: Replica, policy: RedisPolicy | None) -> None:
    clients = [replica.client(f"k{number % 50}", policy) for number in range(2000)]
    if policy is None:
        await until(lambda: all(client.text for client in clients))
    assert kept() >= 2000
    for client in clients:
        client.leave()
        client.reader = None
    replica.clients.clear()
    del client
    clients.clear()
    await until(lambda: replica.origin.channels == replica.origin.streams == 0)
    await until(lambda: kept() == 0, "no reader, no follower, no window")


def kept() -> int:
    """What is left of all readers."""
    gc.collect()
    return sum(isinstance(each, Reader | Client | StreamFollower | ChannelFeed | Window) for each in gc.get_objects())


def test_a_client_that_reads_a_channel_has_no_position() -> None:
    client = Client()
    client.receive_data(b"data: x\n\n")
    assert client.position == b""
