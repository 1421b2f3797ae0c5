"""Which combinations of right values are impossible for a route that is served from Redis, and for its Redis?

Like `checks`: what is wrong is added to `Document.problems`, and nothing is said about values that are wrong already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.problems import Path
from sseproxy.config.push import RedisSection
from sseproxy.config.push_values import is_redis
from sseproxy.config.route_checks import is_right
from sseproxy.config.schema import FileSchema, RouteSection
from sseproxy.core.http.fields import as_in_cgi
from sseproxy.core.journal.policy import MOST_NAMES, Format
from sseproxy.core.journal.templates import Template, TemplateKind
from sseproxy.core.routes import READING

_STORE_URL: Path = ("store", "url")

#: Keys of a route that say how an upstream is asked, or what becomes of its answer. Lines of Redis come whole.
FOR_UPSTREAMS: tuple[tuple[str, ...], ...] = (
    ("upstream",),
    ("rewrite",),
    ("tls",),
    ("headers", "request"),
    ("end",),
    ("stream",),
    ("heartbeat", "before_response"),
    ("heartbeat", "json"),
    ("heartbeat", "ndjson"),
    ("timeouts", "connect"),
    ("timeouts", "response"),
    ("timeouts", "idle"),
    ("timeouts", "request_body"),
    ("limits", "request_body"),
    ("limits", "line"),
)


def without_effect(section: RouteSection) -> tuple[tuple[str, ...], ...]:
    """Return the keys that say nothing about a route with `redis`. A service that is asked may be away, too."""
    return FOR_UPSTREAMS if section.authorize is not None else (*FOR_UPSTREAMS, ("timeouts", "connect_retry"))


#: Keys of a route that say how an entry of a stream is found again: channels keep nothing.
_FOR_STREAMS = ("start", "gap")


def check_push(document: Document, file: FileSchema, routes: tuple[EffectiveRoute, ...]) -> None:
    """The `redis` of all routes, and the store that they lean on."""
    for route in routes:
        if route.own() in document.broken:
            continue
        if route.section.redis is None:
            continue
        if not document.is_broken(route.own("redis")):
            check = PushCheck(document, route, route.section.redis)
            check.other_keys()
            check.names()
            check.format()
            check.identity()
            check.url(file.store.url)
    if not document.is_broken(("store",)):
        check_store(document, file, routes)


def check_store(document: Document, file: FileSchema, routes: Sequence[EffectiveRoute]) -> None:
    """Check that the store's Redis can be used, and what is said of one is for one."""
    store = file.store
    named = [route for route in routes if route.section.redis is not None and route.section.redis.url]
    if store.url is None:
        for key in ("prefix", "timeout"):
            if key in store.model_fields_set and not named and not document.is_broken(("routes",)):
                document.problem(("store", key), "has no effect without a url")
        return
    if is_redis(store.url):
        check_package(document, _STORE_URL)
    signs = [
        route
        for route in routes
        if route.section.redis is None
        and route.merged.end is not None
        and route.merged.end.stop_reconnect
        and route.merged.end.secret is None
        and is_right(document, route, "end")
    ]
    keeps = next((route for route in routes if route.section.journal is not None), None)
    if signs and store.secret is None:
        message = f"is missing: with a url, replicas answer each other's reconnects (end of routes[{signs[0].index}])"
        document.problem(("store", "secret"), message, "the same in all of them, such as from openssl rand -hex 16")
    elif keeps is not None and store.secret is None:
        message = f"is missing: with a url, the keys of runs are made with it (journal of routes[{keeps.index}])"
        document.problem(("store", "secret"), message, "the same in all of them, such as from openssl rand -hex 16")


def check_package(document: Document, at: Path) -> None:
    """Check that redis-py is there for the URL at `at`."""
    from sseproxy.stores.redis.library import RedisMissing, require_redis  # noqa: PLC0415 - only where a URL needs it

    try:
        require_redis()
    except RedisMissing:
        document.problem(at, "needs the Python packages redis and hiredis", "pip install 'sseproxy[redis]'")


@dataclass(slots=True, eq=False)
class PushCheck:
    """What one route says of Redis."""

    document: Document
    route: EffectiveRoute
    section: RedisSection

    def other_keys(self) -> None:
        """Check that nothing is said that only an upstream has, and no method is asked for that cannot be answered."""
        for keys in without_effect(self.route.section):
            if self.route.says(*keys) and not self.document.is_broken(self.route.own(*keys)):
                if keys == ("upstream",):
                    message, hint = "cannot stand beside redis", "one route for each"
                else:
                    message, hint = "has no effect with redis", "leave it out: there is no upstream"
                self.document.problem(self.route.own(*keys), message, hint, at_key=True)
        if self.route.says("auth") and self.route.section.auth is not None and self.route.section.authorize is None:
            message, hint = (
                "has no effect with redis without authorize",
                "authorize: {url: URL} hears of that header",
            )
            self.document.problem(self.route.own("auth"), message, hint, at_key=True)
        for index, method in enumerate(self.route.section.match.methods):
            if method not in READING:
                at = self.document.shown((*self.route.own("match", "methods"), index))
                self.document.problem(at, f"{method} is always refused with redis", "GET and HEAD are answered")

    def names(self) -> None:
        """Check that there are names of one sort, and not too many."""
        section, own = self.section, self._own
        if section.stream and section.channel:
            self.document.problem(own("channel"), "cannot stand beside stream", "one route for each", at_key=True)
        elif not section.templates:
            empty = next((key for key in ("stream", "channel") if key in section.model_fields_set), None)
            if empty is None:
                self.document.problem(own(), "names neither stream nor channel", "such as stream: news")
            else:
                self.document.problem(own(empty), "must not be empty")
        for key in ("stream", "channel"):
            count = len(getattr(section, key))
            if count > MOST_NAMES:
                self.document.problem(own(key), f"has {count} names, and may have {MOST_NAMES}", "one route more")

    def format(self) -> None:
        """Check that entries can be read, and what is said of streams is said of streams."""
        section = self.section
        if section.format is Format.FLASK_SSE and section.stream:
            hint = "that library publishes to channels: channel, or format: json"
            self.document.problem(self._own("format"), "flask-sse cannot be read from a stream", hint)
        for key in _FOR_STREAMS:
            if key in section.model_fields_set and section.channel and not section.stream:
                hint = "channels keep nothing: use stream, or leave it out"
                self.document.problem(self._own(key), "has no effect on a channel", hint, at_key=True)

    def identity(self) -> None:
        """Check that names are made of what is known of the client, and not of what it says of itself."""
        takes = self._takes
        fields = {as_in_cgi(field.encode()): name for name, field in takes.items()}
        for key in ("stream", "channel"):
            for index, template in enumerate(getattr(self.section, key)):
                at = self.document.shown((*self._own(key), index))
                for value in template.values:
                    if value.kind is TemplateKind.AUTH:
                        if value.name not in takes:
                            hint = f"authorize: {{take: {{{value.name}: FIELD}}}}"
                            self.document.problem(at, f"{{auth:{value.name}}} is not taken by authorize", hint)
                    elif value.kind is TemplateKind.HEADER and (known := fields.get(as_in_cgi(value.name.encode()))):
                        message = f"{{header:{value.name}}} is never there: the client's own is removed"
                        self.document.problem(at, message, f"authorize takes that field: {{auth:{known}}}")
                    elif not self.section.unsafe_identity:
                        message = f"{{{value.kind}:{value.name}}} lets every client read what is another's"
                        hint = "{auth:NAME}, or unsafe_identity: true for what is no secret"
                        self.document.problem(at, message, hint)

    def url(self, of_store: str | None) -> None:
        """Check that some Redis is named, and can be used."""
        at = self._own("url")
        if self.section.url is not None:
            check_package(self.document, at)
        elif not is_redis(of_store) and not self.document.is_broken(("store",)):
            self.document.problem(at, "is missing: store.url names no Redis either", "such as redis://127.0.0.1:6379/0")

    @property
    def _takes(self) -> Mapping[str, str]:
        authorize = self.route.section.authorize
        return {} if authorize is None else authorize.take

    def _own(self, *keys: str) -> Path:
        return self.route.own("redis", *keys)


def is_made_by_clients(templates: Sequence[Template]) -> bool:
    """True if a name holds what a client can write as it likes."""
    return any(value.kind is not TemplateKind.AUTH for template in templates for value in template.values)
