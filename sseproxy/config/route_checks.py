"""Which combinations of right values are impossible for a route?

Like `checks`: what is wrong is added to `Document.problems`, and nothing is said about values that are wrong already.
"""

from collections.abc import Mapping
from pathlib import Path as FilePath

from sseproxy.config import files
from sseproxy.config.addresses import Address
from sseproxy.config.build import absolute, header_rules, heartbeat_policy, limit_policy, match_of
from sseproxy.config.checks import LISTEN, check_readable
from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.problems import Path
from sseproxy.config.schema import FieldRulesSection, FileSchema
from sseproxy.config.values import format_duration
from sseproxy.core.http.fields import belongs_to_connection
from sseproxy.core.limits import MINIMUM_LINE
from sseproxy.core.stream.plan import StreamMode

_BEFORE_RESPONSE = ("heartbeat", "before_response")

#: How the file switches off what needs heartbeats.
_SWITCHED_OFF = {"before_response": "off", "prelude": "false"}


def check_routes(document: Document, file: FileSchema, routes: tuple[EffectiveRoute, ...], folder: FilePath) -> None:
    """All routes, each by itself and each against those before it."""
    if not routes and not document.is_broken(("routes",)):
        message = "nothing to proxy: there are no routes and no upstream"
        document.problem(("routes",) if ("routes",) in document.places else (), message, "--upstream URL, or routes")
    names: dict[str, EffectiveRoute] = {}
    for route in routes:
        if route.own() not in document.broken:
            _check_route(document, file, route, folder)
            _check_order(document, route, routes[: route.index])
            _check_name(document, route, names)


def is_right(document: Document, route: EffectiveRoute, *keys: str) -> bool:
    """Whether an inherited key has not been found wrong. A wrong value is taken out: nobody can tell where it stood."""
    return not (document.is_broken(route.own(*keys)) or document.is_broken(("defaults", *keys)))


def _check_route(document: Document, file: FileSchema, route: EffectiveRoute, folder: FilePath) -> None:
    _check_match(document, route)
    _check_heartbeat(document, route)
    _check_upstream(document, file, route)
    _check_tls(document, route, folder)
    for direction in ("request", "response"):
        _check_fields(document, route.own("headers", direction), getattr(route.section.headers, direction), direction)
    if limit_policy(route.merged.limits).is_line_too_short:
        document.problem(route.where("limits", "line"), f"must be at least {MINIMUM_LINE} bytes")


def _check_match(document: Document, route: EffectiveRoute) -> None:
    match, strip = route.section.match, route.section.rewrite.strip_prefix
    if match.path is not None and match.prefix is not None:
        document.problem(route.own("match", "prefix"), "cannot stand beside path", "a path is matched whole")
    if "methods" in match.model_fields_set and not match.methods:
        document.problem(route.own("match", "methods"), "must not be empty", "leave it out for all methods")
    if strip is None or document.is_broken(route.own("match")):
        return
    policy = match_of(route.section)
    if not policy.can_begin_with(strip):
        message = f"no path that the route matches ({policy.matched}) begins so"
        document.problem(route.own("rewrite", "strip_prefix"), message)


def _check_heartbeat(document: Document, route: EffectiveRoute) -> None:
    policy, response = heartbeat_policy(route.merged.heartbeat), route.merged.timeouts.response
    is_touched = route.merged.stream.declared is not StreamMode.NEVER
    if is_touched and is_right(document, route, "heartbeat", "interval"):
        for name in policy.fields_without_interval:
            _say_interval_is_off(document, route, name)
    at = route.where(*_BEFORE_RESPONSE)
    if policy.answers_too_late(response) and is_right(document, route, "timeouts", "response"):
        document.problem(at, f"must be shorter than timeouts.response ({format_duration(response)})")
    # A route that is never touched may inherit before_response; it must not ask for it.
    asks = route.says(*_BEFORE_RESPONSE) or not route.says("stream")
    if policy.before_response is not None and not is_touched and asks:
        document.problem(at, "has no effect with stream: never", "leave one of them out")


def _say_interval_is_off(document: Document, route: EffectiveRoute, key: str) -> None:
    """At the one of the two that is nearer to the operator: a flag before a route, a route before ``defaults``."""
    at, interval = route.where("heartbeat", key), route.where("heartbeat", "interval")
    route_wants_none = route.says("heartbeat", "interval") and not route.says("heartbeat", key)
    if interval in document.origins or (route_wants_none and at not in document.origins):
        message = f"is off, but heartbeat.{key} needs heartbeats"
        document.problem(interval, message, f"or set {key}: {_SWITCHED_OFF[key]}")
    else:
        document.problem(at, "needs heartbeats, but heartbeat.interval is off")


def _check_upstream(document: Document, file: FileSchema, route: EffectiveRoute) -> None:
    at = route.own("upstream")
    if document.is_broken(at):
        return
    upstream = route.section.upstream
    if upstream is None:
        document.problem(at, "is missing", "the URL to forward to")
    elif not document.is_broken(LISTEN):
        target = Address(upstream.host, upstream.port, upstream.socket_path)
        for listen in file.server.listen:
            if (target.is_local or target.host == listen.host) and target.overlaps(listen):
                document.problem(at, f"leads back to server.listen {listen}")


def _check_tls(document: Document, route: EffectiveRoute, folder: FilePath) -> None:
    tls, upstream = route.section.tls, route.section.upstream
    if tls is None:
        return
    if upstream is not None and upstream.scheme != "https":
        document.problem(route.own("tls"), f"has no effect on an {upstream.scheme} upstream")
    if tls.ca is None:
        return
    at = route.own("tls", "ca")
    if not tls.verify:
        document.problem(at, "has no effect with verify: false")
    if check_readable(document, at, tls.ca, folder):
        wrong = files.unusable_certificate(absolute(tls.ca, folder))
        if wrong:
            document.problem(at, f"{tls.ca} {wrong}")


def _check_fields(document: Document, at: Path, fields: FieldRulesSection, direction: str) -> None:
    rules = header_rules(fields)
    for name in fields.set:
        here = (*at, "set", name)
        if belongs_to_connection(name):
            document.problem(here, "belongs to the connection and cannot be changed", at_key=True)
        first = rules.first_spelling(name)
        if first != name:
            document.problem(here, f"is set twice, first as {first}", at_key=True)
    for index, name in enumerate(fields.remove):
        here = (*at, "remove", index)
        if belongs_to_connection(name):
            document.problem(here, f"{name} belongs to the connection and cannot be changed")
        elif direction == "request" and name.lower() == "host":
            document.problem(here, f"{name} cannot be removed: every request needs it")
        if rules.first_spelling(name) is not None:
            document.problem(here, f"{name} is set as well", "set replaces all of that name")


def _check_order(document: Document, route: EffectiveRoute, earlier: tuple[EffectiveRoute, ...]) -> None:
    if document.is_broken(route.own("match")):
        return
    match = match_of(route.section)
    for other in earlier:
        if not document.is_broken(other.own("match")) and match_of(other.section).covers(match):
            line = _line(document, other.own())
            message = f"is never reached: routes[{other.index}]{line} matches all that it matches"
            document.problem(route.own(), message, "the first that matches wins")
            return


def _check_name(document: Document, route: EffectiveRoute, names: dict[str, EffectiveRoute]) -> None:
    first = names.setdefault(route.name, route)
    if first is not route:
        line = _line(document, first.own("name"))
        document.problem(route.own("name"), f"{route.name} is the name of routes[{first.index}]{line} too")


def _line(document: Document, path: Path) -> str:
    places: Mapping[Path, object] = document.places
    return f" on line {document.position(path)[0]}" if path in places else ""
