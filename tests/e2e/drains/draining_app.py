"""Streams without end, raw ASGI, behind the middleware that drains when the server is asked to end."""

import asyncio
from typing import Any

from sseproxy.asgi import SSEKeepaliveMiddleware


async def ticking(scope: Any, receive: Any, send: Any) -> None:
    """Knows no lifespan, and sends each event in two halves."""
    assert scope["type"] == "http"
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while True:
        for half in (b"data: tick\n", b"\n"):
            await send({"type": "http.response.body", "body": half, "more_body": True})
            await asyncio.sleep(0.02)


async def stuck(scope: Any, receive: Any, send: Any) -> None:
    """Begins an event and never ends it."""
    assert scope["type"] == "http"
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"data: half\n", "more_body": True})
    await asyncio.Event().wait()


app = SSEKeepaliveMiddleware(ticking, drain="20s", drain_spread="100ms")
never = SSEKeepaliveMiddleware(stuck, drain="300ms")
