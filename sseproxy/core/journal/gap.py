"""How is a client told that events are missing?"""

import json
from dataclasses import dataclass
from enum import StrEnum

from sseproxy.core.stream.events import event


class GapReason(StrEnum):
    """Why events are missing."""

    TRIMMED = "trimmed"  # they are no longer kept
    UNKNOWN = "unknown"  # the position that the client named is none of this stream
    UPSTREAM = "upstream"  # the upstream did not go on where it had broken off
    STORE = "store"  # the store has lost them
    FORK = "fork"  # the position belongs to a line of events that another process has not continued


@dataclass(frozen=True, slots=True)
class Missing:
    """A stretch of events that are missing. lost: how many; ``None`` if that cannot be known."""

    reason: GapReason
    lost: int | None = None


@dataclass(frozen=True, slots=True)
class GapPolicy:
    """name: the type of the event that tells."""

    name: str = "gap"


def gap_event(policy: GapPolicy, missing: Missing, *, from_position: bytes, id: bytes) -> bytes:  # noqa: A002 - its name on the wire
    """Return the event that tells what is missing behind `from_position`.

    id: the position from which the client goes on, so that it is told once.
    """
    data = {"reason": missing.reason, "from": from_position.decode("utf-8", "replace"), "lost": missing.lost}
    return b"id: " + id + b"\n" + event(json.dumps(data), name=policy.name)
