"""Which app needs no framework? Besides the streams of all apps, it has those that ask something of the server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from sseproxy.asgi import SSEKeepaliveMiddleware
from sseproxy.asgi.types import Receive, Scope, Send
from tests.asgi.apps.source import HEARTBEAT, bytes_of, events, record, silence

#: Bytes of one message of the flood, and how many there are at most.
PIECE = b"data: " + b"x" * 65_000 + b"\n\n"
PIECES = 400


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """It never calls `receive`."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["path"] == "/events":
        await _stream(send, bytes_of(events()))
    elif scope["path"] == "/silence":
        await _stream(send, bytes_of(silence()))
    elif scope["path"] == "/flood":
        await _flood(send)
    elif scope["path"] == "/trailers":
        await _head(send, trailers=True)
        await send({"type": "http.response.body", "body": b"data: 1\n\n"})
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})
    else:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


async def _stream(send: Send, pieces: AsyncIterator[bytes]) -> None:
    await _head(send)
    async for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _flood(send: Send) -> None:
    """As much as the server takes."""
    await _head(send)
    try:
        for number in range(PIECES):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            record(f"sent {number}")
            await asyncio.sleep(0)
        record("sent all")
        await asyncio.get_running_loop().create_future()
    finally:
        record("stopped")


async def _head(send: Send, **more: Any) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers, **more})


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


application = SSEKeepaliveMiddleware(app, heartbeat=HEARTBEAT)

#: For /silence: it is too silent, and may not look complete. For /flood: the client does not take it.
impatient = SSEKeepaliveMiddleware(app, heartbeat=HEARTBEAT, idle_timeout=15 * HEARTBEAT, write_timeout=8 * HEARTBEAT)
