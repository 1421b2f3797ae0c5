"""The middleware behind one of Starlette that completes each response: what becomes of a stream that must not be?"""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount

from sseproxy.asgi import SSEKeepaliveMiddleware
from sseproxy.asgi.types import Receive, Scope, Send
from tests.asgi.apps.raw import PIECE, PIECES
from tests.asgi.apps.source import EVENTS, HEARTBEAT, as_bytes, bytes_of, events, record, silence


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    path = scope["path"]
    if path.endswith(("/events", "/silence")):
        async for piece in bytes_of(events() if path.endswith("/events") else silence()):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    if path.endswith("/flood"):
        try:
            for _ in range(PIECES):
                await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        finally:
            record("stopped")
    await send({"type": "http.response.body", "body": as_bytes(EVENTS[0]), "more_body": True})
    if path.endswith("/failing"):
        raise RuntimeError("the app fails")
    # /unfinished: it returns without an end


async def _pass(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


kept = SSEKeepaliveMiddleware(app, heartbeat=HEARTBEAT, write_timeout=8 * HEARTBEAT)
impatient = SSEKeepaliveMiddleware(app, heartbeat=HEARTBEAT, idle_timeout=3 * HEARTBEAT)
application = Starlette(
    routes=[Mount("/impatient", impatient), Mount("/", kept)],
    middleware=[Middleware(BaseHTTPMiddleware, dispatch=_pass)],
)
