"""Which combinations of right values are impossible for what a route does for `EventSource`?

Like `checks`: what is wrong is added to `Document.problems`, and nothing is said about values that are wrong already.
"""

from dataclasses import dataclass

from sseproxy.config.browsers import AuthSection, CORSSection, EndSection, TicketsSection
from sseproxy.config.build import cookie_auth, cors_policy, end_policy, match_of, ticket_policy
from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.problems import Path
from sseproxy.config.route_checks import is_right
from sseproxy.config.schema import FileSchema
from sseproxy.config.values import format_size
from sseproxy.core.eventsource.policies import CorsPolicy
from sseproxy.core.store import StorePolicy
from sseproxy.core.stream.plan import StreamMode

_WORKERS: Path = ("server", "workers")
_MEMORY: Path = ("store", "memory")


def check_browsers(document: Document, file: FileSchema, routes: tuple[EffectiveRoute, ...]) -> None:
    """Tickets, auth, end and cors of all routes."""
    for route in routes:
        if route.own() in document.broken:
            continue
        check = BrowserCheck(document, route)
        if route.merged.auth is not None:
            check.auth(route.merged.auth)
        if route.merged.end is not None and route.section.redis is None:
            check.end(route.merged.end)
        if route.merged.cors is not None:
            check.cors(route.merged.cors)
        check.place(routes)
        if route.merged.tickets is not None:
            check.store(StorePolicy(memory=file.store.memory), route.merged.tickets)
    if file.server.workers > 1 and not document.is_broken(_WORKERS):
        with_tickets = next((route for route in routes if route.merged.tickets is not None), None)
        if with_tickets is not None:
            message = f"must be 1 with store: memory and tickets (routes[{with_tickets.index}])"
            document.problem(_WORKERS, message, "each worker would know only its own tickets")


@dataclass(slots=True, eq=False)
class BrowserCheck:
    """What one route does for `EventSource`, with all that it inherits."""

    document: Document
    route: EffectiveRoute

    def auth(self, section: AuthSection) -> None:
        """Check that the cookie has a name, and its header is set by nothing else."""
        if section.cookie is None and is_right(self.document, self.route, "auth", "cookie"):
            self.document.problem(self.route.where("auth", "cookie"), "is missing", "the name of the login cookie")
        if not is_right(self.document, self.route, "auth", "header"):
            return
        policy = cookie_auth(section)
        if policy.is_header_reserved:
            at = self.route.where("auth", "header")
            self.document.problem(at, f"{section.header} cannot be set from a cookie")
        rules = self.route.section.headers.request
        for name in filter(policy.sets, rules.set):
            at = self.route.own("headers", "request", "set", name)
            self.document.problem(at, "takes the place of what auth sets", "leave one of them out", at_key=True)
        for index, name in enumerate(rules.remove):
            if policy.sets(name):
                at = (*self.route.own("headers", "request", "remove"), index)
                self.document.problem(at, f"{name} is what auth sets", "leave one of them out")

    def end(self, section: EndSection) -> None:
        """Check that there are streams that it ends, and something is done at their end."""
        if not is_right(self.document, self.route, "end"):
            return
        policy = end_policy(section)
        says_both = self.route.says("end") or not self.route.says("stream")
        if self.route.merged.stream.declared is StreamMode.NEVER and says_both:
            at = self.route.own("end") if self.route.says("end") else ("defaults", "end")
            self.document.problem(at, "has no effect with stream: never", "leave one of them out")
        if policy.lacks_marker(self.route.merged.dialect):
            hint = "the event that ends each stream of the service"
            self.document.problem(self.route.where("end", "only"), "needs a marker", hint)
        if policy.signs_nothing:
            self.document.problem(self.route.where("end", "secret"), "has no effect with stop_reconnect: false")
        if policy.does_nothing:
            at = self.route.where("end", "stop_reconnect")
            self.document.problem(at, "leaves nothing to be done", "end: off switches it off")

    def cors(self, section: CORSSection) -> None:
        """Check that origins are named, and what they may do is what browsers let them do."""
        if not is_right(self.document, self.route, "cors"):
            return
        policy = cors_policy(section)
        if not policy.origins:
            self.document.problem(self.route.where("cors", "origins"), "is missing", "such as [https://app.example]")
        if policy.names_more_than_all:
            message = "* stands for all origins, and beside no other"
            self.document.problem(self.route.where("cors", "origins"), message)
        elif policy.too_open_for_credentials is not None:
            open_to = policy.too_open_for_credentials
            whose = "every page" if open_to == "*" else "any page can have this origin, and"
            message = f"cannot stand beside the origin {open_to}: {whose} would read with the user's cookies"
            self.document.problem(self.route.where("cors", "credentials"), message, "name the origins")
        for name in filter(policy.says, self.route.section.headers.response.set):
            at = self.route.own("headers", "response", "set", name)
            self.document.problem(at, "is said by cors", "leave one of them out", at_key=True)
        self.exposed(policy)

    def exposed(self, policy: CorsPolicy) -> None:
        """Check that pages can read the fields that they are promised."""
        at = self.route.where("cors", "expose")
        if policy.exposes_a_star:
            message = "* means no field but that of this name with credentials"
            self.document.problem(at, message, "name the fields")
        for index, name in enumerate(policy.expose):
            if name in policy.unreadable:
                here = self.document.shown((*at, index))
                self.document.problem(here, f"no browser lets a page read {name}", "leave it out")

    def place(self, routes: tuple[EffectiveRoute, ...]) -> None:
        """Check that what lies below the path of tickets is a ticket, or its making: no match is there."""
        if self.document.is_broken(self.route.own("match")):
            return
        match = match_of(self.route.section)
        for other in routes:
            tickets = other.merged.tickets
            if tickets is not None and match.is_below(tickets.path):
                message = f"is never reached: tickets of routes[{other.index}] are at {tickets.path}"
                self.document.problem(self.route.own("match", "prefix" if match.path is None else "path"), message)
                return

    def store(self, policy: StorePolicy, section: TicketsSection) -> None:
        """Check that the memory of the store holds more than one large body."""
        least = policy.least_memory(ticket_policy(section))
        is_known = not self.document.is_broken(_MEMORY) and is_right(self.document, self.route, "tickets", "max_body")
        if is_known and policy.memory < least:
            message = f"must be at least {format_size(least)}: twice tickets.max_body of routes[{self.route.index}]"
            self.document.problem(_MEMORY, message)
