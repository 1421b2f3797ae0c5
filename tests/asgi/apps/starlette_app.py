"""An app on Starlette: a streaming response, and work after it."""

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from sseproxy.asgi import SSEKeepaliveMiddleware
from tests.asgi.apps.source import HEARTBEAT, bytes_of, events, silence


async def some(request: Request) -> StreamingResponse:
    return StreamingResponse(bytes_of(events()), media_type="text/event-stream", background=BackgroundTask(int))


async def none(request: Request) -> StreamingResponse:
    return StreamingResponse(bytes_of(silence()), media_type="text/event-stream")


application = Starlette(routes=[Route("/events", some), Route("/silence", none)])
application.add_middleware(SSEKeepaliveMiddleware, heartbeat=HEARTBEAT)
