"""An app on FastAPI in its three response styles: a generator endpoint, its response class, plain streaming."""

from collections.abc import AsyncIterable, AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from sseproxy.asgi import SSEKeepaliveMiddleware
from tests.asgi.apps.source import HEARTBEAT, Said, bytes_of, events, silence

application = FastAPI()
application.add_middleware(SSEKeepaliveMiddleware, heartbeat=HEARTBEAT)


async def _told(source: AsyncIterator[Said]) -> AsyncIterator[ServerSentEvent]:
    async for event in source:
        yield ServerSentEvent(raw_data=event.data, event=event.type, id=event.id)


@application.get("/generator/events", response_class=EventSourceResponse)
async def generator_events() -> AsyncIterable[ServerSentEvent]:
    async for event in _told(events()):
        yield event


@application.get("/generator/silence", response_class=EventSourceResponse)
async def generator_silence() -> AsyncIterable[ServerSentEvent]:
    async for event in _told(silence()):
        yield event


@application.get("/class/events")
async def class_events() -> EventSourceResponse:
    return EventSourceResponse(bytes_of(events()))


@application.get("/class/silence")
async def class_silence() -> EventSourceResponse:
    return EventSourceResponse(bytes_of(silence()))


@application.get("/streaming/events")
async def streaming_events() -> StreamingResponse:
    return StreamingResponse(bytes_of(events()), media_type="text/event-stream")


@application.get("/streaming/silence")
async def streaming_silence() -> StreamingResponse:
    return StreamingResponse(bytes_of(silence()), media_type="text/event-stream")
