"""What may one scalar of the file say, and what does it mean?

Every function takes a value as YAML gave it and returns what it means, or raises `BadValue`. Text that comes
from the environment or the command line has no YAML type; it arrives as `UntypedText` and is read as what is expected.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from sseproxy.core.stream.dialects import Marker
from sseproxy.core.stream.plan import Declaration, StreamMode
from sseproxy.core.stream.timeouts import Auto

Choice = TypeVar("Choice", bound=StrEnum)

#: Seconds; longer than any connection lives, and safe for every timer.
LONGEST_DURATION = 365 * 24 * 3600.0

_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", re.ASCII)
_BYTES = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}
_SIZE = re.compile(r"(\d+)(B|KiB|MiB|GiB)?", re.ASCII)
_INTEGER = re.compile(r"[-+]?\d{1,18}", re.ASCII)
#: A token (RFC 9110 section 5.6.2).
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)
_NOT_IN_FIELD = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_BOOLEANS = {"true": True, "false": False}
_LIKE_BOOLEANS = {"on": "true", "yes": "true", "y": "true", "off": "false", "no": "false", "n": "false"}
_DURATION_EXAMPLES = "such as 15s, 1.5s, 500ms, 2m, 1h or off"


class BadValue(ValueError):
    """A scalar that does not say what it should. hint: how to put it right, or empty.

    below: the key inside the value that is at fault, if it has any. is_key: the key itself is wrong.
    """

    def __init__(self, message: str, hint: str = "", *, below: tuple[str, ...] = (), is_key: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.below = below
        self.is_key = is_key


class BadValues(ValueError):
    """Several things are wrong within one value."""

    def __init__(self, errors: Iterable[BadValue]) -> None:
        super().__init__("several things are wrong")
        self.errors = tuple(errors)


class UntypedText(str):
    """A scalar without a type of its own: it comes from the environment or the command line."""

    __slots__ = ()


def describe(value: object) -> str:
    """What a value is, in the words of a reader of YAML."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value}"
        case str():
            return quote(value)
        case list():
            return "a list"
        case Mapping():
            return "a mapping"
        case _:
            return f"a value of type {type(value).__name__}"


def quote(text: str) -> str:
    """`text` between quotes, on one line, not too long, and without the login of a URL."""
    shown = without_login(text)
    return repr(shown if len(shown) <= 60 else shown[:57] + "...")


def without_login(text: str) -> str:
    """`text` without user and password, if it is a URL that has them, with or without its scheme."""
    return re.sub(r"(?<=//).*@|^[^@/\s]+:.*@", "***@", text, flags=re.DOTALL)


def nearest(word: str, right: Iterable[str]) -> str:
    """A hint that names the word that was probably meant, or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - for messages only

    found = get_close_matches(word, list(right), n=1, cutoff=0.65)
    return f"did you mean {found[0]}?" if found else ""


# What is read here, `format_…` writes: for every value that passes, reading what was written gives the same value.
# The defaults in the JSON Schema, and those that messages name, lean on that.


def duration(value: object) -> float | None:
    """Seconds, more than zero; ``None`` for ``off``."""
    seconds = duration_or_zero(value)
    if seconds == 0:
        raise BadValue("must be more than zero", "off switches it off")
    return seconds


def limited_duration(value: object) -> float:
    """Seconds, more than zero; there has to be an end."""
    seconds = duration_or_zero(value)
    if seconds is None:
        raise BadValue("cannot be off: it has to end")
    if seconds == 0:
        raise BadValue("must be more than zero")
    return seconds


def duration_or_zero(value: object) -> float | None:
    """Seconds; ``None`` for ``off``."""
    if value == "off":
        return None
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found:
        seconds = float(Decimal(found[1]) * _SECONDS[found[2] or "s"])
    elif isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        # An int of YAML may have hundreds of digits, more than a float can hold.
        seconds = float(min(value, 2 * LONGEST_DURATION))
    else:
        raise BadValue(f"expected a duration, got {describe(value)}", _DURATION_EXAMPLES)
    if not 0 <= seconds <= LONGEST_DURATION:
        raise BadValue(f"{describe(value)} is longer than a year", "off means for ever")
    return seconds


def format_duration(seconds: float | None) -> str:
    """The shortest text that `duration_or_zero` reads as `seconds`, to the last bit."""
    if seconds is None:
        return "off"
    # Of a float, `repr` is the shortest text that reads as the same float; arithmetic on it would lose that.
    exact = Decimal(repr(seconds))
    for unit in ("h", "m", "s", "ms"):
        if exact and exact % _SECONDS[unit] == 0:
            return f"{exact / _SECONDS[unit]:.0f}{unit}"
    return f"{exact:f}s" if exact else "0s"


def size(value: object) -> int:
    """Bytes, at least one."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    # Python refuses to read a number of thousands of digits, with an error that says nothing of the file.
    if found and len(found[1]) <= 15:
        count = int(found[1]) * _BYTES[found[2] or "B"]
    elif isinstance(value, int) and not isinstance(value, bool):
        count = value
    else:
        raise BadValue(f"expected a size, got {describe(value)}", "such as 65536, 64KiB, 1MiB or 1GiB")
    if count < 1:
        raise BadValue("must be at least one byte")
    return count


def size_or_off(value: object) -> int | None:
    """Bytes; ``None`` for ``off``."""
    return None if value == "off" else size(value)


def format_size(count: int | None) -> str | int:
    """The shortest form that `size_or_off` reads as `count`."""
    if count is None:
        return "off"
    unit = next(name for name, factor in _BYTES.items() if count % factor == 0)
    return count if unit == "B" else f"{count // _BYTES[unit]}{unit}"


def whole_number(value: object, *, least: int, most: int) -> int:
    """An integer between `least` and `most`."""
    if isinstance(value, UntypedText) and _INTEGER.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        quoted = isinstance(value, str) and not isinstance(value, UntypedText) and _INTEGER.fullmatch(value)
        raise BadValue(f"expected a whole number, got {describe(value)}", "remove the quotes" if quoted else "")
    if not least <= value <= most:
        raise BadValue(f"must be between {least} and {most}, not {value}")
    return value


def count_or_off(value: object) -> int | None:
    """How many at most; ``None`` for ``off``."""
    if value == "off":
        return None
    if value == 0 and not isinstance(value, bool):
        raise BadValue("must be at least 1", "off switches the limit off")
    return whole_number(value, least=1, most=10**9)


def count_or_auto(value: object) -> int | Auto:
    """How many at most, or what suits the machine."""
    try:
        return Auto.AUTO if value == Auto.AUTO.value else whole_number(value, least=1, most=10**9)
    except BadValue as error:
        raise BadValue(error.message.replace("expected a", "expected auto or a"), error.hint) from None


def boolean(value: object) -> bool:
    """``true`` or ``false``, and not what YAML 1.1 took for them."""
    if isinstance(value, bool):
        return value
    text = value.lower() if isinstance(value, str) else ""
    if isinstance(value, UntypedText) and text in _BOOLEANS:
        return _BOOLEANS[text]
    hint = f"write {_LIKE_BOOLEANS[text]}" if text in _LIKE_BOOLEANS else ""
    hint = "remove the quotes" if text in _BOOLEANS else hint
    raise BadValue(f"expected true or false, got {describe(value)}", hint)


def choice(value: object, kind: type[Choice]) -> Choice:
    """A member of `kind`."""
    words = [member.value for member in kind]
    if isinstance(value, str) and value in words:
        return kind(str(value))
    hint = nearest(value.lower(), words) if isinstance(value, str) else ""
    raise BadValue(f"expected {', '.join(words[:-1])} or {words[-1]}, got {describe(value)}", hint)


def text(value: object) -> str:
    """Text that can be written as UTF-8, without NUL."""
    if not isinstance(value, str):
        hint = "" if value is None else "put it in quotes"
        raise BadValue(f"expected text, got {describe(value)}", hint)
    if "\0" in value:
        raise BadValue("must not contain NUL")
    if _SURROGATE.search(value):
        raise BadValue("is not valid Unicode")
    return str(value)


def line(value: object) -> str:
    """Text without line breaks."""
    found = text(value)
    if "\r" in found or "\n" in found:
        raise BadValue("must not contain line breaks")
    return found


def event_name(value: object) -> str:
    """The value of an ``event`` field (WHATWG HTML section 9.2.6); empty, it would mean ``message``."""
    return _some_line(value)


def marker(value: object) -> Marker:
    """The event that ends each stream of a service, by its data or by its type."""
    if not isinstance(value, Mapping):
        return Marker(data=_some_line(value))
    if len(value) != 1 or not set(value) <= {"data", "event"}:
        raise BadValue("expected the data of an event, {data: TEXT} or {event: NAME}")
    (key, said), *_ = value.items()
    return Marker(data=_some_line(said)) if key == "data" else Marker(event=event_name(said))


def format_marker(value: Marker) -> dict[str, str]:
    """What `marker` reads as `value`."""
    return {"event": value.event} if value.event is not None else {"data": value.data or ""}


def declared(value: object) -> StreamMode | Declaration:
    """Which requests declare a stream: a word, or what else in a request says so."""
    if not isinstance(value, Mapping):
        return choice(value, StreamMode)
    if set(value) == {"query"}:
        return Declaration(query=_some_line(value["query"]))
    if "json" in value and set(value) <= {"json", "equals"}:
        equals = value.get("equals", True)
        if equals is not None and not isinstance(equals, str | int | float):
            raise BadValue(f"equals: expected a number, text, true, false or null, got {describe(equals)}")
        return Declaration(member=_some_line(value["json"]), equals=equals)
    raise BadValue("expected a word, {json: NAME, equals: VALUE} or {query: NAME}", "see docs/configuration.md")


def format_declared(value: StreamMode | Declaration) -> str | dict[str, object]:
    """What `declared` reads as `value`."""
    if isinstance(value, StreamMode):
        return value.value
    return {"query": value.query} if value.query is not None else {"json": value.member, "equals": value.equals}


def _some_line(value: object) -> str:
    found = line(value)
    if not found:
        raise BadValue("must not be empty")
    return found


def idle(value: object) -> float | Auto | None:
    """Seconds, ``None`` for ``off``, or what suits the request."""
    try:
        return Auto.AUTO if value == Auto.AUTO.value else duration(value)
    except BadValue as error:
        raise BadValue(error.message, error.hint.replace("such as", "such as auto,")) from None


def format_idle(value: float | Auto | None) -> str:
    """The text that `idle` reads as `value`."""
    return value.value if isinstance(value, Auto) else format_duration(value)


def route_name(value: object) -> str:
    """What the log calls a route."""
    found = line(value)
    if not _NAME.fullmatch(found):
        raise BadValue(f"{quote(found)} is not a name", "at most 64 letters, digits and any of . _ : -")
    return found


def file_path(value: object) -> str:
    """The path of a file, as it is written."""
    return _some_line(value)


def file_path_or_off(value: object) -> str | None:
    """The path of a file, as it is written; ``None`` for ``off``."""
    if isinstance(value, bool):
        raise BadValue(f"expected a path or off, got {describe(value)}")
    return None if value == "off" else file_path(value)


def method(value: object) -> str:
    """An HTTP method in upper case (RFC 9110 section 9.1)."""
    found = line(value).upper()
    if not TOKEN.fullmatch(found):
        raise BadValue(f"{quote(found)} is not an HTTP method")
    if found in ("CONNECT", "TRACE"):
        raise BadValue(f"{found} is always refused, so no route can match it")
    return found


def field_name(value: object) -> str:
    """The name of a header field (RFC 9110 section 5.1)."""
    found = line(value)
    if not TOKEN.fullmatch(found):
        raise BadValue(f"{quote(found)} is not the name of a header field")
    return found


def field_value(value: object) -> str:
    """The value of a header field (RFC 9110 section 5.5). Messages do not repeat it: it may be a secret."""
    if isinstance(value, int | float):
        raise BadValue("expected text, got a number or a boolean", "put it in quotes")
    found = text(value)
    if _NOT_IN_FIELD.search(found):
        raise BadValue("must not contain line breaks or other control characters")
    if found != found.strip(" \t"):
        raise BadValue("must not begin or end with a blank")
    return found
