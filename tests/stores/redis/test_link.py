"""Do commands of many callers share pipelines, and does each get its own reply?"""

import asyncio

import pytest

from sseproxy.core.errors import ReplyError, StoreAway
from sseproxy.stores.redis.link import LinkLimits, LinkState
from tests.stores.redis.stand import LINK, SOON, a_link, recovered
from tests.support.nemesis import Nemesis
from tests.support.redis_server import RedisServer
from tests.support.settled import eventually as until


async def test_each_caller_gets_its_own_reply(server: RedisServer) -> None:
    async with a_link(server.url) as link:
        values = await asyncio.gather(*(link.run("ECHO", f"{number}") for number in range(3000)))
        assert values == [b"%d" % number for number in range(3000)]
        assert (link.state, link.is_up, link.was_reached) == (LinkState.UP, True, True)


async def test_what_falls_due_in_a_turn_is_one_pipeline(server: RedisServer) -> None:
    async with Nemesis(server.port) as nemesis, a_link(server.url_at(nemesis.port)) as link:
        await link.run("PING")
        nemesis.delay(0.1)
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(link.run("INCR", "n") for _ in range(1000)))
        # Two pipelines of 500, each a round trip of 0.2 s; one by one it would be 200 s.
        assert 0.35 < asyncio.get_running_loop().time() - began < SOON


async def test_replies_are_undecoded(server: RedisServer) -> None:
    async with a_link(server.url) as link:
        entry = await link.run("XADD", b"s", "1-1", b"data", b"\xff\x00")
        assert entry == b"1-1"
        assert await link.run("XRANGE", b"s", "-", "+") == [[b"1-1", [b"data", b"\xff\x00"]]]
        info = await link.run("XINFO", "STREAM", b"s")
        assert (info[b"length"], info[b"last-generated-id"]) == (1, b"1-1")
        assert await link.run("GET", "none") is None


async def test_a_refused_command_spoils_no_other(server: RedisServer) -> None:
    async with a_link(server.url) as link:
        first, refused, last = await link.run_all([("LPUSH", "l", 1), ("XADD", "l", "*", "f", 1), ("LLEN", "l")])
        assert (first, last) == (1, 1)
        assert isinstance(refused, ReplyError)
        assert refused.code == "WRONGTYPE"
        with pytest.raises(ReplyError) as caught:
            await link.run("XRANGE", "l", "-", "+")
        assert caught.value.code == "WRONGTYPE"
        assert link.is_up


async def test_an_unknown_command_is_not_repeated(server: RedisServer) -> None:
    async with a_link(server.url) as link:
        with pytest.raises(ReplyError) as caught:
            await link.run("NOSUCH", "s3cr3t")
        assert "s3cr3t" not in f"{caught.value} {caught.value.reply}"


async def test_several_commands_stay_together(server: RedisServer) -> None:
    async with a_link(server.url) as link:
        together = [("SET", "x", 1), ("GET", "x"), ("DEL", "x")]
        results = await asyncio.gather(*(link.run_all(together) for _ in range(500)))
        assert all(result == [b"OK", b"1", 1] for result in results)
        assert await link.run_all([]) == []
        assert len(await link.run_all([("PING",)] * 1203)) == 1203


async def test_the_queue_is_bounded(server: RedisServer) -> None:
    async with a_link(server.url, LinkLimits(waiting=100, batch=10)) as link:
        results = await asyncio.gather(*(link.run("PING") for _ in range(150)), return_exceptions=True)
        assert results[:100] == [b"PONG"] * 100
        assert all(isinstance(result, StoreAway) for result in results[100:])
        assert await link.run("PING") == b"PONG"


async def test_a_command_does_not_wait_for_ever_in_the_queue(server: RedisServer) -> None:
    limits = LinkLimits(batch=1, patience=0.5)
    async with Nemesis(server.port) as nemesis, a_link(server.url_at(nemesis.port), limits) as link:
        await link.run("PING")
        nemesis.delay(0.05)
        results = await asyncio.gather(*(link.run("PING") for _ in range(50)), return_exceptions=True)
        assert results[0] == b"PONG"
        assert isinstance(results[-1], StoreAway)
        assert "too slow" in str(results[-1])


async def test_a_caller_that_is_cancelled_sends_nothing(server: RedisServer) -> None:
    async with a_link(server.url) as link:
        await link.run("PING")
        waiting = asyncio.ensure_future(link.run("SET", "cancelled", 1))
        staying = asyncio.ensure_future(link.run("SET", "stayed", 1))
        await asyncio.sleep(0)
        waiting.cancel()
        assert await staying == b"OK"
        assert await link.run_all([("EXISTS", "cancelled"), ("EXISTS", "stayed")]) == [0, 1]


async def test_a_slow_network_is_no_outage(server: RedisServer) -> None:
    async with Nemesis(server.port) as nemesis, a_link(server.url_at(nemesis.port)) as link:
        await link.run("PING")
        nemesis.delay(0.2)
        assert await asyncio.gather(*(link.run("PING") for _ in range(20))) == [b"PONG"] * 20
        assert link.is_up


async def test_watchers_hear_of_each_change(server: RedisServer) -> None:
    async with a_link(server.url) as link:
        seen: list[bool] = []
        end = link.watch(lambda: seen.append(link.is_up))
        link.start()
        await until(lambda: seen == [True])
        server.kill()
        await until(lambda: seen == [True, False])
        server.restart()
        await until(lambda: seen == [True, False, True])
        end()
        server.kill()
        await until(lambda: not link.is_up)
        assert len(seen) == 3
        assert link.was_reached


async def test_a_closed_link_serves_nothing(server: RedisServer) -> None:
    async with a_link(server.url) as link:
        await link.run("PING")
        waiting = asyncio.ensure_future(link.run("BLPOP", "none", 0))
        await asyncio.sleep(0)
        await link.close()
        await link.close()
        for call in (waiting, link.run("PING")):
            with pytest.raises(StoreAway):
                await call
        assert link.state is LinkState.CLOSED


async def test_a_database_of_its_own(server: RedisServer) -> None:
    async with a_link(server.url.removesuffix("/0") + "/5", LINK) as link:
        await link.run("SET", "here", 1)
        assert await recovered(link, "GET", "here") == b"1"
        assert server.cli("GET", "here") is None


async def test_a_unix_socket() -> None:
    with RedisServer(unix_socket=True, password="geheim") as server:
        async with a_link(server.unix_url) as link:
            assert await link.run("ECHO", "x") == b"x"
            server.restart()
            assert await recovered(link, "ECHO", "y") == b"y"
