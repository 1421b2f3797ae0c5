"""Where does each request begin in what a client sends, and where may it end? (RFC 9112 section 2.1)

llhttp does not tell. So it gets no byte of the next request together with one, and the line that a request begins with
is known however the bytes are cut. Each byte is looked at once.
"""

import re

_EMPTY_LINE = b"\r\n\r\n"
_KEPT = len(_EMPTY_LINE) - 1

_LINE_BREAKS = re.compile(rb"[\r\n]*")

#: A method, whatever it is, in front of a target or of what has not come yet.
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?: |\Z)")


def behind_line_breaks(data: bytes, at: int) -> int:
    """Return where the next request begins; between two of them line breaks mean nothing (RFC 9112 section 2.2)."""
    match = _LINE_BREAKS.match(data, at)
    return at if match is None else match.end()


class EmptyLine:
    """Finds the next empty line. A head and a body in chunks end with one, and may have others before it."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = b""  # bytes before the next piece, which may hold the begin of the empty line

    def reset(self) -> None:
        """Forget what came: a request begins, or its body."""
        self._last = b""

    def end(self, data: bytes, at: int) -> int:
        """Return where the next one ends in `data[at:]`, or the end of `data` if there is none. Call it in order."""
        last, self._last = self._last, b""
        if last:
            found = (last + data[at : at + _KEPT]).find(_EMPTY_LINE)
            if found >= 0:
                return at + found + len(_EMPTY_LINE) - len(last)
        found = data.find(_EMPTY_LINE, at)
        if found >= 0:
            return found + len(_EMPTY_LINE)
        self._last = (last + data[max(at, len(data) - _KEPT) :])[-_KEPT:]
        return len(data)


class RequestLine:
    """The line that the head under way begins with, as far as it has come."""

    __slots__ = ("_is_complete", "_text")

    def __init__(self) -> None:
        self._text = bytearray()
        self._is_complete = True

    def __bool__(self) -> bool:
        return bool(self._text)

    def begin(self) -> None:
        """What is taken next begins a request."""
        self._text.clear()
        self._is_complete = False

    def take(self, data: bytes, at: int, end: int) -> None:
        """Read `data[at:end]`, the next bytes of the head."""
        if not self._is_complete:
            line_end = data.find(b"\n", at, end)
            self._is_complete = line_end >= 0
            self._text += data[at : line_end if self._is_complete else end]

    def forget(self) -> None:
        """The head is complete."""
        self._text.clear()
        self._is_complete = True

    @property
    def is_http(self) -> bool:
        """True if the complete line, which llhttp has accepted, is not one of RTSP or ICE, which it accepts too.

        A line of HTTP/0.9, which names no protocol, is none of HTTP here.
        """
        return self._text.rpartition(b" ")[2].startswith(b"HTTP/")

    @property
    def begins_with_method(self) -> bool:
        """True if this may become a request of HTTP whose method llhttp does not know."""
        return _METHOD.match(self._text) is not None
