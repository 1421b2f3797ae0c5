"""How does the proxy begin and end with an aiohttp app, and without its signals?"""

import asyncio

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer

from sseproxy.aiohttp import ProxyHandler, reverse_proxy
from tests.support.aiohttp_proxy import EVENT, GET, STREAM, app_stage
from tests.support.async_peer import AsyncPeer
from tests.support.raw_upstream import RawUpstream, Visit, replies
from tests.support.settled import eventually


async def streams(visit: Visit) -> None:
    await visit.request()
    await visit.send(STREAM + EVENT)
    await visit.closed.wait()


async def test_as_in_the_docs(aiohttp_client: AiohttpClient) -> None:
    async with RawUpstream.serve(replies(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as upstream:
        app = web.Application()
        proxy = reverse_proxy(f"http://127.0.0.1:{upstream.port}", heartbeat="15s")
        app.router.add_route("*", "/v1/{tail:.*}", proxy)
        proxy.setup(app)
        client = await aiohttp_client(app)
        async with client.post("/v1/chat?x", json={"a": 1}) as response:
            assert (response.status, await response.read()) == (200, b"ok")
        assert (await client.get("/v2")).status == 404
        assert [each.target for each in upstream.requests] == [b"/v1/chat?x"]


@pytest.mark.parametrize("is_set_up", [True, False])
async def test_connections_to_the_upstream_are_kept_and_closed(aiohttp_server: AiohttpServer, is_set_up: bool) -> None:
    def change(app: web.Application, proxy: ProxyHandler) -> None:
        if is_set_up:
            proxy.setup(app)

    async with app_stage(aiohttp_server, replies(), change=change) as on:
        for _ in range(3):
            await on.ask(GET)
        assert len(on.upstream.visits) == 1
        assert not on.upstream.visits[0].closed.is_set()
        await on.server.close()
        if not is_set_up:
            await on.proxy.close()
        await on.upstream.visits[0].wait_closed()
        await on.proxy.start()


async def test_the_shutdown_of_the_app_drains(aiohttp_server: AiohttpServer) -> None:
    """A client that comes back is sent away in time, and aiohttp has nothing to wait for."""
    event_source = GET[:-2] + b"Accept: text/event-stream\r\nCache-Control: no-cache\r\n\r\n"
    async with app_stage(aiohttp_server, streams, drain="20s", drain_spread="100ms") as on, on.connect() as client:
        await client.send(event_source)
        assert (await client.head()).status == 200
        assert await client.chunk() == b"data: 1\n\n"
        closing = asyncio.create_task(on.server.close())
        rest = await client.rest()
        assert b"retry: " in rest
        assert rest.endswith(b"0\r\n\r\n")
        await closing
        await on.proxy.start()


async def test_the_end_of_the_drain_breaks_what_is_left(aiohttp_server: AiohttpServer) -> None:
    async with app_stage(aiohttp_server, streams, drain="100ms", drain_spread="50ms") as on, on.connect() as client:
        await client.send(b"POST" + GET[3:])
        assert (await client.head()).status == 200
        closing = asyncio.create_task(on.server.close())
        rest = await client.rest()
        assert b"event: error" in rest
        assert not rest.endswith(b"0\r\n\r\n")
        await closing
        await on.proxy.start()


async def test_one_handler_for_several_apps(aiohttp_server: AiohttpServer) -> None:
    async with RawUpstream.serve(replies()) as upstream:
        async with reverse_proxy(f"http://127.0.0.1:{upstream.port}") as proxy:
            for _ in range(2):
                app, sub = web.Application(), web.Application()
                sub.router.add_get("/a", proxy)
                app.add_subapp("/sub", sub)
                server = await aiohttp_server(app)
                assert server.port is not None
                async with AsyncPeer.connect(server.port) as client:
                    assert (await client.ask(GET.replace(b"/a", b"/sub/a"))).status == 200
        assert [each.target for each in upstream.requests] == [b"/sub/a"] * 2
        await eventually(lambda: all(visit.closed.is_set() for visit in upstream.visits))


def test_wrong_options_are_named() -> None:
    with pytest.raises(ValueError, match="heartbeat"):
        reverse_proxy("http://127.0.0.1:9000", heartbeat="soon")
    with pytest.raises(TypeError, match="hartbeat"):
        reverse_proxy("http://127.0.0.1:9000", hartbeat="15s")  # type: ignore[call-arg]
