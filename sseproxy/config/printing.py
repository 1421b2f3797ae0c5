"""What holds in the end, once files, variables, inheritance and defaults have come together, in the form of a file?

What is printed can be read again, and then means the same, with two exceptions: secrets are masked, and `defaults` is
gone, because each route says all that it inherits.
"""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from sseproxy.config.browser_values import MASK
from sseproxy.config.build import drain_spread
from sseproxy.config.checked import Checked
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.problems import Path
from sseproxy.config.push_checks import without_effect
from sseproxy.config.schema import DrainSection
from sseproxy.config.values import format_duration
from sseproxy.config.yaml_text import CoreSchemaLoader
from sseproxy.core.stream.plan import StreamMode

Plain = dict[str, Any]

#: Fields that carry a login, or may.
_SECRET_FIELD = re.compile(r"auth|cookie|credential|jwt|key|passw|secret|session|signature|token", re.IGNORECASE)
_LOGIN = re.compile(r"(basic|bearer|digest|negotiate)\s", re.IGNORECASE)


class _Dumper(yaml.SafeDumper):
    """Writes text without quotes where YAML 1.2 reads it as text: ``off`` and ``15m``. As people write it."""

    yaml_implicit_resolvers = CoreSchemaLoader.yaml_implicit_resolvers

    def ignore_aliases(self, data: object) -> bool:
        """Write a value again where it occurs again: an alias would be a riddle."""
        return True


def printed(checked: Checked) -> str:
    """The effective configuration as YAML, with the drain of the process added up."""
    file = checked.file
    found: Plain = {
        "server": file.server.model_dump(mode="json"),
        "admin": None if file.admin is None else file.admin.model_dump(mode="json"),
        "log": file.log.model_dump(mode="json"),
        "telemetry": file.telemetry.model_dump(mode="json"),
        "store": printed_store(checked),
        "routes": [printed_route(route, checked) for route in checked.routes],
    }
    found["server"]["drain"]["spread"] = format_duration(drain_spread(file.server))
    text = yaml.dump(_pruned(found), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return f"{drain_line(file.server.drain)}{text}"


def drain_line(drain: DrainSection) -> str:
    """How long a process may take to end once it has been asked to, as a comment."""
    delay, timeout = drain.delay or 0.0, drain.timeout
    if timeout is None:
        return "# drain: waits for the last stream, however long that takes (server.drain.timeout: off)\n"
    parts = f"server.drain.timeout: {format_duration(timeout)}"
    if delay:
        parts = f"server.drain.delay: {format_duration(delay)} + {parts}"
    return f"# drain: {format_duration(delay + timeout)} in all ({parts}). Grant the process more than that to end.\n"


def printed_store(checked: Checked) -> Plain:
    """The store; without a Redis two of its keys are errors where they are written, so they are left out."""
    urls = (route.section.redis.url for route in checked.routes if route.section.redis is not None)
    found = checked.file.store.model_dump(mode="json")
    return found if checked.file.store.url or any(urls) else _without(found, ("prefix",), ("timeout",))


def printed_route(route: EffectiveRoute, checked: Checked) -> Plain:
    """One route with all that it inherits."""
    section, merged = route.section, route.merged
    own = section.model_dump(mode="json", exclude=set(type(merged).model_fields))
    found = {**own, **merged.model_dump(mode="json"), "name": route.name}
    for direction in ("request", "response"):
        fields = found["headers"][direction]["set"]
        at = route.own("headers", direction, "set")
        found["headers"][direction]["set"] = {
            name: MASK if is_secret(name, value, (*at, name), checked) else value for name, value in fields.items()
        }
    # What a route inherits and cannot use is no error, but would be one if the route said it itself.
    if section.journal is None:
        found = _without(found, ("limits", "detached"), ("limits", "detached_per_client"))
    else:
        found = _without(found, ("heartbeat", "json"))
        found["journal"] = section.journal.written(route.name)
    if section.redis is None:
        if section.journal is None:
            found = _without(found, ("limits", "event"))
        if merged.stream.declared is StreamMode.NEVER:
            found = _without(found, ("end",), ("heartbeat", "before_response"), ("heartbeat", "json"))
        return first(found, "name", "match", "upstream")
    found = _without(found, *without_effect(section))
    if section.authorize is None:
        found = _without(found, ("auth",))
    if section.redis.channel:
        found = _without(found, ("redis", "start"), ("redis", "gap"))
    return first(found, "name", "match", "redis")


def is_secret(name: str, value: str, at: Path, checked: Checked) -> bool:
    """True if a field may carry a login. A value that is made from what `authorize` takes holds none yet."""
    if at in checked.document.substituted or _LOGIN.match(value):
        return True
    return bool(_SECRET_FIELD.search(name)) and "{auth:" not in value


def first(found: Plain, *names: str) -> Plain:
    return {**{name: found[name] for name in names}, **found}


def _without(found: Plain, *paths: Path) -> Plain:
    """A copy without what is at `paths`."""
    for key, *below in paths:
        inner = found.get(str(key))
        if not below:
            found = {name: value for name, value in found.items() if name != key}
        elif isinstance(inner, dict):
            found = {**found, str(key): _without(inner, tuple(below))}
    return found


def _pruned(value: Any) -> Any:
    """The value without keys that say nothing: what is left out there is off, or has no default."""
    if isinstance(value, Mapping):
        # `equals` compares with a value that may be null.
        kept = {key: _pruned(inner) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if key == "equals" or inner not in (None, [], {})}
    if isinstance(value, list):
        return [_pruned(inner) for inner in value]
    # Text that looks like a reference was none when it came here.
    return value.replace("${", "$${") if isinstance(value, str) else value
