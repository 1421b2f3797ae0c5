"""Do commands find their nodes in a cluster, also when slots move and nodes fail?"""

import asyncio
from collections.abc import Iterator

import pytest

from sseproxy.core.errors import StoreAway
from sseproxy.stores.redis.keyspace import keyspace_channel, rings
from sseproxy.stores.redis.slots import slot_of
from tests.stores.redis.stand import NODE, Listener, a_link, a_subscriber, blocking_reads, recovered
from tests.support.redis_stands import ClusterStand
from tests.support.settled import eventually as until


@pytest.fixture
def stand() -> Iterator[ClusterStand]:
    with ClusterStand() as started:
        yield started


def _key_at(stand: ClusterStand, number: int) -> str:
    return next(key for key in (f"key{n}" for n in range(100)) if stand.node_of(key) is stand.nodes[number])


async def test_each_key_is_at_its_node(stand: ClusterStand) -> None:
    async with a_link(stand.url) as link:
        await asyncio.gather(*(link.run("SET", f"k{number}", number) for number in range(1000)))
        replies = await link.run_all([("GET", f"k{number}") for number in range(1000)])
        assert replies == [b"%d" % number for number in range(1000)]
        assert sum(node.cli("DBSIZE") for node in stand.nodes) == 1000
        assert all(node.cli("DBSIZE") > 200 for node in stand.nodes)
        assert len(link.primaries) == 3
        await until(lambda: link.is_up)


async def test_a_slot_that_moves(stand: ClusterStand) -> None:
    key, source, target = _key_at(stand, 0), stand.nodes[0], stand.nodes[1]
    slot = slot_of(key.encode())
    names = {node: node.cli("CLUSTER", "MYID") for node in stand.nodes}
    async with a_link(stand.url) as link:
        await link.run("SET", key, 1)
        target.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
        source.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
        source.cli("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
        assert await link.run_all([("GET", key), ("INCR", key), ("GET", key)]) == [b"1", 2, b"2"]  # ASK
        for node in stand.nodes:
            node.cli("CLUSTER", "SETSLOT", slot, "NODE", names[target])
        assert await link.run("INCR", key) == 3  # MOVED
        assert target.cli("GET", key) == "3"


async def test_a_dead_node_harms_no_other(stand: ClusterStand) -> None:
    for node in stand.nodes:
        node.cli("CONFIG", "SET", "cluster-require-full-coverage", "no")
    alive, dead = _key_at(stand, 0), _key_at(stand, 2)
    async with a_link(stand.url) as link:
        assert await link.run_all([("SET", alive, 1), ("SET", dead, 1)]) == [b"OK", b"OK"]
        stand.nodes[2].kill()
        results = await asyncio.gather(*(link.run("GET", dead) for _ in range(10)), return_exceptions=True)
        assert all(isinstance(result, StoreAway) for result in results)
        assert await link.run("GET", alive) == b"1"
        await until(lambda: not link.is_up)
        stand.nodes[2].restart()
        assert await recovered(link, "GET", dead) == b"1"
        await until(lambda: link.is_up)


async def test_the_node_of_the_url_is_not_needed_any_more(stand: ClusterStand) -> None:
    for node in stand.nodes:
        node.cli("CONFIG", "SET", "cluster-require-full-coverage", "no")
    async with a_link(stand.url) as link, a_subscriber(link) as subscriber:
        listener, key = Listener(), _key_at(stand, 1)
        await link.run("PING")
        stand.nodes[0].kill()
        listener.subscribe(subscriber, b"news")
        await until(lambda: listener.ready >= 1)
        stand.nodes[1].cli("PUBLISH", "news", "x")
        await until(lambda: listener.heard == [b"x"])
        assert await recovered(link, "SET", key, 1) == b"OK"


async def test_channels_and_notifications(stand: ClusterStand) -> None:
    async with a_link(stand.url) as link, a_subscriber(link) as subscriber:
        assert not await rings(link, subscriber, node=NODE, within=0.5)
        for node in stand.nodes:
            node.cli("CONFIG", "SET", "notify-keyspace-events", "Kt")
        assert await rings(link, subscriber, node=NODE, within=3)
        bells = [Listener() for _ in range(3)]
        keys = [_key_at(stand, number).encode() for number in range(3)]
        subscriptions = [
            bell.subscribe(subscriber, keyspace_channel(0, key), everywhere=True)
            for bell, key in zip(bells, keys, strict=True)
        ]
        await until(lambda: all(each.is_ready for each in subscriptions))
        for key in keys:
            await link.run("XADD", key, "*", "f", 1)
        await until(lambda: all(bell.heard == [b"xadd"] for bell in bells))
        news = Listener()
        news.subscribe(subscriber, b"news")
        await until(lambda: news.ready == 1)
        for node in stand.nodes:
            node.cli("PUBLISH", "news", "x")
        await until(lambda: news.heard == [b"x"] * 3)
        stand.nodes[1].restart()
        stand.nodes[1].cli("CONFIG", "SET", "notify-keyspace-events", "Kt")
        await until(lambda: bells[1].ready >= 2 and subscriptions[1].is_ready)
        await recovered(link, "XADD", keys[1], "*", "f", 1)
        await until(lambda: len(bells[1].heard) == 2)


async def test_blocking_reads_are_not_offered(stand: ClusterStand) -> None:
    async with a_link(stand.url) as link, blocking_reads(link) as reads:
        assert not reads.can_block
        with pytest.raises(RuntimeError):
            reads.watch(b"s", lambda: b"0-0", lambda: None)
