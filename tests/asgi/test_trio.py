"""What happens where there is no asyncio: does whatever is no stream pass, and is the rest refused in clear words?"""

from typing import Any

import pytest
import trio

from sseproxy.asgi import SSEKeepaliveMiddleware
from sseproxy.asgi.types import Message, Receive, Scope, Send

ACCEPT = (b"accept", b"text/event-stream")


def answer(content_type: bytes, *, reads: int = 1) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(reads):
            await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
        await send({"type": "http.response.body", "body": b"data: 1\n\n"})

    return app


def call(app: Any, kind: str = "http") -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        await trio.sleep(0.001)
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": kind, "method": "GET", "path": "/", "headers": [ACCEPT]}
    trio.run(app, scope, receive, send)
    return sent


@pytest.mark.parametrize("before_response", ["off", "10s"])
@pytest.mark.parametrize("reads", [0, 1, 3])
def test_what_is_no_stream_passes(before_response: str, reads: int) -> None:
    sent = call(SSEKeepaliveMiddleware(answer(b"text/plain", reads=reads), before_response=before_response))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


@pytest.mark.parametrize("before_response", ["off", "10s"])
def test_a_stream_is_refused(before_response: str) -> None:
    with pytest.raises(RuntimeError, match="on asyncio only, not on trio"):
        call(SSEKeepaliveMiddleware(answer(b"text/event-stream"), before_response=before_response))


def test_a_drain_is_refused() -> None:
    with pytest.raises(RuntimeError, match="on asyncio only, not on trio"):
        call(SSEKeepaliveMiddleware(answer(b"text/plain"), drain="10s"), kind="lifespan")
