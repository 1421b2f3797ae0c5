"""Which keys say that a route has no upstream, but streams or channels of Redis, and which say where Redis is?"""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from sseproxy.config import push_values, values
from sseproxy.config.fields import (
    VARIABLE,
    Boolean,
    EventName,
    FilePath,
    LimitedDuration,
    Secret,
    Size,
    listed,
    one_or_several,
    words,
)
from sseproxy.config.files import absolute
from sseproxy.config.sections import Scalar, Section
from sseproxy.config.values import BadValue
from sseproxy.core.journal.gap import GapPolicy
from sseproxy.core.journal.policy import Format, RedisPolicy, Start
from sseproxy.core.journal.templates import Template
from sseproxy.core.store import REDIS_SCHEMES, SCHEMES, StorePolicy

_STORE, _GAP = StorePolicy(), GapPolicy()


def _any_case(schemes: Iterable[str]) -> str:
    """A pattern of URLs with these schemes, in any case: JSON Schema has no flag for it."""
    written = ("".join(f"[{sign.upper()}{sign}]" if sign.isalpha() else f"\\{sign}" for sign in s) for s in schemes)
    return f"^({'|'.join(written)})://.+$"


RedisAddress = Annotated[
    str,
    Scalar(
        push_values.redis_url,
        {"anyOf": [{"type": "string", "pattern": _any_case(REDIS_SCHEMES)}, VARIABLE]},
        write=push_values.masked_url,
    ),
]
StoreAddress = Annotated[
    str,
    Scalar(
        push_values.store_url,
        {"anyOf": [{"type": "string", "pattern": _any_case(SCHEMES)}, VARIABLE]},
        write=push_values.masked_url,
    ),
]
KeyPrefix = Annotated[
    str,
    Scalar(push_values.key_prefix, {"anyOf": [{"type": "string", "pattern": r"^[A-Za-z0-9._:-]{1,64}$"}, VARIABLE]}),
]
NameTemplate = Annotated[
    Template,
    Scalar(push_values.name_template, {"type": "string", "minLength": 1}, write=lambda template: template.text),
]
Names = Annotated[tuple[NameTemplate, ...], BeforeValidator(listed), one_or_several]


FormatWord = Annotated[Format, Scalar(partial(values.choice, kind=Format), words(Format), write=str)]
StartWord = Annotated[Start, Scalar(partial(values.choice, kind=Start), words(Start), write=str)]


class GapEventSection(Section):
    """The event that tells of a gap."""

    name: EventName = Field(default=_GAP.name, description="Its type, for addEventListener().")


class GapSection(Section):
    """What a client gets where events are missing."""

    event: GapEventSection = Field(
        default=GapEventSection.model_construct(), description="The event that tells of a gap."
    )


class RedisSection(Section):
    """Streams or channels of Redis, in place of an upstream."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["stream"]}, {"required": ["channel"]}]})

    url: RedisAddress | None = Field(default=None, repr=False, description="Which Redis; left out: that of store.url.")
    stream: Names = Field(
        default=(),
        description="Names of Redis streams, one or a list of at most 8, with {auth:NAME} in place of what authorize "
        "takes. Streams have ids and history: who comes back gets what came since.",
    )
    channel: Names = Field(
        default=(),
        description="Names of channels (pub/sub), one or a list of at most 8. Who is not connected misses what is "
        "published.",
    )
    format: FormatWord = Field(
        default=Format.TEXT,
        description="How a message or an entry becomes an event: text (it is the data), json ({data, event, retry}), "
        "flask-sse (what that library publishes to a channel).",
    )
    start: StartWord = Field(
        default=Start.LATEST,
        description="Where a client without a position begins: latest (what comes from now on), oldest (all that the "
        "stream has).",
    )
    gap: GapSection = Field(
        default=GapSection.model_construct(), description="What a client gets where events are missing."
    )
    unsafe_identity: Boolean = Field(
        default=False,
        description="Names may be made of {cookie:NAME}, {query:NAME} and {header:NAME}, which every client can write "
        "as it likes.",
    )

    @property
    def templates(self) -> tuple[Template, ...]:
        """All names, of streams and of channels."""
        return (*self.stream, *self.channel)

    def policy(self, store_url: str) -> RedisPolicy:
        """What the proxy goes by. store_url: of the Redis that is meant if the section names none."""
        gap = GapPolicy(self.gap.event.name)
        url = self.url or store_url
        place = push_values.parsed(url).place
        return RedisPolicy(self.stream, self.channel, self.format, self.start, gap, url, place)


class StoreSection(Section):
    """Where is kept what outlives a connection, and the Redis of routes that name none."""

    url: StoreAddress | None = Field(
        default=None,
        repr=False,
        description="The Redis of `redis:` routes: redis://, rediss://, redis+unix://, "
        "redis+sentinel://HOST:PORT,HOST:PORT/NAME/DB or redis+cluster://.",
    )
    prefix: KeyPrefix = Field(
        default=_STORE.prefix, description="What the names of sseproxy's own keys and channels begin with."
    )
    secret: Secret | None = Field(
        default=None,
        description="For replicas that answer each other's reconnects, on every route without an end.secret; left out: "
        "made up at the start. Needed with a url and end.stop_reconnect.",
    )
    timeout: LimitedDuration = Field(default=_STORE.timeout, description="Redis is away when it takes longer.")
    memory: Size = Field(
        default=_STORE.memory,
        description="Bytes of requests that wait in tickets; what does not fit is refused: 503. As many bytes again "
        "for the newest events of Redis, from which clients are served, and as many for the runs of journals.",
    )

    file: FilePath | None = Field(
        default=None,
        description="The runs of journals are written there at the end of a drain, and read and removed at the start; "
        "left out: they end with the process.",
    )

    def policy(self, folder: Path) -> StorePolicy:
        """What the process goes by. folder: where the paths of files begin."""
        file = None if self.file is None else absolute(self.file, folder)
        return StorePolicy(self.secret or "", self.memory, self.url or "", self.prefix, self.timeout, file)


def store_of_word(value: object) -> object:
    """The section for the word ``memory``. Messages do not repeat what stands there: a URL may hold a password."""
    if value == "memory":
        return {}
    if value is not None and not isinstance(value, Mapping | Section):
        raise BadValue("expected memory or a mapping", "a Redis is named by url: store: {url: redis://127.0.0.1:6379}")
    return value


def route_schema(schema: dict[str, Any]) -> None:
    """Let editors ask for exactly one of the two origins of a route."""
    schema["oneOf"] = [{"required": ["upstream"]}, {"required": ["redis"]}]
