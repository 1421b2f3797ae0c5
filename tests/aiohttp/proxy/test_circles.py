"""Is anything left of thousands of streams that were opened and dropped inside an aiohttp app?"""

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpServer

from sseproxy.aiohttp import ProxyHandler
from tests.support.aiohttp_proxy import EVENT, GET, STREAM, app_stage
from tests.support.raw_upstream import Visit
from tests.support.settled import eventually

TIMES, AT_ONCE = 10, 50

POST = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nabc"


async def streams(visit: Visit) -> None:
    """A stream that goes on, or no answer."""
    if (await visit.head()).target != b"/mute":
        await visit.send(STREAM + EVENT)
    await visit.closed.wait()


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def alive() -> Counter[str]:
    """What there is of the proxy and of aiohttp's server, by kind, with tasks and sockets."""
    found = Counter(type(each).__qualname__ for each in gc.get_objects() if _counts(type(each)))
    found["tasks"] = len(asyncio.all_tasks())
    found["descriptors"] = len(os.listdir("/proc/self/fd"))
    return found


def _counts(kind: type) -> bool:
    return kind.__module__.startswith("sseproxy.") or kind in (web.Request, web.RequestHandler)


async def prepare(request: web.Request, response: web.StreamResponse) -> None:
    await asyncio.sleep(0)
    response.headers["X-A"] = "b"


def prepared(app: web.Application, proxy: ProxyHandler) -> None:
    proxy.setup(app)
    app.on_response_prepare.append(prepare)


@pytest.mark.parametrize("how", ["stream", "prepared", "reset", "mute", "body"])
async def test_nothing_is_left(aiohttp_server: AiohttpServer, how: str) -> None:
    request = {"body": POST, "mute": GET.replace(b"/a", b"/mute")}.get(how, GET)
    change = prepared if how == "prepared" else lambda app, proxy: proxy.setup(app)
    async with app_stage(aiohttp_server, streams, change=change, heartbeat="5ms") as on:

        async def visit() -> None:
            async with on.connect() as client:
                await client.send(request)
                if how != "mute":
                    await client.head()
                    await client.chunk()
                if how == "reset":
                    client.reset()

        async def visits() -> None:
            await asyncio.gather(*(visit() for _ in range(AT_ONCE)))
            await eventually(lambda: on.proxy.here().app.requests == 0)
            assert on.server.handler is not None
            server = on.server.handler
            await eventually(lambda: not server.connections)

        await visits()
        on.upstream.visits.clear()
        with without_collector():
            before = alive()
            for _ in range(TIMES):
                await visits()
                on.upstream.visits.clear()
            await eventually(lambda: not alive() - before)
