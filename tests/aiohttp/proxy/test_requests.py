"""What reaches the upstream through an aiohttp app, and what comes back?"""

import asyncio
import gzip
from collections.abc import Callable

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from pytest_aiohttp.plugin import AiohttpServer

from tests.support.aiohttp_proxy import END, EVENT, GET, STREAM, app_stage
from tests.support.raw_upstream import OK, Visit, replies
from tests.support.settled import eventually


def post(body: bytes, *fields: bytes) -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), lines, body)


def chunked(body: bytes) -> bytes:
    return b"POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        len(body),
        body,
    )


@pytest.mark.parametrize("target", [b"/a%2Fb;c//?x=%20+&y", b"/%7euser/../x/.", b"/?", b"/a?b=/../c", b"/%ff%00"])
async def test_a_target_goes_on_as_it_came(aiohttp_server: AiohttpServer, target: bytes) -> None:
    async with app_stage(aiohttp_server, replies()) as on:
        _, got = await on.asked(b"GET " + target + b" HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert got.target == target


async def test_absolute_form_names_the_host(aiohttp_server: AiohttpServer) -> None:
    async with app_stage(aiohttp_server, replies()) as on:
        _, got = await on.asked(b"GET http://b.test/a?c HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert (got.target, got.one(b"Host")) == (b"/a?c", b"b.test")


async def test_fields_go_on_byte_for_byte(aiohttp_server: AiohttpServer) -> None:
    async with app_stage(aiohttp_server, replies()) as on:
        fields = b'X-Obs: caf\xe9 \xff\r\nx-lower: 1\r\nX-Twice: a\r\nX-Twice: b\r\nCookie: a=1; b="2"\r\n'
        _, got = await on.asked(b"GET /a HTTP/1.1\r\nHost: a.test\r\n" + fields + b"\r\n")
        assert fields in got.head
        assert got.one(b"X-Forwarded-For") == b"127.0.0.1"


async def test_a_response_comes_back_byte_for_byte(aiohttp_server: AiohttpServer) -> None:
    head = b"HTTP/1.1 203 Odd \xe9 Reason\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-Obs: \xfc\r\nServer: theirs\r\n"
    async with app_stage(aiohttp_server, replies(head + b"Content-Length: 2\r\n\r\nok")) as on:
        response = await on.ask(GET)
        assert response.head.startswith(head)
        assert response.body == b"ok"
        assert response.one(b"Server") == b"theirs"
        assert response.one(b"Connection") is None


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_a_response_without_body(aiohttp_server: AiohttpServer, status: bytes) -> None:
    async with (
        app_stage(aiohttp_server, replies(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n\r\n")) as on,
        on.connect() as client,
    ):
        for _ in range(3):
            response = await client.ask(GET)
            assert response.first_line == b"HTTP/1.1 " + status
            assert response.one(b"Content-Length") is None
            assert response.one(b"Transfer-Encoding") is None


async def test_head_has_the_fields_and_no_body(aiohttp_server: AiohttpServer) -> None:
    async def script(visit: Visit) -> None:
        while True:
            await visit.request()
            await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")

    async with app_stage(aiohttp_server, script) as on, on.connect() as client:
        for _ in range(3):
            response = await client.ask(GET.replace(b"GET", b"HEAD"), to_head=True)
            assert response.one(b"Content-Length") == b"2"


async def test_requests_on_one_connection_get_their_responses_in_turn(aiohttp_server: AiohttpServer) -> None:
    async def script(visit: Visit) -> None:
        while True:
            target = (await visit.request()).target
            if b"stream" in target:
                await visit.send(STREAM + EVENT + END)
            else:
                await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(target) + target)

    async with app_stage(aiohttp_server, script) as on, on.connect() as client:
        targets = [b"/stream" if number % 3 == 0 else b"/%d" % number for number in range(90)]
        await client.send(b"".join(b"GET " + target + b" HTTP/1.1\r\nHost: a.test\r\n\r\n" for target in targets))
        for target in targets:
            assert (await client.response()).body == (b"data: 1\n\n" if target == b"/stream" else target)


@pytest.mark.parametrize(
    ("version", "field", "said"),
    [(b"1.1", b"close", b"close"), (b"1.0", b"x", b"close"), (b"1.0", b"keep-alive", b"keep-alive")],
)
async def test_whether_another_request_may_follow(
    aiohttp_server: AiohttpServer, version: bytes, field: bytes, said: bytes
) -> None:
    request = b"GET /a HTTP/%b\r\nHost: a.test\r\nConnection: %b\r\n\r\n" % (version, field)
    async with app_stage(aiohttp_server, replies()) as on, on.connect() as client:
        assert (await client.ask(request)).one(b"Connection") == said
        if said == b"close":
            assert await client.rest() == b""
        else:
            assert (await client.ask(request)).status == 200


# Bodies.


async def test_a_body_with_a_length(aiohttp_server: AiohttpServer) -> None:
    async with app_stage(aiohttp_server, replies()) as on, on.connect() as client:
        for size in (0, 1, 70_000, 3_000_000):
            body = bytes(number % 251 for number in range(size))
            assert (await client.ask(post(body))).status == 200
            got = on.upstream.requests[-1]
            assert got.body == body
            assert got.one(b"Content-Length") == b"%d" % size


async def test_a_body_in_chunks(aiohttp_server: AiohttpServer) -> None:
    async with app_stage(aiohttp_server, replies()) as on:
        chunks = b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
        _, got = await on.asked(b"POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        assert got.body == b"hello world"
        assert got.one(b"Transfer-Encoding") == b"chunked"


async def test_a_body_goes_on_while_it_comes(aiohttp_server: AiohttpServer) -> None:
    async with app_stage(aiohttp_server, replies()) as on, on.connect() as client:
        await client.send(post(b"")[:-2].replace(b"Length: 0", b"Length: 6") + b"\r\nabc")
        visit = await on.upstream.visit()
        await eventually(lambda: visit.received.endswith(b"\r\n\r\nabc"))
        await client.send(b"def")
        assert (await client.response()).status == 200
        assert on.upstream.requests[0].body == b"abcdef"


async def test_an_upstream_that_does_not_read_slows_the_client_down(aiohttp_server: AiohttpServer) -> None:
    go = asyncio.Event()

    async def script(visit: Visit) -> None:
        await go.wait()
        await visit.request()
        await visit.send(OK)

    size = 32 * 2**20
    async with app_stage(aiohttp_server, script) as on, on.connect() as client:
        sending = asyncio.create_task(client.send(post(bytes(size))))
        await on.upstream.visit()
        before = -1
        while client.unsent != before:
            before = client.unsent
            await asyncio.sleep(0.1)
        assert before > size // 2
        go.set()
        assert (await client.response()).status == 200
        await sending
        assert len(on.upstream.requests[0].body) == size


async def test_a_client_that_does_not_read_slows_the_upstream_down(aiohttp_server: AiohttpServer) -> None:
    sent = 0

    async def script(visit: Visit) -> None:
        nonlocal sent
        await visit.request()
        await visit.send(STREAM)
        for _ in range(2000):
            await visit.send(b"4000\r\n" + b"data: " + b"x" * 0x3FF8 + b"\n\n" + b"\r\n")
            sent += 1
        await visit.send(END)

    async with app_stage(aiohttp_server, script, write_timeout="off") as on, on.connect() as client:
        client.pause()
        await client.send(GET)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.2)
        assert before < 1500
        client.resume()
        assert len((await client.response()).body) == 2000 * 0x4000


@pytest.mark.parametrize("asks", [True, False], ids=["aiohttp-asks", "the-proxy-asks"])
async def test_a_client_that_waits_is_asked_once(aiohttp_server: AiohttpServer, asks: bool) -> None:
    async with app_stage(aiohttp_server, replies(), asks=asks) as on, on.connect() as client:
        head, body = post(b"hello", b"Expect: 100-continue").split(b"\r\n\r\n")
        await client.send(head + b"\r\n\r\n")
        assert (await client.head()).first_line == b"HTTP/1.1 100 Continue"
        await client.send(body)
        assert (await client.response()).status == 200
        assert on.upstream.requests[0].body == b"hello"


async def test_a_body_that_is_not_wanted_is_not_asked_for(aiohttp_server: AiohttpServer) -> None:
    @web.middleware
    async def login(request: web.Request, handler: Handler) -> web.StreamResponse:
        raise web.HTTPUnauthorized

    limits = {"request_body": 3}
    async with app_stage(aiohttp_server, replies(), asks=False, limits=limits) as on:
        assert (await on.ask(post(b"hello", b"Expect: 100-continue").split(b"hello")[0])).status == 413
    async with app_stage(aiohttp_server, replies(), asks=False, middlewares=[login]) as on:
        assert (await on.ask(post(b"hello", b"Expect: 100-continue").split(b"hello")[0])).status == 401


async def test_a_body_that_a_middleware_has_read(aiohttp_server: AiohttpServer) -> None:
    @web.middleware
    async def read(request: web.Request, handler: Handler) -> web.StreamResponse:
        assert await request.json() == {"stream": True}
        return await handler(request)

    async with app_stage(aiohttp_server, replies(), middlewares=[read]) as on, on.connect() as client:
        for _ in range(2):
            assert (await client.ask(post(b'{"stream": true}'))).status == 200
            assert on.upstream.requests[-1].body == b'{"stream": true}'


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("request_of", [post, chunked])
async def test_a_body_of_which_a_middleware_has_taken_some(
    aiohttp_server: AiohttpServer, request_of: Callable[[bytes], bytes], is_whole: bool
) -> None:
    @web.middleware
    async def take(request: web.Request, handler: Handler) -> web.StreamResponse:
        await request.content.readexactly(2)
        return await handler(request)

    async with app_stage(aiohttp_server, replies(), middlewares=[take]) as on, on.connect() as client:
        request = request_of(b"hello")
        await client.send(request if is_whole else request[:-1])
        await asyncio.sleep(0)
        await client.send(b"" if is_whole else request[-1:])
        assert (await client.response()).status == 400
        assert on.upstream.requests == []


CODED = gzip.compress(b"hello " * 50_000)


@pytest.mark.parametrize("decodes", [True, False])
async def test_a_coded_body(aiohttp_server: AiohttpServer, decodes: bool) -> None:
    fields = b"Content-Encoding: br", b"Content-Encoding: gzip", b"Content-Digest: sha-256=:x:"
    async with app_stage(aiohttp_server, replies(), of_server={"auto_decompress": decodes}) as on:
        _, got = await on.asked(post(CODED, *fields))
        assert got.body == (gzip.decompress(CODED) if decodes else CODED)
        assert got.all(b"Content-Encoding") == ([b"br"] if decodes else [b"br", b"gzip"])
        assert got.one(b"Content-Digest") == (None if decodes else b"sha-256=:x:")


async def test_a_coded_body_that_comes_slowly(aiohttp_server: AiohttpServer) -> None:
    async with app_stage(aiohttp_server, replies()) as on, on.connect() as client:
        await client.send_in_pieces(post(CODED, b"Content-Encoding: gzip"), size=100)
        assert (await client.response()).status == 200
        got = on.upstream.requests[0]
        assert got.body == gzip.decompress(CODED)
        assert got.one(b"Transfer-Encoding") == b"chunked"


async def test_a_coded_body_that_is_none(aiohttp_server: AiohttpServer) -> None:
    async with app_stage(aiohttp_server, replies()) as on:
        assert (await on.ask(post(b"no gzip at all", b"Content-Encoding: gzip"))).status == 400
        assert on.upstream.requests == []


async def test_the_rest_of_a_body_that_was_not_wanted_is_passed_over(aiohttp_server: AiohttpServer) -> None:
    async def script(visit: Visit) -> None:
        while True:
            await visit.head()
            await visit.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with app_stage(aiohttp_server, script) as on, on.connect() as client:
        request = post(bytes(200_000))
        await client.send(request[:100_000])
        assert (await client.response()).status == 413
        await client.send(request[100_000:] + GET)
        assert (await client.response()).status == 413
