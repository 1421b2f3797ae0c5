"""Is an upstream stopped from the first byte on, when its client takes nothing?"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy
from tests.support.async_peer import RawClient
from tests.support.proxy_server import SILENT, ProxyServer, Stage, route_to
from tests.support.raw_upstream import RawUpstream, Script, Visit
from tests.support.settled import eventually, settled

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nConnection: close\r\n\r\n"
EVENT = b"data: " + b"x" * 1016 + b"\n\n"

SIZE = 64 * 1024 * 1024

#: What may go through: what the client's kernel and ours take, and one read or two.
FEW = 8 * 1024 * 1024

#: Larger than the heartbeats of a second, so that they alone block a client.
LARGE = HeartbeatPolicy(interval=0.005, form=HeartbeatForm.COMMENT_LINE, comment="x" * 50_000, before_response=0.005)


@contextlib.asynccontextmanager
async def frozen(script: Script, heartbeat: HeartbeatPolicy) -> AsyncIterator[Stage]:
    """A client that never reads, behind sockets that take little."""
    async with (
        RawUpstream.serve(script) as upstream,
        ProxyServer.serve(route_to(upstream, heartbeat=heartbeat), send_buffer=4096) as proxy,
        RawClient.connect(proxy.port) as client,
    ):
        client.pause()
        await client.send(GET)
        yield Stage(client, proxy, upstream)
        client.reset()


async def pour(visit: Visit) -> None:
    for _ in range(SIZE // len(EVENT) // 64):
        await visit.send(EVENT * 64)


@pytest.mark.parametrize("kind", [b"text/event-stream", b"text/plain"])
@pytest.mark.parametrize("first", [10_000, 60_000, 1_000_000])
async def test_the_first_bytes_come_with_the_head(kind: bytes, first: int) -> None:
    poured = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(HEAD % kind + (EVENT * (first // len(EVENT))))
        await pour(visit)
        poured.set()

    async with frozen(script, SILENT) as on:
        await eventually(lambda: on.proxy.bytes_in > 0)
        assert await settled(lambda: on.proxy.bytes_in) < FEW
        assert not poured.is_set()


async def test_the_client_is_blocked_before_there_is_a_response() -> None:
    answer, poured = asyncio.Event(), asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await answer.wait()
        await visit.send(HEAD % b"text/event-stream" + EVENT * 20)
        await pour(visit)
        poured.set()

    async with frozen(script, LARGE) as on:
        await eventually(lambda: on.proxy.skipped > 2)
        answer.set()
        await eventually(lambda: on.proxy.bytes_in > 0)
        assert await settled(lambda: on.proxy.bytes_in) < FEW
        assert not poured.is_set()
