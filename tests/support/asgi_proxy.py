"""How does a test run the proxy as an ASGI app: with the server's end in its own hands, or inside a real server?"""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any
from urllib.parse import unquote

from sseproxy.asgi.types import ASGIApp, Receive, Scope, Send
from sseproxy.core.routes import Route, Upstream
from sseproxy.engine.live import LiveStreams
from sseproxy.origins.http import HttpOrigin
from sseproxy.proxy.app import ProxyApp
from sseproxy.proxy.on_asgi import AsgiDoor
from sseproxy.proxy.origins import Origins
from tests.support.asgi_exchange import Exchange
from tests.support.patience import LIMIT
from tests.support.proxy_server import SILENT
from tests.support.raw_upstream import RawUpstream, Script

#: Names the unix socket of the upstream to a proxy inside a server process.
UPSTREAM = "SSEPROXY_TEST_UPSTREAM"

HOST = (b"host", b"a.test")


def new_proxy(route: Route, *, trusted: Sequence[str] = (), streams: LiveStreams | None = None) -> ProxyApp:
    """Return a proxy with one route."""
    assert route.upstream is not None
    return ProxyApp(
        [route],
        Origins({route.upstream: HttpOrigin(route.upstream)}, {}, {}),
        trusted_proxies=[ip_network(network) for network in trusted],
        streams=LiveStreams(linger=0.0) if streams is None else streams,
        request_ids=itertools.repeat("made-here"),
    )


@dataclass(frozen=True, slots=True)
class AsgiStage:
    """The proxy and an upstream; the test is the server in front."""

    app: ProxyApp
    door: AsgiDoor
    upstream: RawUpstream

    def exchange(self, target: bytes = b"/a", *, front: ASGIApp | None = None, **changes: Any) -> Exchange:
        """Return a request that has not been made yet.

        changes: of the scope, or `headers` besides `HOST`, `method` and `body`. front: the app that the server calls.
        """
        path, _, query = target.partition(b"?")
        headers = [HOST, *changes.pop("headers", ())]
        options = {name: changes.pop(name) for name in ("method", "body") if name in changes}
        exchange = Exchange(front or self.door, path=unquote(path.decode("latin-1")), headers=headers, **options)
        exchange.scope.update({"raw_path": path, "query_string": query, **changes})
        return exchange


@contextlib.asynccontextmanager
async def asgi_stage(
    script: Script, *, trusted: Sequence[str] = (), streams: LiveStreams | None = None, **options: Any
) -> AsyncIterator[AsgiStage]:
    """Leaving it asserts that nothing is under way. options: of the `Route`."""
    async with RawUpstream.serve(script) as upstream:
        app = new_proxy(route_to(upstream.port, **options), trusted=trusted, streams=streams)
        try:
            yield AsgiStage(app, AsgiDoor(app), upstream)
            async with asyncio.timeout(LIMIT):
                await app.wait_until_idle()
            assert len(app.streams) == 0
        finally:
            app.abort()
            await app.close()


def route_to(port: int, **options: Any) -> Route:
    """Return a route to an upstream of this machine, without heartbeats unless `options` say otherwise."""
    usual = {"name": "default", "upstream": Upstream("http", "127.0.0.1", port), "heartbeat": SILENT}
    return Route(**{**usual, **options})


class InServer:
    """The proxy inside a server process, made with the first request; without a lifespan."""

    def __init__(self) -> None:
        self._door: AsgiDoor | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": message["type"] + ".complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        if self._door is None:
            upstream = Upstream("http+unix", socket_path=os.environ[UPSTREAM])
            self._door = AsgiDoor(new_proxy(Route("default", upstream=upstream, heartbeat=SILENT)))
        await self._door(scope, receive, send)
