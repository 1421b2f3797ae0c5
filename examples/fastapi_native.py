# uvicorn --app-dir examples fastapi_native:app --port 8000
"""FastAPI's own server-sent events, kept alive. Then: curl -N http://127.0.0.1:8000/chat"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent

from sseproxy.asgi import SSEKeepaliveMiddleware

app = FastAPI()
app.add_middleware(SSEKeepaliveMiddleware, heartbeat="1s", drain="25s")  # leave heartbeat out for 15 s


@app.get("/chat", response_class=EventSourceResponse)
async def chat() -> AsyncIterator[ServerSentEvent]:
    await asyncio.sleep(2.5)  # a model that thinks
    for word in ("Hello", "world"):
        yield ServerSentEvent(data=word)
