"""How does a test run an aiohttp app of its own, with the middleware before it, and talk to it byte by byte?"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Middleware

from sseproxy.aiohttp import SSEKeepalive, sse_keepalive
from tests.support.asgi_exchange import on_time
from tests.support.async_peer import AsyncPeer
from tests.support.patience import LIMIT

#: Bytes of a request body that a handler may read: more than any test sends.
_BODY_LIMIT = 8 * 2**20

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AiohttpApp:
    """A served app with one handler for all paths. Leaving it asserts that no stream and no task is left."""

    def __init__(self, runner: web.AppRunner, keepalive: SSEKeepalive | None, port: int) -> None:
        self.runner = runner
        self._keepalive = keepalive
        self.port = port

    @property
    def keepalive(self) -> SSEKeepalive:
        assert self._keepalive is not None
        return self._keepalive

    @classmethod
    @contextlib.asynccontextmanager
    async def serve(
        cls,
        handler: Handler,
        *,
        handler_cancellation: bool = False,
        plain: bool = False,
        in_front: Sequence[Middleware] = (),
        **options: Any,
    ) -> "AsyncIterator[AiohttpApp]":
        """plain: without the middleware. in_front: other middlewares before it. options: of the middleware."""
        keepalive = None if plain else sse_keepalive(**{"streams": on_time(), **options})
        middlewares = [*in_front] if keepalive is None else [*in_front, keepalive]
        app = web.Application(middlewares=middlewares, client_max_size=_BODY_LIMIT)

        async def call(request: web.Request) -> web.StreamResponse:
            return await handler(request)  # which may be any callable

        app.router.add_route("*", "/{path:.*}", call)
        if keepalive is not None:
            app.on_shutdown.append(keepalive.on_shutdown)
        before = asyncio.all_tasks()
        runner = web.AppRunner(app, handler_cancellation=handler_cancellation, access_log=None, shutdown_timeout=LIMIT)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield cls(runner, keepalive, runner.addresses[0][1])
        finally:
            await runner.cleanup()
        await until(lambda: asyncio.all_tasks() <= before)
        assert keepalive is None or keepalive.open_streams == 0

    @contextlib.asynccontextmanager
    async def ask(
        self, *fields: str, method: str = "GET", body: bytes = b"", version: str = "1.1"
    ) -> AsyncIterator[AsyncPeer]:
        """A client that has sent a request. fields: of its head, besides ``Host``."""
        lines = [f"{method} / HTTP/{version}", "Host: a", *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        async with AsyncPeer.connect(self.port) as client:
            await client.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            yield client


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it; `TimeoutError` after a generous limit."""
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110 - nobody tells of what is waited for here
            await asyncio.sleep(0.005)


async def open_stream(request: web.Request, **headers: str) -> web.StreamResponse:
    """A prepared event stream."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **headers})
    await response.prepare(request)
    return response


async def broken_body(client: AsyncPeer) -> bytes:
    """The body of a response that is broken off."""
    body = b""
    try:
        while piece := await client.chunk():
            body += piece
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return body
    raise AssertionError(f"a clean end: {body!r}")
