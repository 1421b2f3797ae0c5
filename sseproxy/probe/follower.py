"""Which events and heartbeats are in the bytes of a stream, and when did each come?

For the eye of the probe only: it keeps the beginnings of lines, and of so many marks as it has room for.
"""

import zlib

from sseproxy.core.stream.events import BOM, CR, LF, LINE_END
from sseproxy.probe.stream import Mark, Sign

_LINE = 1024
_LINES = 100
_BEGINNING = 8192
_MARKS = 100_000

#: Events by which services keep connections busy.
_HEARTBEAT_NAMES = frozenset(("ping", "heartbeat", "keepalive", "keep-alive", "keep_alive"))


class Follower:
    """Body bytes go in, with the time at which they came. marks, beginning: what was found.

    coding: of the body; what cannot be decoded is not looked into.
    """

    def __init__(self, coding: str) -> None:
        self.marks: list[Mark] = []
        self.beginning = b""
        # With 32 more, zlib sees by itself whether it is gzip or deflate.
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 32) if coding in ("gzip", "x-gzip", "deflate") else None
        self._is_readable = coding in ("", "gzip", "x-gzip", "deflate")
        self._line = b""
        self._after_cr = False
        self._block: list[bytes] = []

    def feed(self, data: bytes, at: float) -> None:
        """Go on with `data`, which came at `at`."""
        if not self._is_readable:
            return
        try:
            text = data if self._zlib is None else self._zlib.decompress(data)
        except zlib.error:
            self._is_readable = False
            return
        if len(self.beginning) < _BEGINNING:
            self.beginning += text[: _BEGINNING - len(self.beginning)]
        if not text:
            return
        if self._after_cr:
            text = text.removeprefix(LF)
        self._after_cr = text.endswith(CR)
        *lines, rest = LINE_END.split(text)
        if lines:
            lines[0] = self._line + lines[0]
            self._line = b""
        self._line = (self._line + rest)[:_LINE]
        for line in lines:
            self._take(line.removeprefix(BOM), at)

    def _take(self, line: bytes, at: float) -> None:
        if line.startswith(b":"):
            self._note(Mark(at, Sign.HEARTBEAT))
            # It keeps the blank line behind it from being counted once more.
            self._block = self._block or [b""]
        elif line:
            if len(self._block) < _LINES:
                self._block.append(line[:_LINE])
        elif not self._block:
            self._note(Mark(at, Sign.HEARTBEAT))
        else:
            self._end_block(at)

    def _end_block(self, at: float) -> None:
        fields = dict(line.partition(b":")[::2] for line in reversed(self._block))
        self._block = []
        name = fields.get(b"event", b"").decode("utf-8", "replace").strip()
        if name.lower() in _HEARTBEAT_NAMES:
            self._note(Mark(at, Sign.HEARTBEAT, name))
        elif b"data" in fields:
            self._note(Mark(at, Sign.EVENT, name, fields[b"data"].decode("utf-8", "replace").strip()))

    def _note(self, mark: Mark) -> None:
        if len(self.marks) < _MARKS:
            self.marks.append(mark)
