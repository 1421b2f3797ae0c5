"""Which words do the parts of this room share: commands, replies, a connection that is lost?"""

from collections.abc import Sequence
from typing import Any

from sseproxy.core.errors import ReplyError
from sseproxy.core.frozen import frozen

Argument = bytes | str | int
Command = Sequence[Argument]

#: What Redis replies under RESP3, undecoded: None, int, float, bool, bytes, list, dict.
Reply = Any


#: Replies that say: not now, not here.
NOT_READY = {
    "LOADING": "it is still loading its data",
    "READONLY": "it is a replica, which takes no writes",
    "MASTERDOWN": "it is a replica that has lost its master",
    "CLUSTERDOWN": "the cluster is down",
    "NOAUTH": "it wants a password",
    "WRONGPASS": "wrong user or password",
}


class WireLost(Exception):
    """A connection cannot be made, or has ended. `reason` is for people and holds no secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def not_ready(reply: Reply | ReplyError) -> str | None:
    """Why a reply says that this Redis cannot serve now; None if it does not say so."""
    return NOT_READY.get(reply.code) if isinstance(reply, ReplyError) else None


@frozen
class Backoff:
    """How long to wait before the next dial: `least` seconds at first, doubled with each failure, `most` at most."""

    least: float = 0.05
    most: float = 2.0

    def pause(self, failures: int, chance: float) -> float:
        """Return seconds. chance: from 0 to 1, takes off up to half."""
        return min(self.most, self.least * 2.0 ** min(failures - 1, 32)) * (1 - chance / 2)
