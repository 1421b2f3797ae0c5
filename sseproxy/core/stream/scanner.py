"""Where in the event stream are we: between events, between lines, or inside a line?"""

from enum import Enum

from sseproxy.core.stream.events import CR, CRLF, LF

_BOUNDARIES = (b"\n\n", b"\r\r", b"\n\r", b"\r\r\n", b"\n\r\n")


class Position(Enum):
    """What may be inserted right here."""

    EVENT_BOUNDARY = "event boundary"  # anything
    LINE_BOUNDARY = "line boundary"  # one comment line
    MID_LINE = "mid-line"  # nothing


class Scanner:
    """Follows a stream by its last three bytes, whatever the size of its pieces."""

    # 1. The position is a function of the last three bytes alone. A line end is LF, CR or CRLF (WHATWG HTML section
    #    9.2.6); an event ends with a line end right behind a line end. The longest suffixes that have to be
    #    distinguished from a single line end are CR CR LF and LF CR LF.
    # 2. Before the first byte the stream stands as behind a boundary.
    # 3. The style is that of the first line end that is beyond doubt, and is never changed: what is inserted later
    #    must not depend on how the bytes were cut.
    #
    # Hazards: CR at the end of a piece may be half a CRLF: it has ended its line, but an LF may follow that belongs to
    # it. CR LF is one line end, CR CR and LF CR are two.

    __slots__ = ("_style", "_tail")

    def __init__(self) -> None:
        self._tail = b"\n\n"
        self._style: bytes | None = None

    def feed(self, data: bytes) -> None:
        """Go on with `data`, which must not be empty."""
        if self._style is None:
            self._style = _first_line_end(CR + data if self.after_cr else data)
        self._tail = data[-3:] if len(data) > 2 else (self._tail + data)[-3:]

    @property
    def tail(self) -> bytes:
        """The last three bytes (fewer at the start of a stream)."""
        return self._tail

    @property
    def position(self) -> Position:
        if self._tail.endswith(_BOUNDARIES):
            return Position.EVENT_BOUNDARY
        if self._tail.endswith((LF, CR)):
            return Position.LINE_BOUNDARY
        return Position.MID_LINE

    @property
    def settled(self) -> bytes:
        """The event boundary behind which we are, in a stream whose line end is known: LF LF, or CRLF CRLF.

        Whole events that end with the same change nothing here. Empty anywhere else.
        """
        if self._style is None or not self._tail.endswith((b"\n\n", b"\n\r\n")):
            return b""
        return b"\n\n" if self._tail.endswith(b"\n\n") else b"\r\n\r\n"

    @property
    def after_cr(self) -> bool:
        """The last byte is a CR: it has ended its line, but an LF may still belong to it."""
        return self._tail.endswith(CR)

    @property
    def eol(self) -> bytes:
        """The line end for something inserted here: the stream's own style, LF until known.

        Hazard: after ``data: x LF`` an inserted line that ends with CR would swallow an LF that follows,
        the blank line of the upstream. So CR is used only where the stream has just ended a line with CR.
        """
        if self._tail.endswith(CRLF):
            return CRLF
        if self._tail.endswith(LF):
            return self._style if self._style == CRLF else LF
        return self._style or LF


def _first_line_end(data: bytes) -> bytes | None:
    """The first line end in `data`, if it is beyond doubt: a CR in the last place may be half a CRLF."""
    lf, cr = data.find(LF), data.find(CR)
    if cr < 0 or -1 < lf < cr:
        return LF if lf >= 0 else None
    if data[cr + 1 : cr + 2] == LF:
        return CRLF
    return CR if cr + 1 < len(data) else None
