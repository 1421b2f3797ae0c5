"""Is all that the door uses of aiohttp without a promise still there, and does it still mean the same?

If one of these fails after an update of aiohttp, look at `sseproxy/aiohttp`: the docstrings of `connection`, `door` and
`requests` list them.
"""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpServer

from tests.support.async_peer import AsyncPeer
from tests.support.settled import eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

Serve = Callable[..., Awaitable[int]]


@pytest.fixture
def serve(aiohttp_server: AiohttpServer) -> Serve:
    async def serve(handler: Callable[[web.Request], Awaitable[web.StreamResponse]], **options: Any) -> int:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handler)
        port = (await aiohttp_server(app, access_log=None, **options)).port
        assert port is not None
        return port

    return serve


async def test_another_protocol_may_stand_before_aiohttps(serve: Serve) -> None:
    calls: list[str] = []
    replaced = asyncio.Event()

    class Before(asyncio.Protocol):
        def __init__(self, behind: asyncio.Protocol) -> None:
            self.behind = behind

        def __getattribute__(self, name: str) -> Any:
            if name in ("data_received", "eof_received", "connection_lost", "pause_writing", "resume_writing"):
                calls.append(name)
                return getattr(self.behind, name)
            return super().__getattribute__(name)

    async def handler(request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        assert transport.get_protocol() is request.protocol
        transport.set_protocol(Before(request.protocol))
        replaced.set()
        body = await request.read()
        transport.set_protocol(request.protocol)
        return web.Response(body=body)

    async with AsyncPeer.connect(await serve(handler)) as client:
        for _ in range(2):
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
            await eventually(replaced.is_set)
            replaced.clear()
            await client.send(b"cd")
            assert (await client.response()).body == b"abcd"
    assert "data_received" in calls


async def test_a_connection_knows_whether_it_may_write(serve: Serve) -> None:
    seen: list[bool] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request.protocol.writing_paused)
        response = web.StreamResponse()
        await response.prepare(request)
        assert request.transport is not None
        request.transport.write(bytes(50_000_000))
        seen.append(request.protocol.writing_paused)
        return response

    async with AsyncPeer.connect(await serve(handler)) as client:
        await client.send(GET)
        await eventually(lambda: seen == [False, True])


async def test_what_is_behind_a_request_for_websockets_comes_to_its_parser(serve: Serve) -> None:
    got: list[bytes] = []

    class Parser:
        def feed_data(self, data: bytes) -> tuple[bool, bytes]:
            got.append(data)
            return False, b""

        def feed_eof(self) -> None:
            got.append(b"the end")

    async def handler(request: web.Request) -> web.StreamResponse:
        parser: Any = Parser()
        assert request._message.upgrade
        request.protocol.set_parser(parser)
        await eventually(lambda: len(got) == 2)
        return web.Response()

    async with AsyncPeer.connect(await serve(handler)) as client:
        await client.send(GET[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\nGET early")
        await eventually(lambda: got == [b"GET early"])
        await client.send(b"late")
        await client.response()
    await eventually(lambda: got == [b"GET early", b"late", b"the end"])


@pytest.mark.parametrize("decodes", [True, False])
async def test_a_message_has_the_coding_that_is_undone(serve: Serve, decodes: bool) -> None:
    seen: list[object] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.protocol._manager is not None
        seen.append((request._message.compression, request.protocol._manager._kwargs.get("auto_decompress", True)))
        seen.append(await request.read())
        return web.Response()

    body = gzip.compress(b"hello")
    options = {} if decodes else {"auto_decompress": False}
    async with AsyncPeer.connect(await serve(handler, **options)) as client:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        await client.ask(head % len(body) + body)
    assert seen == [("gzip", decodes), b"hello" if decodes else body]


@pytest.mark.usefixtures("logs_errors")
async def test_an_error_in_a_body_waits_behind_the_request_and_is_not_told_to_its_reader(serve: Serve) -> None:
    seen: list[object] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(len(request.protocol._messages))
        reading = asyncio.create_task(request.read())
        await eventually(lambda: len(request.protocol._messages) > 0)
        await asyncio.sleep(0.05)
        seen.append((reading.done(), request.content.is_eof(), request.content.exception()))
        reading.cancel()
        return web.Response()

    async with AsyncPeer.connect(await serve(handler)) as client:
        await client.send(CHUNKED + b"3\r\nabc\r\n")
        await eventually(lambda: seen == [0])
        await client.send(b"zz\r\n")
        await eventually(lambda: len(seen) == 2)
        client.finish_sending()
        await client.rest()
    assert seen == [0, (False, False, None)]


async def test_the_last_trailer_becomes_a_field_of_the_next_request(serve: Serve) -> None:
    """If this fails, aiohttp has been cured, and connections can be kept behind bodies in chunks (`read_request`)."""
    seen: list[tuple[tuple[bytes, bytes], ...]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        await request.read()
        seen.append(request.raw_headers)
        return web.Response()

    async with AsyncPeer.connect(await serve(handler)) as client:
        await client.ask(CHUNKED + b"0\r\nX-Trailer: a\r\n\r\n")
        await client.ask(GET)
    assert seen[1] == ((b"X-Trailer", b"a"), (b"Host", b"a"))


@pytest.mark.usefixtures("logs_errors")
async def test_aiohttp_answers_with_no_error_behind_what_counts_as_sent(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.clone().writer is request.writer
        request.writer.output_size = 1
        raise ValueError

    async with AsyncPeer.connect(await serve(handler)) as client:
        await client.send(GET)
        assert await client.rest() == b""


@pytest.mark.parametrize("response", [web.Response, web.StreamResponse, web.HTTPBadRequest])
async def test_each_response_begins_with_the_same_call(serve: Serve, response: type[web.StreamResponse]) -> None:
    async def refuse(*_: object) -> None:
        raise ConnectionError

    async def handler(request: web.Request) -> web.StreamResponse:
        vars(request.writer)["write_headers"] = refuse
        made = response()
        if isinstance(made, web.HTTPException):
            raise made
        return made

    async with AsyncPeer.connect(await serve(handler)) as client:
        await client.send(GET)
        assert await client.rest() == b""
