"""How does an operator, or an orchestrator, ask how the process is?"""

import socket
from collections.abc import Callable, Sequence

from aiohttp import web


class AdminServer:
    """Health checks on listeners of their own, never on the public ones.

    is_ready: whether new requests should be sent here.
    """

    def __init__(self, *, is_ready: Callable[[], bool]) -> None:
        self._is_ready = is_ready
        app = web.Application()
        app.router.add_get("/healthz", self.health)
        app.router.add_get("/readyz", self.readiness)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on `sockets`, which are listening already and stay the caller's."""
        await self._runner.setup()
        for sock in sockets:
            await web.SockSite(self._runner, sock).start()

    async def stop(self) -> None:
        """Close the listeners and all connections."""
        await self._runner.cleanup()

    async def health(self, request: web.Request) -> web.Response:
        """Answer 200: that there is an answer says that the event loop runs."""
        return web.Response(text="ok\n")

    async def readiness(self, request: web.Request) -> web.Response:
        """Answer 200, or 503 while the process drains."""
        if self._is_ready():
            return web.Response(text="ready\n")
        return web.Response(status=503, text="draining\n")
