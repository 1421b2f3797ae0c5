"""What may the app's own middlewares do to a request that the proxy serves, and what comes too late?"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from pytest_aiohttp.plugin import AiohttpServer

from sseproxy.aiohttp import ProxyHandler, sse_keepalive
from tests.support.aiohttp_app import broken_body
from tests.support.aiohttp_proxy import END, EVENT, GET, STREAM, app_stage
from tests.support.raw_upstream import Visit, replies
from tests.support.settled import eventually

Prepare = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


async def streams(visit: Visit) -> None:
    """One event, and silence until the proxy closes."""
    await visit.request()
    await visit.send(STREAM + EVENT)
    await visit.closed.wait()


async def whole(visit: Visit) -> None:
    """Streams of one event."""
    while True:
        await visit.request()
        await visit.send(STREAM + EVENT + END)


async def mute(visit: Visit) -> None:
    """No answer."""
    await visit.request()
    await visit.closed.wait()


# Before the proxy.


async def test_a_refusal_reaches_no_upstream(aiohttp_server: AiohttpServer) -> None:
    @web.middleware
    async def login(request: web.Request, handler: Handler) -> web.StreamResponse:
        if "Authorization" not in request.headers:
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    async with app_stage(aiohttp_server, replies(), middlewares=[login]) as on, on.connect() as client:
        assert (await client.ask(GET)).status == 401
        assert on.upstream.visits == []
        assert (await client.ask(GET.replace(b"\r\n\r\n", b"\r\nAuthorization: x\r\n\r\n"))).status == 200
        assert (await client.ask(GET)).status == 401


async def test_a_clone_goes_upstream_as_it_was_changed(aiohttp_server: AiohttpServer) -> None:
    @web.middleware
    async def change(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = request.headers.copy()
        headers["X-User"] = "é"
        del headers["Cookie"]
        return await handler(request.clone(headers=headers, rel_url="/b?c=%20", remote="192.0.2.7", scheme="https"))

    async with app_stage(aiohttp_server, replies(), middlewares=[change]) as on:
        _, got = await on.asked(GET.replace(b"\r\n\r\n", b"\r\nCookie: a\r\n\r\n"))
        assert got.target == b"/b?c=%20"
        assert got.one(b"X-User") == "é".encode()
        assert got.one(b"Cookie") is None
        assert got.one(b"X-Forwarded-For") == b"192.0.2.7"
        assert got.one(b"X-Forwarded-Proto") == b"https"


async def test_a_field_that_would_break_the_head_is_refused(aiohttp_server: AiohttpServer) -> None:
    @web.middleware
    async def change(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await handler(request.clone(headers={**request.headers, "X-A": "b\r\nX-C: d"}))

    async with app_stage(aiohttp_server, replies(), middlewares=[change]) as on:
        assert (await on.ask(GET)).status == 400
        assert on.upstream.visits == []


# Behind it.


async def test_a_middleware_sees_the_response(aiohttp_server: AiohttpServer) -> None:
    seen: list[object] = []

    @web.middleware
    async def look(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        seen.append((response.status, response.reason, response.content_type, response.prepared, response.keep_alive))
        seen.append(response.headers.getall("Set-Cookie"))
        response.headers["X-Too"] = "late"
        return response

    head = b"HTTP/1.1 203 Odd\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Type: text/x\r\nContent-Length: 2\r\n\r\nok"
    async with app_stage(aiohttp_server, replies(head), middlewares=[look]) as on, on.connect() as client:
        for _ in range(2):
            assert (await client.ask(GET)).one(b"X-Too") is None
    assert seen == [(203, "Odd", "text/x", True, True), ["a", "b"]] * 2


async def test_a_response_in_place_of_one_that_was_sent_is_not_sent(
    aiohttp_server: AiohttpServer, logs_errors: Callable[[], str]
) -> None:
    @web.middleware
    async def replace(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request.clone())
        return web.Response(text="a page for errors") if response.status == 404 else response

    answer = b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno"
    async with app_stage(aiohttp_server, replies(answer), middlewares=[replace]) as on, on.connect() as client:
        await client.send(GET + GET)
        assert (await client.response()).body == b"no"
        assert await client.rest() == b""
    assert "a middleware answers a request again" in logs_errors()


@pytest.mark.parametrize("error", [ValueError, web.HTTPBadRequest, TimeoutError])
async def test_an_error_behind_a_response_is_not_sent(
    aiohttp_server: AiohttpServer, logs_errors: Callable[[], str], error: type[Exception]
) -> None:
    @web.middleware
    async def fail(request: web.Request, handler: Handler) -> web.StreamResponse:
        await handler(request)
        raise error()

    async with app_stage(aiohttp_server, whole, middlewares=[fail]) as on, on.connect() as client:
        await client.send(GET + GET)
        assert (await client.response()).body == b"data: 1\n\n"
        assert await client.rest() == b""
    assert ("answers a request again" in logs_errors()) == (error is web.HTTPBadRequest)


# A middleware that limits time.


class Limit:
    """A middleware that gives each request as long as the test says."""

    def __init__(self) -> None:
        self._under_way: list[asyncio.Timeout] = []

    def expire(self) -> None:
        """End the time of all requests under way."""
        for each in self._under_way:
            each.reschedule(0.0)

    @web.middleware
    async def limited(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            async with asyncio.timeout(None) as limit:
                self._under_way.append(limit)
                try:
                    return await handler(request)
                finally:
                    self._under_way.remove(limit)
        except TimeoutError:
            return web.Response(status=504, text="too late")


async def test_a_limit_before_the_head(aiohttp_server: AiohttpServer) -> None:
    limit = Limit()
    async with app_stage(aiohttp_server, mute, middlewares=[limit.limited]) as on, on.connect() as client:
        for number in range(2):
            await client.send(GET)
            visit = await on.upstream.visit(number)
            await visit.wait_received(b"\r\n\r\n")
            limit.expire()
            response = await client.response()
            assert (response.status, response.body) == (504, b"too late")
            await visit.wait_closed()


async def test_a_limit_in_a_stream_breaks_it(aiohttp_server: AiohttpServer) -> None:
    limit = Limit()
    async with app_stage(aiohttp_server, streams, middlewares=[limit.limited]) as on, on.connect() as client:
        await client.send(GET + GET)
        assert (await client.head()).status == 200
        limit.expire()
        assert await broken_body(client) == b"data: 1\n\n"
        await (await on.upstream.visit()).wait_closed()
        assert len(on.upstream.visits) == 1


async def test_a_limit_in_a_stream_of_http_10_resets_it(aiohttp_server: AiohttpServer) -> None:
    limit = Limit()
    async with app_stage(aiohttp_server, streams, middlewares=[limit.limited]) as on, on.connect() as client:
        await client.send(GET.replace(b"1.1", b"1.0"))
        assert (await client.head()).status == 200
        limit.expire()
        await client.rest()
        assert client.was_reset


async def test_a_limit_that_is_kept_takes_nothing_away(aiohttp_server: AiohttpServer) -> None:
    """Neither does a client that leaves: the cancelling of its request is the proxy's own business."""
    seen: list[object] = []

    @web.middleware
    async def limit(request: web.Request, handler: Handler) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        try:
            async with asyncio.timeout(60):
                response = await handler(request)
        finally:
            seen.append(task.cancelling())
        seen.append(response.status)
        await asyncio.sleep(0)
        return response

    async with app_stage(aiohttp_server, streams, middlewares=[limit]) as on:
        async with on.connect() as client:
            await client.send(GET)
            await client.head()
        await eventually(lambda: seen == [0, 200])


async def test_a_request_that_the_proxy_ends_itself_is_not_cancelled_for_its_middlewares(
    aiohttp_server: AiohttpServer,
) -> None:
    seen: list[tuple[str, int, int]] = []

    @web.middleware
    async def look(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        task = asyncio.current_task()
        assert task is not None
        seen.append((request.method, response.status, task.cancelling()))
        return response

    async with (
        app_stage(aiohttp_server, mute, middlewares=[look], tickets={}) as on,
        on.connect() as client,
    ):
        url = (await client.ask(b"POST /_tickets/a HTTP/1.1\r\nHost: a.test\r\n\r\n")).one(b"Location")
        assert url is not None
        await client.send(b"GET " + url + b" HTTP/1.1\r\nHost: a.test\r\n\r\n")
        await on.upstream.visit()
        assert (await on.ask(b"DELETE " + url + b" HTTP/1.1\r\nHost: a.test\r\n\r\n")).status == 204
        assert (await client.response()).status == 204
    assert sorted(seen) == [("DELETE", 204, 0), ("GET", 204, 0), ("POST", 201, 0)]


# `on_response_prepare`.


def prepared(*hooks: Prepare) -> Callable[[web.Application, ProxyHandler], None]:
    def change(app: web.Application, proxy: ProxyHandler) -> None:
        proxy.setup(app)
        app.on_response_prepare.extend(hooks)

    return change


async def add(request: web.Request, response: web.StreamResponse) -> None:
    assert response.prepared
    response.headers.add("X-Added", f"{response.status} é \udcff")
    response.headers.popall("Server", None)
    response.headers["Content-Length"] = "0"
    response.headers["Transfer-Encoding"] = "gzip"


async def add_slowly(request: web.Request, response: web.StreamResponse) -> None:
    await asyncio.sleep(0.05)
    await add(request, response)


@pytest.mark.parametrize("hook", [add, add_slowly])
async def test_the_app_adds_fields_to_each_head(aiohttp_server: AiohttpServer, hook: Prepare) -> None:
    async def script(visit: Visit) -> None:
        while True:
            target = (await visit.request()).target
            if target == b"/stream":
                await visit.send(STREAM[:-2] + b"Server: x\r\nX-Obs: \xe9\r\n\r\n" + EVENT + EVENT + END)
            elif target == b"/broken":
                await visit.send(STREAM + EVENT)
                return
            else:
                await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000)

    async with app_stage(aiohttp_server, script, change=prepared(hook)) as on, on.connect() as client:
        for target, body in ((b"/stream", b"data: 1\n\n" * 2), (b"/other", b"x" * 70_000)) * 2:
            response = await client.ask(GET.replace(b"/a", target))
            assert response.body == body
            assert response.one(b"X-Added") == "200 é ".encode() + b"\xff"
            assert response.one(b"Server") is None
            if target == b"/stream":
                assert response.one(b"X-Obs") == b"\xe9"
        await client.send(GET.replace(b"/a", b"/broken"))
        assert (await client.head()).one(b"X-Added") is not None
        assert (await broken_body(client)).startswith(b"data: 1\n\n")


@pytest.mark.parametrize("media", [b"text/event-stream", b"text/plain"])
async def test_an_upstream_waits_for_the_app(aiohttp_server: AiohttpServer, media: bytes) -> None:
    sent, go = 0, asyncio.Event()

    async def wait(request: web.Request, response: web.StreamResponse) -> None:
        await go.wait()

    async def script(visit: Visit) -> None:
        nonlocal sent
        await visit.request()
        await visit.send(STREAM.replace(b"text/event-stream", media))
        for _ in range(1000):
            await visit.send(b"4000\r\n" + b"data: " + b"x" * 0x3FF8 + b"\n\n" + b"\r\n")
            sent += 1
        await visit.send(END)

    async with app_stage(aiohttp_server, script, change=prepared(wait)) as on, on.connect() as client:
        await client.send(GET)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.2)
        assert before < 800
        go.set()
        assert len((await client.response()).body) == 1000 * 0x4000


async def test_a_client_that_leaves_while_the_app_prepares(aiohttp_server: AiohttpServer) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request, response: web.StreamResponse) -> None:
        asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            left.set()

    async with app_stage(aiohttp_server, streams, change=prepared(wait)) as on:
        async with on.connect() as client:
            await client.send(GET)
            await asked.wait()
        await (await on.upstream.visit()).wait_closed()
        await left.wait()


@pytest.mark.parametrize("field", ["", "a\r\nX-B: c", "a\x00"])
async def test_an_app_that_fails_to_prepare(
    aiohttp_server: AiohttpServer, logs_errors: Callable[[], str], field: str
) -> None:
    async def fail(request: web.Request, response: web.StreamResponse) -> None:
        if "X-Seen" in response.headers:  # of the upstream, and not of aiohttp's 500
            if not field:
                raise ValueError("of the app")
            response.headers["X-A"] = field

    answer = STREAM[:-2] + b"X-Seen: 1\r\n\r\n"

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(answer + EVENT)
        await visit.closed.wait()

    async with app_stage(aiohttp_server, script, change=prepared(fail)) as on, on.connect() as client:
        response = await client.ask(GET)
        assert response.status == 500
        assert response.one(b"X-B") is None
        await (await on.upstream.visit()).wait_closed()
    assert "Error handling request" in logs_errors()


# Others of ours, and the context.


async def test_the_middleware_for_own_streams_leaves_those_of_the_proxy_alone(aiohttp_server: AiohttpServer) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(STREAM + EVENT)
        await visit.closed.wait()

    keepalive = sse_keepalive(heartbeat="10ms", before_response="10ms")
    async with (
        app_stage(aiohttp_server, script, middlewares=[keepalive], heartbeat="30ms") as on,
        on.connect() as client,
    ):
        await client.send(GET)
        assert (await client.head()).status == 200
        assert await client.chunk() == b"data: 1\n\n"
        assert await client.chunk() == b": heartbeat\n\n"
        assert keepalive.open_streams == 0
        assert on.proxy.open_streams == 1


async def test_the_middleware_for_own_streams_around_a_handler_that_calls_the_proxy(
    aiohttp_server: AiohttpServer, logs_errors: Callable[[], str]
) -> None:
    def change(app: web.Application, proxy: ProxyHandler) -> None:
        async def call(request: web.Request) -> web.StreamResponse:
            return await proxy(request)

        sub = web.Application(middlewares=[sse_keepalive()])
        sub.router.add_get("/call", call)
        app.add_subapp("/sub", sub)

    async with app_stage(aiohttp_server, replies(), change=change, path="/proxy") as on:
        assert (await on.ask(GET.replace(b"/a", b"/sub/call"))).status == 500
        assert on.upstream.visits == []
    assert "sse_keepalive() must leave what reverse_proxy() serves alone" in logs_errors()


async def test_hooks_run_in_the_context_of_the_request(aiohttp_server: AiohttpServer) -> None:
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")

    @web.middleware
    async def login(request: web.Request, handler: Handler) -> web.StreamResponse:
        user.set("me")
        return await handler(request)

    async def say(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-User"] = user.get()

    async with app_stage(aiohttp_server, whole, middlewares=[login], change=prepared(say)) as on:
        assert (await on.ask(GET)).one(b"X-User") == b"me"
