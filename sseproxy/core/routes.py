"""Which upstream, or which streams of Redis, serve a request, and under which policies?"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from sseproxy.core.eventsource.policies import CookieAuth, CorsPolicy, TicketPolicy
from sseproxy.core.frozen import frozen
from sseproxy.core.http.fields import HeaderRules, as_in_cgi
from sseproxy.core.http.paths import behind_prefix, decoded, has_dots, has_prefix
from sseproxy.core.journal.policy import RedisPolicy
from sseproxy.core.journal.rules import JournalPolicy, PartKind
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.end_message import EndPolicy
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.plan import Declaration, StreamKind, StreamMode
from sseproxy.core.stream.timeouts import TimeoutPolicy

#: The methods of a route to Redis: messages are read here, and published to Redis.
READING = ("GET", "HEAD")


@frozen
class Match:
    """What a request must look like; ``None`` and an empty set match everything.

    path: the whole path, without the query. prefix: whole segments, so ``/api`` matches ``/api`` and ``/api/x`` but not
    ``/apix``. Both are normalised, and compared with the normalised path of the request.
    methods: upper case. host: lower case, without the port.
    """

    path: str | None = None
    prefix: str | None = None
    methods: frozenset[str] = frozenset()
    host: str | None = None

    def matches(self, *, method: str, path: str, host: str) -> bool:
        return (
            (self.path is None or path == self.path)
            and (self.prefix is None or has_prefix(path, self.prefix))
            and (not self.methods or method in self.methods)
            and (self.host is None or host == self.host)
        )

    @property
    def matched(self) -> str:
        """The path, or the prefix of all paths, that can match."""
        return self.path if self.path is not None else self.prefix or "/"

    def covers(self, other: "Match") -> bool:
        """True if every request that `other` matches is matched: behind this one, `other` is never reached."""
        has_paths = other.path == self.path if self.path is not None else has_prefix(other.matched, self.matched)
        has_methods = not self.methods or (bool(other.methods) and other.methods <= self.methods)
        return has_paths and has_methods and self.host in (None, other.host)

    def can_begin_with(self, prefix: str) -> bool:
        """True if some path that matches has `prefix`, by whole segments."""
        return has_prefix(self.matched, prefix) or (self.path is None and has_prefix(prefix, self.matched))

    def is_below(self, prefix: str) -> bool:
        """True if the match names paths, all of which have `prefix`, by whole segments."""
        return (self.path is not None or self.prefix is not None) and has_prefix(self.matched, prefix)


@dataclass(frozen=True, slots=True)
class UpstreamTLS:
    """How an ``https`` upstream is verified, and what it is shown. server_name: for SNI and the certificate.

    ca, certificate, key: paths of PEM files. certificate and key come together or not at all.
    """

    verify: bool = True
    ca: str | None = None
    server_name: str | None = None
    certificate: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a route leads.

    scheme: ``http``, ``https`` or ``http+unix``. host and port are unset for a unix socket, whose
    file is `socket_path`. base_path: put before every request path; never ends with a slash.
    """

    scheme: str
    host: str = ""
    port: int = 0
    socket_path: str | None = None
    base_path: str = ""
    tls: UpstreamTLS = UpstreamTLS()

    @property
    def authority(self) -> str:
        """The value of a ``Host`` header for this upstream (RFC 9110 section 7.2)."""
        if self.socket_path is not None:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"

    @property
    def place(self) -> str:
        """Where it is, for logs: host and port, or the file of a unix socket."""
        if self.socket_path is not None:
            return f"unix:{self.socket_path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen
class AuthorizePolicy:
    """The service that is asked whether a request may go on.

    upstream: where it is, without a base path. target: what it is asked for, with the query.
    take: names, and the response fields that they stand for. cache: seconds for which a yes holds for the same
    credentials; ``None``: each request is a question. timeout: seconds for one question, from connecting to the last
    byte.
    taken: the response fields, as `as_in_cgi` writes them.
    """

    upstream: Upstream
    target: str = "/"
    take: tuple[tuple[str, str], ...] = ()
    cache: float | None = None
    timeout: float = 5.0
    taken: frozenset[bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "taken", frozenset(as_in_cgi(name.encode()) for _, name in self.take))


@frozen
class Route:
    """One route with everything that holds for its requests. It leads to `upstream` or to `redis`: exactly one is set.

    strip_prefix: taken off the path, by whole segments, before the base path is put on.
    named_fields: lower-case names of request fields that the route goes by; no connection option takes them away.
    leads_to: where the upstream or Redis is, for logs.
    """

    name: str
    upstream: Upstream | None = None
    match: Match = Match()
    dialect: Dialect = Dialect.AUTO
    stream: StreamMode = StreamMode.AUTO
    declaration: Declaration = Declaration()
    kind: StreamKind = StreamKind.AUTO
    heartbeat: HeartbeatPolicy = HeartbeatPolicy()
    timeouts: TimeoutPolicy = TimeoutPolicy()
    limits: LimitPolicy = LimitPolicy()
    strip_prefix: str | None = None
    request_headers: HeaderRules = field(default=HeaderRules())
    response_headers: HeaderRules = field(default=HeaderRules())
    tickets: TicketPolicy | None = None
    auth: CookieAuth | None = None
    end: EndPolicy | None = None
    cors: CorsPolicy | None = None
    authorize: AuthorizePolicy | None = None
    redis: RedisPolicy | None = None
    journal: JournalPolicy | None = None
    named_fields: frozenset[bytes] = field(init=False, repr=False, compare=False)
    leads_to: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.upstream is None) == (self.redis is None):
            raise ValueError("a route leads to an upstream or to Redis")
        place = self.upstream.place if self.upstream is not None else self.redis.place if self.redis is not None else ""
        object.__setattr__(self, "leads_to", place)
        rules = self.request_headers
        names = {*rules.remove, *(name for name, _ in rules.set)}
        if self.auth is not None:
            names.add(self.auth.header)
        if self.journal is not None:
            parts = (*self.journal.key, *self.journal.login)
            names.update(part.name for part in parts if part.kind is PartKind.HEADER)
        object.__setattr__(self, "named_fields", frozenset(name.lower().encode() for name in names))

    def admits(self, target: str) -> bool:
        """False for a target that could leave the base path, or what `strip_prefix` stands for, by dot segments."""
        is_rewritten = self.strip_prefix is not None or (self.upstream is not None and self.upstream.base_path != "")
        return not (is_rewritten and has_dots(target.partition("?")[0]))

    def upstream_target(self, target: str) -> str:
        """The request target for the upstream: all of `target` verbatim, but for `strip_prefix` and the base path.

        `target` must be one that the route `admits`, and the route must lead to an upstream.
        """
        assert self.upstream is not None
        if not target.startswith("/"):
            return target
        if self.strip_prefix is not None:
            path, query = split_target(target)
            rest = behind_prefix(path, self.strip_prefix)
            target = target if rest is None else f"{rest or '/'}{query}"
        return self.upstream.base_path + target


#: RFC 9112 section 3.2.2: authority, and what is behind it.
ABSOLUTE_FORM = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


def logged_path(target: str) -> str:
    """The path of a request target in any form, without what may hold secrets: query, fragment and authority."""
    absolute = ABSOLUTE_FORM.fullmatch(target)
    path = re.split("[?#]", target if absolute is None else absolute.group(2), maxsplit=1)[0]
    return path if path.startswith(("/", "*")) else "-"


def split_target(target: str) -> tuple[str, str]:
    """Path and query of an origin-form target; the query keeps its question mark, also when empty."""
    path, mark, query = target.partition("?")
    return path, mark + query


def find_route(routes: Sequence[Route], *, method: str, path: str, host: str) -> Route | None:
    """The first route that matches, or ``None``. path: normalised. `host` may carry a port."""
    name = None
    for route in routes:
        if route.match.host is not None and name is None:
            name = bare_host(host)
        if route.match.matches(method=method, path=path, host=name or ""):
            return route
    return None


def bare_host(authority: str) -> str:
    """The normalised host of an authority: in lower case, without port and closing dot (RFC 3986 section 6.2.2)."""
    if authority.startswith("["):
        return _bare_ipv6(authority[1:].partition("]")[0])
    host = authority.partition(":")[0].rstrip(".")
    return (decoded(host) if "%" in host else host).lower()


def _bare_ipv6(text: str) -> str:
    try:
        return f"[{IPv6Address(text)}]"
    except ValueError:
        return f"[{text.lower()}]"
