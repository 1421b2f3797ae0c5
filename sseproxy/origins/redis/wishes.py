"""Where does a client want to begin in each stream of its route?"""

from sseproxy.core.frozen import frozen
from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.policy import Start
from sseproxy.core.journal.positions import OLDEST, Mark, read_position

_UNKNOWN = Missing(GapReason.UNKNOWN)


@frozen
class Wish:
    """Where a reader wants to begin. missing: what its client hears first, if it begins at the oldest entry kept."""

    at: Start | Mark
    missing: Missing | None = _UNKNOWN

    def mark(self, end: Mark) -> Mark | None:
        """Return the mark to begin behind, in a stream that was read up to `end`; None if Redis has to be asked.

        A mark behind `end` may be one that another process has seen.
        """
        if self.at is Start.LATEST:
            return end
        return self.at if isinstance(self.at, tuple) and self.at <= end else None


def wishes(start: Start, position: bytes | None, size: int) -> list[Wish]:
    """Return one for each of `size` streams. position: what the client named; start: where one begins without."""
    if position is None or position == OLDEST:
        return [Wish(start if position is None else Start.OLDEST, missing=None)] * size
    marks = read_position(position, size)
    if marks is None:  # one gap, whatever the number of streams
        return [Wish(Start.OLDEST)] + [Wish(Start.OLDEST, missing=None)] * (size - 1)
    return [Wish(mark) for mark in marks]
