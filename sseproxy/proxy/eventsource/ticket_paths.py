"""Which requests are about tickets, and along which route will a request go that is to be kept?"""

from collections.abc import Sequence
from dataclasses import field

from sseproxy.core.errors import BadRequest, RouteNotFound
from sseproxy.core.eventsource.policies import TicketBinding, TicketPolicy
from sseproxy.core.eventsource.ticket_ids import is_ticket_id, names_ticket
from sseproxy.core.frozen import frozen
from sseproxy.core.http.paths import behind_prefix, has_dots, has_prefix, normalized
from sseproxy.core.routes import Route, find_route, split_target
from sseproxy.proxy.inbound import InboundRequest

#: Methods that do something with a ticket; a request with any other is kept.
_OF_TICKETS = ("GET", "HEAD", "DELETE")


@frozen
class TicketTarget:
    """What a request to the ticket service names.

    path: the service's, which may be that of several routes. id: of the ticket; ``None``: `target` is to be kept.
    target never has dot segments.
    """

    path: str
    id: str | None = field(repr=False)
    target: str


class TicketPaths:
    """The paths under which the routes of a proxy keep requests. False if none does.

    retired: routes that keep no further request; those that are kept can still be asked for.
    """

    def __init__(self, routes: Sequence[Route], retired: Sequence[Route] = ()) -> None:
        self.retired = tuple(retired)
        self._routes = tuple(routes)
        self._policies = _by_binding((*routes, *retired))
        self._paths = sorted(self._policies, key=len, reverse=True)
        self._keep = frozenset(route.tickets.path for route in routes if route.tickets is not None)

    def __bool__(self) -> bool:
        return bool(self._paths)

    def find(self, inbound: InboundRequest) -> TicketTarget | None:
        """Return what a request names, if it is about tickets. Raises `BadRequest` where that cannot be known."""
        for path in self._paths:
            if has_prefix(inbound.path, path):
                name = inbound.path[len(path) + 1 :]
                is_named = inbound.method in _OF_TICKETS and is_ticket_id(name)
                if not is_named and path not in self._keep:
                    continue
                raw, query = split_target(inbound.target)
                target = None if has_dots(raw) else behind_prefix(raw, path)
                if target is None:
                    raise BadRequest("The path of a ticket must not have dot segments.")
                if is_named:
                    return TicketTarget(path, name, "")
                return TicketTarget(path, None, target + query)
        return None

    def route_of(self, target: TicketTarget, *, method: str, host: bytes) -> Route:
        """Return the route of a request that is to be kept.

        Raises `RouteNotFound`, also for a request that only looks for a ticket.
        """
        path = normalized(split_target(target.target)[0])
        if method in _OF_TICKETS and names_ticket(path):
            raise RouteNotFound("No route matches this request.")
        route = find_route(self._routes, method=method, path=path, host=host.decode("latin-1"))
        if not path.startswith("/") or route is None or not keeps_at(route, target.path):
            raise RouteNotFound("No route matches this request.")
        return route

    def routes_at(self, path: str) -> list[Route]:
        """Return all routes that keep requests at `path`: a ticket may be of any of them."""
        return [route for route in (*self._routes, *self.retired) if keeps_at(route, path)]

    def policies_at(self, path: str) -> Sequence[TicketPolicy]:
        """Return one policy of each way in which tickets at `path` are bound."""
        return self._policies.get(path, ())


def keeps_at(route: Route, path: str) -> bool:
    """True if the route keeps requests at `path`."""
    return route.tickets is not None and route.tickets.path == path


def _by_binding(routes: Sequence[Route]) -> dict[str, list[TicketPolicy]]:
    found: dict[str, dict[tuple[TicketBinding, str], TicketPolicy]] = {}
    for policy in (route.tickets for route in routes if route.tickets is not None):
        found.setdefault(policy.path, {}).setdefault((policy.bind, policy.bind_cookie), policy)
    return {path: list(policies.values()) for path, policies in found.items()}
