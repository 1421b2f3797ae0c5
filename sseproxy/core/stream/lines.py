"""Which of the upstream's bytes may leave now, so that something of sseproxy's own can be written behind them?"""

from enum import Enum

from sseproxy.core.stream.events import BOM, CR, LF


class _Start(Enum):
    """What has left at the beginning of a stream."""

    NOTHING = "nothing"
    INSERTED = "only bytes of sseproxy"
    BEGUN = "bytes of the upstream"


class UpstreamLines:
    """Holds back an unfinished line of one stream, and drops what would mean something else behind inserted bytes.

    limit: bytes of a line that are held; a longer one is let through. by_line: only whole lines leave; otherwise only
    the first bytes of what may be a byte order mark are held. cr: the other end of a line than LF; none in
    NDJSON.
    """

    # 1. What has left ends with a whole line, or with a piece of a line that is longer than `limit`.
    # 2. A byte order mark is one only as the very first bytes (WHATWG HTML section 9.2.6): behind an inserted
    #    heartbeat it would be part of a field's name, so it is dropped there.
    # 3. CR, inserted bytes, LF: the LF was the second half of a CRLF, and would be a blank line now. It is dropped.
    #
    # Hazards of rule 3. CR, inserted bytes that end with CR, LF: the LF makes no blank line but one line end with that
    # CR, so it stays. Were it dropped there, CR, inserted CR, LF, LF would lose the blank line that its second LF is.
    # CR, held line, inserted bytes: the next LF ends the held line, so nothing is dropped where a line is held.

    __slots__ = ("_by_line", "_cr", "_limit", "_pieces", "_size", "_start", "drops_lf")

    def __init__(self, limit: int, *, by_line: bool, cr: bytes = CR) -> None:
        self._limit = limit
        self._cr = cr
        self._by_line = by_line
        self._pieces: list[bytes] = []
        self._size = 0
        self._start = _Start.NOTHING
        self.drops_lf = False  # the next byte is dropped if it is an LF

    @property
    def is_clear(self) -> bool:
        """True if nothing is held, and nothing will be dropped."""
        return not (self._pieces or self.drops_lf)

    def receive(self, data: bytes, *, is_inside_line: bool) -> bytes:
        """Return all that may leave once `data` has come. is_inside_line: what has left so far ends inside a line."""
        if self._by_line:
            return self.complete(data, is_inside_line=is_inside_line)
        return data if self._start is _Start.BEGUN else self.whole_mark(data)

    def complete(self, data: bytes, *, is_inside_line: bool) -> bytes:
        """Return all that is complete by now, or, when a line grows too long, all there is."""
        if not self._pieces and data.endswith(LF):
            return data
        end = (max(data.rfind(LF), data.rfind(CR)) if self._cr else data.rfind(LF)) + 1
        if not end and is_inside_line and not self._pieces:
            return data  # the line is known to be too long
        lines = self.take() + data[:end] if end else b""
        if end < len(data):
            self.hold(data[end:])
        return lines + self.take() if self._size > self._limit else lines

    def whole_mark(self, data: bytes) -> bytes:
        """Return `data` unless it may be the beginning of a byte order mark, at the start of a stream."""
        data = self.take() + data
        if len(data) < len(BOM) and BOM.startswith(data):
            self.hold(data)
            return b""
        return data

    def hold(self, data: bytes) -> None:
        """Keep `data` behind what is kept already."""
        self._pieces.append(data)
        self._size += len(data)

    def take(self) -> bytes:
        """Return what was held; nothing is held any more."""
        held = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        return held

    def split_mark(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the byte order mark that leaves before `data`, and `data` without one; `data` is about to leave."""
        if self._start is _Start.BEGUN:
            return b"", data
        mark = BOM if self._start is _Start.NOTHING and data.startswith(BOM) else b""
        self._start = _Start.BEGUN
        return mark, data.removeprefix(BOM)

    def note_inserted(self, data: bytes, *, after_cr: bool) -> None:
        """Take note of bytes of sseproxy's own that leave now. after_cr: what has left before them ends with CR."""
        if self._start is _Start.NOTHING:
            self._start = _Start.INSERTED
        self.drops_lf = after_cr and not self._pieces and not data.endswith(CR)
