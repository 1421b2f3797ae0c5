"""How does a client hear that events are missing?"""

import json
from enum import StrEnum

from sseproxy.core.frozen import frozen
from sseproxy.core.journal.positions import LONGEST


class GapReason(StrEnum):
    """Why events are missing."""

    TRIMMED = "trimmed"  # they are no longer kept
    UNKNOWN = "unknown"  # the position that the client named is none of this stream
    UPSTREAM = "upstream"  # the upstream did not go on where it had broken off
    STORE = "store"  # the store has lost them
    FORK = "fork"  # the position belongs to a line of events that another process has not continued


@frozen
class Missing:
    """A stretch of events that are missing. lost: how many; ``None`` if that cannot be known."""

    reason: GapReason
    lost: int | None = None

    def with_more(self, other: "Missing") -> "Missing":
        """Return both as one, under the reason of the first."""
        is_known = self.lost is not None and other.lost is not None
        return Missing(self.reason, (self.lost or 0) + (other.lost or 0) if is_known else None)


@frozen
class GapPolicy:
    """How a client hears of missing events. name: the type of the event."""

    name: str = "gap"


def gap_event(policy: GapPolicy, missing: Missing, *, from_position: bytes, id: bytes) -> bytes:  # noqa: A002 - its name on the wire
    """Return the event that says what is missing behind `from_position`, of which `LONGEST` bytes are shown.

    from_position: empty, and null in the event, for a client that came without one.
    id: the position from which the client goes on, so that it hears of it once.
    """
    shown = from_position[:LONGEST].decode("utf-8", "replace")
    data = json.dumps({"reason": missing.reason, "from": shown or None, "lost": missing.lost})
    return b"event: %b\nid: %b\ndata: %b\n\n" % (policy.name.encode(), id, data.encode())
