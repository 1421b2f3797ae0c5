"""A FastAPI app that streams with FastAPI's own server-sent events."""

from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent

from tests.e2e.peers.on_uvicorn import serve
from tests.e2e.peers.orders import AppFailed, AsyncOrders, tell


def make_app() -> FastAPI:
    app = FastAPI()
    orders = AsyncOrders()

    @app.get("/stream/{run}", response_class=EventSourceResponse)
    async def stream(run: str) -> AsyncIterator[ServerSentEvent]:
        tell(run, "opened")
        try:
            while (order := await orders.take(run)).verb == "send":
                yield ServerSentEvent(raw_data=order.data, event=order.event, id=order.id)
            if order.verb == "fail":
                raise AppFailed(run)
        finally:
            tell(run, "closed")

    @app.get("/broken/{run}")
    async def broken(run: str) -> None:
        raise AppFailed(run)

    return app


if __name__ == "__main__":
    serve(make_app)
