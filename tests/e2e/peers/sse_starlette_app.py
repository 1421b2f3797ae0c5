"""A Starlette app that streams with sse-starlette: CRLF, and pings of its own."""

from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from tests.e2e.peers.on_uvicorn import serve
from tests.e2e.peers.orders import AppFailed, AsyncOrders, tell


def make_app() -> Starlette:
    orders = AsyncOrders()

    async def events(run: str) -> AsyncIterator[ServerSentEvent]:
        tell(run, "opened")
        try:
            while (order := await orders.take(run)).verb == "send":
                yield ServerSentEvent(order.data, event=order.event, id=order.id)
            if order.verb == "fail":
                raise AppFailed(run)
        finally:
            tell(run, "closed")

    async def stream(request: Request) -> EventSourceResponse:
        return EventSourceResponse(events(request.path_params["run"]))

    async def pinged(request: Request) -> EventSourceResponse:
        return EventSourceResponse(events(request.path_params["run"]), ping=0.05)

    async def broken(request: Request) -> EventSourceResponse:
        raise AppFailed(request.path_params["run"])

    return Starlette(
        routes=[Route("/stream/{run}", stream), Route("/pinged/{run}", pinged), Route("/broken/{run}", broken)]
    )


if __name__ == "__main__":
    serve(make_app)
