"""An app on Litestar: its own server-sent events."""

from collections.abc import AsyncIterator

from litestar import Litestar, get
from litestar.response import ServerSentEvent, ServerSentEventMessage

from sseproxy.asgi import SSEKeepaliveMiddleware
from tests.asgi.apps.source import HEARTBEAT, Said, events, silence


async def _told(source: AsyncIterator[Said]) -> AsyncIterator[ServerSentEventMessage]:
    async for event in source:
        yield ServerSentEventMessage(data=event.data, event=event.type, id=event.id)


@get("/events")
async def some() -> ServerSentEvent:
    return ServerSentEvent(_told(events()))


@get("/silence")
async def none() -> ServerSentEvent:
    return ServerSentEvent(_told(silence()))


application = SSEKeepaliveMiddleware(Litestar([some, none]), heartbeat=HEARTBEAT)
