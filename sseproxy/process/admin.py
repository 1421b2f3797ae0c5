"""How does an operator, or an orchestrator, ask how the process is, and what it does?"""

import logging
import socket
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from sseproxy.process.admin_connections import AdminConnections
from sseproxy.process.admin_guard import refusal
from sseproxy.process.dashboard import page
from sseproxy.process.dashboard.view import View
from sseproxy.process.dashboard.watchers import Watchers
from sseproxy.process.pages import Killing, Pages
from sseproxy.proxy.backing.readiness import Readiness, Status

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

# What a client does wrong is answered with 400, and no fault of the process: aiohttp would log a traceback each time.
_log = logging.getLogger("aiohttp.server.admin")
_log.addFilter(lambda record: record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError))

#: Where the dashboard gets its snapshots.
EVENTS = "/events"

_STATUS = {Killing.DONE: 204, Killing.UNKNOWN: 404, Killing.NO_ANSWER: 503}


class AdminServer:
    """Health, metrics, live streams and their dashboard on listeners of their own, never on the public ones.

    readiness: whether new requests should be sent here, asked anew each time. pages: what is said about all workers.
    watchers: the dashboards that are open. keepalive: the package's middleware, for the path `EVENTS`. hosts: names by
    which it may be asked, in lower case.
    """

    # A connection is for one request: what is cheap to open again need not be kept, and a scraper that is stuck in the
    # middle of an answer is one that `AdminConnections` ends. The exception is what keeps a dashboard up to date: an
    # event stream, which is kept alive as those of other apps are, by the package's own middleware.

    def __init__(
        self,
        *,
        readiness: Callable[[], Readiness],
        pages: Pages,
        watchers: Watchers,
        keepalive: "Middleware",
        hosts: Collection[str] = (),
    ) -> None:
        self._readiness = readiness
        self._pages = pages
        self._watchers = watchers
        self._hosts = frozenset(hosts)
        self._page = page.load()
        app = web.Application(middlewares=[self._guard, keepalive])
        app.router.add_get("/", self.dashboard)
        app.router.add_get(EVENTS, self.events, allow_head=False)
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
        self._watchers.stop()
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

    async def dashboard(self, request: web.Request) -> web.Response:
        """Answer with the page that shows the live streams. It holds no data."""
        return web.Response(body=self._page.body, headers=self._page.headers)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Answer with an event for each snapshot of the view that the query describes, until the client leaves.

        The event ``replaced`` is the last one: there are too many dashboards, and this one was the oldest.
        """
        if "Origin" in request.headers:
            # A page of another origin must not take the place of a dashboard. Browsers name the origin of any page
            # that opens an EventSource elsewhere, also where they send no Fetch Metadata; never of a page from here.
            return web.Response(status=403, text="The admin listener does not answer pages of other sites.\n")
        if self._connections is not None and request.transport is not None:
            self._connections.keep(request.transport)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        with self._watchers.watching(View.of_query(request.query)) as watcher:
            while (snapshot := await watcher.next()) is not None:
                await response.write(b"data: %b\n\n" % snapshot)
        await response.write(b"event: replaced\ndata: {}\n\n")
        return response

    async def kill(self, request: web.Request) -> web.Response:
        """End one stream. A page of another site cannot send the field that is asked for, without being asked back."""
        if "X-Requested-With" not in request.headers:
            return web.Response(status=403, text="This needs a field X-Requested-With, with any value.\n")
        done = await self._pages.kill(request.match_info["id"])
        return web.Response(status=_STATUS[done], text=None if done is Killing.DONE else f"{done.value}\n")

    @web.middleware
    async def _guard(self, request: web.Request, handler: "Handler") -> web.StreamResponse:
        refused = refusal(request.method, request.path, list(request.raw_headers), self._hosts)
        if refused is not None:
            response: web.StreamResponse = web.Response(status=refused[0], text=refused[1])
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:  # no such page
                response = web.Response(status=error.status, text=error.text, headers=error.headers)
            except ConnectionError:  # the client has left, or was one too many: the answer goes nowhere
                response = web.Response(status=408)
        response.headers["Cache-Control"] = "no-store"
        response.force_close()
        return response
