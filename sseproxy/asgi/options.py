"""Which options do the middlewares take, and what is wrong with one?

One list for both, `MiddlewareOptions`: names, meanings and defaults are those of the configuration file. What cannot
stand together is a rule of the policies, for the file and for these options alike.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from typing import Any, Final, Literal, TypedDict

from sseproxy.asgi import option_values
from sseproxy.asgi.option_values import Duration
from sseproxy.config.values import nearest
from sseproxy.core.frozen import frozen
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.end_message import EndPolicy
from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy, WhiteSpace
from sseproxy.core.stream.plan import Declaration, StreamKind, StreamMode
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.engine.live import LiveStreams

DialectName = Literal[
    "auto",
    "generic",
    "openai-chat",
    "openai-completions",
    "openai-responses",
    "anthropic",
    "gemini",
    "ollama",
    "mcp",
]
FormName = Literal[
    "auto",
    "comment-line",
    "comment-block",
    "blank",
    "event",
    "anthropic",
    "openai-chat",
    "openai-responses",
]

WhiteSpaceName = Literal["auto", "space", "newline", "off"]


class SharedOptions(TypedDict, total=False):
    """What the middlewares take, and the proxy inside another server, too. "The app" is then its upstream."""

    heartbeat: Duration
    """Silence towards the client after which a heartbeat goes out."""

    form: FormName | HeartbeatForm | None
    """What a heartbeat looks like; ``None`` and ``"auto"``: what suits dialect and client."""

    comment: str
    """The text of a heartbeat that is a comment, on one line."""

    event: Mapping[str, str]
    """``name`` and ``data`` of the form ``"event"``; either may be left out."""

    before_response: Duration
    """Silence after which a request that declares a stream is answered before the app does; < `response_timeout`."""

    prelude: bool
    """Send one heartbeat with the response head."""

    json: Duration
    """Silence after which any other POST, PUT, … that takes JSON is answered and kept alive with white space."""

    ndjson: WhiteSpaceName | WhiteSpace
    """What a heartbeat is between the records of NDJSON; ``"auto"``: a space for Ollama, else nothing."""

    dialect: DialectName | Dialect
    """The kind of service, which decides error events and the last event; ``"auto"``: by the request."""

    response_timeout: Duration
    """How long a request that `before_response` has answered waits for the app's response."""

    idle_timeout: Duration
    """Silence of the app after which a stream ends; ``"auto"``: 15 minutes for an answer, no limit for a feed."""

    write_timeout: Duration
    """How long a client may take nothing while bytes wait for it."""

    max_duration: Duration
    """Age at which a stream ends, at the next event boundary."""

    drain: Duration
    """Time that streams have to finish when the server is asked to end (SIGTERM or SIGINT, aiohttp: `on_shutdown`)."""

    drain_spread: Duration
    """Time over which clients that come back by themselves are sent away; at most `drain`."""

    secret: str | None
    """What ends are signed with, for workers and replicas that answer each other's clients; ``None``: made up."""


class MiddlewareOptions(SharedOptions, total=False):
    """What both middlewares take; `DEFAULTS` holds for what is left out.

    Of the proxy only: routes and upstreams (``connect``, ``connect_retry`` and ``request_body`` timeouts, ``headers``,
    ``rewrite``, ``tls``), ``limits``, ``stream``, ``end``, ``auth``, ``cors`` and ``tickets``.
    """

    paths: Collection[str] | Callable[[str], bool] | None
    """Prefixes of paths to look at, by whole segments and without `root_path`, or a function; ``None``: all."""

    streams: LiveStreams | None
    """Where open streams are kept, for several middlewares together; ``None``: the middleware has its own."""


DEFAULTS: Final[MiddlewareOptions] = {
    "heartbeat": "15s",
    "form": "auto",
    "comment": "heartbeat",
    "event": {"name": "heartbeat", "data": "{}"},
    "before_response": "off",
    "prelude": False,
    "json": "off",
    "ndjson": "auto",
    "dialect": "auto",
    "response_timeout": "15m",
    "idle_timeout": "auto",
    "write_timeout": "30s",
    "max_duration": "off",
    "paths": None,
    "drain": "off",
    "drain_spread": "5s",
    "secret": None,
    "streams": None,
}

_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "heartbeat": option_values.seconds,
    "form": option_values.form,
    "comment": option_values.comment,
    "event": option_values.event,
    "before_response": option_values.seconds,
    "prelude": option_values.boolean,
    "json": option_values.seconds,
    "ndjson": option_values.ndjson,
    "dialect": option_values.dialect,
    "response_timeout": option_values.seconds,
    "idle_timeout": option_values.idle,
    "write_timeout": option_values.seconds,
    "max_duration": option_values.seconds,
    "paths": option_values.paths,
    "drain": option_values.seconds,
    "drain_spread": option_values.seconds,
    "secret": option_values.secret,
    "streams": option_values.live_streams,
}


@frozen
class DrainPolicy:
    """How streams end when the server is asked to end: each within `spread`, all within `timeout` seconds."""

    timeout: float
    spread: float


@frozen
class StreamOptions:
    """How the streams of one middleware are treated: `MiddlewareOptions`, read.

    selects: True for a path that is looked at; ``None`` for all. drain: ``None`` if a stop signal changes nothing.
    secret: of the ids of ends; empty: one is made up.
    """

    heartbeat: HeartbeatPolicy
    timeouts: TimeoutPolicy
    dialect: Dialect
    selects: Callable[[str], bool] | None
    drain: DrainPolicy | None
    live: LiveStreams
    secret: str = field(default="", repr=False)
    stream: StreamMode = StreamMode.AUTO
    declaration: Declaration = Declaration()
    kind: StreamKind = StreamKind.AUTO
    limits: LimitPolicy = LimitPolicy()
    end: EndPolicy | None = None


def read_options(options: MiddlewareOptions, defaults: MiddlewareOptions = DEFAULTS) -> StreamOptions:
    """Read and check the options of one middleware.

    Raises `ValueError` or `TypeError` with a message that names the option.
    """
    for name in options.keys() - _READERS.keys():
        hint = nearest(name, _READERS)
        raise TypeError(f"{name}: there is no such option" + (f" ({hint})" if hint else ""))
    said: Mapping[str, object] = {**defaults, **options}
    read: dict[str, Any] = {name: option_values.read(name, said[name], reader) for name, reader in _READERS.items()}
    heartbeat = HeartbeatPolicy(
        interval=read["heartbeat"],
        form=read["form"],
        comment=read["comment"],
        event_name=read["event"]["name"],
        event_data=read["event"]["data"],
        before_response=read["before_response"],
        prelude=read["prelude"],
        json=read["json"],
        ndjson=read["ndjson"],
    )
    timeouts = TimeoutPolicy(
        response=read["response_timeout"],
        idle=read["idle_timeout"],
        write=read["write_timeout"],
        max_duration=read["max_duration"],
    )
    for name in heartbeat.fields_without_interval:
        raise ValueError(f"{name}: needs heartbeats, but heartbeat is off")
    for name in heartbeat.fields_too_late(timeouts.response):
        raise ValueError(f"{name}: must be shorter than response_timeout")
    if read["secret"] and heartbeat.before_response is None:
        raise ValueError("secret: signs ends behind early answers only, but before_response is off")
    timeout, spread = read["drain"], read["drain_spread"] or 0.0
    drain = None if timeout is None else DrainPolicy(timeout, min(spread, timeout))
    return StreamOptions(heartbeat, timeouts, read["dialect"], read["paths"], drain, read["streams"], read["secret"])


def read_drain(timeout: Duration, spread: Duration) -> tuple[float | None, float]:
    """Read both in seconds; zero is a duration here. Raises `ValueError` with a message that names the option."""
    over = option_values.read("spread", spread, option_values.seconds_or_zero)
    return option_values.read("timeout", timeout, option_values.seconds_or_zero), over or 0.0
