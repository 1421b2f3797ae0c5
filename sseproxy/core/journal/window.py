"""Which events of one stream are kept in memory, and which of them are behind a mark?"""

from dataclasses import dataclass
from math import inf
from typing import NamedTuple, TypeAlias

from sseproxy.core.journal.gap import Missing
from sseproxy.core.journal.positions import START, Mark


@dataclass(frozen=True, slots=True)
class Block:
    """One or more whole events that came together.

    last: the mark of the last one; the marks of those before it differ from it in their second number, by one each.
    text: canonical: the fields as they came, LF, one blank line behind each event, no id of sseproxy.
    """

    last: Mark
    count: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Break:
    """A stretch that is missing: from the mark before it up to `last`. It is kept among the blocks, in its place."""

    last: Mark
    first: Mark
    missing: Missing


Entry: TypeAlias = Block | Break


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """What is kept at most. age: seconds."""

    events: float = inf
    bytes: float = inf
    age: float = inf


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """How much a window keeps.

    tail: while no reader is behind. most: while one is. least: when the process is short of memory.
    is_counted: the second number of a mark counts events, so that a gap can say how many are lost.
    """

    tail: WindowLimits
    most: WindowLimits
    least: WindowLimits
    is_counted: bool = False


class Spot(NamedTuple):
    """Where a reader is. epoch: that of the window when `mark` was valid."""

    epoch: int
    mark: Mark


class Window:
    """The end of one stream: nothing is missing behind `base` up to `top`.

    epoch: grows when the stream begins anew with smaller marks; a mark of an earlier epoch says nothing.
    """

    base: Mark
    top: Mark
    epoch: int
    bytes: int
    events: int

    def __init__(self, base: Mark = START) -> None:
        raise NotImplementedError

    def append(self, block: Block, *, now: float) -> None:
        """Keep `block`, whose first mark is behind `top`. Nothing is trimmed by it."""
        raise NotImplementedError

    def break_in(self, base: Mark, missing: Missing | None, *, now: float) -> None:
        """Go on at `base`, with nothing known between `top` and it.

        missing: what readers are told who had everything up to `top`; ``None``: they have missed nothing.
        A `base` below `top` begins another epoch, and what was kept is dropped.
        """
        raise NotImplementedError

    def after(self, mark: Mark, *, most: float = inf) -> list[Entry] | None:
        """Return what is behind `mark`, oldest first; ``None`` if `mark` is before `base`.

        Of a block that holds `mark`, the rest. most: no further entry once there are so many bytes.
        """
        raise NotImplementedError

    def trim(self, limits: WindowLimits, *, now: float, upto: Mark) -> None:
        """Drop the oldest blocks until what is kept is within `limits`, but nothing behind `upto`.

        A block is never cut. The last block stays, unless `limits` has no room for any event.
        """
        raise NotImplementedError

    @property
    def end(self) -> Spot:
        """Where a reader is who has everything."""
        return Spot(self.epoch, self.top)
