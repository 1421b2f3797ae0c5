"""What does the value of one option of a middleware mean?

Every function takes what the caller wrote and returns what it means, or raises `ValueError` or `TypeError`: the latter
where another type is needed, whatever the value says. `read` names the option in what is raised.
"""

import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TypeVar

from sseproxy.config import browser_values, values
from sseproxy.config.values import BadValue
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.heartbeat import HeartbeatForm, WhiteSpace
from sseproxy.core.stream.timeouts import Auto
from sseproxy.engine.live import LiveStreams

#: Seconds, text as in the configuration file (``"15s"``, ``"500ms"``, ``"2m"``, ``"off"``), or ``None`` for ``"off"``.
Duration = str | float | timedelta | None

_Value = TypeVar("_Value")


def read(name: str, value: object, reader: Callable[[object], _Value]) -> _Value:
    """Call a reader of this module. Raises what it raises, with the name of the option in front."""
    try:
        return reader(value)
    except BadValue as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise ValueError(f"{name}: {error.message}{hint}") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None


def seconds(value: object) -> float | None:
    """Return seconds, more than zero; ``None`` for off."""
    return values.duration(_as_in_file(value))


def seconds_or_zero(value: object) -> float | None:
    """Return seconds; ``None`` for off."""
    return values.duration_or_zero(_as_in_file(value))


def idle(value: object) -> float | Auto | None:
    """Return seconds, ``None`` for off, or what suits the request."""
    return values.idle(_as_in_file(value))


def _as_in_file(value: object) -> object:
    """Spell a duration as the configuration file does."""
    if value is None:
        return "off"
    return value.total_seconds() if isinstance(value, timedelta) else value


def dialect(value: object) -> Dialect:
    return values.choice(value, Dialect)


def form(value: object) -> HeartbeatForm:
    return HeartbeatForm.AUTO if value is None else values.choice(value, HeartbeatForm)


def ndjson(value: object) -> WhiteSpace:
    return values.choice(value, WhiteSpace)


def comment(value: object) -> str:
    return values.line(_string(value))


def event(value: object) -> Mapping[str, str]:
    """Return ``name`` and ``data`` of an event; what is left out is that of the configuration file."""
    if not isinstance(value, Mapping) or not value.keys() <= {"name", "data"}:
        raise TypeError("expected a mapping with name and data")
    return {
        "name": read("name", value.get("name", "heartbeat"), lambda said: values.event_name(_string(said))),
        "data": read("data", value.get("data", "{}"), lambda said: values.text(_string(said))),
    }


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {type(value).__name__}")
    return value


def secret(value: object) -> str:
    """Return what ends are signed with; empty for a key that is made up."""
    return "" if value is None else browser_values.secret(_string(value))


def boolean(value: object) -> bool:
    """Return True or False; a word or a number is neither."""
    if not isinstance(value, bool):
        raise TypeError(f"expected True or False, got {type(value).__name__}")
    return value


def paths(value: object) -> Callable[[str], bool] | None:
    """Return the predicate that selects by path: of prefixes, by whole segments. ``None`` selects every request."""
    if value is None:
        return None
    if callable(value):
        # A coroutine is true, so that such a function would select every path.
        if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(type(value).__call__):
            raise TypeError("expected a function that returns at once, got a coroutine function")
        return value
    if not isinstance(value, list | tuple | set | frozenset):
        raise TypeError("expected a list of paths, or a function that takes one")
    for path in value:
        if not isinstance(path, str) or not path.startswith("/"):
            raise ValueError(f"expected paths that begin with a slash, got {path!r}")
    stems = [path.rstrip("/") for path in value]
    return lambda path: any(not stem or path == stem or path.startswith(stem + "/") for stem in stems)


def live_streams(value: object) -> LiveStreams:
    """Return where open streams are kept; ``None`` for a place of their own."""
    if value is None:
        return LiveStreams()
    if not isinstance(value, LiveStreams):
        raise TypeError(f"expected LiveStreams, got {type(value).__name__}")
    return value
