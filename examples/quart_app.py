# hypercorn --workers 0 --graceful-timeout 30 examples/quart_app:app --bind 127.0.0.1:8000
"""Quart, kept alive. Then: curl -N http://127.0.0.1:8000/chat"""

import asyncio
from collections.abc import AsyncIterator

from quart import Quart, Response

from sseproxy.asgi import SSEKeepaliveMiddleware

app = Quart(__name__)
app.asgi_app = SSEKeepaliveMiddleware(app.asgi_app, heartbeat="1s", drain="25s")  # leave heartbeat out for 15 s


async def words() -> AsyncIterator[bytes]:
    await asyncio.sleep(2.5)  # a model that thinks
    for word in ("Hello", "world"):
        yield f"data: {word}\n\n".encode()


@app.get("/chat")
async def chat() -> Response:
    response = Response(words(), mimetype="text/event-stream")
    response.timeout = None  # Quart ends every response after 60 s, whatever it sends
    return response
