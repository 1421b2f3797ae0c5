"""Does a message reach the one user it is for, whichever replica that user hangs on, and nobody else?"""

import asyncio
import contextlib
import json
import random
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.push.stage import ROUTES, Listener, add, by_cookie, cli, listening, publish, replica, until
from tests.examples.push_examples import FLASK_SSE
from tests.support.blocking_client import fetch
from tests.support.raw_upstream import RawUpstream
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess
from tests.support.sseproxy_process import SseproxyProcess

USERS = (b"ann", b"bob")


@pytest.fixture(params=["notifications", "blocking reads"])
def redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisServer(notifications="Kt" if request.param == "notifications" else "") as redis:
        yield redis


@contextlib.asynccontextmanager
async def two_replicas(folder: Path, redis: RedisServer) -> AsyncIterator[list[SseproxyProcess]]:
    async with contextlib.AsyncExitStack() as stack:
        whoami = await stack.enter_async_context(RawUpstream.serve(by_cookie))
        yield [await stack.enter_async_context(replica(folder, redis.url, whoami, ROUTES)) for _ in range(2)]


async def all_listening(
    stack: contextlib.AsyncExitStack, replicas: list[SseproxyProcess], target: bytes
) -> dict[bytes, list[Listener]]:
    """Return clients of both users on both replicas."""
    return {
        user: [await stack.enter_async_context(listening(each, target, user)) for each in replicas] for user in USERS
    }


async def test_entries_of_streams_reach_their_user_on_both_replicas(redis: RedisServer, tmp_path: Path) -> None:
    async with two_replicas(tmp_path, redis) as replicas, contextlib.AsyncExitStack() as stack:
        clients = await all_listening(stack, replicas, b"/inbox")
        await add(redis, "inbox:ann", "for ann")
        await add(redis, "inbox:bob", "for bob")
        for user, text in ((b"ann", "for ann"), (b"bob", "for bob")):
            for client in clients[user]:
                await client.hears(text)
        await add(redis, "news", "for all")
        await add(redis, "inbox:carol", "for none of them")
        await add(redis, "inbox:ann", "and ann")
        for client in clients[b"ann"]:
            await until(lambda client=client: len(client.data) == 3, "three entries")  # type: ignore[misc]
            assert (client.data[0], sorted(client.data[1:])) == ("for ann", ["and ann", "for all"])
        for client in clients[b"bob"]:
            await client.hears("for bob", "for all")
        # The same place has the same name on both replicas.
        first, second = clients[b"bob"]
        assert [event.last_event_id for event in first.events] == [event.last_event_id for event in second.events]


async def test_messages_of_channels_reach_their_user_on_both_replicas(redis: RedisServer, tmp_path: Path) -> None:
    async with two_replicas(tmp_path, redis) as replicas, contextlib.AsyncExitStack() as stack:
        clients = await all_listening(stack, replicas, b"/push")
        await publish(redis, "user:ann", "for ann", processes=2)
        await publish(redis, "user:bob", "for bob", processes=2)
        for user, text in ((b"ann", "for ann"), (b"bob", "for bob")):
            for client in clients[user]:
                await client.hears(text)
        await publish(redis, "broadcast", "for all", processes=2)
        assert await cli(redis, "PUBLISH", "user:carol", "for none of them") == 0
        for user, text in ((b"ann", "for ann"), (b"bob", "for bob")):
            for client in clients[user]:
                await client.hears(text, "for all")


async def test_a_user_who_changes_replica_loses_nothing_and_gets_nothing_twice(
    redis: RedisServer, tmp_path: Path
) -> None:
    """At any moment, while messages come."""
    chance = random.Random(12)
    wanted = [f"{number}" for number in range(200)]
    async with two_replicas(tmp_path, redis) as replicas:

        async def publishing() -> None:
            for number in wanted:
                await add(redis, chance.choice(["inbox:ann", "news"]), number)

        work = asyncio.create_task(publishing())
        had: list[str] = []
        position = b""
        while len(had) < len(wanted):
            fields = (b"Last-Event-ID: " + position,) if position else ()
            enough = chance.randrange(1, 25)
            async with listening(chance.choice(replicas), b"/inbox", b"ann", *fields) as client:
                left = min(enough, len(wanted) - len(had))
                await until(lambda client=client, left=left: len(client.data) >= left, "more")  # type: ignore[misc]
                assert client.gaps == []
                had += client.data
                position = client.position
        await work
    assert sorted(had, key=int) == wanted


# An app that does not know of sseproxy.


async def test_an_unmodified_flask_app_reaches_both_replicas(tmp_path: Path) -> None:
    """flask-sse publishes, to all and to one user; the app serves no stream."""
    with RedisServer() as redis:
        routes = """
  - match: {path: /stream}
    authorize: {url: "WHOAMI", take: {user: X-User}}
    redis: {channel: ["user:{auth:user}", sse], format: flask-sse}
"""
        app = ServerProcess("flask", "--app", str(FLASK_SSE / "app.py"), "run", "--port", "0", environment=on(redis))
        publisher = (
            "import sys; sys.path.insert(0, sys.argv[1]); from app import app, sse\n"
            "with app.app_context(): sse.publish({'to': sys.argv[2]}, type='hello', channel='user:' + sys.argv[2])"
        )
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(app)
            whoami = await stack.enter_async_context(RawUpstream.serve(by_cookie))
            replicas = [await stack.enter_async_context(replica(tmp_path, redis.url, whoami, routes)) for _ in "ab"]
            clients = await all_listening(stack, replicas, b"/stream")
            for name in ("user:ann", "user:bob", "sse"):
                await publish(redis, name, "no JSON, so it is skipped", processes=2)
            for user in USERS:
                command = [sys.executable, "-c", publisher, str(FLASK_SSE), user.decode()]
                process = await asyncio.create_subprocess_exec(*command, env=on(redis))
                assert await process.wait() == 0
            for user in USERS:
                for client in clients[user]:
                    await client.hears(json.dumps({"to": user.decode()}))
            assert (await asyncio.to_thread(fetch, app.url, "/hello")).body == b"Message sent!"
            for user in USERS:
                for client in clients[user]:
                    await client.hears(json.dumps({"to": user.decode()}), json.dumps({"message": "Hello!"}))
                    assert [event.type for event in client.events] == ["hello", "greeting"]


def on(redis: RedisServer) -> dict[str, str]:
    return {"REDIS_URL": redis.url}
