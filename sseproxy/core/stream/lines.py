"""Which bytes of a stream have to wait for more, so that what leaves ends with a whole line? (contract S4, S6)"""

from sseproxy.core.stream.events import BOM, CR, LF


class HeldLines:
    """What is held back of one stream: an unfinished line, or the first bytes of what may be a byte order mark.

    limit: bytes of a line that are held; a longer one is let through. True while anything is held.
    """

    __slots__ = ("_limit", "_pieces", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def complete(self, data: bytes, *, is_inside_line: bool) -> bytes:
        """Return all that is complete by now, or, when a line grows too long, all there is.

        is_inside_line: what has left before `data` ends inside a line, which therefore is known to be too long.
        """
        if data.endswith(LF) and not self._pieces:
            return data
        end = max(data.rfind(LF), data.rfind(CR)) + 1
        if not end and not self._pieces and is_inside_line:
            return data
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
