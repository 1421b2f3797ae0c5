"""In which messages does the server get what was written?"""

from collections import deque

#: Bytes of one message at most. That a client takes something is seen only by a `send` that returns.
_MOST = 64 * 1024


class WaitingPieces:
    """What was written and waits for the server, in its order. size: in bytes. An empty piece is one, too."""

    __slots__ = ("_begun", "_pieces", "size")

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._begun = 0  # bytes of the first that were taken
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def append(self, data: bytes) -> None:
        self._pieces.append(data)
        self.size += len(data)

    def take(self) -> bytes:
        """Take out the next message: all there is, if it fits, or else a piece or a part of one."""
        pieces = self._pieces
        if len(pieces) != 1 and self.size <= _MOST:
            data = b"".join(pieces)[self._begun :]
            pieces.clear()
        else:
            begun = self._begun
            data = pieces[0][begun : begun + _MOST] if begun or self.size > _MOST else pieces[0]
            if begun + len(data) < len(pieces[0]):
                self._begun += len(data)
                self.size -= len(data)
                return data
            pieces.popleft()
        self._begun = 0
        self.size -= len(data)
        return data

    def clear(self) -> None:
        self._pieces.clear()
        self._begun = self.size = 0
