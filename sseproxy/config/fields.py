"""What may one value of the file be: for the loader, for editors, and when it is written again?

Values that are not what they should be raise `BadValue`.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from sseproxy.config import addresses, browser_values, urls, values
from sseproxy.config.addresses import Address, IPNetwork
from sseproxy.config.sections import Scalar
from sseproxy.core.eventsource.policies import MOST_BODY, Reopen, TicketBinding
from sseproxy.core.routes import Upstream
from sseproxy.core.stream.dialects import Dialect, Marker
from sseproxy.core.stream.end_message import EndsAt
from sseproxy.core.stream.heartbeat import HeartbeatForm, WhiteSpace
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


def _scalar(*forms: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [*forms, VARIABLE]}


def words(kind: type[StrEnum]) -> dict[str, Any]:
    return _scalar({"type": "string", "enum": [member.value for member in kind]})


def _text(pattern: str | None = None, **more: Any) -> dict[str, Any]:
    return _scalar({"type": "string", "pattern": pattern, **more}) if pattern else {"type": "string", **more}


_DURATION_TEXT = r"^(off|\d+(\.\d+)?(ms|s|m|h)?)$"
_SIZE_TEXT = r"^\d+(B|KiB|MiB|GiB)?$"
_OFF = {"const": "off"}
_ONE_OR_MORE = {"type": "integer", "minimum": 1}

Duration = Annotated[
    float | None,
    Scalar(
        values.duration,
        _scalar({"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": _DURATION_TEXT}),
        write=values.format_duration,
    ),
]
DurationOrZero = Annotated[
    float | None,
    Scalar(
        values.duration_or_zero,
        _scalar({"type": "number", "minimum": 0}, {"type": "string", "pattern": _DURATION_TEXT}),
        write=values.format_duration,
    ),
]
Size = Annotated[
    int,
    Scalar(values.size, _scalar(_ONE_OR_MORE, {"type": "string", "pattern": _SIZE_TEXT}), write=values.format_size),
]
BodySize = Annotated[
    int,
    Scalar(
        browser_values.body_size,
        _scalar({**_ONE_OR_MORE, "maximum": MOST_BODY}, {"type": "string", "pattern": _SIZE_TEXT}),
        write=values.format_size,
    ),
]
SizeOrOff = Annotated[
    int | None,
    Scalar(
        values.size_or_off,
        _scalar(_ONE_OR_MORE, {"type": "string", "pattern": _SIZE_TEXT}, _OFF),
        write=values.format_size,
    ),
]
CountOrOff = Annotated[
    int | None,
    Scalar(values.count_or_off, _scalar(_ONE_OR_MORE, _OFF), write=lambda count: "off" if count is None else count),
]
Workers = Annotated[
    int,
    Scalar(
        partial(values.whole_number, least=1, most=1024), _scalar({"type": "integer", "minimum": 1, "maximum": 1024})
    ),
]
CountOrAuto = Annotated[
    int | Auto,
    Scalar(
        values.count_or_auto,
        _scalar(_ONE_OR_MORE, {"const": "auto"}),
        write=lambda count: count.value if isinstance(count, Auto) else count,
    ),
]
Boolean = Annotated[bool, Scalar(values.boolean, _scalar({"type": "boolean"}))]
FormWord = Annotated[
    HeartbeatForm,
    Scalar(partial(values.choice, kind=HeartbeatForm), words(HeartbeatForm), write=str),
]
WhiteSpaceWord = Annotated[WhiteSpace, Scalar(partial(values.choice, kind=WhiteSpace), words(WhiteSpace), write=str)]
DialectWord = Annotated[Dialect, Scalar(partial(values.choice, kind=Dialect), words(Dialect), write=str)]
_NAME = {"type": "string", "minLength": 1}
DeclaredValue = Annotated[
    StreamMode | Declaration,
    Scalar(
        values.declared,
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
        write=values.format_declared,
    ),
]
KindWord = Annotated[StreamKind, Scalar(partial(values.choice, kind=StreamKind), words(StreamKind), write=str)]
IdleDuration = Annotated[
    float | Auto | None,
    Scalar(
        values.idle,
        _scalar(
            {"const": "auto"},
            {"type": "number", "exclusiveMinimum": 0},
            {"type": "string", "pattern": _DURATION_TEXT},
        ),
        write=values.format_idle,
    ),
]
LogLevelWord = Annotated[LogLevel, Scalar(partial(values.choice, kind=LogLevel), words(LogLevel), write=str)]
LogFormatWord = Annotated[LogFormat, Scalar(partial(values.choice, kind=LogFormat), words(LogFormat), write=str)]

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
    Scalar(addresses.listen_address, {"anyOf": [_LISTEN_TEXT, _UNIX_LISTENER]}, write=addresses.format_listen),
]
Network = Annotated[IPNetwork, Scalar(addresses.network, _text(), write=str)]
UpstreamURL = Annotated[
    Upstream,
    Scalar(
        urls.upstream_url,
        _text(r"^([Hh][Tt][Tt][Pp][Ss]?|[Hh][Tt][Tt][Pp]\+[Uu][Nn][Ii][Xx])://.+$"),
        write=urls.format_upstream,
    ),
]
FilePath = Annotated[str, Scalar(values.file_path, _text())]
_PATH_CHARACTERS = r"[!$-)+-;=@-\[\]-_a-z|~]"
MatchPath = Annotated[str, Scalar(urls.match_path, _text(rf"^/{_PATH_CHARACTERS}*$"))]
MatchHost = Annotated[str, Scalar(urls.match_host, _text())]
HostName = Annotated[str, Scalar(lambda value: addresses.host_name(values.line(value)), _text())]
Method = Annotated[str, Scalar(values.method, _text())]
RouteName = Annotated[str, Scalar(values.route_name, _text(r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"))]
AnyText = Annotated[str, Scalar(values.text, _text())]
TextLine = Annotated[str, Scalar(values.line, _text())]
EventName = Annotated[str, Scalar(values.event_name, _text(minLength=1))]
FieldName = Annotated[str, Scalar(values.field_name, _text())]
FieldValue = Annotated[str, Scalar(values.field_value, _text())]
LimitedDuration = Annotated[
    float,
    Scalar(
        values.limited_duration,
        _scalar({"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h)?$"}),
        write=values.format_duration,
    ),
]
TicketPath = Annotated[str, Scalar(urls.ticket_path, _text(rf"^/{_PATH_CHARACTERS}+$"))]
Binding = Annotated[
    tuple[TicketBinding, str],
    Scalar(browser_values.binding, _text(r"^(none|address|cookie:.+)$"), write=browser_values.format_binding),
]
ReopenWord = Annotated[Reopen, Scalar(partial(values.choice, kind=Reopen), words(Reopen), write=str)]
CookieName = Annotated[str, Scalar(browser_values.cookie_name, _text(minLength=1))]
Template = Annotated[str, Scalar(browser_values.template, _text(r"\{value\}"))]
MarkerValue = Annotated[
    Marker,
    Scalar(
        values.marker,
        _scalar(
            _NAME,
            {"type": "object", "properties": {"data": _NAME}, "required": ["data"], "additionalProperties": False},
            {"type": "object", "properties": {"event": _NAME}, "required": ["event"], "additionalProperties": False},
        ),
        write=values.format_marker,
    ),
]
EndsAtWord = Annotated[EndsAt, Scalar(partial(values.choice, kind=EndsAt), words(EndsAt), write=str)]
Secret = Annotated[str, Scalar(browser_values.secret, _text(), write=lambda _: browser_values.MASK)]


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
    tuple[Annotated[str, Scalar(urls.origin, {})], ...],
    BeforeValidator(listed),
    WithJsonSchema({"anyOf": [*_ORIGIN["anyOf"], {"type": "array", "items": _ORIGIN, "minItems": 1}]}),
]


HostNames = Annotated[tuple[HostName, ...], BeforeValidator(listed), one_or_several]
Exposed = Annotated[tuple[FieldName, ...], BeforeValidator(listed), one_or_several]
