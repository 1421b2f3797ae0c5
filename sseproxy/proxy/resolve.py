"""What does a request want? Decided here, before anything is done about it."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

from sseproxy.core.errors import (
    BadRequest,
    ForeignOrigin,
    LoopDetected,
    MethodRefused,
    RouteNotFound,
    SSEProxyError,
)
from sseproxy.core.eventsource.cors import preflight_method
from sseproxy.core.frames import release_frames
from sseproxy.core.http.fields import ALLOW, Headers, Peer, forwarded_addresses, names_origin, said_request_id
from sseproxy.core.routes import READING, Route, find_route
from sseproxy.engine.observer import AccessRecord
from sseproxy.http1.content import RequestContent
from sseproxy.http1.requests import ParsedRequest
from sseproxy.http1.treatment import ResponseTreatment
from sseproxy.proxy.eventsource.cors_guard import CorsGuard, CorsView, refuse_foreign, refuse_foreign_login
from sseproxy.proxy.eventsource.ticket_paths import TicketPaths, TicketTarget
from sseproxy.proxy.inbound import ClientRequest, read_request
from sseproxy.proxy.notices import ForwardingNotice
from sseproxy.proxy.port import ClientConnection

if TYPE_CHECKING:
    from sseproxy.proxy.run_paths import RunPaths, RunTarget

#: Addresses of which it is remembered whether they are trusted.
_KNOWN_ADDRESSES = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """Answer here, without a body. fields: of the head, besides the usual ones."""

    treatment: ResponseTreatment
    route: Route | None
    fields: Headers


@dataclass(frozen=True, slots=True, eq=False)
class Refuse:
    """Answer with an error."""

    treatment: ResponseTreatment
    route: Route | None
    error: SSEProxyError


@dataclass(frozen=True, slots=True, eq=False)
class KeepTicket:
    """Keep the request for later, and answer with a ticket."""

    treatment: ResponseTreatment
    route: Route
    request: ClientRequest
    target: TicketTarget


@dataclass(frozen=True, slots=True, eq=False)
class UseTicket:
    """Open a ticket, look at it or delete it. Its route is not known yet."""

    treatment: ResponseTreatment
    request: ClientRequest
    target: TicketTarget
    route: None = None


@dataclass(frozen=True, slots=True, eq=False)
class UseRun:
    """Read a run, or stop it."""

    treatment: ResponseTreatment
    route: Route
    request: ClientRequest
    target: "RunTarget"


@dataclass(frozen=True, slots=True, eq=False)
class Forward:
    """Send the request along its route."""

    treatment: ResponseTreatment
    route: Route
    request: ClientRequest


#: What a request wants. treatment: of the response. route: under whose policies the request falls, if under any.
Resolution = Reply | Refuse | KeepTicket | UseTicket | UseRun | Forward


class Resolver:
    """Reads requests, and decides what each of them wants.

    trusted_proxies: networks. tickets: the paths of the ticket service. instance: the name of this proxy in ``Via``.
    notice: warns of peers that are not trusted, once. retired: routes that are gone, and of which runs are kept.
    """

    # Plan: one pass from the request to a `Resolution`, and nothing happens on the way: no byte is written, nothing is
    # counted, and no store is asked. What is learned of the request on the way is noted in its record.
    #
    # Rules, of which the order matters:
    # 1. A request that could be read in two ways, or that has been here before, is refused, whatever it wants.
    # 2. A preflight is answered for the route that the request itself would have. One that no policy covers goes on
    #    like any other OPTIONS, but never into a ticket.
    # 3. From here on each answer, a refusal too, says to pages of other origins what its route allows them.
    # 4. Paths of tickets and then those of runs come before routes. The route of a ticket is found when the ticket is.
    # 5. A page of another origin must not bring about what outlives the answer (a ticket), or what a login cookie is
    #    sent with.
    #
    # Features that no route uses are not asked at all (``None``).

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        trusted_proxies: Sequence[IPv4Network | IPv6Network],
        tickets: TicketPaths,
        instance: bytes,
        notice: ForwardingNotice | None = None,
        retired: Sequence[Route] = (),
    ) -> None:
        self._routes = tuple(routes)
        self._peers = Peers(trusted_proxies)
        self._tickets = tickets or None
        has_cors = any(route.cors is not None for route in (*routes, *tickets.retired, *retired))
        self._runs = _run_paths(routes, retired)
        self._cors = CorsGuard(routes, tickets, self._runs) if has_cors else None
        self._instance = instance
        self._notice = ForwardingNotice() if notice is None else notice

    def resolve(
        self,
        request: ParsedRequest,
        connection: ClientConnection,
        treatment: ResponseTreatment,
        record: AccessRecord,
    ) -> Resolution:
        """Decide what a request wants, and note in `record` which client asks which host, and by which id.

        treatment: of the response, as far as the request line and the process say.
        """
        peer = connection.peer or self._peers.of(connection)
        record.client = client = peer.address or "unix"
        try:
            inbound = read_request(request)
            record.host = inbound.host.decode("latin-1")
            record.shown_path = None if self._runs is None else self._runs.shown(inbound.path)
            if b"x-request-id" in inbound.fields:
                record.request_id = said_request_id(inbound.fields[b"x-request-id"]) or record.request_id
            if b"via" in inbound.fields and inbound.has_passed(self._instance):
                raise LoopDetected("The request has been here before: an upstream sends it back.")
        except SSEProxyError as error:
            return _refused(error, treatment)
        if peer.trusted:
            record.client = client = self._peers.client_behind(peer, inbound.headers)
        elif any(map(names_origin, inbound.fields)):
            self._notice.look_at(inbound.headers, peer)
        content = (request.content or RequestContent.empty()) if inbound.has_body else None
        asked = ClientRequest(inbound, content, peer, client)
        if self._cors is None:
            return self._decide(asked, treatment, record)
        try:
            view = self._cors.look(inbound)
        except SSEProxyError as error:
            return _refused(error, treatment)
        if view is None:
            return self._decide(asked, treatment, record)
        if view.is_preflight:
            return self._answer_preflight(asked, view, treatment)
        return self._decide(asked, replace(treatment, cross_origin=view.cross_origin), record)

    # What each of them wants.

    def _decide(self, asked: ClientRequest, treatment: ResponseTreatment, record: AccessRecord) -> Resolution:
        inbound, content = asked.inbound, asked.content
        if inbound.is_last_hop:
            return Reply(treatment, None, [ALLOW])
        if inbound.expects_continue and isinstance(content, RequestContent) and not content.is_complete:
            treatment = replace(treatment, awaits_continue=True)
        if self._tickets is None and self._runs is None:
            return self._forward(asked, treatment)
        try:
            target = None if self._tickets is None else self._tickets.find(inbound)
            run = None if self._runs is None or target is not None else self._runs.find(inbound)
        except SSEProxyError as error:
            return _refused(error, treatment)
        if run is not None:
            record.shown_path = run.shown
            return self._use_run(asked, run, treatment)
        if target is None:
            return self._forward(asked, treatment)
        if target.id is None:
            return self._keep(asked, target, treatment)
        return UseTicket(treatment, asked, target)

    def _answer_preflight(self, asked: ClientRequest, view: CorsView, treatment: ResponseTreatment) -> Resolution:
        if not view.cross_origin.is_allowed:
            error = ForeignOrigin("Pages of this origin may not do that.")
            return Refuse(treatment, view.route, error)
        fields = view.cross_origin.preflight_fields(asked.inbound.headers)
        return Reply(treatment, view.route, fields)

    def _keep(self, asked: ClientRequest, target: TicketTarget, treatment: ResponseTreatment) -> Resolution:
        assert self._tickets is not None
        inbound, route = asked.inbound, None
        try:
            route = self._tickets.route_of(target, method=inbound.method, host=inbound.host)
            if preflight_method(inbound.method, inbound.headers) is not None:
                raise ForeignOrigin("Pages of other origins may not do that: the route has no cors.")
            refuse_foreign(asked, route)
            if route.redis is not None:
                _refuse_writing(inbound.method)
        except SSEProxyError as error:
            return _refused(error, treatment, route)
        return KeepTicket(treatment, route, asked, target)

    def _use_run(self, asked: ClientRequest, target: "RunTarget", treatment: ResponseTreatment) -> Resolution:
        route = target.route
        try:
            if route.auth is not None and asked.inbound.is_logged_in(route):
                refuse_foreign_login(asked, route)
        except SSEProxyError as error:
            return _refused(error, treatment, route)
        return UseRun(treatment, route, asked, target)

    def _forward(self, asked: ClientRequest, treatment: ResponseTreatment) -> Resolution:
        inbound = asked.inbound
        host = inbound.host.decode("latin-1")
        route = find_route(self._routes, method=inbound.method, path=inbound.path, host=host)
        if route is None:
            return Refuse(treatment, None, RouteNotFound("No route matches this request."))
        try:
            if route.redis is not None:
                _refuse_writing(inbound.method)
            if not route.admits(inbound.target):
                raise BadRequest("The request target must not have dot segments on this route.")
            if route.auth is not None and inbound.is_logged_in(route):
                refuse_foreign_login(asked, route)
        except SSEProxyError as error:
            return _refused(error, treatment, route)
        return Forward(treatment, route, asked)


def _run_paths(routes: Sequence[Route], retired: Sequence[Route]) -> "RunPaths | None":
    """Return the URLs of runs, if a route has any."""
    if not retired and all(route.journal is None for route in routes):
        return None
    from sseproxy.proxy.run_paths import RunPaths  # noqa: PLC0415 - only where a route has a journal

    return RunPaths(routes, retired)


class Peers:
    """The proxies that are trusted: those in `networks`."""

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        self._is_trusted = functools.lru_cache(maxsize=_KNOWN_ADDRESSES)(self._is_in_network)
        self._networks = tuple(networks)

    def of(self, connection: ClientConnection) -> Peer:
        """Return who is connected, and note it on the connection: it never changes.

        A peer on a unix socket is trusted, unless its listener says otherwise: the file's mode decides who connects.
        """
        address = connection.client_address
        is_trusted = connection.is_trusted or self._is_trusted(address)
        connection.peer = Peer(address, connection.scheme, is_trusted)
        return connection.peer

    def client_behind(self, peer: Peer, headers: Headers) -> str:
        """Return the nearest address that is not one of the trusted proxies: the client, as far as can be known."""
        known = peer.address or "unix"
        for address in reversed(forwarded_addresses(headers) if peer.trusted else []):
            if _address(address) is None:
                break
            known = address
            if not self._is_trusted(address):
                break
        return known

    def _is_in_network(self, address: str) -> bool:
        found = _address(address.partition("%")[0])
        return found is not None and any(found in network for network in self._networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _refuse_writing(method: str) -> None:
    """Reject what is not reading, on a route to Redis, also before a ticket keeps the request."""
    if method not in READING:
        raise MethodRefused("Only GET and HEAD are possible here: messages are published to Redis.", allowed=READING)


def _refused(error: SSEProxyError, treatment: ResponseTreatment, route: Route | None = None) -> Refuse:
    release_frames(error)
    return Refuse(treatment, route, error)
