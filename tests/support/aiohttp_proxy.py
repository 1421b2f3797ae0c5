"""How does a test run the proxy as a handler of an aiohttp app, between a raw client and a raw upstream?"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Middleware
from pytest_aiohttp.plugin import AiohttpServer

from sseproxy.aiohttp import ProxyHandler, reverse_proxy
from tests.support.async_peer import AsyncPeer
from tests.support.http1_reader import Message
from tests.support.raw_upstream import RawUpstream, Script

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"
END = b"0\r\n\r\n"

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"

#: As much of a request head as our own server takes.
AS_OURS = {"max_line_size": 65_536, "max_field_size": 65_536, "max_headers": 256}


@dataclass(frozen=True, slots=True, eq=False)
class AppStage:
    """A server of an aiohttp app, with the proxy as the handler of all paths, and its upstream."""

    proxy: ProxyHandler
    server: TestServer
    upstream: RawUpstream

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncPeer]:
        """Open a connection of a client."""
        assert self.server.port is not None
        async with AsyncPeer.connect(self.server.port) as client:
            yield client

    async def ask(self, request: bytes, *, to_head: bool = False) -> Message:
        """Return the response to a request on a connection of its own."""
        async with self.connect() as client:
            return await client.ask(request, to_head=to_head)

    async def asked(self, request: bytes) -> tuple[Message, Message]:
        """Return the response, and the request as the upstream got it."""
        response = await self.ask(request)
        return response, self.upstream.requests[-1]


@contextlib.asynccontextmanager
async def app_stage(
    aiohttp_server: AiohttpServer,
    script: Script,
    *,
    middlewares: Sequence[Middleware] = (),
    change: Callable[[web.Application, ProxyHandler], None] = lambda app, proxy: proxy.setup(app),
    path: str = "/{tail:.*}",
    asks: bool = True,
    cancels: bool = False,
    of_server: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[AppStage]:
    """Leaving it asserts that nothing is under way.

        change: the app, before it starts. path: of the route.
    asks: aiohttp asks for each body that waits for ``100 Continue``.
    cancels: the server cancels its handlers (`handler_cancellation`). of_server: options of `web.AppRunner`.
        options: of the proxy.
    """
    async with RawUpstream.serve(script) as upstream:
        where = None if "routes" in options else f"http://127.0.0.1:{upstream.port}"
        proxy = reverse_proxy(where, **{"heartbeat": "off", **options})
        app = web.Application(middlewares=middlewares)
        expect = None if asks else proxy.expect
        app.router.add_route("*", path, proxy, expect_handler=expect)
        change(app, proxy)
        server = await aiohttp_server(app, access_log=None, **{**AS_OURS, **(of_server or {})})
        assert server.handler is not None
        server.handler.handler_cancellation = cancels  # as servers are by default; aiohttp's for tests cancel
        try:
            yield AppStage(proxy, server, upstream)
            async with asyncio.timeout(30):
                await proxy.here().app.wait_until_idle()
            assert proxy.open_streams == 0
        finally:
            await server.close()
            await proxy.close()
