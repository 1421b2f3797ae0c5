"""Does a client get what Redis has now, when a stream was deleted and what is in memory is out of date?"""

from collections.abc import Iterator

import pytest
import redis

from sseproxy.core.journal.policy import Start
from tests.support.redis_origin import Replica, add, stream, until
from tests.support.redis_server import RedisServer

OLDEST = stream(start=Start.OLDEST)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """It does not ring: a follower learns of smaller ids when it looks, and not before."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def db(server: RedisServer) -> Iterator[redis.Redis]:
    with server.emptied() as client:
        yield client


@pytest.mark.parametrize("named", [None, b"oldest"])
@pytest.mark.parametrize("company", ["alone", "with another"])
async def test_who_comes_after_a_deletion_gets_nothing_of_what_was_deleted(
    server: RedisServer, db: redis.Redis, named: bytes | None, company: str
) -> None:
    async with Replica(server.url) as replica:
        first = await replica.seated("s", OLDEST)
        add(db, "s", 1, 2, 3)
        await until(lambda: first.data == ["1", "2", "3"])
        if company == "alone":
            first.leave()
        db.flushall()
        second = await replica.seated("s", OLDEST, position=named)
        add(db, "s", 4)
        await until(lambda: second.data)
        assert second.data == ["4"]
        assert second.gaps == []


async def test_who_comes_after_a_deletion_gets_what_was_added_since(server: RedisServer, db: redis.Redis) -> None:
    async with Replica(server.url) as replica:
        first = await replica.seated("s", OLDEST)
        for number in (1, 2, 3):
            add(db, "s", number, form=f"{number}000-1")
        await until(lambda: first.data == ["1", "2", "3"])
        first.leave()
        db.flushall()
        add(db, "s", 4, form="7-1")
        second = replica.client("s", OLDEST)
        add(db, "s", 5, form="8-1")
        await until(lambda: second.data == ["4", "5"])
        assert second.gaps == []


async def test_a_stream_that_began_anew_is_one_gap_for_who_is_far_behind(server: RedisServer, db: redis.Redis) -> None:
    """Neither the reader nor the follower has noticed, and the reader asks Redis first."""
    async with Replica(server.url) as replica:
        live = await replica.seated()
        for number in range(300):
            add(db, "s", number, form=f"1000-{number + 1}")
        await until(lambda: len(live.data) == 300)
        db.flushall()
        for number in range(20):
            add(db, "s", f"new {number}", form=f"5-{number + 1}")
        behind = replica.client(position=b"1000-10")
        await until(lambda: behind.data[-1:] == ["new 19"])
        await until(lambda: live.data[-1:] == ["new 19"])
        assert behind.data == [f"new {number}" for number in range(20)]
        assert [(gap["reason"], gap["from"]) for gap in behind.gaps] == [("unknown", "1000-10")]
        assert len(live.data) == 320
        again = replica.client(position=behind.events[0].last_event_id.encode())
        await until(lambda: again.data == behind.data)
        assert again.gaps == []


async def test_a_stream_that_is_gone_is_one_gap_up_to_its_end(server: RedisServer, db: redis.Redis) -> None:
    async with Replica(server.url) as replica:
        live = await replica.seated()
        for number in range(300):
            add(db, "s", number, form=f"1000-{number + 1}")
        await until(lambda: len(live.data) == 300)
        db.flushall()
        behind = replica.client(position=b"1000-10")
        await until(lambda: behind.gaps)
        add(db, "s", "new", form="2000-1")
        await until(lambda: behind.data == ["new"])
        assert [gap["reason"] for gap in behind.gaps] == ["unknown"]
