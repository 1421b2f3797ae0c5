"""How is one event written, and which fields does a piece of a stream carry?

Follows WHATWG HTML section 9.2 (server-sent events).
"""

import re

LF, CR, CRLF = b"\n", b"\r", b"\r\n"

#: The byte order mark that a client strips when, and only when, it is the very first thing (9.2.6).
BOM = b"\xef\xbb\xbf"

_LINE_END = re.compile(r"\r\n|\r|\n")
LINE_END = re.compile(rb"\r\n|\r|\n")
_ID_FIELD = re.compile(rb"(?:\A|[\r\n])id(?:[:\r\n]|\Z)")
# Atomic groups: CRLF is one line end, and must not be taken apart to find two.
_BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")


def comment(text: str, *, eol: bytes = LF) -> bytes:
    """One comment line, with its line end but without a blank line after it."""
    return b": " + text.encode() + eol if text else b":" + eol


def event(data: str, *, name: str | None = None, retry: int | None = None, eol: bytes = LF) -> bytes:
    """One whole event. `data` may have several lines; `retry` is in milliseconds."""
    lines = [] if name is None else [f"event: {name}"]
    if retry is not None:
        lines.append(f"retry: {retry}")
    lines += [f"data: {line}" for line in _LINE_END.split(data)]
    return b"".join(line.encode() + eol for line in lines) + eol


def reconnection_time(milliseconds: int, *, eol: bytes = LF) -> bytes:
    """A block that only sets the client's reconnection time; nothing is dispatched."""
    return b"retry: %d" % milliseconds + eol + eol


def has_id(lines: bytes) -> bool:
    """Whether `lines`, which begin at a line boundary, carry an ``id`` field."""
    # `find` and not `in`, which first tries whether the bytes are a number, and makes an exception when they are not.
    likely = lines.startswith(b"id") or lines.find(b"\nid") >= 0 or (CR[0] in lines and lines.find(b"\rid") >= 0)
    return likely and _ID_FIELD.search(lines) is not None


def last_data(lines: bytes, *, opening: bytes = b"") -> bytes | None:
    """The value of the last ``data`` line of `lines` whose value begins with `opening`, or ``None``."""
    at = lines.rfind(b"data:")
    while at >= 0:
        value_at = at + (6 if lines[at + 5 : at + 6] == b" " else 5)
        if (at == 0 or lines[at - 1] in b"\r\n") and lines.startswith(opening, value_at):
            end = LINE_END.search(lines, value_at)
            return lines[value_at:] if end is None else lines[value_at : end.start()]
        at = lines.rfind(b"data:", 0, at)
    return None


def first_boundary(tail: bytes, data: bytes) -> int | None:
    """How much of `data` belongs to the event that is under way after `tail`; ``None`` when it does not end in it.

    tail: the last three bytes before `data`, not themselves an event boundary.
    """
    if not tail.endswith((LF, CR)):
        tail = b""  # inside a line; the boundary that its last three bytes may hold (LF LF x) is an earlier one
    found = _BLANK_LINE.search(tail + data)
    return None if found is None else found.end() - len(tail)


def one_line_events(data: bytes) -> int:
    """How many events `data` is, if it is nothing but events of one line, a ``data`` field, that ends with LF; else 0.

    Nearly every piece of nearly every stream is like that, and there is nothing else in it that would have to be seen.
    """
    if not (data.startswith(b"data:") and data.endswith(b"\n\n")) or CR[0] in data:
        return 0
    events = data.count(b"\n\ndata:") + 1
    return events if data.count(b"\n") == 2 * events else 0


def whole_events(data: bytes, boundary: bytes = b"\n\n") -> int:
    """How many events `data` is, if that is plain at a glance: nothing but whole ones, all in one style; else 0.

    boundary: how they end, LF LF or CRLF CRLF. What begins behind one and is plain leaves the stream behind one, too.
    A glance costs a tenth of a look at each line.
    """
    if not data.endswith(boundary):
        return 0
    has_other_line_ends = (
        CR[0] in data if len(boundary) == len(LF + LF) else not data.count(CRLF) == data.count(CR) == data.count(LF)
    )
    if has_other_line_ends:
        return 0
    ends = data.count(boundary)
    if ends == 1:
        return 1 if data.startswith(b"data:") or data.find(b"\ndata:") >= 0 else 0
    inner = data.count(boundary + b"data:")
    if data.startswith(b"data:") and data.count(b"\n") == 2 * (inner + 1):
        return inner + 1  # one line each
    return ends if data.startswith(b"data:") and inner == ends - 1 else 0


def around_whole_events(data: bytes) -> tuple[bytes, bytes, bytes]:
    """The end of an event, events, and the beginning of one; if the line ends are all LF or all CRLF."""
    boundary = CRLF + CRLF if CR[0] in data else LF + LF
    first, last = data.find(boundary), data.rfind(boundary) + len(boundary)
    if first < 0:
        return data, b"", b""
    first += len(boundary)
    return data[:first], data[first:last], data[last:]


class Look:
    """What is in whole events in canonical form, of one piece after the other.

    newest: the piece, and how many lines of data it has. newest_of_ids: the piece, and whether a line of it may be an
    id. All readers of a feed get the same piece, so each but the first finds here what it has to know.
    """

    # Each answer is one tuple together with its piece, since event loops of several threads may share this.

    __slots__ = ("newest", "newest_of_ids")

    def __init__(self) -> None:
        self.newest: tuple[bytes, int] = (b"", 0)
        self.newest_of_ids: tuple[bytes, bool] = (b"", False)

    def lines(self, data: bytes) -> int:
        """Count the lines of data."""
        lines = data.count(b"\ndata:") + (data[:5] == b"data:")
        self.newest = data, lines
        return lines

    def may_have_id(self, data: bytes) -> bool:
        """Return whether a line may be an id."""
        may_have_id = data[:2] == b"id" or data.find(b"\nid") >= 0
        self.newest_of_ids = data, may_have_id
        return may_have_id


LOOK = Look()
