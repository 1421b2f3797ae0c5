"""How do requests come to the proxy that an aiohttp app has been asked for, with its middlewares in front?"""

from collections.abc import Callable

from aiohttp import web

from sseproxy.aiohttp.connection import AiohttpConnection
from sseproxy.aiohttp.exchange import Exchange
from sseproxy.aiohttp.requests import NOT_ASKED, RequestBody, read_request
from sseproxy.aiohttp.responses import AiohttpDownstream, PreparedDownstream, SentResponse
from sseproxy.aiohttp.sealing import count_as_sent, seal
from sseproxy.core.errors import BadRequest
from sseproxy.core.frames import release_frames
from sseproxy.http1.disconnects import DisconnectWatch
from sseproxy.http1.treatment import ResponseTreatment
from sseproxy.proxy.app import ProxyApp
from sseproxy.proxy.notices import UntellableNotice
from sseproxy.proxy.port import ClientResponse


class AiohttpDoor:
    """The requests of aiohttp apps in one event loop. Must be made while it runs."""

    # Plan: `serve` stands on the connection while the proxy handles one request, and gives it back to aiohttp, which
    # reads the next one, or closes.
    #
    # 1. Behind anything that was sent here, aiohttp sends nothing for this request (`seal`): neither the error of a
    #    middleware, nor a response that a middleware puts in place of this one. Clients would take it for the response
    #    to their next request.
    # 2. A response that is not complete when `serve` is left, by whatever error, is broken off.
    #
    # Hazard: a middleware that limits time cancels a stream, and answers 504.

    def __init__(self, app: ProxyApp) -> None:
        self._app = app
        self._disconnects = DisconnectWatch()
        self._warn = UntellableNotice().give
        app.add_door(self)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request. What is returned has been sent already."""
        if Exchange.covers(request):
            raise RuntimeError("sse_keepalive() must leave what reverse_proxy() serves alone: see its option `paths`")
        transport = request.transport
        if transport is None:
            return SentResponse.unsent()
        connection = AiohttpConnection(request, transport, self._disconnects)
        if connection.is_gone:
            transport.abort()
            return SentResponse.unsent()
        service = _Service(self._app, request, connection, self._warn)
        connection.begin()
        try:
            return await service.run()
        finally:
            try:
                await service.close()
            finally:
                connection.end()

    @staticmethod
    async def expect(request: web.Request) -> None:
        """Leave it to `serve` whether the client is asked for its body: the `expect_handler` of a route."""
        request[NOT_ASKED] = True

    # What the proxy asks of each door.

    def forget_peers(self) -> None:
        """Nothing is known longer than for one request."""

    def close_idle(self) -> None:
        """Connections without a request are aiohttp's: it closes them when its server ends."""

    def close(self) -> None:
        self._disconnects.close()


class _Service:
    """One request and its response."""

    def __init__(
        self, app: ProxyApp, request: web.Request, connection: AiohttpConnection, warn: Callable[[], object]
    ) -> None:
        self._app = app
        self._request = request
        self._connection = connection
        self._warn = warn
        self._body: RequestBody | None = None
        self._response: AiohttpDownstream | None = None

    async def run(self) -> SentResponse:
        """Answer. Raises what the app's `on_response_prepare` raises."""
        connection, handler = self._connection, self._app.handler
        try:
            parsed, self._body = read_request(self._request)
        except BadRequest as error:
            handler.refuse(self.new_response, error, connection)
            release_frames(error)
            return await self._leave(self._response)
        if self._body is not None:
            connection.on_bytes = self._body.look
            self._body.start()
        work = handler.handle(self.new_response, parsed, connection)
        del parsed, handler  # a stream may go on for hours
        try:
            return await self._leave(await connection.run(work))
        except BaseException:
            self._break()
            raise

    def new_response(self, connection: AiohttpConnection, treatment: ResponseTreatment) -> ClientResponse:
        """Make the response; see `NewResponse`."""
        if any(app.on_response_prepare for app in self._request.match_info.apps):
            self._response = PreparedDownstream(connection, treatment, self._warn, prepare=self.prepare)
        else:
            self._response = AiohttpDownstream(connection, treatment, self._warn)
        return self._response

    async def prepare(self, response: web.StreamResponse) -> None:
        """Let the app add fields to the head."""
        for app in self._request.match_info.apps:
            await app.on_response_prepare.send(self._request, response)

    async def close(self) -> None:
        """Release all of it."""
        response, self._response = self._response, None
        if response is not None:
            response.close()
        if self._body is not None:
            await self._body.close()

    # Private.

    async def _leave(self, response: ClientResponse | None) -> SentResponse:
        """Hand over to aiohttp, behind the response. response: ``None`` if the client has gone."""
        connection, body = self._connection, self._body
        keeps = response is not None and response.keep_alive
        if body is not None and not body.content.is_complete:
            if response is None:
                connection.abort(resets=False)
            if not (keeps and await connection.run(body.read_off())):
                keeps = False
                await connection.linger()
        shown = None if self._response is None else self._response.shown
        if shown is None:
            return SentResponse.unsent()
        seal(self._request.writer)
        if keeps:
            shown.allow_another()
        return shown

    def _break(self) -> None:
        """Break the response off, if it has begun. What a middleware answers then goes nowhere."""
        response = self._response
        if response is not None and response.is_on_the_wire:
            count_as_sent(self._request.writer)
            self._connection.abort(resets=not response.treatment.is_11)
