"""What may the middleware be told, and what is wrong with what it was told?"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from sseproxy.config.values import BadValue, duration, duration_or_zero, event_name, idle, line, nearest, quote, text
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.end_message import EndPolicy
from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy
from sseproxy.core.stream.plan import Declaration, StreamKind, StreamMode
from sseproxy.core.stream.timeouts import TimeoutPolicy

#: A duration as the configuration file writes it: ``15``, ``"15s"``, ``"500ms"``, ``"2m"``, ``"off"``.
Duration = str | float

_Choice = TypeVar("_Choice", bound=StrEnum)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class DrainPolicy:
    """How streams end when the server is asked to end: each within `spread`, all within `timeout` seconds."""

    timeout: float
    spread: float


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How the streams of one middleware are treated.

    selects: whether a path is looked at; ``None`` for all. drain: ``None`` if nobody asks for it by a signal.
    """

    heartbeat: HeartbeatPolicy
    timeouts: TimeoutPolicy
    dialect: Dialect
    selects: Callable[[str], bool] | None
    drain: DrainPolicy | None
    stream: StreamMode = StreamMode.AUTO
    declaration: Declaration = Declaration()
    kind: StreamKind = StreamKind.AUTO
    limits: LimitPolicy = LimitPolicy()
    end: EndPolicy | None = None


def read_options(
    *,
    heartbeat: Duration,
    form: str | None,
    comment: str,
    event: Mapping[str, str],
    before_response: Duration,
    prelude: bool,
    dialect: str,
    response_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    max_duration: Duration,
    paths: object,
    drain: Duration = "off",
    drain_spread: Duration = "5s",
) -> StreamOptions:
    """The options, checked. Raises `ValueError` or `TypeError` with a message that names the option."""
    kind = _choice("dialect", dialect, Dialect)
    policy = HeartbeatPolicy(
        interval=_duration("heartbeat", heartbeat),
        form=HeartbeatForm.AUTO if form is None else _choice("form", form, HeartbeatForm),
        comment=_text("comment", comment, line),
        event_name=_text("event['name']", _event(event)["name"], event_name),
        event_data=_text("event['data']", _event(event)["data"], text),
        before_response=_duration("before_response", before_response),
        prelude=_boolean("prelude", prelude),
    )
    timeouts = TimeoutPolicy(
        response=_duration("response_timeout", response_timeout),
        idle=_read("idle_timeout", idle_timeout, idle),
        write=_duration("write_timeout", write_timeout),
        max_duration=_duration("max_duration", max_duration),
    )
    _check_together(policy, timeouts)
    return StreamOptions(policy, timeouts, kind, _selection(paths), _drain(drain, drain_spread))


def _check_together(policy: HeartbeatPolicy, timeouts: TimeoutPolicy) -> None:
    if policy.interval is None and policy.before_response is not None:
        raise ValueError("before_response: needs heartbeats, but heartbeat is off")
    if policy.interval is None and policy.prelude:
        raise ValueError("prelude: needs heartbeats, but heartbeat is off")
    early, response = policy.before_response, timeouts.response
    if early is not None and response is not None and early >= response:
        raise ValueError("before_response: must be shorter than response_timeout")


def _drain(drain: Duration, spread: Duration) -> DrainPolicy | None:
    timeout, over = _duration("drain", drain), _duration("drain_spread", spread)
    return None if timeout is None else DrainPolicy(timeout, min(over or 0.0, timeout))


def read_drain(timeout: Duration, spread: Duration) -> tuple[float | None, float]:
    """Both in seconds; zero is a duration here. Raises `ValueError` with a message that names the option."""
    over = _duration("spread", spread, duration_or_zero)
    return _duration("timeout", timeout, duration_or_zero), over or 0.0


def _duration(name: str, value: Duration, read: Callable[[object], float | None] = duration) -> float | None:
    return _read(name, value, read)


def _read(name: str, value: object, read: Callable[[object], _Value]) -> _Value:
    try:
        return read(value)
    except BadValue as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise ValueError(f"{name}: {error.message}{hint}") from None


def _choice(name: str, value: str, choices: type[_Choice]) -> _Choice:
    try:
        return choices(value)
    except ValueError:
        words = [choice.value for choice in choices]
        hint = nearest(str(value), words)
        raise ValueError(
            f"{name}: expected {', '.join(words[:-1])} or {words[-1]}, got {quote(str(value))}"
            + (f" ({hint})" if hint else "")
        ) from None


def _text(name: str, value: object, read: Callable[[object], str]) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected text, got {type(value).__name__}")
    return _read(name, value, read)


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected True or False, got {type(value).__name__}")
    return value


def _event(event: object) -> Mapping[str, object]:
    if not isinstance(event, Mapping) or not set(event) <= {"name", "data"}:
        raise TypeError("event: expected a mapping with name and data")
    return {"name": "heartbeat", "data": "{}", **event}


def _selection(paths: object) -> Callable[[str], bool] | None:
    """``None`` for all requests, a function of the path, or a list of prefixes by whole segments."""
    if paths is None:
        return None
    if callable(paths):
        if inspect.iscoroutinefunction(paths) or inspect.iscoroutinefunction(type(paths).__call__):
            raise TypeError("paths: expected a function that returns at once, got a coroutine function")
        return paths
    if not isinstance(paths, list | tuple | set | frozenset):
        raise TypeError("paths: expected a list of paths, or a function that takes one")
    prefixes = [_prefix(path) for path in paths]
    return lambda path: any(not stem or path == stem or path.startswith(stem + "/") for stem in prefixes)


def _prefix(path: object) -> str:
    if not isinstance(path, str) or not path.startswith("/"):
        raise ValueError(f"paths: expected paths that begin with a slash, got {path!r}")
    return path.rstrip("/")
