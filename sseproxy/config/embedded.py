"""How do the options of a proxy inside another server become one `Config`, or an error that names the option?

Scalars of a route are options of their own, named as flags are. Groups are the mappings of the file. All values go
through the schema and the checks of the file, which find what is wrong; here its place is named as an option again.
"""

import os
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path as FilePath
from typing import Any, Final

from sseproxy.config.checks import LISTEN
from sseproxy.config.document import Document, Place
from sseproxy.config.loader import check_document
from sseproxy.config.problems import ConfigErrors, ConfigProblem, Path
from sseproxy.config.schema import RouteSection, places_below
from sseproxy.config.settings import Config
from sseproxy.config.values import nearest
from sseproxy.core.frozen import frozen

# The way of options: `Options` puts them into a `Document` as if a file had said them, and the loader does the rest.
#
# 1. With one upstream (or `redis`) all options stand in the one route; with `routes` those that routes inherit stand in
#    `defaults`, and the others are no options.
# 2. There is no listener, so what the file says about listeners is neither looked at nor compared with upstreams: its
#    place counts as wrong already, about which checks are silent (`Document.is_broken`).
# 3. Values are those of Python. ${NAME} is text. ``None`` is ``"off"`` for a duration, and leaves out anything else.

_Keys = tuple[str, ...]

#: Options that are durations, by their place in a route.
DURATIONS: Final[Mapping[str, _Keys]] = {
    "heartbeat": ("heartbeat", "interval"),
    "before_response": ("heartbeat", "before_response"),
    "json": ("heartbeat", "json"),
    "connect_timeout": ("timeouts", "connect"),
    "connect_retry": ("timeouts", "connect_retry"),
    "response_timeout": ("timeouts", "response"),
    "idle_timeout": ("timeouts", "idle"),
    "write_timeout": ("timeouts", "write"),
    "max_duration": ("timeouts", "max_duration"),
    "request_body_timeout": ("timeouts", "request_body"),
}

#: All options that routes inherit, by their place in a route.
INHERITED: Final[Mapping[str, _Keys]] = {
    **DURATIONS,
    "form": ("heartbeat", "form"),
    "comment": ("heartbeat", "comment"),
    "event": ("heartbeat", "event"),
    "prelude": ("heartbeat", "prelude"),
    "ndjson": ("heartbeat", "ndjson"),
    **{name: (name,) for name in ("dialect", "stream", "limits", "tickets", "auth", "end", "cors")},
}

#: Options of the one route.
OF_ONE_ROUTE: Final = ("name", "match", "redis", "journal", "rewrite", "headers", "tls", "authorize")

#: Options of the whole proxy, by their place in the file.
OF_ALL: Final[Mapping[str, _Keys]] = {
    "trusted_proxies": ("server", "trusted_proxies"),
    "drain": ("server", "drain", "timeout"),
    "drain_spread": ("server", "drain", "spread"),
    "store": ("store",),
    "secret": ("store", "secret"),
    "routes": ("routes",),
}

OPTIONS: Final = (*INHERITED, *OF_ONE_ROUTE, *OF_ALL)

_LISTENS = "the server in front listens, and has its own"
_LOGS = "Python's logging has it: the loggers sseproxy and sseproxy.access"
_WATCHED = "see open_streams, readiness(), metrics() and add_observer()"

#: Names that are likely to be tried, and what takes their place.
_ELSEWHERE = {
    **dict.fromkeys(("listen", "host", "port", "workers", "connections"), _LISTENS),
    **dict.fromkeys(("log", "log_level", "log_format", "access_log", "no_access_log"), _LOGS),
    **dict.fromkeys(("admin", "telemetry", "streams", "observers"), _WATCHED),
    "server": "trusted_proxies, drain and drain_spread are options, the rest is the server's in front",
    "defaults": "each key that routes inherit is an option, such as heartbeat",
    "drain_delay": "the server in front accepts for as long as it is to",
    "timeouts": "each is an option, such as idle_timeout",
    "paths": 'did you mean match={"prefix": ...}?',
}


@frozen
class Embedded:
    """The configuration of a proxy inside another server. warnings: one line each, in terms of options."""

    config: Config
    warnings: tuple[str, ...]


def read_options(upstream: str | None, options: Mapping[str, object]) -> Embedded:
    """Read and check all options. Relative paths of files begin at the current folder.

    Raises `TypeError` for options that there are not, else `ValueError` with all that is wrong; one line for each.
    """
    hints = {name: hint_for(name) for name in options if name not in OPTIONS}
    if hints:
        lines = (f"{name}: there is no such option" + (f" ({hint})" if hint else "") for name, hint in hints.items())
        raise TypeError("\n".join(lines))
    if upstream is not None and not isinstance(upstream, str):
        raise TypeError(f"upstream: expected a URL as text, got {type(upstream).__name__}")
    read = Options(upstream, {name: value for name, value in options.items() if value is not None or name in DURATIONS})
    read.require_one_origin()
    try:
        config = check_document(read.document(), FilePath(), {}).config()
    except ConfigErrors as errors:
        raise ValueError("\n".join(map(read.line, errors.problems))) from None
    # How long a drain may take is between the app and its orchestrator: the server in front has a say in it.
    drains = ("server.drain.timeout", "server.drain.delay")
    return Embedded(config, tuple(read.line(each) for each in config.warnings if each.path not in drains))


def hint_for(name: str) -> str:
    """Return what takes the place of an option that there is not; empty if it can be anything."""
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    by_key = [option for option, path in INHERITED.items() if name in (path[-1], "_".join(path))]
    if by_key:
        return f"did you mean {by_key[0]}?"
    groups = (place.partition(".")[0] for place in places_below(RouteSection, name))
    inside = next((group for group in groups if group in OPTIONS), None)
    return f'did you mean {inside}={{"{name}": ...}}?' if inside else nearest(name, ("upstream", *OPTIONS))


class Options:
    """What one proxy was given. said: what is left out has been dropped."""

    def __init__(self, upstream: str | None, said: Mapping[str, object]) -> None:
        self._upstream = upstream
        self._said = said
        self._has_routes = "routes" in said
        self._base: Path = ("defaults",) if self._has_routes else ("routes", 0)
        self._document = Document(broken={LISTEN})

    def require_one_origin(self) -> None:
        """Raise `ValueError` unless there is one place where requests go: upstream, Redis or routes."""
        if self._has_routes:
            if self._said["routes"] in ([], ()):
                raise ValueError("routes: must not be empty")
            if self._upstream is not None:
                raise ValueError("upstream: cannot stand beside routes (each route has its own)")
            for name in OF_ONE_ROUTE:
                if name in self._said:
                    raise ValueError(f'{name}: cannot stand beside routes (it is of one: routes=[{{"{name}": ...}}])')
        elif self._upstream is None and "redis" not in self._said:
            raise ValueError('upstream: is missing (a URL such as "http://127.0.0.1:9000", or routes=[...])')
        store = self._said.get("store")
        if "secret" in self._said and isinstance(store, Mapping) and "secret" in store:
            raise ValueError("secret: stands in store, too (leave one of them out)")

    def document(self) -> Document:
        """Return what a file would say. Raises `ValueError` for a value that holds itself."""
        data = self._document.data
        if not self._has_routes:
            data["routes"] = [{} if self._upstream is None else {"upstream": self._upstream}]
        for name, value in self._said.items():
            if name == "store" and value == "memory":  # the word for one that says nothing
                continue
            *above, key = OF_ALL[name] if name in OF_ALL else (*self._base, *INHERITED.get(name, (name,)))
            holder: Any = data
            for part in above:
                holder = holder[part] if isinstance(part, int) else holder.setdefault(part, {})
            if not isinstance(holder, dict):  # it has been given in another form, and is wrong
                continue
            try:
                holder[key] = self._plain("off" if value is None else value, (*above, key))
            except RecursionError:
                raise ValueError(f"{name}: stands inside of itself") from None
        return self._document

    def line(self, problem: ConfigProblem) -> str:
        """Return what is wrong, or dangerous, in terms of options."""
        path, said = problem.path, f"{problem.message} ({problem.hint})" if problem.hint else problem.message
        if not self._has_routes:
            path, said = re.sub(r"^routes\[0\]\.?", "", path), re.sub(r" (of|with) routes\[0\]", "", said)
        path = path.removeprefix("defaults.")
        for name, keys in self._renamed():
            place = re.escape(".".join(keys))
            path = re.sub(rf"^{place}(?=$|[.\[])", name, path)
            if not path.startswith("routes["):  # there it is about a mapping in the words of the file
                said = re.sub(rf"(?<![\w.]){place}(?!\w)", name, said)
        return f"{path}: {said}" if path else said

    # Private.

    def _renamed(self) -> Iterator[tuple[str, _Keys]]:
        """The options that the file has under other names, with these."""
        for name, path in (*INHERITED.items(), *OF_ALL.items()):
            is_in_store = name == "secret" and name not in self._said and path in self._document.places
            if path != (name,) and not is_in_store:
                yield name, path

    def _plain(self, value: object, path: Path) -> object:
        """Return a value as YAML would have given it, and note its place."""
        is_scalar = not isinstance(value, Mapping | list | tuple | set | frozenset)
        self._document.places[path] = Place((0, 0), is_scalar=is_scalar)
        if isinstance(value, Mapping):
            return {str(key): self._plain(inner, (*path, str(key))) for key, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._plain(inner, (*path, index)) for index, inner in enumerate(value)]
        if isinstance(value, timedelta):
            return value.total_seconds()
        return os.fspath(value) if isinstance(value, os.PathLike) else value
