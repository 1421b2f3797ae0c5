"""Streams, raw ASGI, behind the middleware that drains when the server is asked to end."""

import asyncio
from collections.abc import Iterator
from itertools import count
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


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """An answer of two seconds to a POST of ``/short``; any other has no end."""
    assert scope["type"] == "http"
    while (await receive()).get("more_body", False):
        pass
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for token in tokens(scope["path"]):
        await send({"type": "http.response.body", "body": token, "more_body": True})
        await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


def tokens(path: str) -> Iterator[bytes]:
    """The events of an answer, in front of its last one."""
    return (b"data: %d\n\n" % number for number in (range(SHORT) if path == "/short" else count()))


#: Events of the short answer.
SHORT = 40

app = SSEKeepaliveMiddleware(ticking, drain="20s", drain_spread="100ms")
never = SSEKeepaliveMiddleware(stuck, drain="300ms")
answer = SSEKeepaliveMiddleware(answering, drain="20s")
hurried_answer = SSEKeepaliveMiddleware(answering, drain="500ms")
