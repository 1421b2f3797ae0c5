"""Do WebSockets go through an aiohttp app to the upstream?"""

import asyncio

import pytest
from aiohttp import ClientSession, WSMsgType, web
from pytest_aiohttp.plugin import AiohttpServer

from tests.support.aiohttp_proxy import GET, app_stage
from tests.support.raw_upstream import OK, Visit
from tests.support.settled import eventually

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-A: \xe9\r\n\r\n"


async def echo(visit: Visit) -> None:
    await visit.request()
    await visit.send(SWITCHED + b"first")
    while piece := await visit.reader.read(65536):
        await visit.send(piece)


async def test_bytes_flow_both_ways(aiohttp_server: AiohttpServer) -> None:
    async with app_stage(aiohttp_server, echo) as on, on.connect() as client:
        await client.send(UPGRADE + b"early")
        head = await client.head()
        assert (head.status, head.one(b"X-A")) == (101, b"\xe9")
        assert sorted((await client.exactly(10)).decode()) == sorted("firstearly")
        for size in (1, 1000, 300_000):
            await client.send(bytes(size))
            assert await client.exactly(size) == bytes(size)
        await client.send(GET)  # as bytes
        assert await client.exactly(len(GET)) == GET


@pytest.mark.parametrize("size", [100_000, 5_000_000])
async def test_all_that_came_before_the_switch_goes_on(aiohttp_server: AiohttpServer, size: int) -> None:
    """aiohttp keeps some of it, and does not read the rest for now."""
    go = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await go.wait()
        await echo_all(visit)

    async def echo_all(visit: Visit) -> None:
        await visit.send(SWITCHED)
        while piece := await visit.reader.read(65536):
            await visit.send(piece)

    data = bytes(number % 253 for number in range(size))
    async with app_stage(aiohttp_server, script) as on, on.connect() as client:
        sending = asyncio.create_task(client.send(UPGRADE + data))
        await on.upstream.visit()
        await asyncio.sleep(0.05)
        go.set()
        assert (await client.head()).status == 101
        assert await client.exactly(size) == data
        await sending


async def test_a_refused_wish_leaves_the_connection_to_http(aiohttp_server: AiohttpServer) -> None:
    async def script(visit: Visit) -> None:
        while True:
            await visit.request()
            await visit.send(OK)

    async with app_stage(aiohttp_server, script) as on, on.connect() as client:
        await client.send(UPGRADE + GET + UPGRADE + GET)
        for _ in range(4):
            assert (await client.response()).status == 200
        assert [each.target for each in on.upstream.requests] == [b"/ws", b"/a"] * 2


async def test_other_protocols_are_passed_over(aiohttp_server: AiohttpServer) -> None:
    """aiohttp reads what comes behind such a request as HTTP, so they cannot be switched to."""

    async def script(visit: Visit) -> None:
        while True:
            await visit.request()
            await visit.send(OK)

    async with app_stage(aiohttp_server, script) as on, on.connect() as client:
        for protocol in (b"h2c", b"x-own/2", b"websocket, x-own"):
            assert (await client.ask(UPGRADE.replace(b"websocket", protocol))).status == 200
            assert on.upstream.requests[-1].one(b"Upgrade") is None


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_either_side_ends_it(aiohttp_server: AiohttpServer, side: str) -> None:
    async with app_stage(aiohttp_server, echo) as on, on.connect() as client:
        await client.send(UPGRADE)
        await client.head()
        await client.exactly(5)
        visit = await on.upstream.visit()
        if side == "client":
            await client.close()
            await visit.wait_closed()
        else:
            visit.close()
            assert await client.rest() == b""


async def test_a_client_that_vanishes_while_the_upstream_takes_nothing(aiohttp_server: AiohttpServer) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(SWITCHED)
        await visit.lost.wait()

    async with app_stage(aiohttp_server, script) as on, on.connect() as client:
        await client.send(UPGRADE)
        await client.head()
        sending = asyncio.create_task(client.send(bytes(50_000_000)))
        before = -1
        while client.unsent != before:
            before = client.unsent
            await asyncio.sleep(0.1)
        client.reset()
        await eventually(lambda: on.proxy.open_streams == 0)
        await asyncio.wait({sending})


async def test_aiohttps_own_websockets(aiohttp_server: AiohttpServer) -> None:
    async def chat(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            assert message.type is WSMsgType.TEXT
            await response.send_str(message.data.upper())
        return response

    service = web.Application()
    service.router.add_get("/ws", chat)
    behind = await aiohttp_server(service)
    async with (
        app_stage(aiohttp_server, echo, routes=[{"upstream": str(behind.make_url("/")).rstrip("/")}]) as on,
        ClientSession() as session,
        session.ws_connect(on.server.make_url("/ws")) as client,
    ):
        for word in ("a", "b" * 100_000):
            await client.send_str(word)
            assert await client.receive_str() == word.upper()
