"""Which connections does the pool keep, and which of them does it lend?"""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sseproxy.core.routes import Upstream
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.http1.client import UpstreamConnection
from sseproxy.http1.messages import OriginRequest
from sseproxy.origins.connector import Connector
from sseproxy.origins.http import HttpOrigin
from sseproxy.origins.pools import Lease, Pool, PoolGroup
from tests.support.settled import eventually


@dataclass
class Peer:
    """An upstream that accepts, and answers each request with the same few bytes."""

    upstream: Upstream
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def pool(self, **limits: float) -> Pool:
        return Pool(Connector(self.upstream).open, **limits)  # type: ignore[arg-type]


@asynccontextmanager
async def peer(at: str = "127.0.0.1") -> AsyncIterator[Peer]:
    """at: an address, a name or the path of a socket."""
    if at.startswith("/"):
        found = Peer(Upstream("http+unix", socket_path=at))
        server = await asyncio.start_unix_server(found.serve, at)
    else:
        sock = socket.create_server(("127.0.0.1", 0))
        found = Peer(Upstream("http", at, sock.getsockname()[1]))
        server = await asyncio.start_server(found.serve, sock=sock)
    try:
        yield found
    finally:
        for writer in found.writers:
            writer.close()
        server.close()


def idle(pool: Pool) -> Lease:
    """Lend what is idle."""
    lease = pool.take_idle()
    assert lease is not None
    return lease


async def leases(pool: Pool, count: int) -> list[Lease]:
    """As many, each on a new connection."""
    return [await pool.connect(anew=True) for _ in range(count)]


@pytest.mark.parametrize("at", ["127.0.0.1", "localhost", "unix"])
async def test_requests_that_follow_each_other_share_a_connection(at: str, tmp_path: Path) -> None:
    async with peer(str(tmp_path / "socket") if at == "unix" else at) as upstream:
        origin = HttpOrigin(upstream.upstream)
        for count in range(3):
            exchange = await origin.open(OriginRequest("GET", "/", [(b"Host", b"a.test")], None), TimeoutPolicy())
            assert exchange.head.status == 200
            assert exchange.was_reused is (count > 0)
            assert (origin.pool.leased, origin.pool.idle) == (0, 1)
        assert len(upstream.writers) == 1
        await origin.close()


async def test_what_was_used_last_is_lent_first_and_at_once() -> None:
    async with peer() as upstream:
        pool = upstream.pool()
        first, second = await leases(pool, 2)
        assert pool.leased == 2
        first.release()
        second.release()
        assert (pool.leased, pool.idle) == (0, 2)
        assert idle(pool).protocol is second.protocol
        assert (await pool.connect()).protocol is first.protocol
        assert pool.take_idle() is None
        await pool.close()


async def test_a_second_try_gets_a_new_connection_although_one_is_idle() -> None:
    async with peer() as upstream:
        pool = upstream.pool()
        first = await pool.connect()
        first.release()
        assert (await pool.connect(anew=True)).protocol is not first.protocol
        assert pool.idle == 1
        await pool.close()


def _close(lease: Lease, _: Peer) -> None:
    lease.close()


def _break(lease: Lease, _: Peer) -> None:
    lease.protocol.abort()
    lease.release()


def _misuse(lease: Lease, _: Peer) -> None:
    lease.protocol.detach()
    lease.release()


@pytest.mark.parametrize("end", [_close, _break, _misuse])
async def test_what_cannot_be_used_again_is_not_kept(end: Callable[[Lease, Peer], None]) -> None:
    async with peer() as upstream:
        pool = upstream.pool()
        lease = await pool.connect()
        end(lease, upstream)
        assert (pool.leased, pool.idle) == (0, 0)
        assert not lease.protocol.is_connected()
        await pool.close()


async def test_the_end_of_a_lease_counts_once() -> None:
    async with peer() as upstream:
        pool = upstream.pool()
        lease = await pool.connect()
        lease.release()
        lease.release()
        lease.close()
        assert pool.idle == 1
        assert idle(pool).protocol.is_connected()
        await pool.close()


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n"], ids=["a close", "bytes"])
async def test_a_connection_on_which_the_upstream_has_spoken_unasked_is_not_lent(says: bytes) -> None:
    async with peer() as upstream:
        pool = upstream.pool()
        lease = await pool.connect()
        lease.release()
        await eventually(lambda: bool(upstream.writers))
        if says:
            upstream.writers[0].write(says)
        else:
            upstream.writers[0].close()
        await eventually(lambda: not lease.protocol.is_connected())
        assert pool.take_idle() is None
        assert pool.idle == 0
        await pool.close()


async def test_an_idle_connection_is_closed_in_time() -> None:
    async with peer() as upstream:
        pool = upstream.pool(keepalive=1.0)
        first, second = await leases(pool, 2)
        first.release()
        await asyncio.sleep(0.5)
        second.release()
        await eventually(lambda: pool.idle == 1)
        assert not first.protocol.is_connected()
        assert second.protocol.is_connected()
        await eventually(lambda: pool.idle == 0)
        assert not second.protocol.is_connected()
        await pool.close()


async def test_an_idle_connection_that_is_too_old_is_not_lent() -> None:
    """Also in the moment before it is closed."""
    async with peer() as upstream:
        pool = upstream.pool(keepalive=0)
        lease = await pool.connect()
        lease.release()
        assert pool.take_idle() is None
        assert not lease.protocol.is_connected()
        await pool.close()


async def test_of_too_many_idle_connections_the_oldest_are_closed() -> None:
    async with peer() as upstream:
        pool = upstream.pool(max_idle=2)
        lent = await leases(pool, 4)
        for lease in lent:
            lease.release()
        assert pool.idle == 2
        assert [lease.protocol.is_connected() for lease in lent] == [False, False, True, True]
        await pool.close()


async def test_close_ends_all_connections_and_keeps_no_more() -> None:
    async with peer() as upstream:
        go_on = asyncio.Event()
        go_on.set()

        async def connect() -> UpstreamConnection:
            await go_on.wait()
            return await Connector(upstream.upstream).open()

        pool = Pool(connect)
        kept, lent = await leases(pool, 2)
        kept.release()
        go_on.clear()
        opening = asyncio.create_task(pool.connect(anew=True))
        await asyncio.sleep(0)
        await pool.close()
        go_on.set()
        late = await opening
        lent.release()
        late.release()
        assert (pool.leased, pool.idle) == (0, 0)
        assert not any(lease.protocol.is_connected() for lease in (kept, lent, late))


async def test_unused_connections_make_room_where_there_is_no_descriptor_for_a_new_one() -> None:
    """Those to all upstreams: clients that turn to another one need connections to it while the first ones wait."""
    async with peer() as first, peer() as second:
        group = PoolGroup()
        opened = Connector(first.upstream).open
        crowded = Pool(Connector(second.upstream).open, group=group)
        failures = [OSError(errno.EMFILE, "too many"), OSError(errno.EMFILE, "too many")]

        async def open_() -> UpstreamConnection:
            if failures and crowded.idle:
                raise failures.pop()
            return await opened()

        pool = Pool(open_, group=group)
        waiting = await crowded.connect()
        waiting.release()
        lease = await pool.connect()
        assert (crowded.idle, len(failures)) == (0, 1)
        assert not waiting.protocol.is_connected()
        assert lease.protocol.is_connected()
        await pool.close()
        await crowded.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ECONNREFUSED])
async def test_a_failure_that_no_room_would_cure_is_one(number: int) -> None:
    tries = 0

    async def open_() -> UpstreamConnection:
        nonlocal tries
        tries += 1
        raise OSError(number, "no")

    pool = Pool(open_)
    with pytest.raises(OSError, match="no"):
        await pool.connect()
    assert tries == 1
