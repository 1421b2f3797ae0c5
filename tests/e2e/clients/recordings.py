"""What did the services send, and in which pieces is it sent again?

The files in ``streams/`` are whole response bodies, byte for byte as the services write them; ``*.http`` are whole
responses.
"""

import re
from enum import StrEnum
from pathlib import Path

_FOLDER = Path(__file__).parent / "streams"
_BLOCK_END = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)")
_CONTENT_TYPE = re.compile(rb"^content-type: *(.*?)\r?$", re.IGNORECASE | re.MULTILINE)
_FIRST_LINE = re.compile(rb"[^\r\n]*(\r\n|\n)")


class Ids(StrEnum):
    """Whether the events carry ``id`` lines."""

    PLAIN = "plain"
    IDS = "ids"


class Cutting(StrEnum):
    """Where the pieces of a stream end.

    EVENTS: after each event. CUT: also inside of lines (and of characters), between the lines of an event,
    and between the CR and the LF of a line end.
    """

    EVENTS = "events"
    CUT = "cut"


def recording(name: str, ids: Ids = Ids.PLAIN) -> bytes:
    """The body of the stream `name`."""
    body = (_FOLDER / f"{name}.sse").read_bytes()
    return body if ids is Ids.PLAIN else _with_ids(body)


def recorded_names() -> list[str]:
    """The names of all streams."""
    return sorted(path.stem for path in _FOLDER.glob("*.sse"))


def response(name: str) -> tuple[str, list[bytes]]:
    """Return the value of `Content-Type`, and the chunks, of the response `name`."""
    head, _, rest = (_FOLDER / f"{name}.http").read_bytes().partition(b"\r\n\r\n")
    found = _CONTENT_TYPE.search(head)
    assert found is not None
    chunks = []
    while not rest.startswith(b"0\r\n"):
        size, _, rest = rest.partition(b"\r\n")
        chunks.append(rest[: int(size, 16)])
        rest = rest[len(chunks[-1]) + 2 :]
    return found[1].decode(), chunks


def pieces(body: bytes, cutting: Cutting) -> list[bytes]:
    """`body`, in the pieces in which it is sent."""
    events = _events(body)
    if cutting is Cutting.EVENTS:
        return events
    return [piece for number, event in enumerate(events) for piece in _cut(event, number)]


def _events(body: bytes) -> list[bytes]:
    return [block for block in _BLOCK_END.split(body) if block]


def _with_ids(body: bytes) -> bytes:
    return b"".join(_with_id(event, number) for number, event in enumerate(_events(body), start=1))


def _with_id(event: bytes, number: int) -> bytes:
    if not re.search(rb"^data", event, re.MULTILINE):
        return event
    end = b"\r\n" if event.endswith(b"\r\n") else b"\n"
    return b"id: evt_%d" % number + end + event


def _cut(event: bytes, number: int) -> list[bytes]:
    at = (_inside_a_line, _after_a_line, _inside_a_line_end)[number % 3](event)
    return [event[:at], event[at:]]


def _inside_a_line(event: bytes) -> int:
    """Behind the first byte of a character of several bytes where there is one, else in the middle."""
    return next((at + 1 for at, byte in enumerate(event) if byte >= 0xC0), len(event) // 2)


def _after_a_line(event: bytes) -> int:
    found = _FIRST_LINE.match(event)
    return found.end() if found else len(event) // 2


def _inside_a_line_end(event: bytes) -> int:
    """Between CR and LF, or right before the LF where there is no CR."""
    found = _FIRST_LINE.match(event)
    return found.end() - 1 if found else len(event) // 2
