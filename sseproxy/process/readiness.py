"""May new requests be sent to this process?"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """May new requests be sent here?"""

    READY = "ready"
    DRAINING = "draining"
    AWAY = "away"  # a store is, without which too little can be served


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer to an orchestrator. away: the stores that cannot be reached now, also where the process is ready."""

    status: Status = Status.READY
    away: Sequence[str] = ()
