"""Does a blocking read ring for each stream that grows, soon, and for no other?"""

import asyncio

import pytest

from sseproxy.stores.redis.blocking import BlockingLimits
from tests.stores.redis.stand import BACKOFF, BLOCKING, Listener, a_link, blocking_reads, recovered
from tests.support.nemesis import Nemesis
from tests.support.redis_server import RedisServer
from tests.support.settled import eventually as until

#: A read waits so long that only a wake-up can end it within a test.
PATIENT = BlockingLimits(block=60.0, timeout=1.0, backoff=BACKOFF)


class Bell:
    """A follower that moves on, or does not, when it is rung for."""

    def __init__(self) -> None:
        self.position = b"0-0"
        self.rung = 0

    def after(self) -> bytes:
        return self.position

    def ring(self) -> None:
        self.rung += 1


def reads_of(server: RedisServer) -> int:
    """Return how many ``XREAD`` commands Redis has counted."""
    return int(server.cli("INFO", "commandstats")["cmdstat_xread"]["calls"])


async def test_it_rings_for_the_stream_that_grew(server: RedisServer) -> None:
    async with a_link(server.url) as link, blocking_reads(link, PATIENT) as reads:
        bells = [Bell() for _ in range(50)]
        for number, bell in enumerate(bells):
            reads.watch(b"s%d" % number, bell.after, bell.ring)
            await asyncio.sleep(0.001)
        assert reads.can_block
        for number in (3, 40):
            await link.run("XADD", b"s%d" % number, "1-1", "f", 1)
            await until(lambda number=number: bells[number].rung == 1)  # type: ignore[misc]
        assert sum(bell.rung for bell in bells) == 2
        assert await link.run("PTTL", b"sseproxy:wake:node1:0") > 0


async def test_what_was_there_before_rings(server: RedisServer) -> None:
    async with a_link(server.url) as link, blocking_reads(link, PATIENT) as reads:
        await link.run("XADD", b"s", "5-1", "f", 1)
        behind, level = Bell(), Bell()
        level.position = b"5-1"
        reads.watch(b"s", behind.after, behind.ring)
        await until(lambda: behind.rung == 1)
        reads.watch(b"s", level.after, level.ring)
        await link.run("XADD", b"s", "5-2", "f", 1)
        await until(lambda: level.rung == 1)
        assert behind.rung == 1


async def test_a_follower_that_does_not_move_on_is_not_rung_for_again(server: RedisServer) -> None:
    async with a_link(server.url) as link, blocking_reads(link) as reads:
        bell = Bell()
        reads.watch(b"s", bell.after, bell.ring)
        await link.run("XADD", b"s", "1-1", "f", 1)
        await until(lambda: bell.rung == 1)
        before = reads_of(server)
        await until(lambda: reads_of(server) > before + 2)
        assert bell.rung == 1
        await link.run("XADD", b"s", "1-2", "f", 1)
        await until(lambda: bell.rung == 2)


async def test_a_stream_that_begins_anew(server: RedisServer) -> None:
    async with a_link(server.url) as link, blocking_reads(link) as reads:
        bell = Bell()
        reads.watch(b"s", bell.after, bell.ring)
        await link.run("XADD", b"s", "9-1", "f", 1)
        await until(lambda: bell.rung == 1)
        bell.position = b"9-1"
        before = reads_of(server)
        await until(lambda: reads_of(server) > before + 1)  # with the new position
        await link.run("DEL", b"s")
        bell.position = b"0-0"
        await link.run("XADD", b"s", "1-1", "f", 1)
        await until(lambda: bell.rung == 2)


async def test_many_streams_share_few_connections(server: RedisServer) -> None:
    limits = BlockingLimits(block=60.0, keys=100, backoff=BACKOFF)
    async with a_link(server.url) as link, blocking_reads(link, limits) as reads:
        bells = [Bell() for _ in range(250)]
        for number, bell in enumerate(bells):
            reads.watch(b"s%d" % number, bell.after, bell.ring)
        await until(lambda: int(server.cli("INFO", "clients")["blocked_clients"]) == 3)
        await link.run_all([("XADD", b"s%d" % number, "1-1", "f", 1) for number in range(250)])
        await until(lambda: all(bell.rung == 1 for bell in bells))
        for number in range(150):
            reads.unwatch(b"s%d" % number)
        reads.unwatch(b"none")
        await until(lambda: int(server.cli("INFO", "clients")["blocked_clients"]) == 2)


async def test_wakes_are_bounded(server: RedisServer) -> None:
    async with a_link(server.url) as link, blocking_reads(link, PATIENT) as reads:
        bell = Bell()
        reads.watch(b"s", bell.after, bell.ring)
        began = asyncio.get_running_loop().time()
        for number in range(400):
            reads.watch(b"other%d" % number, Bell().after, bell.ring)
            await link.run("XADD", b"s", "*", "f", 1)
        await until(lambda: bell.rung > 2)
        spent = asyncio.get_running_loop().time() - began
        assert server.cli("INFO", "commandstats")["cmdstat_xread"]["calls"] <= 3 + 55 * spent


async def test_a_key_of_another_type_silences_no_other(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with a_link(server.url) as link, blocking_reads(link, PATIENT) as reads:
        await link.run("SET", "string", 1)
        bad, good = Bell(), Bell()
        reads.watch(b"good", good.after, good.ring)
        reads.watch(b"string", bad.after, bad.ring)
        await until(lambda: "WRONGTYPE" in caplog.text)
        await link.run("XADD", b"good", "1-1", "f", 1)
        await until(lambda: good.rung == 1)
        assert bad.rung == 0


async def test_a_user_that_may_not_wake(server: RedisServer) -> None:
    server.cli("ACL", "SETUSER", "few", "on", ">pw", "+@all", "~inbox:*", "&*")
    async with a_link(server.url.replace(":geheim@", "few:pw@")) as link, blocking_reads(link) as reads:
        bell = Bell()
        reads.watch(b"inbox:1", bell.after, bell.ring)
        await link.run("XADD", b"inbox:1", "1-1", "f", 1)
        await until(lambda: bell.rung == 1)


async def test_killed_frozen_half_open(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        a_link(server.url) as link,
        Nemesis(server.port) as nemesis,
        a_link(server.url_at(nemesis.port)) as relayed,
        blocking_reads(relayed, BLOCKING) as reads,
    ):
        bell = Bell()
        reads.watch(b"s", bell.after, bell.ring)
        for number, (break_it, mend) in enumerate(
            [
                (server.kill, server.restart),
                (server.freeze, server.thaw),
                (nemesis.forget, lambda: None),
                (nemesis.cut, nemesis.heal),
                (lambda: server.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"), lambda: None),
            ],
            start=1,
        ):
            break_it()
            await asyncio.sleep(0.3)
            mend()
            await recovered(link, "XADD", b"s", f"{number}-1", "f", 1)
            await until(lambda number=number: bell.rung == number)  # type: ignore[misc]
    assert "geheim" not in caplog.text


async def test_nothing_is_watched_after_the_end(server: RedisServer) -> None:
    async with a_link(server.url) as link:
        async with blocking_reads(link, PATIENT) as reads:
            bell, listener = Bell(), Listener()
            reads.watch(b"s", bell.after, listener.note_ready)
            await until(lambda: int(server.cli("INFO", "clients")["blocked_clients"]) == 1)
        await until(lambda: int(server.cli("INFO", "clients")["blocked_clients"]) == 0)
