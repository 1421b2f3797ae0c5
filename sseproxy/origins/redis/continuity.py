"""Is anything missing between a position and what a Redis stream still holds?

Redis trims a stream from its front, and says nothing. Pure: what Redis replied goes in, a verdict comes out.
"""

from collections.abc import Mapping
from typing import Any

from sseproxy.core.frozen import frozen
from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.positions import START, Mark, predecessor, read_mark


@frozen
class StreamState:
    """What ``XINFO STREAM`` says of a stream.

    first: its first entry; None if it has none. last: the last id that it ever had. added: how many entries it ever
    had; None if this Redis does not count them (before 7.0).
    """

    first: Mark | None
    last: Mark
    length: int
    added: int | None

    @classmethod
    def read(cls, reply: Mapping[bytes, Any]) -> "StreamState":
        """Read the reply. Raises `ValueError` if it is none of ``XINFO STREAM``."""
        last = read_mark(reply.get(b"last-generated-id", b""))
        entry = reply.get(b"first-entry")
        first = read_mark(entry[0]) if entry else None
        if last is None or (entry and first is None):
            raise ValueError("XINFO STREAM replied something else")
        return cls(first, last, reply[b"length"], reply.get(b"entries-added"))

    @property
    def oldest(self) -> Mark:
        """The mark behind which everything is that is kept."""
        return self.last if self.first is None else predecessor(self.first)

    @property
    def removed(self) -> int | None:
        """How many entries are not kept any more; None if this Redis does not count them."""
        return None if self.added is None else self.added - self.length


#: A key that is not there. A stream that is made has no past.
NO_STREAM = StreamState(None, START, 0, 0)


def missing_after(position: Mark, state: StreamState, counted: int | None = None) -> Missing | None:
    """Return what is missing between `position` and the first entry kept behind it; None if nothing is.

    counted: how many entries the stream had been given when `position` was its last, if the caller has counted them.
    GapReason.UNKNOWN: this stream has never been at `position`, it is another one under the same name.

    An entry that its publisher took out with ``XDEL`` is not missing, unless it was the oldest.
    """
    # Trimming takes the oldest first. So while an entry at or before the position is kept, none behind it was trimmed.
    # Where none is kept, numbers decide: all that were added behind the position must still be there.
    if position > state.last or (counted is not None and state.added is not None and state.added < counted):
        return Missing(GapReason.UNKNOWN, None)
    if position == state.last or (state.first is not None and position >= predecessor(state.first)):
        return None
    before = 0 if position == START else counted
    if before is None or state.added is None:
        return Missing(GapReason.TRIMMED, None)
    lost = state.added - before - state.length
    if lost < 0:  # more are kept behind the position than were added behind it
        return Missing(GapReason.UNKNOWN, None)
    return Missing(GapReason.TRIMMED, lost) if lost else None
