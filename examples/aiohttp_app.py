# python -m aiohttp.web -H 127.0.0.1 -P 8000 examples.aiohttp_app:make_app
"""An app that is aiohttp itself, kept alive. Then: curl -N http://127.0.0.1:8000/chat"""

import asyncio

from aiohttp import web
from aiohttp_sse import sse_response

from sseproxy.aiohttp import sse_keepalive


async def chat(request: web.Request) -> web.StreamResponse:
    async with sse_response(request) as response:  # or a web.StreamResponse of your own
        await asyncio.sleep(2.5)  # a model that thinks
        for word in ("Hello", "world"):
            await response.send(word)
    return response


def make_app(_: list[str]) -> web.Application:
    keepalive = sse_keepalive(heartbeat="1s")  # leave heartbeat out for 15 s
    app = web.Application(middlewares=[keepalive])
    app.on_shutdown.append(keepalive.on_shutdown)
    app.router.add_get("/chat", chat)
    return app
