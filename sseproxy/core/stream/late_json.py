"""How does a JSON answer go into a stream that was promised before the answer was known?

As one event (WHATWG HTML section 9.2.6), or as one record of NDJSON.
"""

from sseproxy.core.stream.events import BOM, CR, LF, LINE_END

_DATA = b"data: "

_LINE_ENDS = CR + LF
_ON_ONE_LINE = bytes.maketrans(_LINE_ENDS, b"  ")


class JsonEvent:
    """Turns a JSON body into one event while it passes: ``data: `` goes before each of its lines.

    JSON strings hold no line ends (RFC 8259 section 7), so the lines that the client joins are the same text, and empty
    lines can be left out. name: the event's type; without one it is ``message``.
    """

    __slots__ = ("_before_text", "_has_text", "_head", "_is_in_line")

    def __init__(self, name: str | None = None) -> None:
        self._head = b"" if name is None else b"event: " + name.encode() + LF
        self._before_text: bytes | None = b""  # bytes that may be a BOM; None behind the place where it may be
        self._is_in_line = False
        self._has_text = False

    def feed(self, data: bytes) -> bytes:
        """Return what leaves for the next piece of the body."""
        if self._before_text is not None:
            data = self._before_text + data
            if len(data) < len(BOM) and BOM.startswith(data):
                self._before_text = data
                return b""
            self._before_text = None
            data = data.removeprefix(BOM)
        out: list[bytes] = []
        first, *others = LINE_END.split(data)
        self._add(first, out)
        for line in others:
            if self._is_in_line:
                out.append(LF)
                self._is_in_line = False
            self._add(line, out)
        return b"".join(out)

    def end(self) -> bytes:
        """Return what ends the event; the body is complete. Nothing for an empty body, which is no JSON."""
        out: list[bytes] = []
        if self._before_text:
            self._add(self._before_text, out)
        if not self._has_text:
            return b""
        return b"".join([*out, LF + LF if self._is_in_line else LF])

    def _add(self, text: bytes, out: list[bytes]) -> None:
        # A line that has no text yet begins as a field; it stays open, since more of it may come.
        if not text:
            return
        if not self._is_in_line:
            out += [self._head, _DATA]
            self._head = b""
            self._is_in_line = self._has_text = True
        out.append(text)


class JsonRecord:
    """Turns a JSON body into one record of NDJSON while it passes: spaces take the place of line ends.

    JSON strings hold no line ends (RFC 8259 section 7), so the text means the same.
    """

    __slots__ = ("_before_text", "_ends_line", "_has_text")

    def __init__(self) -> None:
        self._before_text: bytes | None = b""  # as in `JsonEvent`
        self._ends_line = False  # a space leaves in place of all these line ends, and only if more of the text follows
        self._has_text = False

    def feed(self, data: bytes) -> bytes:
        """Return what leaves for the next piece of the body."""
        if self._before_text is not None:
            data = self._before_text + data
            if len(data) < len(BOM) and BOM.startswith(data):
                self._before_text = data
                return b""
            self._before_text = None
            data = data.removeprefix(BOM)
        text = data.rstrip(_LINE_ENDS)
        if not text:
            self._ends_line = self._ends_line or bool(data)
            return b""
        self._has_text = self._has_text or not text.isspace()
        before, self._ends_line = b" " if self._ends_line else b"", len(text) < len(data)
        return before + text.translate(_ON_ONE_LINE)

    def end(self) -> bytes:
        """Return what ends the record; the body is complete. Nothing for an empty body, which is no JSON."""
        rest = self._before_text or b""
        return rest + LF if self._has_text or rest else b""
