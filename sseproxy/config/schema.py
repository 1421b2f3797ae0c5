"""Which keys does the file have, what may they say, and what holds when they are left out?

Defaults that belong to a policy are the policy's own. No key is required here: `checks` asks for what is missing,
so that one missing key does not hide what else is wrong. How streams are treated is in `streams`, what a route does for
`EventSource` in `browsers`, how a route is served from Redis in `push`.
"""

from functools import partial
from typing import Annotated, Any, get_args, get_origin

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from sseproxy.config.addresses import Address
from sseproxy.config.authorize import Authorize
from sseproxy.config.browsers import (
    AuthSection,
    CORSSection,
    EndSection,
    TicketsSection,
    or_off,
    switchable,
    without_nothing,
)
from sseproxy.config.fields import (
    Boolean,
    CountOrAuto,
    DialectWord,
    DurationOrZero,
    FieldName,
    FieldValue,
    HostNames,
    Listen,
    LogFormat,
    LogFormatWord,
    LogLevel,
    LogLevelWord,
    MatchHost,
    MatchPath,
    Method,
    Network,
    RouteName,
    UpstreamURL,
    Workers,
    listed_listeners,
    one_or_several_listeners,
)
from sseproxy.config.journal import Journal
from sseproxy.config.problems import Path
from sseproxy.config.push import RedisSection, StoreSection, route_schema, store_of_word
from sseproxy.config.sections import Section
from sseproxy.config.streams import (
    STREAM_WORDS,
    HeartbeatSection,
    LimitsSection,
    StreamSection,
    TimeoutsSection,
    may_be_a_word,
    stream_of_word,
)
from sseproxy.config.tls import ServerTLSSection, UpstreamTLSSection
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.plan import StreamMode
from sseproxy.core.stream.timeouts import Auto

_SWITCHABLE = ("tickets", "auth", "end", "cors")


# Every section can be left out, and every key of it. A default that is a section is made once and shared: sections are
# frozen. Descriptions are for editors and for docs/reference.md, which `make docs-reference` makes of them.


class DrainSection(Section):
    """How streams end when the process is asked to stop."""

    delay: DurationOrZero = Field(
        default=0.0,
        description="After SIGTERM, /readyz is 503 and connections are accepted for so long, before anything ends.",
    )
    timeout: DurationOrZero = Field(
        default=25.0, description="Streams may finish for this long, then they break off; off: wait for the last one."
    )
    spread: DurationOrZero = Field(
        default=5.0,
        description="Clients that come back by themselves are sent away one after the other over this time.",
    )


class ServerSection(Section):
    """The public side."""

    listen: Annotated[tuple[Listen, ...], BeforeValidator(listed_listeners), one_or_several_listeners] = Field(
        default=(Address("127.0.0.1", 8080),),
        description="HOST:PORT, [::1]:8080, :8080 (all interfaces) or unix:/run/sseproxy.sock; a list for several. "
        'A socket with rights of its own: {unix: PATH, mode: "0660", group: GROUP, trust: false}.',
    )
    tls: ServerTLSSection | None = Field(default=None, description="Serve HTTPS on every TCP listener; left out: HTTP.")
    workers: Workers = Field(default=1, description="Processes that share the port.")
    connections: CountOrAuto = Field(
        default=Auto.AUTO,
        description="Connections of clients that each worker may have, streams and tunnels included; "
        "auto: (file descriptors - 64) / 2. Then idle ones are closed for new ones, and where all are busy "
        "new ones get 503.",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        default=(),
        description="Peers whose X-Forwarded-*, Forwarded and Via are believed and appended to. "
        "Of all others these and X-Real-IP are removed, but for the names of sseproxy instances in Via.",
    )
    drain: DrainSection = Field(
        default=DrainSection.model_construct(), description="How streams end when the process has to stop."
    )


class AdminSection(Section):
    """Health, metrics and the list of live streams, never on the public side."""

    model_config = ConfigDict(json_schema_extra={"required": ["listen"]})

    listen: Listen | None = Field(default=None, description="HOST:PORT or unix:/run/sseproxy-admin.sock.")
    hosts: HostNames = Field(
        default=(),
        description="Names in Host that are answered, beside localhost and IP addresses; a browser that was led here "
        "by another name gets 421.",
    )


class LogSection(Section):
    """What is written: requests to stdout, everything else to stderr."""

    level: LogLevelWord = Field(default=LogLevel.INFO, description="The least severe messages that are written.")
    format: LogFormatWord = Field(
        default=LogFormat.TEXT, description="text for people, json for machines (one object on each line)."
    )
    access: Boolean = Field(default=True, description="One line for each request, when it ends.")


class TelemetrySection(Section):
    """What is sent to a collector of OpenTelemetry; its own variables (OTEL_*) say where, and how much of it."""

    traces: Boolean = Field(
        default=False, description="A span for each request, over OTLP; needs the extra `sseproxy[otel]`."
    )


class InheritedSection(Section):
    """What every route inherits and may override."""

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_left_out(cls, value: object) -> object:
        return without_nothing(value, _SWITCHABLE)

    dialect: DialectWord = Field(
        default=Dialect.AUTO,
        description="The kind of service: what an error looks like, which event is the last; auto: by the request.",
    )
    stream: Annotated[StreamSection, BeforeValidator(stream_of_word)] = Field(
        default=StreamSection.model_construct(),
        description="What streams there are; a word in place of a mapping is `declared`.",
        json_schema_extra=partial(may_be_a_word, word=STREAM_WORDS, default=StreamMode.AUTO.value),
    )
    heartbeat: HeartbeatSection = Field(
        default=HeartbeatSection.model_construct(), description="What a silent stream is kept alive with."
    )
    timeouts: TimeoutsSection = Field(default=TimeoutsSection.model_construct(), description="How long to wait.")
    limits: LimitsSection = Field(default=LimitsSection.model_construct(), description="How much to take.")
    tickets: Annotated[TicketsSection | None, or_off] = switchable(
        "Requests that are kept until a GET asks for them, as EventSource does; left out or off: none."
    )
    auth: Annotated[AuthSection | None, or_off] = switchable(
        "A login cookie that becomes a request header; left out or off: none."
    )
    end: Annotated[EndSection | None, or_off] = switchable(
        "What an EventSource gets at a clean end of the upstream; left out or off: nothing."
    )
    cors: Annotated[CORSSection | None, or_off] = switchable(
        "Which pages of other origins may read the responses; left out or off: the upstream says it."
    )


class MatchSection(Section):
    """What a request must look like; what is left out matches everything."""

    path: MatchPath | None = Field(default=None, description="The whole path, normalised, without the query.")
    prefix: MatchPath | None = Field(
        default=None, description="The first segments: /api matches /api and /api/x, not /apix."
    )
    methods: tuple[Method, ...] = Field(default=(), description="One of these methods.")
    host: MatchHost | None = Field(default=None, description="The host of the request, without a port.")


class RewriteSection(Section):
    """What changes about the request target."""

    strip_prefix: MatchPath | None = Field(default=None, description="Segments taken off the front of the path.")


class FieldRulesSection(Section):
    """Header fields of one direction."""

    set: dict[FieldName, FieldValue] = Field(default={}, description="Fields to set, in place of all of that name.")
    remove: tuple[FieldName, ...] = Field(default=(), description="Fields to remove.")


class HeadersSection(Section):
    """Header fields of both directions."""

    request: FieldRulesSection = Field(
        default=FieldRulesSection.model_construct(), description="On the way to the upstream."
    )
    response: FieldRulesSection = Field(
        default=FieldRulesSection.model_construct(), description="On the way to the client."
    )


class RouteSection(InheritedSection):
    """Requests that match go to one upstream, or are served from Redis, under these policies."""

    model_config = ConfigDict(json_schema_extra=route_schema)

    name: RouteName | None = Field(default=None, description="What the log calls it; left out: route-1, route-2, …")
    match: MatchSection = Field(
        default=MatchSection.model_construct(), description="What a request must look like; left out: anything."
    )
    upstream: UpstreamURL | None = Field(
        default=None, description="http://, https:// or http+unix:// URL; a base path is kept."
    )
    redis: RedisSection | None = Field(
        default=None, description="Streams or channels of Redis, in place of an upstream; answers GET and HEAD."
    )
    journal: Journal = Field(
        default=None,
        description="The events of streams are kept: to be resumed, shared, and stopped on purpose; left out: they are "
        "not.",
    )
    rewrite: RewriteSection = Field(
        default=RewriteSection.model_construct(), description="What changes about the request target."
    )
    headers: HeadersSection = Field(
        default=HeadersSection.model_construct(), description="Header fields to set and remove."
    )
    tls: UpstreamTLSSection | None = Field(
        default=None, description="How an https upstream is verified, and what it is shown."
    )
    authorize: Authorize = Field(
        default=None, description="Another service says whether a request may go on; left out: all may."
    )


class FileSchema(Section):
    """The configuration of sseproxy."""

    server: ServerSection = Field(default=ServerSection.model_construct(), description="The public side.")
    admin: AdminSection | None = Field(
        default=None, description="Health, metrics and the live streams; left out: none."
    )
    log: LogSection = Field(
        default=LogSection.model_construct(),
        description="What is written: requests to stdout, everything else to stderr.",
    )
    telemetry: TelemetrySection = Field(
        default=TelemetrySection.model_construct(), description="What is sent to a collector of OpenTelemetry."
    )
    defaults: InheritedSection = Field(
        default=InheritedSection.model_construct(),
        description="Every route inherits these and may override any of them.",
    )
    store: Annotated[StoreSection, BeforeValidator(store_of_word)] = Field(
        default=StoreSection.model_construct(),
        description="What outlives a connection is kept in memory, and `redis:` routes are served from its url; the "
        "word memory in place of a mapping: as it is.",
        json_schema_extra=partial(may_be_a_word, word={"const": "memory"}, default="memory"),
    )
    routes: tuple[RouteSection, ...] = Field(default=(), description="The first that matches wins; none: 404.")


def section_at(path: Path) -> type[Section]:
    """The section that stands at `path`, or the nearest one above it."""
    section: type[Section] = FileSchema
    for part in path:
        if isinstance(part, str) and part in section.model_fields:
            section = section_in(section.model_fields[part].annotation) or section
    return section


def places_below(section: type[Section], key: str) -> list[str]:
    """Where `key` may stand one level deeper than in `section`: ``heartbeat.interval`` for ``interval``."""
    return [
        f"{name}{'[]' * (get_origin(field.annotation) is tuple)}.{key}"
        for name, field in section.model_fields.items()
        if (held := section_in(field.annotation)) is not None and key in held.model_fields
    ]


def section_in(annotation: Any) -> type[Section] | None:
    """The section that a key holds, or several of, or may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for part in get_args(annotation) if (found := section_in(part)) is not None), None)


def json_schema() -> dict[str, Any]:
    """The file as a JSON Schema (2020-12), for editors."""
    schema = FileSchema.model_json_schema(mode="serialization")
    for section in schema["$defs"].values():
        section["type"] = ["object", "null"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "sseproxy"}
