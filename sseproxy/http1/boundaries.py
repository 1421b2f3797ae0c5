"""Where does each request begin in what a client sends, and where may it end? (RFC 9112 section 2.1)"""

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


class RequestBoundary:
    """The line that a request begins with, and the next empty line in it.

    A head ends with an empty line and has none before. A body in chunks ends with one, and may have others before.
    """

    # llhttp does not say where in a read a request ends. So it never gets a byte of the next request together with one
    # of this: it is fed up to each empty line, and asked whether that was the end. And the line that a request begins
    # with is known however the bytes are cut.
    #
    # Each byte is looked at once, and none is copied but those of the first line: a client that sends single bytes
    # costs as much for each of them as one that sends many. Hazard: an empty line that is cut by the end of a read;
    # `_last` holds what may be its beginning.

    __slots__ = ("_last", "_line", "_line_is_complete")

    def __init__(self) -> None:
        self._last = b""  # the last bytes before the next read that may begin an empty line
        self._line = bytearray()
        self._line_is_complete = False

    def begin_request(self, data: bytes, at: int) -> int:
        """Begin a request at `data[at]`. Return where its head ends, or the end of `data` if that is not in it."""
        self._line.clear()
        self._line_is_complete = False
        self._last = b""
        return self.continue_head(data, at)

    def continue_head(self, data: bytes, at: int) -> int:
        """Return where the head that goes on at `data[at]` ends, or the end of `data` if that is not in it."""
        end = self.empty_line_end(data, at)
        if not self._line_is_complete:
            line_end = data.find(b"\n", at, end)
            self._line_is_complete = line_end >= 0
            self._line += data[at : line_end if self._line_is_complete else end]
        return end

    def begin_body(self) -> None:
        """Begin the body of the request."""
        self._last = b""

    def empty_line_end(self, data: bytes, at: int) -> int:
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

    def end_head(self) -> bool:
        """Drop the line of the request, which may be long. Return False if it is one of RTSP or ICE.

        llhttp accepts those, too. A line of HTTP/0.9, which names no protocol, is none of HTTP here.
        """
        is_http = self._line.rpartition(b" ")[2].startswith(b"HTTP/")
        self._line.clear()
        return is_http

    @property
    def begins_with_method(self) -> bool:
        """True if this may become a request of HTTP whose method llhttp does not know."""
        return _METHOD.match(self._line) is not None
