"""How does a request find its way to a route and its upstream?"""

import asyncio
import functools
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, cast

from aiohttp import StreamReader, web

from sseproxy.core.cors import CrossOrigin
from sseproxy.core.errors import ClientError, RouteNotFound, SSEProxyError
from sseproxy.core.headers import Peer, forwarded_addresses
from sseproxy.core.routes import Route, find_route
from sseproxy.core.tickets import masked
from sseproxy.logs import LOGGER, AccessLog, AccessRecord
from sseproxy.origins.http import HttpOrigin
from sseproxy.proxy.body import AwaitedPeek, Body, BodyReader, KeptBody
from sseproxy.proxy.connection import DownstreamConnection
from sseproxy.proxy.crossorigin import CrossOriginDoor, refuse_foreign
from sseproxy.proxy.downstream import HttpDownstream
from sseproxy.proxy.endings import Ends
from sseproxy.proxy.handler import RequestCycle
from sseproxy.proxy.hangups import HangupWatch
from sseproxy.proxy.inbound import InboundRequest, logged_path, read_request
from sseproxy.proxy.responses import send_problem
from sseproxy.proxy.tickets import TicketDesk
from sseproxy.proxy.visits import TicketVisit
from sseproxy.stores.base import TicketStore
from sseproxy.streams import Admissions, LiveStreams

_log = logging.getLogger(LOGGER)

#: Bytes of a request line and of one header field, and how many fields there may be.
MAX_LINE = 64 * 1024
MAX_FIELD = 64 * 1024
MAX_FIELDS = 256

#: Addresses of which it is remembered whether they are trusted.
_KNOWN_ADDRESSES = 4096

#: Seconds that a client's connection may be open without a request.
IDLE_CONNECTION = 75.0

#: Seconds that the rest of a request body is read after an early response, before the connection is closed.
LINGER = 5.0


class ProxyApp:
    """The proxy of one process. Must be made while the event loop runs.

    origins: the upstream of each route, by the route's name. tickets: where routes that have any keep them.
    end_key: what the ends of streams are signed with, for processes that answer each other's clients.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        origins: Mapping[str, HttpOrigin],
        *,
        trusted_proxies: Sequence[IPv4Network | IPv6Network] = (),
        tickets: TicketStore | None = None,
        end_key: bytes = b"",
    ) -> None:
        self.streams = LiveStreams()
        self._admissions = Admissions()
        self.hangups = HangupWatch()
        self.draining = False
        self._routes = tuple(routes)
        self._origins = dict(origins)
        self._trusted = tuple(trusted_proxies)
        self._is_trusted = functools.lru_cache(maxsize=_KNOWN_ADDRESSES)(self._find_trust)
        self._access = AccessLog()
        self._desk = TicketDesk(routes, tickets)
        self._door = CrossOriginDoor(routes, self._desk)
        self._ends = Ends(end_key or secrets.token_bytes(32))
        self._cycles: set[RequestCycle | TicketVisit] = set()
        self._servers: list[_Server] = []
        self._idle = asyncio.Event()
        self._idle.set()

    def server(self, *, scheme: str) -> web.Server:
        """A factory of client connections, for `loop.create_server`. scheme: what the client speaks, http or https."""
        server = _Server(self, scheme)
        self._servers.append(server)
        return server

    @property
    def requests(self) -> int:
        """How many requests are under way."""
        return len(self._cycles)

    def drain(self, *, timeout: float | None, spread: float) -> None:
        """Let every stream end at its own moment within `spread` seconds, and by `timeout` if that is set."""
        self.draining = self._desk.draining = True
        self.streams.drain(now=asyncio.get_running_loop().time(), timeout=timeout, spread=spread)
        for cycle in self._cycles:
            cycle.downstream.keep_alive = False
        for connection in self._connections():
            connection.close_if_idle()

    def cut(self) -> None:
        """End all that is still under way, now: requests without a response get a 503, streams are broken off."""
        self.streams.cut_all()
        for cycle in list(self._cycles):
            cycle.cut()

    async def close(self) -> None:
        """Close the connections to all upstreams, and forget what was kept."""
        self.hangups.close()
        await self._desk.close()
        for origin in self._origins.values():
            await origin.close()

    async def wait_until_idle(self) -> None:
        """Wait until no request is under way."""
        await self._idle.wait()

    async def handle(self, request: web.BaseRequest, scheme: str) -> HttpDownstream:
        """Serve one request."""
        connection = cast(DownstreamConnection, request.protocol)
        downstream = HttpDownstream(request, connection)
        record = self._new_record(request, connection)
        cycle: RequestCycle | TicketVisit | None = None
        try:
            cycle = self._take_up(request, connection, downstream, record, scheme)
            if cycle is not None:
                await cycle.run()
        except SSEProxyError as error:
            self._answer_with(error, downstream, record)
        finally:
            if cycle is not None:
                self._forget(cycle)
            record.ended_at = asyncio.get_running_loop().time()
            self._access.ended(record)
        return downstream

    def refuse(self, request: web.BaseRequest, error: SSEProxyError) -> HttpDownstream:
        """Answer a request that could not even be read."""
        connection = cast(DownstreamConnection, request.protocol)
        downstream = HttpDownstream(request, connection)
        record = self._new_record(request, connection)
        if isinstance(error, ClientError):
            record.method, record.path = "-", "-"
        else:
            _log.error("%s", error)
        self._answer_with(error, downstream, record)
        record.ended_at = record.started_at
        self._access.ended(record)
        return downstream

    # Private.

    def _take_up(
        self,
        request: web.BaseRequest,
        connection: DownstreamConnection,
        downstream: HttpDownstream,
        record: AccessRecord,
        scheme: str,
    ) -> RequestCycle | TicketVisit | None:
        """Read the request, and find its route or what it wants of the desk; ``None`` if it has been answered already.

        Raises `ClientError`.
        """
        inbound = read_request(request)
        if self.draining:
            downstream.keep_alive = False
        peer = Peer(connection.client_address, scheme, self._is_trusted(connection.client_address))
        record.client = self._client_behind(peer, inbound)
        if self._door.answers(inbound, downstream, record):
            return None
        new_cycle = partial(self._new_cycle, connection=connection, downstream=downstream, record=record)
        call = self._desk.find_call(inbound)
        cycle: RequestCycle | TicketVisit
        if call is not None:
            cycle = TicketVisit(self._desk, call, inbound, request.content, downstream, record, peer, new_cycle)
        else:
            cycle = new_cycle(inbound, self._find_route(inbound), request.content, peer=peer)
        self._cycles.add(cycle)
        self._idle.clear()
        return cycle

    def _new_cycle(
        self,
        inbound: InboundRequest,
        route: Route,
        content: StreamReader | bytes | None,
        *,
        peer: Peer,
        connection: DownstreamConnection,
        downstream: HttpDownstream,
        record: AccessRecord,
        when_sent: Callable[[], Awaitable[None]] | None = None,
    ) -> RequestCycle:
        record.route = route.name
        self._access.started(record)
        if inbound.opened_with is None and inbound.is_logged_in(route):
            refuse_foreign(inbound, route, peer)
        downstream.opens_ticket = inbound.opened_with is not None
        if downstream.cross_origin is not None and inbound.opened_with is not None:
            # Only now it is known whose ticket it was.
            cors = route.cors
            downstream.cross_origin = None if cors is None else CrossOrigin.of(cors, inbound.opened_with)
        peek = self._new_peek(inbound, route)
        return RequestCycle(
            route=route,
            origin=self._origins[route.name],
            inbound=inbound,
            upstream_headers=inbound.upstream_headers(route, peer),
            body=self._new_body(content, inbound, route, downstream, peek),
            peek=peek,
            connection=connection,
            downstream=downstream,
            streams=self.streams,
            clock=self.streams.clock(),
            admissions=self._admissions,
            record=record,
            ends=self._ends,
            when_sent=when_sent,
        )

    def _forget(self, cycle: RequestCycle | TicketVisit) -> None:
        self._cycles.discard(cycle)
        if not self._cycles:
            self._idle.set()

    def _connections(self) -> list[DownstreamConnection]:
        return [cast(DownstreamConnection, known) for server in self._servers for known in server.connections]

    def _find_route(self, inbound: InboundRequest) -> Route:
        host = inbound.host.decode("latin-1")
        route = find_route(self._routes, method=inbound.method, path=inbound.path, host=host)
        if route is None:
            raise RouteNotFound("No route matches this request.")
        return route

    def _new_peek(self, inbound: InboundRequest, route: Route) -> AwaitedPeek | None:
        if route.heartbeat.before_response is None or inbound.declares_stream(route):
            return None
        return AwaitedPeek() if inbound.may_declare_in_body(route) else None

    def _new_body(
        self,
        content: StreamReader | bytes | None,
        inbound: InboundRequest,
        route: Route,
        downstream: HttpDownstream,
        peek: AwaitedPeek | None,
    ) -> Body | None:
        if not inbound.has_body or content is None:
            return None
        if isinstance(content, bytes):
            return KeptBody(content, peek)
        ask = downstream.send_continue if inbound.expects_continue else None
        return BodyReader(content, limit=route.limits.request_body, ask=ask, peek=peek)

    def _answer_with(self, error: SSEProxyError, downstream: HttpDownstream, record: AccessRecord) -> None:
        record.status = record.intended = error.status
        record.error = str(error)
        send_problem(downstream, error)

    def _find_trust(self, address: str) -> bool:
        """A peer on a unix socket is trusted: whoever may open the file is one of ours."""
        if not address:
            return True
        try:
            peer = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(peer in network for network in self._trusted)

    def _client_behind(self, peer: Peer, inbound: InboundRequest) -> str:
        """The nearest address that is not one of our trusted proxies: the client, as far as can be known."""
        known = peer.address or "unix"
        for address in reversed(forwarded_addresses(inbound.headers) if peer.trusted else []):
            if not _is_address(address):
                break
            known = address
            if not self._is_trusted(address):
                break
        return known

    def _new_record(self, request: web.BaseRequest, connection: DownstreamConnection) -> AccessRecord:
        message = request._message
        now = asyncio.get_running_loop().time()
        path = masked(logged_path(message.path))
        return AccessRecord(connection.client_address or "unix", message.method, path, now)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class _Server(web.Server):
    """Makes our connections in place of aiohttp's."""

    def __init__(self, app: ProxyApp, scheme: str) -> None:
        self._app = app
        self._scheme = scheme
        super().__init__(self._handle, handler_cancellation=True)

    def _handle(self, request: web.BaseRequest) -> Awaitable[Any]:
        return self._app.handle(request, self._scheme)

    def _refuse(self, request: web.BaseRequest, error: SSEProxyError) -> web.StreamResponse:
        return cast(web.StreamResponse, self._app.refuse(request, error))

    def __call__(self) -> DownstreamConnection:
        return DownstreamConnection(
            self,
            respond_error=self._refuse,
            hangups=self._app.hangups,
            loop=self._loop,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=IDLE_CONNECTION,
            lingering_time=LINGER,
            max_line_size=MAX_LINE,
            max_field_size=MAX_FIELD,
            max_headers=MAX_FIELDS,
        )
