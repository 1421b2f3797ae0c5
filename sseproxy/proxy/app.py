"""How does a request find its way to a route and its upstream?"""

import asyncio
import functools
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network, ip_address

from sseproxy.core.errors import BadRequest, InternalError, LoopDetected, RouteNotFound, SSEProxyError
from sseproxy.core.eventsource.cors import CrossOrigin
from sseproxy.core.frames import release_frames
from sseproxy.core.http.fields import PSEUDONYM, Peer, forwarded_addresses
from sseproxy.core.http.peek import BodyPeek
from sseproxy.core.http.via import is_loop
from sseproxy.core.routes import Route, find_route
from sseproxy.engine.access import AccessLog, AccessRecord
from sseproxy.engine.admissions import Admissions
from sseproxy.engine.live import LiveStreams
from sseproxy.http1.content import RequestContent
from sseproxy.http1.disconnects import DisconnectWatch
from sseproxy.http1.downstream import HttpDownstream
from sseproxy.http1.listener import ClientConnections, ConnectionLimit
from sseproxy.http1.policy import ServerPolicy
from sseproxy.http1.requests import ParsedRequest
from sseproxy.http1.server import DownstreamConnection
from sseproxy.http1.treatment import ResponseTreatment
from sseproxy.logs import LOGGER
from sseproxy.origins.http import HttpOrigin
from sseproxy.proxy.body import Body, BodyReader, KeptBody
from sseproxy.proxy.eventsource.cors_guard import CorsGuard, refuse_foreign_login
from sseproxy.proxy.eventsource.end_signer import EndSigner
from sseproxy.proxy.eventsource.tickets import TicketService
from sseproxy.proxy.forward import Forwarding
from sseproxy.proxy.inbound import InboundRequest, read_request
from sseproxy.proxy.notices import ForwardingNotice, UntellableNotice, warn_of_connections
from sseproxy.proxy.responses import send_options, send_problem
from sseproxy.proxy.ticket_requests import TicketRequest
from sseproxy.stores.base import TicketStore

_log = logging.getLogger(LOGGER)

#: Random bytes that tell one proxy from another in ``Via``.
INSTANCE_BYTES = 6

#: Addresses of which it is remembered whether they are trusted.
_KNOWN_ADDRESSES = 4096


#: Seconds for which a client may take nothing of an answer of ours.
_ANSWER_TIME = 30.0


class ProxyApp:
    """The proxy of one process. Must be made while the event loop runs.

    origins: the upstream of each route, by the route's name. tickets: where routes that have any keep them.
    end_key: what the ends of streams are signed with, for processes that answer each other's clients.
    instance: what tells this proxy from others of its name, for processes that are one proxy; at most 32 digits and
    lower-case letters.
    streams: where those under way are known, and whose clock they go by.
    policy: of client connections.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        origins: Mapping[str, HttpOrigin],
        *,
        trusted_proxies: Sequence[IPv4Network | IPv6Network] = (),
        tickets: TicketStore | None = None,
        end_key: bytes = b"",
        instance: str = "",
        streams: LiveStreams | None = None,
        policy: ServerPolicy = ServerPolicy(),
    ) -> None:
        self.streams = LiveStreams() if streams is None else streams
        self.admissions = Admissions()
        self.disconnects = DisconnectWatch()
        self.draining = False
        self._routes = tuple(routes)
        self._origins = dict(origins)
        self._trusted = tuple(trusted_proxies)
        self._is_trusted = functools.lru_cache(maxsize=_KNOWN_ADDRESSES)(self._find_trust)
        self._access = AccessLog()
        self._forwarding = ForwardingNotice()
        self._untellable = UntellableNotice()
        self._desk = TicketService(routes, tickets)
        self._door = CorsGuard(routes, self._desk)
        self._via = PSEUDONYM + b"-" + (instance or secrets.token_hex(INSTANCE_BYTES)).encode()
        self._ends = EndSigner(end_key or secrets.token_bytes(32))
        self._cycles: set[Forwarding | TicketRequest] = set()
        self._policy = policy
        self._limit = ConnectionLimit(policy.connections, on_reached=warn_of_connections)
        self._servers: list[ClientConnections] = []
        self._when_idle: asyncio.Event | None = None
        self._time = asyncio.get_running_loop().time

    def server(self, *, scheme: str, is_unix: bool = False, trusts: bool | None = None) -> ClientConnections:
        """A factory of client connections, for `loop.create_server`; see `ClientConnections`.

        trusts: all peers are trusted proxies; left out: those on a unix socket are.
        """
        trusts = is_unix if trusts is None else trusts
        server = ClientConnections(
            self, scheme=scheme, is_unix=is_unix, trusts=trusts, policy=self._policy, limit=self._limit
        )
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
            cycle.downstream.close_behind()
        for server in self._servers:
            server.close_idle()

    def cut(self) -> None:
        """End all that is still under way, now: requests without a response get a 503, streams are broken off."""
        for cycle in self._cycles:
            cycle.downstream.skip_linger()
        self.streams.abort_all()
        for cycle in list(self._cycles):
            cycle.cut()

    async def close(self) -> None:
        """Close the connections to all upstreams, and forget what was kept."""
        self.disconnects.close()
        await self._desk.close()
        for origin in self._origins.values():
            await origin.close()

    async def wait_until_idle(self) -> None:
        """Wait until no request is under way."""
        while self._cycles:
            self._when_idle = asyncio.Event()
            await self._when_idle.wait()

    async def handle(self, request: ParsedRequest, connection: DownstreamConnection) -> HttpDownstream:
        """Serve one request."""
        time = self._time
        record = AccessRecord(connection.client_address or "unix", request.method, request.target, time())
        downstream = HttpDownstream(
            connection,
            ResponseTreatment(
                is_11=request.version == "1.1",
                is_head=request.method == "HEAD",
                keep_alive=request.keeps_alive and not self.draining,
                linger=self.streams.linger,
            ),
            on_untellable=self._untellable.give,
        )
        try:
            await self._serve(request, connection, downstream, record)
            if downstream.has_unsent:
                await downstream.wait_until_flushed(_ANSWER_TIME)
        finally:
            record.ended_at = record.ended_at or time()
            self._access.ended(record)
        return downstream

    def refuse(self, error: SSEProxyError, connection: DownstreamConnection) -> None:
        """Answer a request that could not even be read, or a connection that is one too many."""
        record = AccessRecord(connection.client_address or "unix", "-", "-", self._time())
        downstream = HttpDownstream(connection, ResponseTreatment())
        self._answer_with(error, downstream, record)
        record.ended_at = record.started_at
        self._access.ended(record)

    # Private.

    async def _serve(
        self, request: ParsedRequest, connection: DownstreamConnection, downstream: HttpDownstream, record: AccessRecord
    ) -> None:
        cycle: Forwarding | TicketRequest | None = None
        try:
            cycle = self._take_up(request, connection, downstream, record)
            if cycle is not None:
                self._cycles.add(cycle)
                await cycle.run()
        except SSEProxyError as error:
            self._answer_with(error, downstream, record)
            release_frames(error)
        except Exception as error:  # noqa: BLE001 - a defect must not leave the client waiting
            _log.exception("unexpected error while serving %s", record.path)
            self._answer_with(InternalError("An internal error occurred.", cause=repr(error)), downstream, record)
            release_frames(error)
        finally:
            if cycle is not None:
                self._forget(cycle)

    def _take_up(
        self, request: ParsedRequest, connection: DownstreamConnection, downstream: HttpDownstream, record: AccessRecord
    ) -> Forwarding | TicketRequest | None:
        """Read the request, and find its route or what it wants of the desk; ``None`` if it has been answered already.

        Raises `ClientError`.
        """
        inbound = read_request(request)
        request.headers = []  # a stream may go on for hours
        if is_loop(inbound.passed, self._via):
            raise LoopDetected("The request has been here before: an upstream sends it back.")
        peer = self._peer(connection)
        self._forwarding.look_at(inbound.headers, peer)
        record.client = self._client_behind(peer, inbound)
        if self._door.answers(inbound, downstream, record):
            return None
        if inbound.is_last_hop:
            record.status = record.intended = HTTPStatus.NO_CONTENT
            send_options(downstream)
            return None
        content = (request.content or RequestContent.empty()) if inbound.has_body else None
        awaits_continue = inbound.expects_continue and content is not None and not content.is_complete
        downstream.treatment = replace(downstream.treatment, awaits_continue=awaits_continue)
        call = self._desk.find_call(inbound)
        if call is not None:
            new_cycle = partial(self._new_cycle, connection=connection, downstream=downstream, record=record)
            return TicketRequest(self._desk, call, inbound, content, downstream, record, peer, new_cycle)
        route = self._find_route(inbound)
        return self._new_cycle(
            inbound, route, content, peer=peer, connection=connection, downstream=downstream, record=record
        )

    def _peer(self, connection: DownstreamConnection) -> Peer:
        """Who is connected: always the same, so it is found out once.

        A peer on a unix socket is trusted, unless its listener says otherwise: the file's mode decides who connects.
        """
        if connection.peer is None:
            address = connection.client_address
            is_trusted = connection.is_trusted or self._is_trusted(address)
            connection.peer = Peer(address, connection.scheme, is_trusted)
        return connection.peer

    def _new_cycle(
        self,
        inbound: InboundRequest,
        route: Route,
        content: RequestContent | bytes | None,
        *,
        peer: Peer,
        connection: DownstreamConnection,
        downstream: HttpDownstream,
        record: AccessRecord,
        when_sent: Callable[[], Awaitable[None]] | None = None,
    ) -> Forwarding:
        record.route = route.name
        self._access.started(record)
        if not route.admits(inbound.target):
            raise BadRequest("The request target must not have dot segments on this route.")
        if inbound.opened_with is None and inbound.is_logged_in(route):
            refuse_foreign_login(inbound, route, peer)
        if inbound.opened_with is not None:
            # Only now it is known whose ticket it was.
            cors = route.cors if downstream.treatment.cross_origin is not None else None
            cross_origin = None if cors is None else CrossOrigin.of(cors, inbound.opened_with)
            downstream.treatment = replace(downstream.treatment, opens_ticket=True, cross_origin=cross_origin)
        wanted = inbound.stream_request(route)
        if members := wanted.wanted_members:
            wanted.peek = BodyPeek(members)
        return Forwarding(
            route=route,
            origin=self._origins[route.name],
            inbound=inbound,
            request=wanted,
            upstream_headers=inbound.upstream_headers(route, peer, accepts_stream=wanted.accepts_stream, via=self._via),
            body=self._new_body(content, inbound, route, downstream, wanted.peek),
            connection=connection,
            downstream=downstream,
            streams=self.streams,
            clock=self.streams.clock(),
            admissions=self.admissions,
            record=record,
            ends=self._ends,
            when_sent=when_sent,
        )

    def _forget(self, cycle: Forwarding | TicketRequest) -> None:
        self._cycles.discard(cycle)
        if not self._cycles and self._when_idle is not None:
            self._when_idle.set()

    def _find_route(self, inbound: InboundRequest) -> Route:
        host = inbound.host.decode("latin-1")
        route = find_route(self._routes, method=inbound.method, path=inbound.path, host=host)
        if route is None:
            raise RouteNotFound("No route matches this request.")
        return route

    def _new_body(
        self,
        content: RequestContent | bytes | None,
        inbound: InboundRequest,
        route: Route,
        downstream: HttpDownstream,
        peek: BodyPeek | None,
    ) -> Body | None:
        if not inbound.has_body or content is None:
            return None
        if isinstance(content, bytes):
            return KeptBody(content, peek)
        ask = downstream.send_continue if inbound.expects_continue else None
        return BodyReader(
            content, limit=route.limits.request_body, ask=ask, peek=peek, within=route.timeouts.request_body
        )

    def _answer_with(self, error: SSEProxyError, downstream: HttpDownstream, record: AccessRecord) -> None:
        record.error = str(error)
        if downstream.started:
            downstream.cut()
            return
        record.status = record.intended = error.status
        send_problem(downstream, error)

    def _find_trust(self, address: str) -> bool:
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


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
