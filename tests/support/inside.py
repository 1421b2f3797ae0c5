"""How is the proxy run inside a test's own event loop, where everything that it keeps can be counted?"""

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sseproxy.config.loader import load
from sseproxy.origins.http import HttpOrigin
from sseproxy.proxy.app import ProxyApp
from sseproxy.proxy.on_http1 import Http1Door
from sseproxy.proxy.origins import Origins

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def run_on(loop: str, test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `test` on a new loop of asyncio's own kind, or of uvloop's."""
    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(test())


@dataclass(frozen=True, slots=True)
class Inside:
    """port: where the proxy listens."""

    app: ProxyApp
    door: Http1Door
    origins: dict[str, HttpOrigin]
    port: int


@contextlib.asynccontextmanager
async def inside(options: str, serve: Serve, folder: Path) -> AsyncIterator[Inside]:
    """The proxy with one route, whose `options` are YAML, and `serve` as its upstream."""
    upstream = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    port = upstream.sockets[0].getsockname()[1]
    config = folder / "sseproxy.yaml"
    config.write_text(f"routes:\n  - {{match: {{prefix: /}}, upstream: 'http://127.0.0.1:{port}', {options}}}\n")
    settings = load(config, flags={}, environ={})
    origins = {route.name: HttpOrigin(route.upstream) for route in settings.routes if route.upstream is not None}
    by_place = {route.upstream: origins[route.name] for route in settings.routes if route.upstream is not None}
    app = ProxyApp(settings.routes, Origins(by_place))
    door = Http1Door(app)
    factory = door.server(scheme="http")
    sock = socket.create_server(("127.0.0.1", 0), backlog=4096)
    server = await asyncio.get_running_loop().create_server(factory, sock=sock)
    try:
        yield Inside(app, door, origins, sock.getsockname()[1])
    finally:
        server.close()
        await factory.shutdown(0.2)
        await app.close()
        upstream.close()


def alive(*kinds: type) -> dict[str, int]:
    """How many objects of `kinds` there are."""
    gc.collect()
    counts = dict.fromkeys((kind.__name__ for kind in kinds), 0)
    for each in gc.get_objects():
        if isinstance(each, kinds):
            counts[type(each).__name__] = counts.get(type(each).__name__, 0) + 1
    return counts
