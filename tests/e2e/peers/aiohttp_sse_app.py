"""An aiohttp app that streams with aiohttp-sse: CRLF, and pings of its own."""

import asyncio
import socket

from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from tests.e2e.peers.orders import AppFailed, AsyncOrders, tell


class Handlers:
    """The requests of the app."""

    def __init__(self) -> None:
        self._orders = AsyncOrders()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        async with sse_response(request) as response:
            await self._send(request.match_info["run"], response)
        return response

    async def pinged(self, request: web.Request) -> web.StreamResponse:
        async with sse_response(request, ping_interval=0.05) as response:
            await self._send(request.match_info["run"], response)
        return response

    async def broken(self, request: web.Request) -> web.StreamResponse:
        raise AppFailed(request.match_info["run"])

    async def _send(self, run: str, response: EventSourceResponse) -> None:
        tell(run, "opened")
        try:
            while (order := await self._orders.take(run)).verb == "send":
                await response.send(order.data, event=order.event, id=order.id)
            if order.verb == "fail":
                raise AppFailed(run)
        finally:
            tell(run, "closed")


async def serve() -> None:
    handlers = Handlers()
    app = web.Application()
    app.router.add_get("/stream/{run}", handlers.stream)
    app.router.add_get("/pinged/{run}", handlers.pinged)
    app.router.add_get("/broken/{run}", handlers.broken)
    # aiohttp leaves it to the app whether a handler is told that its client has gone.
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening).start()
    print("listening", listening.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
