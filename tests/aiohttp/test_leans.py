"""Is all that the middleware uses of aiohttp without a promise still there, and does it still mean the same?

If one of these fails after an update of aiohttp, look at `sseproxy/aiohttp/exchange.py`: its docstring lists them.
"""

import asyncio

from aiohttp import web

from tests.support.aiohttp_app import AiohttpApp, open_stream


async def test_a_response_takes_its_writer_from_the_request() -> None:
    seen: list[object] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request._payload_writer)
        response = await open_stream(request)
        seen.append(response._payload_writer)
        return response

    async with AiohttpApp.serve(handler, plain=True) as app, app.ask("Connection: close") as client:
        await client.response()
    assert seen[0] is seen[1]
    assert {"write", "write_eof", "write_headers", "send_headers", "drain", "length"} <= set(dir(seen[0]))


async def test_a_request_is_told_that_its_connection_is_lost() -> None:
    heard = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        vars(request)["_cancel"] = lambda _: heard.set()
        response = await open_stream(request)
        await heard.wait()
        return response

    async with AiohttpApp.serve(handler, plain=True) as app:
        async with app.ask() as client:
            await client.head()
        await heard.wait()


async def test_a_request_keeps_the_body_that_was_read() -> None:
    seen: list[object] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request._read_bytes)
        await request.json()
        seen.append(request._read_bytes)
        return web.Response()

    async with AiohttpApp.serve(handler, plain=True) as app, app.ask(method="POST", body=b'{"a": 1}') as client:
        await client.response()
    assert seen == [None, b'{"a": 1}']
