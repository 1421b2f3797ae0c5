"""What event is a message of a channel, or an entry of a stream?

Pure: bytes in, an event out, or the reason why they are none.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sseproxy.core.frozen import frozen
from sseproxy.core.journal.policy import Format

#: Where a line ends in an event stream (WHATWG, section 9.2.5).
_LINE_END = re.compile("\r\n|\r|\n")

#: What an event's type and id cannot hold: it would end their line, or make a client ignore them.
_NOT_IN_A_FIELD = re.compile("[\r\n\0]")

#: A reconnection time of more digits is none.
_MOST_DIGITS = 18


@frozen
class Event:
    """One event: its canonical text (whole, LF, one blank line, no id), and the id that its publisher gave it."""

    text: bytes
    own_id: bytes | None = None


class Unreadable(Exception):
    """A message is no event. The text says why, and holds nothing of the message."""


def event_of_message(form: Format, message: bytes, most: int) -> Event:
    """Return the event that was published to a channel as `message`; `most` is what it may have in bytes.

    Raises `Unreadable`.
    """
    _check_size(len(message), most)
    if form is Format.TEXT:
        return _event(_Parts(_text(message)), most)
    if form is Format.JSON:
        return _event(_json_parts(message, "event", _compact_json), most)
    return _event(_json_parts(message, "type", json.dumps), most)


def event_of_entry(form: Format, fields: Sequence[bytes], most: int) -> Event:
    """Return the event of a stream's entry with `fields` (name, value, name, value, …).

    Of a name that occurs twice, the last value counts. Raises `Unreadable`.
    """
    values: dict[bytes, bytes] = dict(zip(fields[::2], fields[1::2], strict=True))
    _check_size(sum(map(len, values.values())), most)
    data = values.get(b"data")
    if data is None:
        raise Unreadable("no data")
    if form is not Format.JSON:
        return _event(_Parts(_text(data)), most)
    kind, own_id, retry = (values.get(name) for name in (b"event", b"id", b"retry"))
    parts = _Parts(_text(data), _text(kind or b""), _text(own_id or b""), _digits((retry or b"").decode("latin-1")))
    return _event(parts, most)


@frozen
class _Parts:
    """The values of an event, as text. What is empty but `data` is not there."""

    data: str
    event: str = ""
    own_id: str = ""
    retry: str = ""


def _json_parts(message: bytes, kind: str, write: Callable[[Any], str]) -> _Parts:
    """Read a JSON message; its event type has the name `kind`."""
    try:
        content = json.loads(_text(message))
        if not isinstance(content, dict):
            raise Unreadable("not a JSON object")
        if "data" not in content:
            raise Unreadable("no data")
        data = content["data"]
        text = data if isinstance(data, str) else write(data)
    except (ValueError, RecursionError):
        raise Unreadable("not JSON") from None
    return _Parts(text, _in_line(content, kind), _in_line(content, "id"), _digits(content.get("retry")))


def _in_line(content: Mapping[str, Any], name: str) -> str:
    """Return a member that has to fit in a line: a string, or an integer, which publishers use for ids."""
    value = content.get(name)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise Unreadable(f"{name} is neither a string nor an integer")


def _digits(retry: object) -> str:
    """Return a reconnection time as digits. Anything else is none: the message itself is worth having."""
    if isinstance(retry, bool) or not isinstance(retry, int | str):
        return ""
    text = str(retry)
    return text if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else ""


def _compact_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8") from None


def _event(parts: _Parts, most: int) -> Event:
    if _NOT_IN_A_FIELD.search(parts.event) or _NOT_IN_A_FIELD.search(parts.own_id):
        raise Unreadable("a line end or a NUL in its type or id")
    lines = [f"event: {parts.event}"] if parts.event else []
    lines += [f"data: {line}" for line in _LINE_END.split(parts.data)]
    if parts.retry:
        lines.append(f"retry: {parts.retry}")
    try:
        text = "\n".join(lines).encode() + b"\n\n"
        own_id = parts.own_id.encode() or None
    except UnicodeEncodeError:  # JSON can name half of a surrogate pair
        raise Unreadable("not Unicode") from None
    _check_size(len(text), most)
    return Event(text, own_id)


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise Unreadable(f"larger than {most} bytes")
