"""How does an operator, or an orchestrator, ask how the process is, and what it does?"""

import logging
import socket
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from sseproxy.process.admin_connections import AdminConnections
from sseproxy.process.admin_guard import refusal
from sseproxy.process.pages import Killing, Pages
from sseproxy.process.readiness import Readiness, Status

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

# What a client does wrong is answered with 400, and no fault of the process: aiohttp would log a traceback each time.
_log = logging.getLogger("aiohttp.server.admin")
_log.addFilter(lambda record: record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError))

_STATUS = {Killing.DONE: 204, Killing.UNKNOWN: 404, Killing.NO_ANSWER: 503}


class AdminServer:
    """Health, metrics and live streams on listeners of their own, never on the public ones.

    readiness: whether new requests should be sent here, asked anew each time. pages: what is said about all workers.
    hosts: names by which it may be asked, in lower case.
    """

    # A connection is for one request: what is cheap to open again need not be kept, and a scraper that is stuck in the
    # middle of an answer is one that `AdminConnections` ends.

    def __init__(self, *, readiness: Callable[[], Readiness], pages: Pages, hosts: Collection[str] = ()) -> None:
        self._readiness = readiness
        self._pages = pages
        self._hosts = frozenset(hosts)
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/healthz", self.health)
        app.router.add_get("/readyz", self.readiness)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/streams", self.streams)
        app.router.add_delete("/streams/{id}", self.kill)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, logger=_log)
        self._connections: AdminConnections | None = None

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on `sockets`, which are listening already and stay the caller's."""
        await self._runner.setup()
        assert self._runner.server is not None
        self._connections = AdminConnections(self._runner.server)
        await self._connections.start(sockets)

    async def stop(self) -> None:
        """Close the listeners and all connections."""
        if self._connections is not None:
            self._connections.stop()
        await self._runner.cleanup()

    async def health(self, request: web.Request) -> web.Response:
        """Answer 200: that there is an answer says that the event loop runs."""
        return web.Response(text="ok\n")

    async def readiness(self, request: web.Request) -> web.Response:
        """Answer 200, or 503 while no requests should be sent here; the body says why."""
        found = self._readiness()
        said = {"status": found.status.value, "away": list(found.away)}
        return web.json_response(said, status=200 if found.status is Status.READY else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        """Answer with all metrics, in the format that the scraper wants."""
        body, content_type = await self._pages.metrics(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def streams(self, request: web.Request) -> web.Response:
        """Answer with the list of live streams."""
        return web.Response(body=await self._pages.streams(), content_type="application/json", charset="utf-8")

    async def kill(self, request: web.Request) -> web.Response:
        """End one stream. A page of another site cannot send the field that is asked for, without being asked back."""
        if "X-Requested-With" not in request.headers:
            return web.Response(status=403, text="This needs a field X-Requested-With, with any value.\n")
        done = await self._pages.kill(request.match_info["id"])
        return web.Response(status=_STATUS[done], text=None if done is Killing.DONE else f"{done.value}\n")

    @web.middleware
    async def _guard(self, request: web.Request, handler: "Handler") -> web.StreamResponse:
        refused = refusal(list(request.raw_headers), self._hosts)
        if refused is not None:
            response: web.StreamResponse = web.Response(status=refused[0], text=refused[1])
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:  # no such page
                response = web.Response(status=error.status, text=error.text, headers=error.headers)
        response.headers["Cache-Control"] = "no-store"
        response.force_close()
        return response
