"""How soon does an upstream hear that the client has left an aiohttp app?"""

import asyncio

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from pytest_aiohttp.plugin import AiohttpServer

from tests.support.aiohttp_proxy import END, EVENT, GET, STREAM, app_stage
from tests.support.async_peer import AsyncPeer
from tests.support.raw_upstream import Visit
from tests.support.settled import eventually

#: As aiohttp's servers are made by default, and with the cancelling of handlers.
SERVERS = pytest.mark.parametrize("cancels", [False, True])
WAYS = pytest.mark.parametrize("way", ["close", "reset", "half"])

POST = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n"


async def leave(client: AsyncPeer, way: str) -> None:
    if way == "close":
        await client.close()
    elif way == "reset":
        client.reset()
    else:
        client.finish_sending()


async def mute(visit: Visit) -> None:
    await visit.head()
    await visit.closed.wait()


async def silent(visit: Visit) -> None:
    await visit.head()
    await visit.send(STREAM + EVENT)
    await visit.closed.wait()


@SERVERS
@WAYS
async def test_before_the_head(aiohttp_server: AiohttpServer, cancels: bool, way: str) -> None:
    async with app_stage(aiohttp_server, mute, cancels=cancels) as on, on.connect() as client:
        await client.send(GET)
        visit = await on.upstream.visit()
        await leave(client, way)
        await visit.wait_closed()


@SERVERS
@WAYS
async def test_in_a_silent_stream(aiohttp_server: AiohttpServer, cancels: bool, way: str) -> None:
    async with app_stage(aiohttp_server, silent, cancels=cancels) as on, on.connect() as client:
        await client.send(GET)
        assert (await client.head()).status == 200
        assert await client.chunk() == b"data: 1\n\n"
        visit = await on.upstream.visit()
        await leave(client, way)
        await visit.wait_closed()


@SERVERS
@WAYS
async def test_in_its_body(aiohttp_server: AiohttpServer, cancels: bool, way: str) -> None:
    async with app_stage(aiohttp_server, mute, cancels=cancels) as on, on.connect() as client:
        await client.send(POST + b"abc")
        visit = await on.upstream.visit()
        await leave(client, way)
        await visit.wait_closed()


@SERVERS
async def test_in_a_body_that_the_upstream_does_not_take(aiohttp_server: AiohttpServer, cancels: bool) -> None:
    """aiohttp does not read any more then, and hears of no end."""
    async with app_stage(aiohttp_server, mute, cancels=cancels) as on, on.connect() as client:
        sending = asyncio.create_task(client.send(POST + bytes(50_000_000)))
        await on.upstream.visit()
        before = -1
        while client.unsent != before:
            before = client.unsent
            await asyncio.sleep(0.1)
        client.reset()
        await eventually(lambda: on.proxy.here().app.requests == 0)
        await asyncio.wait({sending})


@SERVERS
@WAYS
async def test_with_more_requests_behind_than_aiohttp_reads(
    aiohttp_server: AiohttpServer, cancels: bool, way: str
) -> None:
    async with app_stage(aiohttp_server, silent, cancels=cancels) as on, on.connect() as client:
        await client.send(GET * 200)
        assert (await client.head()).status == 200
        visit = await on.upstream.visit()
        await leave(client, way)
        await visit.wait_closed()
        assert len(on.upstream.visits) == 1


async def test_a_client_that_leaves_behind_the_last_byte_is_no_error(aiohttp_server: AiohttpServer) -> None:
    async def script(visit: Visit) -> None:
        while True:
            await visit.request()
            await visit.send(STREAM + EVENT + END)

    seen: list[int] = []

    @web.middleware
    async def look(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        seen.append(response.status)
        return response

    async with app_stage(aiohttp_server, script, middlewares=[look]) as on:
        for _ in range(10):
            async with on.connect() as client:
                await client.ask(GET)
        await eventually(lambda: len(seen) == 10)
        assert set(seen) == {200}


async def test_middlewares_go_on_when_the_client_has_left(aiohttp_server: AiohttpServer) -> None:
    seen: list[object] = []

    @web.middleware
    async def look(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        await asyncio.sleep(0)
        seen.append((response.status, response.keep_alive))
        return response

    async with app_stage(aiohttp_server, mute, middlewares=[look]) as on:
        async with on.connect() as client:
            await client.send(GET)
            await on.upstream.visit()
        await eventually(lambda: seen == [(499, False)])


async def test_the_server_cancels_its_handlers(aiohttp_server: AiohttpServer) -> None:
    """With `handler_cancellation`, what is behind the proxy is cancelled, too."""
    seen: list[str] = []

    @web.middleware
    async def look(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async with app_stage(aiohttp_server, silent, middlewares=[look], cancels=True) as on:
        async with on.connect() as client:
            await client.send(GET)
            await client.head()
            client.reset()
        await eventually(lambda: seen == ["cancelled"])
