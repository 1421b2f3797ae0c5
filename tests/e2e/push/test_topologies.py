"""Do clients go on when a master of Sentinel or a node of a Cluster is lost? (docs/push.md)"""

import asyncio
import contextlib
from pathlib import Path

from tests.e2e.push.stage import READY, add, by_cookie, cli, listening, publish, replica, until_ready
from tests.support.raw_upstream import RawUpstream
from tests.support.redis_server import wait_for
from tests.support.redis_stands import ClusterStand, SentinelStand

#: One stream for each user: those of several slots cannot all be served while a node is away.
MINE = """
  - match: {path: /mine}
    authorize: {url: "WHOAMI", take: {user: X-User}}
    redis: {stream: "inbox:{auth:user}", start: oldest}
"""


async def test_a_failover_of_sentinel(tmp_path: Path) -> None:
    with SentinelStand() as stand:
        first = stand.master
        async with (
            RawUpstream.serve(by_cookie) as whoami,
            replica(tmp_path, stand.url, whoami) as process,
            listening(process, b"/inbox", b"ann") as inbox,
            listening(process, b"/push", b"ann") as push,
        ):
            await add(first, "inbox:ann", "first")
            await inbox.hears("first")
            await publish(first, "user:ann", "first")
            await push.hears("first")
            other = next(server for server in stand.servers if server is not first)
            wait_for(lambda: other.cli("XLEN", "inbox:ann") == 1, "a replica that has it")
            second = await asyncio.to_thread(stand.failover)
            await add(second, "inbox:ann", "later")
            await inbox.hears("first", "later")
            await publish(second, "user:ann", "later")
            await push.hears("first", "later")
            await until_ready(process, READY)
            assert inbox.gaps == []
        assert "Traceback" not in process.stderr.text


async def test_a_node_of_a_cluster_that_is_lost(tmp_path: Path) -> None:
    """Streams of the others go on, and its own when it is back."""
    with ClusterStand() as stand:
        users = users_of_all_nodes(stand)
        for node in stand.nodes:  # as operators do who prefer a part to nothing
            await cli(node, "CONFIG", "SET", "cluster-require-full-coverage", "no")
        async with (
            RawUpstream.serve(by_cookie) as whoami,
            replica(tmp_path, stand.url, whoami, MINE) as process,
            contextlib.AsyncExitStack() as stack,
        ):
            inboxes = [await stack.enter_async_context(listening(process, b"/mine", user.encode())) for user in users]
            for inbox, user in zip(inboxes, users, strict=True):
                await add(stand.node_of(f"inbox:{user}"), f"inbox:{user}", f"to {user}")
                await inbox.hears(f"to {user}")
            lost = stand.node_of(f"inbox:{users[2]}")
            lost.kill()
            await inboxes[2].stays(10)
            for inbox, user in zip(inboxes[:2], users, strict=False):
                await add(stand.node_of(f"inbox:{user}"), f"inbox:{user}", "without it")
                await inbox.hears(f"to {user}", "without it")
            await asyncio.to_thread(lost.restart)
            is_back = "cluster_state:ok"
            await asyncio.to_thread(wait_for, lambda: is_back in str(lost.cli("CLUSTER", "INFO")), "a whole cluster")
            await add(lost, f"inbox:{users[2]}", "again")
            await inboxes[2].hears(f"to {users[2]}", "again")
            assert [inbox.gaps for inbox in inboxes] == [[], [], []]
        assert "Traceback" not in process.stderr.text


def users_of_all_nodes(stand: ClusterStand) -> list[str]:
    """Return a user for each node, whose stream lies there."""
    found = {stand.node_of(f"inbox:u{number}").port: f"u{number}" for number in range(40)}
    return [found[node.port] for node in stand.nodes]
