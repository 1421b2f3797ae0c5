"""How much does a window keep?"""

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """What is kept at most. age: seconds."""

    events: float = inf
    bytes: float = inf
    age: float = inf


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """How much a window keeps, and how much of it is handed out at once.

    tail: while no reader is behind. most: while one is. least: when the process is short of memory.
    is_counted: the second number of a mark counts events, so that a gap can say how many are lost.
    is_held: what a reader still has to get is never dropped; rather the producer waits for it.
    chunk: bytes that one reader gets at once, before ids; a block that is larger goes in one piece.
    readers: live readers that get something in one turn of the event loop.
    """

    tail: WindowLimits
    most: WindowLimits
    least: WindowLimits
    is_counted: bool = False
    is_held: bool = False
    chunk: int = 64 * 1024
    readers: int = 256
