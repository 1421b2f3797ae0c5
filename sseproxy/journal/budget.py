"""How much memory do all windows of a process take, and what happens when it is too much?"""

from typing import Protocol


class Shrinking(Protocol):
    """A window with its readers."""

    def shrink(self) -> None:
        """Keep as little as possible."""


class WindowBudget:
    """The bytes of all windows of a process. memory: bytes that they may have."""

    total: int

    def __init__(self, memory: int) -> None:
        raise NotImplementedError

    def note(self, holder: Shrinking, size: int) -> None:
        """The window of `holder` has `size` bytes now; 0 also means that it is no longer used."""
        raise NotImplementedError
