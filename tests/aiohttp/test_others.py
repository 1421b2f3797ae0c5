"""Does whatever is no event stream of ours pass the aiohttp middleware as if it were not there?"""

import asyncio
import re
from typing import Any

import pytest
from aiohttp import ClientSession, web
from multidict import CIMultiDict

from tests.support.aiohttp_app import AiohttpApp, Handler, open_stream


async def text(request: web.Request) -> web.StreamResponse:
    return web.Response(text="hello")


async def nothing(request: web.Request) -> web.StreamResponse:
    return web.Response(status=204)


async def echo(request: web.Request) -> web.StreamResponse:
    return web.json_response({"body": await request.text()})


async def download(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for piece in (b"a" * 100_000, b"", b"b"):
        await response.write(piece)
    await response.write_eof(b"c")
    return response


async def too_long(request: web.Request) -> web.StreamResponse:
    """Than it has said: what is over would be taken for the next response."""
    response = web.StreamResponse()
    response.content_length = 5
    await response.prepare(request)
    await response.write(b"abc")
    await response.write(b"defgh")
    await response.write_eof(b"ij")
    return response


async def compressed(request: web.Request) -> web.StreamResponse:
    response = web.Response(text="x" * 5000)
    response.enable_compression()
    return response


async def compressed_stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    response.enable_compression(web.ContentCoding.deflate)
    await response.prepare(request)
    await response.write(b"data: 1\n\n")
    await asyncio.sleep(0.05)
    return response


async def page_after_all(request: web.Request) -> web.StreamResponse:
    types = [("Content-Type", "text/event-stream"), ("Content-Type", "text/html")]
    return web.Response(body=b"data: 1\n\n", headers=CIMultiDict(types))


async def file(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(__file__)


async def raised(request: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound(text="gone")


async def failed(request: web.Request) -> web.StreamResponse:
    raise RuntimeError("it fell over")


async def broken(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"half")
    raise RuntimeError("it fell over")


async def nobody(request: web.Request) -> web.StreamResponse:
    return None  # type: ignore[return-value]


HANDLERS = [
    text,
    nothing,
    echo,
    download,
    too_long,
    compressed,
    compressed_stream,
    page_after_all,
    file,
    raised,
    failed,
    broken,
    nobody,
]


async def answer(handler: Handler, *, plain: bool, method: str, version: str) -> bytes:
    fields = ("Accept-Encoding: gzip", "Connection: close")
    options: dict[str, Any] = {} if plain else {"heartbeat": "10ms", "before_response": "5s"}
    async with (
        AiohttpApp.serve(handler, plain=plain, **options) as app,
        app.ask(*fields, method=method, body=b"hi" if method == "POST" else b"", version=version) as client,
    ):
        return re.sub(rb"Date: [^\r]*", b"", await client.rest())


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("handler", HANDLERS)
async def test_what_is_no_stream_is_the_same_byte_for_byte(handler: Handler, method: str, version: str) -> None:
    without = await answer(handler, plain=True, method=method, version=version)
    assert without.startswith(b"HTTP/1.")
    assert await answer(handler, plain=False, method=method, version=version) == without


async def test_a_head_of_a_stream_is_left_alone() -> None:
    async with AiohttpApp.serve(open_stream, heartbeat="10ms") as app, app.ask(method="HEAD") as client:
        assert (await client.response(to_head=True)).all(b"Cache-Control") == []


async def test_paths_that_are_not_selected_are_left_alone() -> None:
    async with AiohttpApp.serve(open_stream, paths=["/events"]) as app, app.ask() as client:
        assert (await client.response()).all(b"X-Accel-Buffering") == []


async def test_a_websocket_passes() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async with (
        AiohttpApp.serve(handler) as app,
        ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{app.port}/") as socket,
    ):
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
