"""Which combinations of right values are impossible for a route?

Like `checks`: what is wrong is added to `Document.problems`, and nothing is said about values that are wrong already.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path as FilePath

from sseproxy.config.build import header_rules, heartbeat_policy, limit_policy, match_of
from sseproxy.config.checks import check_leads_away
from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.schema import FieldRulesSection, FileSchema
from sseproxy.config.tls_checks import check_upstream_tls
from sseproxy.config.values import format_duration
from sseproxy.core.http.fields import belongs_to_connection
from sseproxy.core.limits import MINIMUM_LINE
from sseproxy.core.stream.heartbeat import WhiteSpace
from sseproxy.core.stream.plan import StreamMode

_BEFORE_RESPONSE = ("heartbeat", "before_response")

#: How the file switches off what needs heartbeats.
_SWITCHED_OFF = {"before_response": "off", "prelude": "false", "json": "off", "ndjson": "auto"}


def check_routes(document: Document, file: FileSchema, routes: tuple[EffectiveRoute, ...], folder: FilePath) -> None:
    """All routes, each by itself and each against those before it."""
    if not routes and not document.is_broken(("routes",)):
        message = "nothing to proxy: there are no routes and no upstream"
        document.problem(("routes",) if ("routes",) in document.places else (), message, "--upstream URL, or routes")
    for route in routes:
        if route.own() in document.broken:
            continue
        check = RouteCheck(document, file, route, folder)
        check.match()
        check.heartbeat()
        check.request_body()
        check.upstream()
        check.tls()
        check.fields("request", route.section.headers.request)
        check.fields("response", route.section.headers.response)
        check.limits()
        check.order(routes[: route.index])
        check.name([other for other in routes[: route.index] if other.own() not in document.broken])


def is_right(document: Document, route: EffectiveRoute, *keys: str) -> bool:
    """True if an inherited key has not been found wrong, in the route or in ``defaults``.

    A wrong value is taken out, so that it does not show any more in which of the two it stood.
    """
    return not (document.is_broken(route.own(*keys)) or document.is_broken(("defaults", *keys)))


@dataclass(slots=True, eq=False)
class RouteCheck:
    """What one route says, with all that it inherits. folder: where relative paths of the file begin."""

    document: Document
    file: FileSchema
    route: EffectiveRoute
    folder: FilePath

    def match(self) -> None:
        """Check that some request can match, and what is taken off its path is there."""
        match, strip = self.route.section.match, self.route.section.rewrite.strip_prefix
        if match.path is not None and match.prefix is not None:
            at = self.route.own("match", "prefix")
            self.document.problem(at, "cannot stand beside path", "a path is matched whole")
        if "methods" in match.model_fields_set and not match.methods:
            at = self.route.own("match", "methods")
            self.document.problem(at, "must not be empty", "leave it out for all methods")
        if strip is None or self.document.is_broken(self.route.own("match")):
            return
        policy = match_of(self.route.section)
        if not policy.can_begin_with(strip):
            message = f"no path that the route matches ({policy.matched}) begins so"
            self.document.problem(self.route.own("rewrite", "strip_prefix"), message)

    def heartbeat(self) -> None:
        """Check that what needs heartbeats has them, and an early answer comes before the timeout."""
        policy, response = heartbeat_policy(self.route.merged.heartbeat), self.route.merged.timeouts.response
        if self.route.section.redis is not None:
            # Those of `defaults` are for upstreams.
            policy = replace(policy, before_response=None, json=None, ndjson=WhiteSpace.AUTO)
        elif self.route.section.journal is not None:
            policy = replace(policy, json=None)
        is_touched = self.route.merged.stream.declared is not StreamMode.NEVER
        if is_touched and is_right(self.document, self.route, "heartbeat", "interval"):
            for name in policy.fields_without_interval:
                self.interval_is_off(name)
        for name in (
            policy.fields_too_late(response) if is_right(self.document, self.route, "timeouts", "response") else ()
        ):
            at = self.route.where("heartbeat", name)
            self.document.problem(at, f"must be shorter than timeouts.response ({format_duration(response)})")
        # A route that is never touched may inherit before_response; it must not ask for it.
        asks = self.route.says(*_BEFORE_RESPONSE) or not self.route.says("stream")
        if policy.before_response is not None and not is_touched and asks:
            at = self.route.where(*_BEFORE_RESPONSE)
            self.document.problem(at, "has no effect with stream: never", "leave one of them out")

    def request_body(self) -> None:
        """Check that a body which nothing takes while the upstream is away cannot be late for that reason."""
        limit, retry = self.route.merged.timeouts.request_body, self.route.merged.timeouts.connect_retry
        if limit is None or retry is None or self.route.section.redis is not None:
            return
        if limit <= retry and is_right(self.document, self.route, "timeouts", "connect_retry"):
            at = self.route.where("timeouts", "request_body")
            self.document.problem(at, f"must be longer than timeouts.connect_retry ({format_duration(retry)})")

    def interval_is_off(self, key: str) -> None:
        """Report it at the one of the two that is nearer to the operator: a flag, a route, then ``defaults``."""
        at, interval = self.route.where("heartbeat", key), self.route.where("heartbeat", "interval")
        route_wants_none = self.route.says("heartbeat", "interval") and not self.route.says("heartbeat", key)
        if interval in self.document.origins or (route_wants_none and at not in self.document.origins):
            message = f"is off, but heartbeat.{key} needs heartbeats"
            self.document.problem(interval, message, f"or set {key}: {_SWITCHED_OFF[key]}")
        else:
            self.document.problem(at, "needs heartbeats, but heartbeat.interval is off")

    def upstream(self) -> None:
        """Check that the route has one, or Redis in its place, and that it is not this proxy."""
        at, upstream = self.route.own("upstream"), self.route.section.upstream
        if self.document.is_broken(at):
            return
        if upstream is None:
            if self.route.section.redis is None and not self.document.is_broken(self.route.own("redis")):
                self.document.problem(at, "is missing", "the URL to forward to")
        else:
            check_leads_away(self.document, at, upstream, self.file.server.listen)

    def tls(self) -> None:
        """Check that the settings have an effect, and their files can be used."""
        section = self.route.section
        if section.tls is not None:
            check_upstream_tls(self.document, self.route.own("tls"), section.tls, section.upstream, self.folder)

    def fields(self, direction: str, fields: FieldRulesSection) -> None:
        """Check that no field belongs to the connection, and none is named twice."""
        rules, at = header_rules(fields), self.route.own("headers", direction)
        for name in fields.set:
            here = (*at, "set", name)
            if belongs_to_connection(name):
                self.document.problem(here, "belongs to the connection and cannot be changed", at_key=True)
            first = rules.first_spelling(name)
            if first != name:
                self.document.problem(here, f"is set twice, first as {first}", at_key=True)
        for index, name in enumerate(fields.remove):
            here = (*at, "remove", index)
            if belongs_to_connection(name):
                self.document.problem(here, f"{name} belongs to the connection and cannot be changed")
            elif direction == "request" and name.lower() == "host":
                self.document.problem(here, f"{name} cannot be removed: every request needs it")
            if rules.first_spelling(name) is not None:
                self.document.problem(here, f"{name} is set as well", "set replaces all of that name")

    def limits(self) -> None:
        """Check that what is held back has room for a field name, and there is something that each limit is for."""
        if limit_policy(self.route.merged.limits).is_line_too_short:
            self.document.problem(self.route.where("limits", "line"), f"must be at least {MINIMUM_LINE} bytes")
        if self.route.section.journal is not None or self.document.is_broken(self.route.own("journal")):
            return
        for key in ("event", "detached", "detached_per_client"):
            is_for_redis = key == "event"
            if self.route.says("limits", key) and not (is_for_redis and self.route.section.redis is not None):
                hint = "it is for redis and for journals" if is_for_redis else "it is for runs"
                self.document.problem(self.route.own("limits", key), "has no effect without a journal", hint)

    def order(self, earlier: tuple[EffectiveRoute, ...]) -> None:
        """Check that no earlier route matches all that this one matches."""
        if self.document.is_broken(self.route.own("match")):
            return
        match = match_of(self.route.section)
        for other in earlier:
            if not self.document.is_broken(other.own("match")) and match_of(other.section).covers(match):
                line = self.document.line_of(other.own())
                message = f"is never reached: routes[{other.index}]{line} matches all that it matches"
                self.document.problem(self.route.own(), message, "the first that matches wins")
                return

    def name(self, earlier: Iterable[EffectiveRoute]) -> None:
        """Check that no earlier route has its name."""
        first = next((other for other in earlier if other.name == self.route.name), None)
        if first is not None:
            line = self.document.line_of(first.own("name"))
            message = f"{self.route.name} is the name of routes[{first.index}]{line} too"
            self.document.problem(self.route.own("name"), message)
