"""The same answers in an aiohttp app, which drains as the manual says."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from sseproxy.aiohttp import sse_keepalive
from tests.e2e.drains.draining_app import tokens


async def answering(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for token in tokens(request.path):
        await response.write(token)
        await asyncio.sleep(0.05)
    await response.write(b"data: [DONE]\n\n")
    return response


def _app(drain: str) -> Callable[[list[str]], web.Application]:
    def made(_: list[str]) -> web.Application:
        keepalive = sse_keepalive(drain=drain)
        app = web.Application(middlewares=[keepalive])
        app.on_shutdown.append(keepalive.on_shutdown)
        app.router.add_post("/{path:.*}", answering)
        return app

    return made


answer = _app("20s")
hurried_answer = _app("500ms")
