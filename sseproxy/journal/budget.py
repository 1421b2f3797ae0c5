"""How much memory do all windows of a process take, and what happens when it is too much?"""

from math import inf
from typing import Protocol


class Shrinking(Protocol):
    """A window with its readers."""

    def shrink(self) -> None:
        """Keep as little as possible, and `WindowBudget.note` how much that is."""


class Budget(Protocol):
    """What counts the bytes of windows."""

    @property
    def is_short(self) -> bool:
        """True if windows have more than they may have, so that none should grow."""

    def note(self, holder: Shrinking, size: int) -> None:
        """The window of `holder` has `size` bytes now; 0 also means that it is no longer used."""


class WindowBudget:
    """The bytes of all windows of a process. memory: bytes that they may have; total: that they have.

    Beyond it the largest windows keep as little as possible, until a quarter of it is free.
    """

    def __init__(self, memory: int) -> None:
        self.total = 0
        self._memory = memory
        self._sizes: dict[Shrinking, int] = {}
        # Windows are shrunk when `total` is above it. When all of them are as small as can be, and still too large,
        # it does not help to try again before they have grown by something.
        self._line: float = memory

    @property
    def is_short(self) -> bool:
        return self.total > self._memory

    def note(self, holder: Shrinking, size: int) -> None:
        """The window of `holder` has `size` bytes now; 0 also means that it is no longer used."""
        self.total += size - self._sizes.get(holder, 0)
        if size:
            self._sizes[holder] = size
        else:
            self._sizes.pop(holder, None)
        if self.total > self._line:
            self._shrink()

    def _shrink(self) -> None:
        self._line = inf  # each window that shrinks notes it
        try:
            for holder in sorted(self._sizes, key=self._sizes.__getitem__, reverse=True):
                if self.total <= self._memory * 3 // 4:
                    break
                holder.shrink()
        finally:
            self._line = max(self._memory, self.total + self._memory // 16)
