"""What do clients notice of a fault of Redis or of the way to it, and does all go on by itself? (docs/push.md)"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.e2e.push.stage import AWAY, READY, Listener, add, by_cookie, cli, listening, publish, replica, until_ready
from tests.support.certificates import new_authority, new_certificate
from tests.support.nemesis import Nemesis
from tests.support.patience import LIMIT
from tests.support.raw_upstream import RawUpstream
from tests.support.redis_server import RedisServer
from tests.support.sseproxy_process import SseproxyProcess

PASSWORD = "correct-horse-battery"


@dataclass(frozen=True, slots=True)
class Stand:
    """A process whose Redis is behind a network, and one user who listens to both kinds of route."""

    server: RedisServer
    network: Nemesis
    process: SseproxyProcess
    inbox: Listener
    push: Listener

    async def stay(self) -> None:
        """Both clients are there, and get heartbeats."""
        await self.inbox.stays()
        await self.push.stays()

    async def deliver(self, *inbox: str) -> None:
        """All that the inbox had and a new entry, and a new message, arrive soon; `inbox` is what it had."""
        async with asyncio.timeout(LIMIT):
            await add(self.server, "inbox:ann", "later")
            await self.inbox.hears(*inbox, "later")
            before = list(self.push.data)
            while self.push.data == before:  # what is published while nobody listens is lost
                await cli(self.server, "PUBLISH", "user:ann", "later")
                await asyncio.sleep(0.05)
        assert set(self.push.data) == {"first", "later"}
        assert self.push.data.count("first") == 1
        await until_ready(self.process, READY)


@contextlib.asynccontextmanager
async def a_stand(folder: Path, server: RedisServer | None = None, **options: Any) -> AsyncIterator[Stand]:
    """Both clients have had a first message. At the end nothing secret is in what the process wrote."""
    async with contextlib.AsyncExitStack() as stack:
        server = server or stack.enter_context(RedisServer(password=PASSWORD, notifications="Kt", **options))
        network = await stack.enter_async_context(Nemesis(server.port))
        whoami = await stack.enter_async_context(RawUpstream.serve(by_cookie))
        process = await stack.enter_async_context(replica(folder, server.url_at(network.port), whoami))
        stack.callback(lambda: check_log(process))
        inbox = await stack.enter_async_context(listening(process, b"/inbox", b"ann"))
        push = await stack.enter_async_context(listening(process, b"/push", b"ann"))
        await add(server, "inbox:ann", "first")
        await inbox.hears("first")
        await publish(server, "user:ann", "first")
        await push.hears("first")
        await until_ready(process, READY)
        yield Stand(server, network, process, inbox, push)


def check_log(process: SseproxyProcess) -> None:
    said = process.stdout.text + process.stderr.text
    assert PASSWORD not in said
    assert "Traceback" not in said


async def newcomer_waits(on: Stand) -> None:
    """A client that comes while Redis is away gets 200 and heartbeats."""
    async with listening(on.process, b"/inbox", b"ann") as late:
        await late.stays()
        assert late.data == []


async def test_killed_and_restarted(tmp_path: Path) -> None:
    async with a_stand(tmp_path) as on:
        on.server.kill()
        await until_ready(on.process, AWAY)
        await on.stay()
        await newcomer_waits(on)
        await asyncio.to_thread(on.server.restart)
        await on.deliver("first")
        assert on.inbox.gaps == []


async def test_restarted_empty(tmp_path: Path) -> None:
    """Who was there hears that something may be missing, and nothing comes twice."""
    async with a_stand(tmp_path) as on:
        on.server.kill()
        await until_ready(on.process, AWAY)
        await asyncio.to_thread(on.server.restart, empty=True)
        await on.deliver("first")
        assert [gap["reason"] for gap in on.inbox.gaps] == ["store"]


async def test_frozen(tmp_path: Path) -> None:
    """For longer than `store.timeout`, until the process knows."""
    async with a_stand(tmp_path) as on:
        on.server.freeze()
        try:
            await until_ready(on.process, AWAY)
            await on.stay()
            await newcomer_waits(on)
        finally:
            on.server.thaw()
        await on.deliver("first")
        assert on.inbox.gaps == []


async def test_slow(tmp_path: Path) -> None:
    """A slow Redis is not away."""
    async with a_stand(tmp_path) as on:
        on.network.delay(0.2)
        await add(on.server, "inbox:ann", "slow")
        await on.inbox.hears("first", "slow")
        await cli(on.server, "PUBLISH", "user:ann", "later")
        await on.push.hears("first", "later")
        async with listening(on.process, b"/inbox", b"ann") as late:
            await late.hears("first", "slow")
        await until_ready(on.process, READY)
        on.network.heal()
        await on.deliver("first", "slow")
        assert on.inbox.gaps == []
        assert "away" not in on.process.stderr.text


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
async def test_connections_that_are_killed(kind: str, tmp_path: Path) -> None:
    async with a_stand(tmp_path) as on:
        for _ in range(3):
            await cli(on.server, "CLIENT", "KILL", "TYPE", kind)
        await on.stay()
        await on.deliver("first")
        assert on.inbox.gaps == []


async def test_out_of_memory(tmp_path: Path) -> None:
    """The publisher hears of it. sseproxy only reads, and goes on."""
    async with a_stand(tmp_path, maxmemory="1gb") as on:
        await cli(on.server, "CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            await add(on.server, "inbox:ann", "too much")
        await on.stay()
        async with listening(on.process, b"/inbox", b"ann") as late:
            await late.hears("first")
        await until_ready(on.process, READY)
        await cli(on.server, "CONFIG", "SET", "maxmemory", "1gb")
        await on.deliver("first")
        assert on.inbox.gaps == []


@pytest.mark.parametrize("fault", ["silent", "half open", "cut"])
async def test_a_network_that_fails(fault: str, tmp_path: Path) -> None:
    async with a_stand(tmp_path) as on:
        begin = {"silent": on.network.drop, "half open": on.network.forget, "cut": on.network.cut}[fault]
        begin()
        if fault == "half open":
            # Nothing says when it ends: each connection is given up after some silence, that of channels after two
            # probes that it does not hear.
            await add(on.server, "inbox:ann", "meanwhile")
            await on.inbox.hears("first", "meanwhile")
            await on.deliver("first", "meanwhile")
        else:
            await until_ready(on.process, AWAY)
            await add(on.server, "inbox:ann", "meanwhile")
            await on.stay()
            on.network.heal()
            await on.inbox.hears("first", "meanwhile")
            await on.deliver("first", "meanwhile")
        assert on.inbox.gaps == []


async def test_a_password_that_is_wrong_at_first(tmp_path: Path) -> None:
    """Clients wait, the log says why, and all goes on once it is right."""
    async with RawUpstream.serve(by_cookie) as whoami:
        with RedisServer() as server:
            await cli(server, "CONFIG", "SET", "requirepass", "something-else")
            url = server.url.replace("127.0.0.1", f":{PASSWORD}@127.0.0.1")
            async with (
                replica(tmp_path, url, whoami) as process,
                listening(process, b"/inbox", b"ann") as inbox,
                listening(process, b"/push", b"ann") as push,
            ):
                await until_ready(process, AWAY)
                await inbox.stays()
                await push.stays()
                process.stderr.wait_for(lambda lines: any("password" in line for line in lines))
                with redis.Redis(port=server.port, password="something-else") as client:
                    client.config_set("requirepass", PASSWORD)
                with redis.Redis(port=server.port, password=PASSWORD) as client:
                    client.xadd("inbox:ann", {"data": "first"})
                    await inbox.hears("first")
                    async with asyncio.timeout(LIMIT):
                        while not push.data:
                            client.publish("user:ann", "now")
                            await asyncio.sleep(0.05)
                await until_ready(process, READY)
            check_log(process)
            assert "something-else" not in process.stderr.text


async def test_tls(tmp_path: Path) -> None:
    authority = new_authority(tmp_path)
    certificate = new_certificate(tmp_path, authority, "redis", "IP:127.0.0.1")
    with RedisServer(password=PASSWORD, certificate=certificate, authority=authority) as server:
        url = f"{server.url}?ssl_ca_certs={authority.certificate}"
        async with (
            RawUpstream.serve(by_cookie) as whoami,
            replica(tmp_path, url, whoami) as process,
            listening(process, b"/inbox", b"ann") as inbox,
            listening(process, b"/push", b"ann") as push,
        ):
            await add(server, "inbox:ann", "first")
            await inbox.hears("first")
            await publish(server, "user:ann", "first")
            await push.hears("first")
            server.kill()
            await until_ready(process, AWAY)
            await inbox.stays()
            await asyncio.to_thread(server.restart)
            await add(server, "inbox:ann", "later")
            await inbox.hears("first", "later")
            await publish(server, "user:ann", "later")
            await push.hears("first", "later")
            await until_ready(process, READY)
            assert inbox.gaps == []
        check_log(process)


async def test_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    """Nothing is sent there, least of all the password."""
    authority = new_authority(tmp_path)
    certificate = new_certificate(tmp_path, authority, "redis", "IP:127.0.0.1")
    with RedisServer(password=PASSWORD, certificate=certificate, authority=authority) as server:
        async with (
            RawUpstream.serve(by_cookie) as whoami,
            replica(tmp_path, server.url, whoami) as process,
            listening(process, b"/inbox", b"ann") as inbox,
        ):
            await until_ready(process, AWAY)
            await inbox.stays()
            process.stderr.wait_for(lambda lines: any("certificate" in line for line in lines))
        check_log(process)
