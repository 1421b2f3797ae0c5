"""May a page of another origin read the answer, and what does its browser get that asks first? (docs/eventsource.md)"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sseproxy.core.errors import ForeignOrigin, RouteNotFound
from sseproxy.core.eventsource.cors import CrossOrigin, is_foreign, preflight_method
from sseproxy.core.eventsource.fetch_metadata import is_navigation
from sseproxy.core.frozen import frozen
from sseproxy.core.http.fields import get, tokens
from sseproxy.core.routes import Route, find_route
from sseproxy.proxy.eventsource.ticket_paths import TicketPaths
from sseproxy.proxy.inbound import ClientRequest, InboundRequest

if TYPE_CHECKING:
    from sseproxy.proxy.run_paths import RunPaths


def refuse_foreign_login(request: ClientRequest, route: Route) -> None:
    """Reject a request of another origin's page that a login cookie would be sent with. CORS alone hides the response.

    A navigation is let through: a link from another site has to work, and it shows its page to the user, not to the
    site. Raises `ForeignOrigin`.
    """
    if not is_navigation(request.inbound.method, request.inbound.headers):
        refuse_foreign(request, route)


def refuse_foreign(request: ClientRequest, route: Route) -> None:
    """Reject a request of another origin's page whose effect outlives the answer, as a ticket does.

    Navigations too: tickets are made by scripts, and a page could navigate hundreds of frames. Raises `ForeignOrigin`.
    """
    if is_from_foreign_page(request, route):
        origin = get(request.inbound.headers, b"origin") or b"null"
        page = "another origin" if origin == b"null" else origin.decode("latin-1")
        raise ForeignOrigin(f"A page of {page} sends this, and cors.origins does not name it.")


def is_from_foreign_page(request: ClientRequest, route: Route) -> bool:
    """Return whether a page has sent the request that is of another origin, and not of one that the route lets in."""
    inbound = request.inbound
    named = inbound.fields.get(b"x-forwarded-host", ()) if request.peer.trusted else ()
    hosts = [inbound.host, *tokens(named)]
    return is_foreign(inbound.headers, route.cors, hosts=hosts, logs_in=inbound.is_logged_in(route))


@frozen
class CorsView:
    """What `route` says to the page that sends a request. is_preflight: its browser asks before it sends one."""

    route: Route
    cross_origin: CrossOrigin
    is_preflight: bool = False

    @property
    def generosity(self) -> tuple[bool, bool]:
        """How much it allows, to be compared with others."""
        return self.cross_origin.is_allowed, self.cross_origin.policy.credentials


class CorsGuard:
    """Finds the CORS policy of each request. Only needed where a route has one."""

    def __init__(self, routes: Sequence[Route], tickets: TicketPaths, runs: "RunPaths | None" = None) -> None:
        self._routes = tuple(routes)
        self._runs = runs
        self._tickets = tickets

    def look(self, inbound: InboundRequest) -> CorsView | None:
        """Return what holds for the page that sends a request; ``None`` if no route with a policy is meant.

        An OPTIONS that asks for no route with a policy is no preflight here, and goes on. Raises `BadRequest`.
        """
        method = preflight_method(inbound.method, inbound.headers)
        if method is not None:
            view = self._find(replace(inbound, method=method))
            if view is not None:
                return replace(view, is_preflight=True)
        return self._find(inbound)

    def _find(self, inbound: InboundRequest) -> CorsView | None:
        """Return the view of the route whose word counts: if several may be meant, the most generous one.

        A browser that hears of no cookies in the answer to its preflight does not even send what it asked for.
        """
        views = [
            CorsView(route, CrossOrigin.of(route.cors, inbound.headers))
            for route in self._candidates(inbound)
            if route.cors is not None
        ]
        return max(views, key=lambda view: view.generosity, default=None)

    def _candidates(self, inbound: InboundRequest) -> Sequence[Route]:
        """Return the route of the request. Of a ticket it is not known, and must not show: all that may be."""
        target = self._tickets.find(inbound)
        run = None if target is not None or self._runs is None else self._runs.find(inbound)
        if run is not None:
            return (run.route,)
        if target is None:
            host = inbound.host.decode("latin-1")
            route = find_route(self._routes, method=inbound.method, path=inbound.path, host=host)
            return () if route is None else (route,)
        if target.id is not None:
            return self._tickets.routes_at(target.path)
        try:
            return (self._tickets.route_of(target, method=inbound.method, host=inbound.host),)
        except RouteNotFound:
            return ()
