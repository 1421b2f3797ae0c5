"""An app on Quart. It limits a response to 60 seconds in all unless told otherwise; no heartbeat changes that."""

from collections.abc import AsyncIterator

from quart import Quart, Response

from sseproxy.asgi import SSEKeepaliveMiddleware
from tests.asgi.apps.source import HEARTBEAT, PAUSE, Said, bytes_of, events, silence

app = Quart(__name__)


def _response(source: AsyncIterator[Said], *, limit: float | None = None) -> Response:
    response = Response(bytes_of(source), content_type="text/event-stream")
    response.timeout = limit
    return response


@app.get("/events")
async def some() -> Response:
    return _response(events())


@app.get("/silence")
async def none() -> Response:
    return _response(silence())


@app.get("/limited")
async def limited() -> Response:
    return _response(silence(), limit=2 * PAUSE)


application = SSEKeepaliveMiddleware(app, heartbeat=HEARTBEAT)
