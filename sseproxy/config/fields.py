"""What may one value of the file be: for the loader, for editors, and when it is written again?

Values that are not what they should be raise `BadValue`; sections with nothing in them are the same as none.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

from sseproxy.config import addresses, browser_values, urls, values
from sseproxy.config.addresses import Address, IPNetwork
from sseproxy.config.sections import (
    BeforeValidator,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)
from sseproxy.core.eventsource.policies import MOST_BODY, Reopen, TicketBinding
from sseproxy.core.routes import Upstream
from sseproxy.core.stream.dialects import Dialect, Marker
from sseproxy.core.stream.end_message import EndsAt
from sseproxy.core.stream.heartbeat import HeartbeatForm
from sseproxy.core.stream.plan import Declaration, StreamKind, StreamMode
from sseproxy.core.stream.timeouts import Auto

#: Any scalar may come from the environment, and then its type shows only when the file is read.
VARIABLE = {"type": "string", "pattern": r"\$\{"}


class LogLevel(StrEnum):
    """The least severe messages that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class LogFormat(StrEnum):
    """How a log line is written."""

    TEXT = "text"
    JSON = "json"


# Each type below says three things at once: how a value is read, how it is written again, and what editors accept.
# Values are read by `PlainValidator`, which keeps pydantic from converting them first: it would take "1" for True.


def _scalar(*forms: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [*forms, VARIABLE]})


def words(kind: type[StrEnum]) -> WithJsonSchema:
    return _scalar({"type": "string", "enum": [member.value for member in kind]})


def _text(pattern: str | None = None, **more: Any) -> WithJsonSchema:
    return (
        _scalar({"type": "string", "pattern": pattern, **more})
        if pattern
        else WithJsonSchema({"type": "string", **more})
    )


_DURATION_TEXT = r"^(off|\d+(\.\d+)?(ms|s|m|h)?)$"
_SIZE_TEXT = r"^\d+(B|KiB|MiB|GiB)?$"
_OFF = {"const": "off"}
_ONE_OR_MORE = {"type": "integer", "minimum": 1}

Duration = Annotated[
    float | None,
    PlainValidator(values.duration),
    PlainSerializer(values.format_duration),
    _scalar({"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": _DURATION_TEXT}),
]
DurationOrZero = Annotated[
    float | None,
    PlainValidator(values.duration_or_zero),
    PlainSerializer(values.format_duration),
    _scalar({"type": "number", "minimum": 0}, {"type": "string", "pattern": _DURATION_TEXT}),
]
Size = Annotated[
    int,
    PlainValidator(values.size),
    PlainSerializer(values.format_size),
    _scalar(_ONE_OR_MORE, {"type": "string", "pattern": _SIZE_TEXT}),
]
BodySize = Annotated[
    int,
    PlainValidator(browser_values.body_size),
    PlainSerializer(values.format_size),
    _scalar({**_ONE_OR_MORE, "maximum": MOST_BODY}, {"type": "string", "pattern": _SIZE_TEXT}),
]
SizeOrOff = Annotated[
    int | None,
    PlainValidator(values.size_or_off),
    PlainSerializer(values.format_size),
    _scalar(_ONE_OR_MORE, {"type": "string", "pattern": _SIZE_TEXT}, _OFF),
]
CountOrOff = Annotated[
    int | None,
    PlainValidator(values.count_or_off),
    PlainSerializer(lambda count: "off" if count is None else count),
    _scalar(_ONE_OR_MORE, _OFF),
]
Workers = Annotated[
    int,
    PlainValidator(partial(values.whole_number, least=1, most=1024)),
    _scalar({"type": "integer", "minimum": 1, "maximum": 1024}),
]
CountOrAuto = Annotated[
    int | Auto,
    PlainValidator(values.count_or_auto),
    PlainSerializer(lambda count: count.value if isinstance(count, Auto) else count),
    _scalar(_ONE_OR_MORE, {"const": "auto"}),
]
Boolean = Annotated[bool, PlainValidator(values.boolean), _scalar({"type": "boolean"})]
FormWord = Annotated[
    HeartbeatForm,
    PlainValidator(partial(values.choice, kind=HeartbeatForm)),
    PlainSerializer(str),
    words(HeartbeatForm),
]
DialectWord = Annotated[
    Dialect, PlainValidator(partial(values.choice, kind=Dialect)), PlainSerializer(str), words(Dialect)
]
_NAME = {"type": "string", "minLength": 1}
DeclaredValue = Annotated[
    StreamMode | Declaration,
    PlainValidator(values.declared),
    PlainSerializer(values.format_declared),
    _scalar(
        {"type": "string", "enum": [mode.value for mode in StreamMode]},
        {
            "type": "object",
            "properties": {"json": _NAME, "equals": {"type": ["string", "number", "boolean", "null"]}},
            "required": ["json"],
            "additionalProperties": False,
        },
        {"type": "object", "properties": {"query": _NAME}, "required": ["query"], "additionalProperties": False},
    ),
]
KindWord = Annotated[
    StreamKind, PlainValidator(partial(values.choice, kind=StreamKind)), PlainSerializer(str), words(StreamKind)
]
IdleDuration = Annotated[
    float | Auto | None,
    PlainValidator(values.idle),
    PlainSerializer(values.format_idle),
    _scalar(
        {"const": "auto"},
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "string", "pattern": _DURATION_TEXT},
    ),
]
LogLevelWord = Annotated[
    LogLevel, PlainValidator(partial(values.choice, kind=LogLevel)), PlainSerializer(str), words(LogLevel)
]
LogFormatWord = Annotated[
    LogFormat, PlainValidator(partial(values.choice, kind=LogFormat)), PlainSerializer(str), words(LogFormat)
]

_LISTEN_TEXT = {"anyOf": [{"type": "string", "pattern": r"^(.*:\d{1,5}|unix:/.+)$"}, VARIABLE]}
_UNIX_LISTENER = {
    "type": "object",
    "properties": {
        "unix": {"type": "string", "description": "The path of the socket."},
        "mode": {"type": "string", "description": 'Who may connect, such as "0660"; left out: who reaches its folder.'},
        "group": {"type": ["string", "integer"], "description": "The group of the socket's file."},
        "trust": {"type": ["boolean", "string"], "description": "false: its peers are no trusted proxies."},
    },
    "required": ["unix"],
    "additionalProperties": False,
}
Listen = Annotated[
    Address,
    PlainValidator(addresses.listen_address),
    PlainSerializer(addresses.format_listen),
    WithJsonSchema({"anyOf": [_LISTEN_TEXT, _UNIX_LISTENER]}),
]
Network = Annotated[IPNetwork, PlainValidator(addresses.network), PlainSerializer(str), _text()]
UpstreamURL = Annotated[
    Upstream,
    PlainValidator(urls.upstream_url),
    PlainSerializer(urls.format_upstream),
    _text(r"^([Hh][Tt][Tt][Pp][Ss]?|[Hh][Tt][Tt][Pp]\+[Uu][Nn][Ii][Xx])://.+$"),
]
FilePath = Annotated[str, PlainValidator(values.file_path), _text()]
_PATH_CHARACTERS = r"[!$-)+-;=@-\[\]-_a-z|~]"
MatchPath = Annotated[str, PlainValidator(urls.match_path), _text(rf"^/{_PATH_CHARACTERS}*$")]
MatchHost = Annotated[str, PlainValidator(urls.match_host), _text()]
HostName = Annotated[str, PlainValidator(lambda value: addresses.host_name(values.line(value))), _text()]
Method = Annotated[str, PlainValidator(values.method), _text()]
RouteName = Annotated[str, PlainValidator(values.route_name), _text(r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
AnyText = Annotated[str, PlainValidator(values.text), _text()]
TextLine = Annotated[str, PlainValidator(values.line), _text()]
EventName = Annotated[str, PlainValidator(values.event_name), _text(minLength=1)]
FieldName = Annotated[str, PlainValidator(values.field_name), _text()]
FieldValue = Annotated[str, PlainValidator(values.field_value), _text()]
LimitedDuration = Annotated[
    float,
    PlainValidator(values.limited_duration),
    PlainSerializer(values.format_duration),
    _scalar({"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h)?$"}),
]
TicketPath = Annotated[str, PlainValidator(urls.ticket_path), _text(rf"^/{_PATH_CHARACTERS}+$")]
Binding = Annotated[
    tuple[TicketBinding, str],
    PlainValidator(browser_values.binding),
    PlainSerializer(browser_values.format_binding),
    _text(r"^(none|address|cookie:.+)$"),
]
ReopenWord = Annotated[Reopen, PlainValidator(partial(values.choice, kind=Reopen)), PlainSerializer(str), words(Reopen)]
CookieName = Annotated[str, PlainValidator(browser_values.cookie_name), _text(minLength=1)]
Template = Annotated[str, PlainValidator(browser_values.template), _text(r"\{value\}")]
MarkerValue = Annotated[
    Marker,
    PlainValidator(values.marker),
    PlainSerializer(values.format_marker),
    _scalar(
        _NAME,
        {"type": "object", "properties": {"data": _NAME}, "required": ["data"], "additionalProperties": False},
        {"type": "object", "properties": {"event": _NAME}, "required": ["event"], "additionalProperties": False},
    ),
]
EndsAtWord = Annotated[EndsAt, PlainValidator(partial(values.choice, kind=EndsAt)), PlainSerializer(str), words(EndsAt)]
Secret = Annotated[str, PlainValidator(browser_values.secret), PlainSerializer(lambda _: browser_values.MASK), _text()]


def listed(value: object) -> object:
    return [value] if isinstance(value, str | int) else value


def listed_listeners(value: object) -> object:
    return [value] if isinstance(value, str | int | Mapping) else value


one_or_several = WithJsonSchema(
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
)


_LISTENER = {"anyOf": [{"type": "string"}, _UNIX_LISTENER]}
one_or_several_listeners = WithJsonSchema(
    {"anyOf": [*_LISTENER["anyOf"], {"type": "array", "items": _LISTENER, "minItems": 1}]}
)

_ORIGIN = {"anyOf": [{"type": "string", "pattern": r"^(\*|null|[a-z][a-z0-9+.-]*://[^/*]+)$"}, VARIABLE]}
Origins = Annotated[
    tuple[Annotated[str, PlainValidator(urls.origin)], ...],
    BeforeValidator(listed),
    WithJsonSchema({"anyOf": [*_ORIGIN["anyOf"], {"type": "array", "items": _ORIGIN, "minItems": 1}]}),
]


HostNames = Annotated[tuple[HostName, ...], BeforeValidator(listed), one_or_several]
Exposed = Annotated[tuple[FieldName, ...], BeforeValidator(listed), one_or_several]
