"""Are commands, subscriptions and blocking reads with the new master after a failover?"""

import asyncio
from collections.abc import Iterator

import pytest

from tests.stores.redis.stand import HandRedis, Listener, a_link, a_subscriber, blocking_reads, recovered
from tests.support.redis_server import wait_for
from tests.support.redis_stands import SentinelStand
from tests.support.settled import eventually as until


@pytest.fixture
def stand() -> Iterator[SentinelStand]:
    with SentinelStand() as started:
        yield started


async def test_after_a_failover_everything_is_with_the_new_master(stand: SentinelStand) -> None:
    async with a_link(stand.url) as link, a_subscriber(link) as subscriber, blocking_reads(link) as reads:
        listener, bells = Listener(), [0]
        listener.subscribe(subscriber, b"news")
        reads.watch(b"s", lambda: b"0-0", lambda: bells.append(1))
        await link.run("SET", "key", 1)
        await until(lambda: listener.ready == 1)
        new = await asyncio.to_thread(stand.failover)
        await recovered(link, "SET", "after", 1)
        assert new.cli("GET", "after") == "1"
        await until(lambda: listener.ready >= 2)
        new.cli("PUBLISH", "news", "hello")
        await until(lambda: listener.heard == [b"hello"])
        new.cli("XADD", "s", "*", "f", 1)
        await until(lambda: len(bells) > 1)


async def test_a_demoted_master_that_still_answers_is_left(stand: SentinelStand) -> None:
    async with a_link(stand.url) as link, a_subscriber(link) as subscriber:
        listener = Listener()
        listener.subscribe(subscriber, b"news")
        await recovered(link, "SET", "key", 1)
        await until(lambda: listener.ready == 1)
        old = stand.master
        [new] = [server for server in stand.servers if server is not old]
        stand.sentinels[0].cli("SENTINEL", "FAILOVER", "mymaster")
        await asyncio.to_thread(wait_for, lambda: old.cli("ROLE")[0] == "slave", "a master that is demoted")
        await recovered(link, "SET", "after", 1)
        assert new.cli("GET", "after") == "1"
        await until(lambda: listener.ready >= 2)
        new.cli("PUBLISH", "news", "hello")
        await until(lambda: listener.heard == [b"hello"])


async def test_a_dead_sentinel_is_passed_over(stand: SentinelStand) -> None:
    stand.sentinels[0].kill()
    stand.sentinels[1].freeze()
    async with a_link(stand.url) as link:
        assert await recovered(link, "PING") == b"PONG"
    stand.sentinels[1].thaw()


async def test_a_master_that_is_none_is_not_used(stand: SentinelStand) -> None:
    """Sentinels that have not heard of a failover yet name the old master."""
    master = stand.master
    [replica] = [server for server in stand.servers if server is not master]
    named = [replica]

    def name(_: bytes) -> bytes:
        return b"*2\r\n$9\r\n127.0.0.1\r\n$5\r\n%05d\r\n" % named[0].port

    async with HandRedis(name) as sentinel, a_link(f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster") as link:
        link.start()
        await until(lambda: "a master that is none" in link.reason)
        assert not link.was_reached
        named[0] = master
        assert await recovered(link, "SET", "key", 1) == b"OK"


async def test_an_unknown_master(stand: SentinelStand) -> None:
    async with a_link(stand.url.replace("/mymaster/", "/other/")) as link:
        link.start()
        await until(lambda: "do not know a master" in link.reason)
