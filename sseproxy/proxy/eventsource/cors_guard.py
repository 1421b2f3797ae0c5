"""May a page of another origin read the answer, and what is its browser told that asks first? (contract section 5)"""

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus

from sseproxy.core.errors import ForeignOrigin, RouteNotFound
from sseproxy.core.eventsource.cors import CrossOrigin, is_foreign, preflight_method
from sseproxy.core.eventsource.fetch_metadata import is_navigation
from sseproxy.core.http.fields import Peer, get_all, tokens
from sseproxy.core.routes import Route, find_route
from sseproxy.engine.access import AccessRecord
from sseproxy.http1.downstream import HttpDownstream
from sseproxy.proxy.eventsource.tickets import TicketService
from sseproxy.proxy.inbound import InboundRequest
from sseproxy.proxy.responses import send_nothing


def refuse_foreign_login(inbound: InboundRequest, route: Route, peer: Peer) -> None:
    """Reject a request of another origin's page that a login cookie would be sent with. CORS alone hides the response.

    A navigation is let through: a link from another site has to work, and it shows its page to the user, not to the
    site. Raises `ForeignOrigin`.
    """
    if not is_navigation(inbound.method, inbound.headers):
        refuse_foreign(inbound, route, peer)


def refuse_foreign(inbound: InboundRequest, route: Route, peer: Peer) -> None:
    """Reject a request of another origin's page whose effect outlives the answer, as a ticket does.

    Navigations too: tickets are made by scripts, and a page could navigate hundreds of frames. Raises `ForeignOrigin`.
    """
    if is_from_foreign_page(inbound, route, peer):
        raise ForeignOrigin("A page of another origin sends this, and cors.origins does not name it.")


def is_from_foreign_page(inbound: InboundRequest, route: Route, peer: Peer) -> bool:
    """Whether a page has brought the request about that is of another origin, and not of one that the route lets in."""
    hosts = [inbound.host, *(tokens(get_all(inbound.headers, b"x-forwarded-host")) if peer.trusted else ())]
    return is_foreign(inbound.headers, route.cors, hosts=hosts, logs_in=inbound.is_logged_in(route))


class CorsGuard:
    """Where all requests come by, before anything is done about them."""

    def __init__(self, routes: Sequence[Route], desk: TicketService) -> None:
        self._routes = tuple(routes)
        self._desk = desk
        self._stands_open = all(route.cors is None for route in routes)

    def answers(self, inbound: InboundRequest, downstream: HttpDownstream, record: AccessRecord) -> bool:
        """Whether the request was a preflight, and has been answered; else the response will say what its page may do.

        Raises `ForeignOrigin`.
        """
        if self._stands_open:
            return False
        method = preflight_method(inbound.method, inbound.headers)
        if method is not None:
            found = self._find(replace(inbound, method=method))
            if found is not None:
                self._answer(inbound, *found, downstream, record)
                return True
        found = self._find(inbound)
        cross_origin = None if found is None else found[1]
        downstream.treatment = replace(downstream.treatment, cross_origin=cross_origin)
        return False

    def _find(self, inbound: InboundRequest) -> tuple[Route, CrossOrigin] | None:
        """The route whose word counts: of several that may be meant, one that lets this origin in, and its cookies too.

        A browser that hears of no cookies in the answer to its preflight does not even send what it asked for.
        """
        found = [
            (route, CrossOrigin.of(route.cors, inbound.headers))
            for route in self._candidates(inbound)
            if route.cors is not None
        ]
        return max(found, key=_generosity, default=None)

    def _candidates(self, inbound: InboundRequest) -> Sequence[Route]:
        """The route of the request. Of a ticket it is not known yet, and must not show: all that it may belong to."""
        call = self._desk.find_call(inbound)
        if call is None:
            host = inbound.host.decode("latin-1")
            route = find_route(self._routes, method=inbound.method, path=inbound.path, host=host)
            return () if route is None else (route,)
        if call.id is not None:
            return [route for route in self._routes if route.tickets is not None and route.tickets.path == call.path]
        try:
            return (self._desk.find_route(call, method=inbound.method, host=inbound.host),)
        except RouteNotFound:
            return ()

    def _answer(
        self,
        inbound: InboundRequest,
        route: Route,
        cross_origin: CrossOrigin,
        downstream: HttpDownstream,
        record: AccessRecord,
    ) -> None:
        record.route = route.name
        if not cross_origin.is_allowed:
            raise ForeignOrigin("Pages of this origin may not do that.")
        record.status = record.intended = HTTPStatus.NO_CONTENT
        send_nothing(downstream, HTTPStatus.NO_CONTENT, cross_origin.preflight_fields(inbound.headers))


def _generosity(found: tuple[Route, CrossOrigin]) -> tuple[bool, bool]:
    _, cross_origin = found
    return cross_origin.is_allowed, cross_origin.policy.credentials
