"""Which requests name a run by its URL, and what do they want of it?"""

from collections.abc import Sequence
from dataclasses import field, replace
from enum import Enum
from urllib.parse import unquote_to_bytes

from sseproxy.core.errors import BadRequest
from sseproxy.core.frozen import frozen
from sseproxy.core.http.paths import has_dots
from sseproxy.core.journal.identity import is_run_name
from sseproxy.core.routes import Route, bare_host
from sseproxy.proxy.inbound import InboundRequest

_READING = frozenset(("GET", "HEAD"))


class Want(Enum):
    """What is wanted of a run."""

    READ = "read"
    STOP = "stop"


@frozen
class RunTarget:
    """What a request names. value: the name of the run, or the key of its stream.

    shown: the path with ``-`` in its place, for the log: a name may be all that is asked for. others: routes that are
    gone, or have another journal now, whose runs have such URLs, too.
    """

    route: Route
    want: Want
    is_by_key: bool
    value: bytes = field(repr=False)
    shown: str = ""
    others: tuple[Route, ...] = ()


@frozen
class _Pattern:
    route: Route
    before: str
    behind: str
    is_by_key: bool
    wants: dict[str, Want]


class RunPaths:
    """The URLs of the runs of a proxy's routes. False if there are none.

    They are tried before all routes are, in the order of these. The value is one segment, decoded once.
    retired: routes that are gone, or have another journal now, and of which runs are kept.
    """

    def __init__(self, routes: Sequence[Route], retired: Sequence[Route] = ()) -> None:
        self._patterns: list[_Pattern] = []
        self._retired = tuple(retired)
        for route in (*routes, *retired):
            if route.journal is None:
                continue
            resume, stop = route.journal.resume, route.journal.stop
            wants = dict.fromkeys(_READING, Want.READ) | {"DELETE": Want.STOP}
            self._patterns.append(_Pattern(route, resume.before, resume.behind, resume.is_by_key, wants))
            if stop is not None:
                wants = dict.fromkeys(stop.methods, Want.STOP)
                self._patterns.append(_Pattern(route, stop.before, stop.behind, stop.is_by_key, wants))

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def shown(self, path: str) -> str | None:
        """Return a path for the log without the name of a run, whatever is wanted of that; ``None``: it has none."""
        for pattern in self._patterns:
            if not pattern.is_by_key and path.startswith(pattern.before) and path.endswith(pattern.behind):
                value = path[len(pattern.before) : len(path) - len(pattern.behind)]
                if is_run_name(value.encode()):
                    return f"{pattern.before}-{pattern.behind}"
        return None

    def find(self, inbound: InboundRequest, *, method: str | None = None) -> RunTarget | None:
        """Return what a request names, if it names a run. method: in place of its own.

        Raises `BadRequest` where dot segments leave that open.
        """
        path, host = inbound.path, None
        found: RunTarget | None = None
        for pattern in self._patterns:
            want = pattern.wants.get(inbound.method if method is None else method)
            if want is None or not (path.startswith(pattern.before) and path.endswith(pattern.behind)):
                continue
            value = path[len(pattern.before) : len(path) - len(pattern.behind)]
            if not value or "/" in value or len(path) <= len(pattern.before) + len(pattern.behind):
                continue
            if pattern.route.match.host is not None:
                host = bare_host(inbound.host.decode("latin-1")) if host is None else host
                if host != pattern.route.match.host:
                    continue
            if has_dots(inbound.target.partition("?")[0]):
                raise BadRequest("The path of a run must not have dot segments.")
            shown = f"{pattern.before}-{pattern.behind}"
            if found is None:
                found = RunTarget(pattern.route, want, pattern.is_by_key, unquote_to_bytes(value), shown)
            elif pattern.route in self._retired and pattern.is_by_key == found.is_by_key:
                found = replace(found, others=(*found.others, pattern.route))
            if not self._retired:
                break
        return found
