"""What did many clients get that all get the same pieces? Counted once, and not once for each of them."""

from dataclasses import dataclass
from operator import sub
from typing import Final

from sseproxy.core.limits import KIB
from sseproxy.core.stream.events import LOOK

#: So many pieces a tally has at most, of so many bytes. Then all who are in it count for themselves once, and go on in
#: another. Each client keeps the last piece that it has counted, and they count at different times: so this is also
#: what of a stream they can keep alive together.
TALLY_PIECES: Final = 64
TALLY_BYTES: Final = 64 * KIB


@dataclass(frozen=True, slots=True)
class Sum:
    """What one client got: `size` bytes, which are `events` events, the last piece of them `newest`.

    first_at, last_at: when its first and last piece came; silence: the longest between two of them. In seconds.
    """

    size: int
    events: int
    newest: bytes
    first_at: float
    last_at: float
    silence: float


class Tally:
    """Pieces of whole events in canonical form which all bring data. A client gets all that follow its first one.

    may_have_ids: a line of them may be an id; otherwise none is. has_room: it may have pieces.
    """

    # The pieces themselves are not kept, but for the last two: when clients are asked, each has had all, or all but the
    # newest, which they get one after another.

    __slots__ = ("_before", "_bytes", "_events", "_most", "_newest", "_sum", "_times", "may_have_ids")

    def __init__(self, *, may_have_ids: bool = False, has_room: bool = True) -> None:
        self.may_have_ids = may_have_ids
        self._most = TALLY_PIECES if has_room else 0
        self._bytes = [0]  # so many are in the first n pieces
        self._events = [0]
        self._times: list[float] = []
        self._before = self._newest = b""
        self._sum: tuple[tuple[int, int], Sum] | None = None  # the newest; most clients ask for the same

    def __len__(self) -> int:
        """How many pieces there are."""
        return len(self._times)

    def add(self, data: bytes, events: int, now: float) -> bool:
        """Count `data`, whose first client gets it at `now`. Return whether it may be one of these pieces."""
        size = self._bytes[-1] + len(data)
        if len(self._times) >= self._most or size > TALLY_BYTES or LOOK.lines(data) < events:
            return False
        if not self.may_have_ids and LOOK.may_have_id(data):
            return False
        self._bytes.append(size)
        self._events.append(self._events[-1] + events)
        self._times.append(now)
        self._before, self._newest = self._newest, data
        return True

    def following(self, data: bytes) -> "Tally":
        """Return the next one, behind `data`, for which there was no place here. That piece is in neither."""
        return Tally(may_have_ids=self.may_have_ids or LOOK.may_have_id(data))

    def between(self, start: int, end: int) -> Sum | None:
        """Add up the pieces from number `start` up to `end`, which is `len` or one less. ``None`` if there is none."""
        if start >= end:
            return None
        if self._sum is None or self._sum[0] != (start, end):
            times = self._times[start:end]
            found = Sum(
                size=self._bytes[end] - self._bytes[start],
                events=self._events[end] - self._events[start],
                newest=self._newest if end == len(self._times) else self._before,
                first_at=times[0],
                last_at=times[-1],
                silence=max(map(sub, times[1:], times), default=0.0),
            )
            self._sum = (start, end), found
        return self._sum[1]


#: For clients of which none is in one yet: takes nothing.
NO_TALLY: Final = Tally(has_room=False)
