"""Do streams and channels work where Redis is several servers, and go on when one of them is lost?"""

import asyncio

from tests.support.redis_origin import QUICK, Replica, add, channel, until
from tests.support.redis_server import RedisServer
from tests.support.redis_stands import ClusterStand, SentinelStand


async def test_clients_go_on_after_a_failover() -> None:
    with SentinelStand() as stand:
        async with Replica(stand.url, bells=QUICK) as replica:
            clients = [await replica.seated(), replica.client("c", channel())]

            def both_hear(server: RedisServer, text: str) -> bool:
                publish(server, text)
                return all(client.data[-1:] == [text] for client in clients)

            await until(lambda: both_hear(stand.master, "1"))
            await asyncio.to_thread(wait_for_replica, stand.master)
            new = await asyncio.to_thread(stand.failover)
            await until(lambda: both_hear(new, "2"))
            assert clients[0].gaps == []


async def test_streams_and_channels_of_all_nodes_of_a_cluster_are_read() -> None:
    with ClusterStand() as stand:
        async with Replica(stand.url, bells=QUICK) as replica:
            streams = {name: await replica.seated(name) for name in "abcdefgh"}
            channels = {name: replica.client(name, channel()) for name in "abcdefgh"}
            assert len({stand.node_of(name).port for name in streams}) > 1
            await until(lambda: sum(subscribed(node) for node in stand.nodes) >= len(channels))
            for name in streams:
                publish(stand.node_of(name), name)
            await until(lambda: all(client.data == [name] for name, client in streams.items()))
            await until(lambda: all(client.data == [name] for name, client in channels.items()))


async def test_streams_of_other_nodes_go_on_when_one_is_lost() -> None:
    with ClusterStand() as stand:
        for node in stand.nodes:
            node.cli("CONFIG", "SET", "cluster-require-full-coverage", "no")
        async with Replica(stand.url, bells=QUICK) as replica:
            clients = {name: await replica.seated(name) for name in "abcdefgh"}
            lost = stand.node_of("a")
            alive = [name for name in clients if stand.node_of(name) is not lost]
            nodes = {name: stand.node_of(name) for name in alive}
            lost.kill()
            await until(lambda: not replica.link.is_up)
            newcomer = await replica.seated(alive[0])
            for name in alive:
                publish(nodes[name], name)
            await until(lambda: all(clients[name].data == [name] for name in alive))
            assert newcomer.data == [alive[0]]


def publish(server: RedisServer, text: str) -> None:
    """To the stream ``s`` or `text`, and to the channel ``c`` or `text`."""
    names = ("s", "c") if text.isdigit() else (text, text)
    with server.client() as db:
        add(db, names[0], text)
        db.publish(names[1], text)


def wait_for_replica(master: RedisServer) -> None:
    """Return once a replica has what `master` has: else it is lost with the master."""
    with master.client() as db:
        db.set("written", 1)  # of this connection: for its writes WAIT waits, and for all before them
        assert db.wait(1, 5_000) == 1


def subscribed(node: RedisServer) -> int:
    with node.client() as db:
        return len(db.pubsub_channels("[a-h]"))
