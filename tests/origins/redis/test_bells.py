"""Which bell rings, does a follower hear of what was added at once, and what if no bell rings?"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import redis

from sseproxy.origins.redis.bells import BellLimits
from tests.support.redis_origin import QUICK, Replica, add, command, read_again, reads, until
from tests.support.redis_server import RedisServer

#: No poll within a test: what arrives was announced by a bell.
PATIENT = BellLimits(poll=300, probe=300, soon=300)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def db(server: RedisServer) -> Iterator[redis.Redis]:
    with server.emptied() as client:
        yield client


@asynccontextmanager
async def replica(server: RedisServer, limits: BellLimits, ringing: str) -> AsyncIterator[Replica]:
    async with Replica(server.url, bells=limits) as replica:
        await until(lambda: replica.origin.ringing == ringing, f"bells: {ringing}")
        yield replica


@pytest.mark.parametrize("notifications", ["Kt", "KEA", "AKE"])
async def test_notifications_ring_where_redis_sends_them(
    server: RedisServer, db: redis.Redis, notifications: str
) -> None:
    db.config_set("notify-keyspace-events", notifications)
    async with replica(server, PATIENT, "notifications") as here:
        client = await here.seated()
        for number in range(20):
            add(db, "s", number)
            await until(lambda number=number: client.data[-1:] == [str(number)])  # type: ignore[misc]
        assert len([each for each in db.client_list() if each["flags"] == "b"]) == 0
        assert here.origin.stats.bells_missed == 0


async def test_bursts_are_heard_to_their_end(server: RedisServer, db: redis.Redis) -> None:
    db.config_set("notify-keyspace-events", "Kt")
    async with replica(server, PATIENT, "notifications") as here:
        client = await here.seated()
        for burst in range(1, 31):
            await asyncio.to_thread(add, db, "s", *range(20))
            await until(lambda burst=burst: len(client.data) == 20 * burst)  # type: ignore[misc]


async def test_what_was_added_while_no_bell_could_be_heard_is_read_at_once(
    server: RedisServer, db: redis.Redis
) -> None:
    db.config_set("notify-keyspace-events", "Kt")
    async with replica(server, PATIENT, "notifications") as here:
        client = await here.seated()
        await until(lambda: db.pubsub_numsub("__keyspace@0__:s") == [("__keyspace@0__:s", 1)])
        for number in range(5):
            with db.pipeline(transaction=True) as pipeline:
                command(pipeline, "CLIENT", "KILL", "TYPE", "pubsub")
                command(pipeline, "XADD", "s", "*", "data", number)
                pipeline.execute()
            await until(lambda number=number: client.data[-1:] == [str(number)])  # type: ignore[misc]


@pytest.mark.parametrize("notifications", ["", "Ex", "Kx", "Et"])
async def test_blocking_reads_ring_where_it_does_not(server: RedisServer, db: redis.Redis, notifications: str) -> None:
    db.config_set("notify-keyspace-events", notifications)
    async with replica(server, PATIENT, "blocking") as here:
        clients = [await here.seated(f"s{number % 10}") for number in range(20)]
        for number in range(50):
            add(db, f"s{number % 10}", number)
            await until(lambda number=number: clients[number % 10].data[-1:] == [str(number)])  # type: ignore[misc]
        assert here.origin.stats.bells_missed == 0
        assert all(len(client.data) == 5 for client in clients)


async def test_streams_of_ten_followers_share_one_blocking_read(server: RedisServer, db: redis.Redis) -> None:
    async with replica(server, PATIENT, "blocking") as here:
        for number in range(10):
            await here.seated(f"s{number}")
        await until(lambda: len([each for each in db.client_list() if each["cmd"] == "xread"]) == 1)


async def test_the_bell_follows_what_redis_is_told(server: RedisServer, db: redis.Redis) -> None:
    async with replica(server, QUICK, "blocking") as here:
        client = await here.seated()
        add(db, "s", 1)
        await until(lambda: client.data == ["1"])
        db.config_set("notify-keyspace-events", "Kt")
        await until(lambda: here.origin.ringing == "notifications")
        add(db, "s", 2)
        await until(lambda: client.data == ["1", "2"])
        db.config_set("notify-keyspace-events", "")
        await until(lambda: here.origin.ringing == "blocking")
        add(db, "s", 3)
        await until(lambda: client.data == ["1", "2", "3"])
        assert client.gaps == []


async def test_a_bell_that_does_not_ring_is_counted_and_replaced(server: RedisServer, db: redis.Redis) -> None:
    db.config_set("notify-keyspace-events", "Kt")
    async with replica(server, BellLimits(poll=0.3, probe=300, soon=0.1), "notifications") as here:
        client = await here.seated()
        add(db, "s", 1)
        await until(lambda: client.data == ["1"])
        await read_again(db)  # a poll: what the bell has rung for is done
        missed = here.origin.stats.bells_missed
        db.config_set("notify-keyspace-events", "")
        add(db, "s", 2)
        await until(lambda: client.data == ["1", "2"])
        assert here.origin.stats.bells_missed == missed + 1
        await until(lambda: here.origin.ringing == "blocking")


async def test_polls_are_spread_over_their_period(server: RedisServer, db: redis.Redis) -> None:
    """In one second of several: in another the machine may have had something else to do."""
    async with replica(server, BellLimits(poll=1.0, probe=300, soon=300), "blocking") as here:
        clients = [here.client(f"s{number}") for number in range(500)]
        await until(lambda: all(client.text for client in clients))
        await read_again(db, 500)
        seen: list[list[int]] = []
        while len(seen) < 20 and not any(400 <= sum(each) <= 900 and max(each) <= sum(each) / 2 for each in seen):
            seen.append([await reads_within(0.1, db) for _ in range(10)])
        assert len(seen) < 20, seen


async def reads_within(seconds: float, db: redis.Redis) -> int:
    before = reads(db)
    await asyncio.sleep(seconds)
    return reads(db) - before


async def test_a_look_puts_the_next_poll_off(server: RedisServer, db: redis.Redis) -> None:
    """A stream that is busy is looked at for its bells; the poll is for those of which nothing is heard."""
    db.config_set("notify-keyspace-events", "Kt")
    async with replica(server, BellLimits(poll=2.0, probe=300, soon=300), "notifications") as here:
        client = await here.seated()
        now = asyncio.get_running_loop().time
        add(db, "s", 1)  # the first look at a stream takes two reads, and its first poll may come before it
        await until(lambda: client.data == ["1"])
        begun, number, before, late = now(), 1, reads(db), 0
        while (added := now()) - begun < 4.5:
            number += 1
            add(db, "s", number)
            await until(lambda number=number: client.data[-1:] == [str(number)])  # type: ignore[misc]
            late += now() - added > 0.5  # a machine that is so busy may poll between two looks
        assert reads(db) - before <= number + late  # the second one of the first look may be among them


async def test_a_user_who_may_only_read_is_served(server: RedisServer, db: redis.Redis) -> None:
    command(db, "ACL", "SETUSER", "reader", "on", ">pw", "~*", "&*", "+@read", "+@connection", "+@pubsub")
    url = f"redis://reader:pw@127.0.0.1:{server.port}/0"
    async with Replica(url, bells=BellLimits(poll=0.3)) as here:
        client = await here.seated()
        add(db, "s", 1)
        await until(lambda: client.data == ["1"])


@pytest.mark.parametrize("notifications", ["KEA", ""])
async def test_nothing_is_left_behind_its_end(server: RedisServer, db: redis.Redis, notifications: str) -> None:
    db.config_set("notify-keyspace-events", notifications)
    tasks = len(asyncio.all_tasks())
    async with Replica(server.url) as here:
        for number in range(5):
            await here.seated(f"s{number}")
    assert len(asyncio.all_tasks()) == tasks
    await until(lambda: len(db.client_list()) == 1)
