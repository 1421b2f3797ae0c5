# granian --interface asgi --working-dir examples litestar_app:app --port 8000
"""Litestar, kept alive. Then: curl -N http://127.0.0.1:8000/chat"""

import asyncio
from collections.abc import AsyncIterator

from litestar import Litestar, get
from litestar.response import ServerSentEvent

from sseproxy.asgi import SSEKeepaliveMiddleware


async def words() -> AsyncIterator[str]:
    await asyncio.sleep(2.5)  # a model that thinks
    for word in ("Hello", "world"):
        yield word


@get("/chat")
async def chat() -> ServerSentEvent:
    return ServerSentEvent(words())


# Around the app and not in its `middleware`, where Litestar does not tell it when the server starts.
app = SSEKeepaliveMiddleware(Litestar([chat]), heartbeat="1s", drain="25s")  # leave heartbeat out for 15 s
