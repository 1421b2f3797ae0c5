"""Which combinations of right values are impossible for what a route does for `EventSource`?

Like `checks`: what is wrong is added to `Document.problems`, and nothing is said about values that are wrong already.
"""

from sseproxy.config.browsers import CORS, Auth, End
from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.problems import Path
from sseproxy.config.route_checks import UNCHANGEABLE, is_right
from sseproxy.config.schema import FileSchema
from sseproxy.core.http.fields import FORWARDING
from sseproxy.core.http.paths import has_prefix
from sseproxy.core.stream.end_message import EndsAt
from sseproxy.core.stream.plan import StreamMode

_WORKERS: Path = ("server", "workers")
_READ_HERE = frozenset(("host", "cookie", "expect", "origin", "last-event-id"))
_NOT_FOR_AUTH = UNCHANGEABLE | _READ_HERE | {name.decode() for name in FORWARDING}
_CORS_ANSWERS = "access-control-"

#: Forbidden response-header names (Fetch standard, section 2.2.2).
_NEVER_READ = frozenset(("set-cookie", "set-cookie2"))


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
    _check_workers(document, file, routes)


def _check_auth(document: Document, route: EffectiveRoute, auth: Auth) -> None:
    if auth.cookie is None and is_right(document, route, "auth", "cookie"):
        document.problem(route.where("auth", "cookie"), "is missing", "the name of the login cookie")
    if not is_right(document, route, "auth", "header"):
        return
    at = route.where("auth", "header")
    name = auth.header.lower()
    if name in _NOT_FOR_AUTH:
        document.problem(at, f"{auth.header} cannot be set from a cookie")
    _check_rules_for_auth(document, route, name)


def _check_rules_for_auth(document: Document, route: EffectiveRoute, name: str) -> None:
    rules = route.section.headers.request
    for set_name in rules.set:
        if set_name.lower() == name:
            at = route.own("headers", "request", "set", set_name)
            document.problem(at, "takes the place of what auth sets", "leave one of them out", at_key=True)
    for index, removed in enumerate(rules.remove):
        if removed.lower() == name:
            at = ("routes", route.index, "headers", "request", "remove", index)
            document.problem(at, f"{removed} is what auth sets", "leave one of them out")


def _check_end(document: Document, route: EffectiveRoute, end: End) -> None:
    if not is_right(document, route, "end"):
        return
    says_both = route.says("end") or not route.says("stream")
    if route.merged.stream.declared is StreamMode.NEVER and says_both:
        at = route.own("end") if route.says("end") else ("defaults", "end")
        document.problem(at, "has no effect with stream: never", "leave one of them out")
    if end.only is EndsAt.MARKER and end.marker is None and not route.merged.dialect.is_of_answers:
        document.problem(route.where("end", "only"), "needs a marker", "the event that ends each stream of the service")
    if end.stop_reconnect:
        return
    if end.secret is not None:
        document.problem(route.where("end", "secret"), "has no effect with stop_reconnect: false")
    if end.event is None and end.marker is None:
        document.problem(route.where("end", "stop_reconnect"), "leaves nothing to be done", "end: off switches it off")


def _check_cors(document: Document, route: EffectiveRoute, cors: CORS) -> None:
    if not is_right(document, route, "cors"):
        return
    if not cors.origins:
        document.problem(route.where("cors", "origins"), "is missing", "such as [https://app.example]")
    if "*" in cors.origins and len(cors.origins) > 1:
        document.problem(route.where("cors", "origins"), "* stands for all origins, and beside no other")
    elif cors.credentials:
        _check_credentials(document, route, cors)
    if "*" in cors.expose and cors.credentials:
        at = route.where("cors", "expose")
        document.problem(at, "* means no field but that of this name with credentials", "name the fields")
    for index, name in enumerate(cors.expose):
        if name.lower() in _NEVER_READ:
            at = document.shown((*route.where("cors", "expose"), index))
            document.problem(at, f"no browser lets a page read {name}", "leave it out")
    for name in route.section.headers.response.set:
        if name.lower().startswith(_CORS_ANSWERS):
            at = route.own("headers", "response", "set", name)
            document.problem(at, "is said by cors", "leave one of them out", at_key=True)


def _check_credentials(document: Document, route: EffectiveRoute, cors: CORS) -> None:
    open_to = next((origin for origin in ("*", "null") if origin in cors.origins), None)
    if open_to is not None:
        whose = "every page" if open_to == "*" else "any page can have this origin, and"
        message = f"cannot stand beside the origin {open_to}: {whose} would read with the user's cookies"
        document.problem(route.where("cors", "credentials"), message, "name the origins")


def _check_place(document: Document, route: EffectiveRoute, routes: tuple[EffectiveRoute, ...]) -> None:
    """What lies below the path of tickets is a ticket, or its making."""
    match = route.section.match
    key, matched = ("path", match.path) if match.path is not None else ("prefix", match.prefix)
    if matched is None or document.is_broken(route.own("match")):
        return
    for other in routes:
        tickets = other.merged.tickets
        if tickets is not None and has_prefix(matched, tickets.path):
            message = f"is never reached: tickets of routes[{other.index}] are at {tickets.path}"
            document.problem(route.own("match", key), message)
            return


def _check_workers(document: Document, file: FileSchema, routes: tuple[EffectiveRoute, ...]) -> None:
    if file.server.workers == 1 or document.is_broken(_WORKERS):
        return
    with_tickets = next((route for route in routes if route.merged.tickets is not None), None)
    if with_tickets is not None:
        message = f"must be 1 with store: {file.store} and tickets (routes[{with_tickets.index}])"
        document.problem(_WORKERS, message, "each worker would know only its own tickets")
