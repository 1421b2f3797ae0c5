"""What happens when as many clients are connected as may be?"""

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sseproxy.http1.policy import ServerPolicy
from sseproxy.logs import LOGGER
from tests.support.async_peer import AsyncPeer
from tests.support.proxy_server import ProxyServer, route_to
from tests.support.raw_upstream import OK, RawUpstream, Script, Visit, replies
from tests.support.settled import eventually

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
UPGRADE = GET[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: x\n\n\r\n"


@contextlib.asynccontextmanager
async def limited(most: int, script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[ProxyServer]:
    """A proxy that lets `most` clients connect."""
    async with (
        RawUpstream.serve(script) as upstream,
        ProxyServer.serve(route_to(upstream), policy=ServerPolicy(connections=most), tls=tls) as proxy,
    ):
        yield proxy


@contextlib.asynccontextmanager
async def connected(proxy: ProxyServer, number: int) -> AsyncIterator[list[AsyncPeer]]:
    """So many clients, in the order in which the proxy has accepted them."""
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for _ in range(number):
            before = len(proxy.connections)
            clients.append(await stack.enter_async_context(proxy.connect()))
            await eventually(lambda before=before: len(proxy.connections) > before)  # type: ignore[misc]
        yield clients


async def check_refused(client: AsyncPeer) -> None:
    response = await client.response()
    assert (response.status, response.one(b"Content-Type")) == (503, b"application/problem+json")
    assert json.loads(response.body)["status"] == 503
    assert response.one(b"Retry-After") == b"1"
    assert response.one(b"Connection") == b"close"
    assert await client.rest() == b""


def begins(first: bytes) -> Script:
    """An upstream that begins a response, and ends when the proxy does."""

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(first)
        await visit.wait_closed()

    return script


async def test_the_connection_that_is_idle_for_longest_makes_room() -> None:
    async with (
        limited(3, replies()) as proxy,
        connected(proxy, 3) as (first, second, third),
        contextlib.AsyncExitStack() as stack,
    ):
        assert (await first.ask(GET)).status == 200
        for oldest in (second, third, first):
            new = await stack.enter_async_context(proxy.connect())
            assert (await new.ask(GET)).status == 200
            assert await oldest.rest() == b""
            assert len(proxy.connections) == 3


async def test_below_the_limit_nothing_is_closed() -> None:
    async with limited(3, replies()) as proxy, connected(proxy, 3) as clients:
        for client in clients * 2:
            assert (await client.ask(GET)).status == 200
        assert len(proxy.connections) == 3


@pytest.mark.parametrize("ask", [GET, UPGRADE], ids=["stream", "tunnel"])
async def test_a_busy_connection_never_makes_room(ask: bytes) -> None:
    first = STREAM if ask is GET else SWITCHED
    async with limited(2, begins(first)) as proxy, connected(proxy, 2) as clients:
        for client in clients:
            await client.send(ask)
            await client.head()
        for _ in range(3):
            async with proxy.connect() as new:
                await check_refused(new)
        await eventually(lambda: len(proxy.connections) == 2)
        assert proxy.app.requests == 2


async def test_a_head_that_does_not_come_to_its_end_makes_room() -> None:
    async with limited(1, replies()) as proxy, connected(proxy, 1) as [slow]:
        await slow.send(GET[:-2])
        await eventually(lambda: not next(iter(proxy.connections)).is_idle)
        async with proxy.connect() as new:
            assert (await new.ask(GET)).status == 200
            assert await slow.rest() == b""


async def test_each_place_comes_back() -> None:
    """However its connection has ended."""
    async with limited(4, replies()) as proxy:
        for _ in range(3):
            async with connected(proxy, 4) as clients:
                kept, closed, broken, reset = clients
                assert (await kept.ask(GET)).status == 200
                assert (await closed.ask(GET[:-2] + b"Connection: close\r\n\r\n")).status == 200
                await broken.send(b"BAD\r\n\r\n")
                assert (await broken.response()).status == 400
                await reset.send(GET)
                reset.reset()
            await eventually(lambda: len(proxy.connections) == 0)
        async with connected(proxy, 4) as clients:
            for client in clients:
                assert (await client.ask(GET)).status == 200


async def test_those_that_are_refused_cost_little() -> None:
    """Each gets its answer, and few of them are open at a time."""
    async with limited(1, begins(STREAM)) as proxy, connected(proxy, 1) as [busy]:
        await busy.send(GET)
        await busy.head()
        async with contextlib.AsyncExitStack() as stack:
            refused = []
            for _ in range(100):
                refused.append(await stack.enter_async_context(proxy.connect()))
                assert (await refused[-1].response()).status == 503
                assert len(proxy.connections) <= 1 + 32
            assert await refused[0].rest() == b""


async def test_over_tls_too(tls_files: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls_files)
    trust = ssl.create_default_context(cafile=str(tls_files[0]))
    async with (
        limited(1, begins(STREAM), tls=context) as proxy,
        AsyncPeer.connect(proxy.port, tls=trust) as idle,
        AsyncPeer.connect(proxy.port, tls=trust) as busy,
    ):
        assert await idle.rest() == b""
        await busy.send(GET)
        await busy.head()
        async with AsyncPeer.connect(proxy.port, tls=trust) as new:
            await check_refused(new)


async def test_it_is_warned_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    logger = logging.getLogger(LOGGER)
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: said.append(record.getMessage()))
    logger.addHandler(handler)
    try:
        async with limited(2, replies(OK)) as proxy:
            for _ in range(3):
                async with connected(proxy, 2), proxy.connect() as new:
                    assert (await new.ask(GET)).status == 200
                await eventually(lambda: len(proxy.connections) == 0)
            await asyncio.sleep(0)
    finally:
        logger.removeHandler(handler)
    [warning] = [line for line in said if "server.connections" in line]
    assert warning.startswith("2 client connections are open, as many as may be")
