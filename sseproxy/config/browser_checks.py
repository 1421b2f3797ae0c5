"""Which combinations of right values are impossible for what a route does for `EventSource`?

Like `checks`: what is wrong is added to `Document.problems`, and nothing is said about values that are wrong already.
"""

from sseproxy.config.browsers import AuthSection, CORSSection, EndSection
from sseproxy.config.build import cookie_auth, cors_policy, end_policy, match_of, store_policy, ticket_policy
from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.problems import Path
from sseproxy.config.route_checks import is_right
from sseproxy.config.schema import FileSchema
from sseproxy.config.values import format_size
from sseproxy.core.stream.plan import StreamMode

_WORKERS: Path = ("server", "workers")
_MEMORY: Path = ("store", "memory")


def check_browsers(document: Document, file: FileSchema, routes: tuple[EffectiveRoute, ...]) -> None:
    """Tickets, auth, end and cors of all routes."""
    for route in routes:
        if route.own() in document.broken:
            continue
        if route.merged.auth is not None:
            _check_auth(document, route, route.merged.auth)
        if route.merged.end is not None:
            _check_end(document, route, route.merged.end)
        if route.merged.cors is not None:
            _check_cors(document, route, route.merged.cors)
        _check_place(document, route, routes)
    _check_store(document, file, routes)
    _check_workers(document, file, routes)


def _check_auth(document: Document, route: EffectiveRoute, auth: AuthSection) -> None:
    if auth.cookie is None and is_right(document, route, "auth", "cookie"):
        document.problem(route.where("auth", "cookie"), "is missing", "the name of the login cookie")
    if not is_right(document, route, "auth", "header"):
        return
    policy = cookie_auth(auth)
    if policy.is_header_reserved:
        document.problem(route.where("auth", "header"), f"{auth.header} cannot be set from a cookie")
    rules = route.section.headers.request
    for name in filter(policy.sets, rules.set):
        at = route.own("headers", "request", "set", name)
        document.problem(at, "takes the place of what auth sets", "leave one of them out", at_key=True)
    for index, name in enumerate(rules.remove):
        if policy.sets(name):
            at = (*route.own("headers", "request", "remove"), index)
            document.problem(at, f"{name} is what auth sets", "leave one of them out")


def _check_end(document: Document, route: EffectiveRoute, end: EndSection) -> None:
    if not is_right(document, route, "end"):
        return
    policy = end_policy(end)
    says_both = route.says("end") or not route.says("stream")
    if route.merged.stream.declared is StreamMode.NEVER and says_both:
        at = route.own("end") if route.says("end") else ("defaults", "end")
        document.problem(at, "has no effect with stream: never", "leave one of them out")
    if policy.lacks_marker(route.merged.dialect):
        document.problem(route.where("end", "only"), "needs a marker", "the event that ends each stream of the service")
    if policy.signs_nothing:
        document.problem(route.where("end", "secret"), "has no effect with stop_reconnect: false")
    if policy.does_nothing:
        document.problem(route.where("end", "stop_reconnect"), "leaves nothing to be done", "end: off switches it off")


def _check_cors(document: Document, route: EffectiveRoute, cors: CORSSection) -> None:
    if not is_right(document, route, "cors"):
        return
    policy = cors_policy(cors)
    if not policy.origins:
        document.problem(route.where("cors", "origins"), "is missing", "such as [https://app.example]")
    if policy.names_more_than_all:
        document.problem(route.where("cors", "origins"), "* stands for all origins, and beside no other")
    elif policy.too_open_for_credentials is not None:
        open_to = policy.too_open_for_credentials
        whose = "every page" if open_to == "*" else "any page can have this origin, and"
        message = f"cannot stand beside the origin {open_to}: {whose} would read with the user's cookies"
        document.problem(route.where("cors", "credentials"), message, "name the origins")
    at = route.where("cors", "expose")
    if policy.exposes_a_star:
        document.problem(at, "* means no field but that of this name with credentials", "name the fields")
    for index, name in enumerate(policy.expose):
        if name in policy.unreadable:
            document.problem(document.shown((*at, index)), f"no browser lets a page read {name}", "leave it out")
    for name in filter(policy.says, route.section.headers.response.set):
        at = route.own("headers", "response", "set", name)
        document.problem(at, "is said by cors", "leave one of them out", at_key=True)


def _check_place(document: Document, route: EffectiveRoute, routes: tuple[EffectiveRoute, ...]) -> None:
    """What lies below the path of tickets is a ticket, or its making."""
    if document.is_broken(route.own("match")):
        return
    match = match_of(route.section)
    key = "prefix" if match.path is None else "path"
    for other in routes:
        tickets = other.merged.tickets
        if tickets is not None and match.is_below(tickets.path):
            message = f"is never reached: tickets of routes[{other.index}] are at {tickets.path}"
            document.problem(route.own("match", key), message)
            return


def _check_store(document: Document, file: FileSchema, routes: tuple[EffectiveRoute, ...]) -> None:
    store = store_policy(file.store)
    for route in routes:
        tickets = route.merged.tickets
        if tickets is None or document.is_broken(_MEMORY) or not is_right(document, route, "tickets", "max_body"):
            continue
        least = store.least_memory(ticket_policy(tickets))
        if store.memory < least:
            message = f"must be at least {format_size(least)}: twice tickets.max_body of routes[{route.index}]"
            document.problem(_MEMORY, message)
            return


def _check_workers(document: Document, file: FileSchema, routes: tuple[EffectiveRoute, ...]) -> None:
    if file.server.workers == 1 or document.is_broken(_WORKERS):
        return
    with_tickets = next((route for route in routes if route.merged.tickets is not None), None)
    if with_tickets is not None:
        message = f"must be 1 with store: memory and tickets (routes[{with_tickets.index}])"
        document.problem(_WORKERS, message, "each worker would know only its own tickets")
