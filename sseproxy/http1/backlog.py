"""How do bytes wait that have come faster than they may go on?"""

from collections import deque


class Backlog:
    """Bytes in the order in which they came. True while there are any. size: how many.

    They are taken in pieces as small as is wanted, and never joined for that: so the work is the same for each byte,
    however many wait.
    """

    __slots__ = ("_pieces", "_taken", "size")

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._taken = 0  # bytes of the first piece
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def append(self, data: bytes) -> None:
        """Keep `data`, which is not empty, behind what is kept already."""
        self._pieces.append(data)
        self.size += len(data)

    def line_ends(self) -> int:
        """Return how many line ends there are in the next piece, at most; CRLF counts twice."""
        if not self._pieces:
            return 0
        first = self._pieces[0]
        return first.count(b"\n", self._taken) + first.count(b"\r", self._taken)

    def take(self, most: int) -> bytes:
        """Return the next `most` bytes, or fewer; nothing if there are none."""
        if not self._pieces:
            return b""
        first = self._pieces[0]
        if not self._taken and len(first) <= most:
            self._pieces.popleft()
            self.size -= len(first)
            return first
        piece = first[self._taken : self._taken + most]
        self._taken += len(piece)
        if self._taken == len(first):
            self._pieces.popleft()
            self._taken = 0
        self.size -= len(piece)
        return piece

    def whole(self) -> bytes:
        """Return all that is kept, of which nothing may have been taken."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def clear(self) -> None:
        self._pieces.clear()
        self._taken = self.size = 0
