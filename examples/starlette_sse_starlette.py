# uvicorn --app-dir examples starlette_sse_starlette:app --port 8000
"""Starlette with sse-starlette, whose own ping does no harm. Then: curl -N http://127.0.0.1:8000/chat"""

import asyncio
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Route

from sseproxy.asgi import SSEKeepaliveMiddleware

AppStatus.disable_automatic_graceful_drain()  # which would cut streams off at once, before the drain below


async def words() -> AsyncIterator[dict[str, str]]:
    await asyncio.sleep(2.5)  # a model that thinks
    for word in ("Hello", "world"):
        yield {"data": word}


async def chat(_: Request) -> EventSourceResponse:
    return EventSourceResponse(words())


app = Starlette(
    routes=[Route("/chat", chat)],
    middleware=[Middleware(SSEKeepaliveMiddleware, heartbeat="1s", drain="25s")],  # leave heartbeat out for 15 s
)
