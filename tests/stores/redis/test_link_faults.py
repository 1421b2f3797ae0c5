"""Does a link come back by itself from all that can happen to Redis, without a hang, and with no secret in the log?"""

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from sseproxy.core.errors import ReplyError, StoreAway
from sseproxy.stores.redis.link import Link, LinkState
from tests.stores.redis.stand import LINK, SOON, HandRedis, a_link, recovered
from tests.support.certificates import new_authority, new_certificate
from tests.support.nemesis import Nemesis
from tests.support.patience import LIMIT
from tests.support.redis_server import RedisServer
from tests.support.settled import eventually as until


async def fails_soon(link: Link) -> str:
    """Run commands until one fails. Return why; none may hang."""
    async with asyncio.timeout(LIMIT):
        while True:
            try:
                async with asyncio.timeout(SOON):
                    await link.run("PING")
            except StoreAway as error:
                return str(error)
            await asyncio.sleep(0.01)


async def test_killed_and_restarted(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with a_link(server.url, replace(LINK, timeout=LIMIT)) as link:  # no command waits for it
        await link.run("SET", "kept", 1)
        server.kill()
        assert "connection" in await fails_soon(link)
        await until(lambda: link.state is LinkState.AWAY)
        began = asyncio.get_running_loop().time()
        results = await asyncio.gather(*(link.run("PING") for _ in range(2000)), return_exceptions=True)
        assert all(isinstance(result, StoreAway) for result in results)
        assert asyncio.get_running_loop().time() - began < SOON
        server.restart()
        assert await recovered(link, "GET", "kept") == b"1"
    assert [record.message for record in caplog.records if "away" in record.message] == [
        f"Redis at redis://127.0.0.1:{server.port} away: connection refused"
    ]
    assert "is back after" in caplog.messages[-1]
    assert "geheim" not in caplog.text


async def test_it_was_never_there(server: RedisServer) -> None:
    server.kill()
    async with a_link(server.url) as link:
        assert "connection refused" in await fails_soon(link)
        assert (link.was_reached, link.is_up) == (False, False)
        server.restart()
        assert await recovered(link, "PING") == b"PONG"
        assert link.was_reached


async def test_frozen(server: RedisServer) -> None:
    async with a_link(server.url) as link:
        await link.run("PING")
        server.freeze()
        assert "timed out" in await fails_soon(link)
        # The kernel still accepts connections: the dials must not count as a success.
        for _ in range(5):
            with pytest.raises(StoreAway):
                await link.run("PING")
            await asyncio.sleep(0.1)
        server.thaw()
        assert await recovered(link, "PING") == b"PONG"


async def test_an_idle_link_notices_a_frozen_redis(server: RedisServer) -> None:
    async with a_link(server.url) as link:
        await link.run("PING")
        server.freeze()
        await until(lambda: link.state is LinkState.AWAY)
        server.thaw()
        await until(lambda: link.is_up)


async def test_half_open(server: RedisServer) -> None:
    async with Nemesis(server.port) as nemesis, a_link(server.url_at(nemesis.port)) as link:
        await link.run("PING")
        nemesis.forget()
        assert "timed out" in await fails_soon(link)
        assert await recovered(link, "PING") == b"PONG"


async def test_silent_and_cut(server: RedisServer) -> None:
    async with Nemesis(server.port) as nemesis, a_link(server.url_at(nemesis.port)) as link:
        await link.run("PING")
        for fault in (nemesis.drop, nemesis.cut):
            fault()
            await fails_soon(link)
            nemesis.heal()
            assert await recovered(link, "PING") == b"PONG"


async def test_killed_clients(server: RedisServer) -> None:
    async with a_link(server.url) as link:
        for _ in range(5):
            assert await recovered(link, "PING") == b"PONG"
            server.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def test_an_idle_connection_that_was_closed_costs_no_command(server: RedisServer) -> None:
    async with Nemesis(server.port) as nemesis, a_link(server.url_at(nemesis.port)) as link:
        for _ in range(5):
            assert await link.run("PING") == b"PONG"
            nemesis.break_all()
            await until(lambda: not nemesis.connections)
            await asyncio.sleep(0.05)


async def test_a_wrong_password(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    for url, words in (
        (server.url.replace("geheim", "s3cr3t"), "wrong user or password"),
        (server.url.replace(":geheim@", ""), "it wants a password"),
        (server.url.replace(":geheim@", "s3cr3t:s3cr3t@"), "wrong user or password"),
        (server.url.removesuffix("/0") + "/99", "no database of this number"),
    ):
        async with a_link(url) as link:
            assert words in await fails_soon(link)
            assert words in caplog.messages[-1]
    assert "s3cr3t" not in caplog.text
    assert "geheim" not in caplog.text


async def test_a_password_that_becomes_right(server: RedisServer) -> None:
    async with a_link(server.url.replace("geheim", "s3cr3t")) as link:
        await fails_soon(link)
        server.cli("ACL", "SETUSER", "default", ">s3cr3t")
        assert await recovered(link, "PING") == b"PONG"


async def test_loading(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer(settings=[("key-load-delay", "100"), ("loading-process-events-interval-bytes", "1024")]) as slow:
        with slow.client() as client, client.pipeline(transaction=False) as pipeline:
            for number in range(20_000):
                pipeline.set(f"key{number}", "x" * 100)
            pipeline.execute()
        async with a_link(slow.url) as link:
            await link.run("PING")
            restarting = asyncio.create_task(asyncio.to_thread(slow.restart))
            await until(lambda: "loading" in link.reason)
            await restarting
            assert await recovered(link, "GET", "key7") == b"x" * 100
    assert "it is still loading its data" in caplog.text


async def test_out_of_memory_refuses_writes_only() -> None:
    with RedisServer(maxmemory="1mb") as server:
        async with a_link(server.url) as link:
            writes = [("SET", f"key{number}", "x" * 100_000) for number in range(50)]
            codes = {reply.code for reply in await link.run_all(writes) if isinstance(reply, ReplyError)}
            assert codes == {"OOM"}
            assert await link.run("GET", "none") is None
            assert link.is_up


async def test_a_replica_refuses_writes(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer(settings=[("replicaof", f"127.0.0.1 {server.port}"), ("masterauth", "geheim")]) as replica:
        async with a_link(replica.url) as link:
            assert await recovered(link, "GET", "key") is None
            for _ in range(20):
                await recovered(link, "GET", "key")
                with pytest.raises(StoreAway, match="replica"):
                    await link.run("SET", "key", 1)
            assert caplog.text.count("a replica, which takes no writes") == 1
            replica.cli("REPLICAOF", "NO", "ONE")
            assert await recovered(link, "SET", "key", 1) == b"OK"


async def test_a_redis_that_greets_and_does_nothing_else_is_dialled_less_and_less() -> None:
    async with (
        HandRedis(lambda data: b"+PONG\r\n" if b"PING" in data else None) as redis,
        a_link(f"redis://127.0.0.1:{redis.port}") as link,
    ):
        end = asyncio.get_running_loop().time() + 1
        while asyncio.get_running_loop().time() < end:
            with pytest.raises(StoreAway):
                await link.run("GET", "key")
            await asyncio.sleep(0)
        assert redis.dials < 25


async def test_a_replica_that_has_lost_its_master_is_not_up(server: RedisServer) -> None:
    settings = [("replicaof", f"127.0.0.1 {server.port}"), ("masterauth", "geheim")]
    with RedisServer(settings=settings) as replica:
        await until(lambda: "up" in str(replica.cli("INFO", "replication")["master_link_status"]))
        server.kill()
        replica.cli("CONFIG", "SET", "replica-serve-stale-data", "no")
        async with a_link(replica.url) as link:
            link.start()
            await until(lambda: "lost its master" in link.reason)
            assert not link.was_reached


async def test_something_else_answers(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        async with a_link(f"redis://:s3cr3t@127.0.0.1:{port}") as link:
            assert "does not speak" in await fails_soon(link)
    assert "s3cr3t" not in caplog.text


async def test_names_and_sockets_that_do_not_exist() -> None:
    for url, words in (
        ("redis://no.such.host.invalid", "host name"),
        ("redis+unix:///no/such.sock", "no such socket"),
    ):
        async with a_link(url) as link:
            assert words in await fails_soon(link)


async def test_tls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = new_authority(tmp_path)
    certificate = new_certificate(tmp_path, authority, "redis", "IP:127.0.0.1")
    other = new_authority(tmp_path, "other")
    with RedisServer(password="geheim", certificate=certificate, authority=authority) as server:
        async with a_link(f"{server.url}?ssl_ca_certs={authority.certificate}") as link:
            assert await link.run("ECHO", "x") == b"x"
            server.restart()
            assert await recovered(link, "ECHO", "x") == b"x"
        for query, words in (
            ("", "TLS certificate is not accepted"),
            (f"?ssl_ca_certs={other.certificate}", "TLS certificate is not accepted"),
            ("?ssl_ca_certs=/no/such/file", "TLS file does not exist"),
        ):
            async with a_link(server.url + query) as link:
                assert words in await fails_soon(link)
        async with a_link(f"{server.url}?ssl_cert_reqs=none") as link:
            assert await link.run("PING") == b"PONG"
        async with a_link(server.url.replace("rediss", "redis")) as link:
            await fails_soon(link)
    assert "geheim" not in caplog.text
