"""An app on Starlette with sse-starlette, whose own ping stays as it is."""

from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from sseproxy.asgi import SSEKeepaliveMiddleware
from tests.asgi.apps.source import HEARTBEAT, Said, events, silence


async def _told(source: AsyncIterator[Said]) -> AsyncIterator[ServerSentEvent]:
    async for event in source:
        yield ServerSentEvent(event.data, event=event.type, id=event.id)


async def some(request: Request) -> EventSourceResponse:
    return EventSourceResponse(_told(events()))


async def none(request: Request) -> EventSourceResponse:
    return EventSourceResponse(_told(silence()))


application = Starlette(routes=[Route("/events", some), Route("/silence", none)])
application.add_middleware(SSEKeepaliveMiddleware, heartbeat=HEARTBEAT)
