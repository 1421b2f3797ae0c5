"""May new requests be sent to this process?"""

from collections.abc import Sequence
from enum import StrEnum

from sseproxy.core.frozen import frozen


class Status(StrEnum):
    """May new requests be sent here?"""

    READY = "ready"
    DRAINING = "draining"
    AWAY = "away"  # a store is, without which too little can be served


@frozen
class Readiness:
    """The answer to an orchestrator. away: the stores that cannot be reached now, also where the process is ready."""

    status: Status = Status.READY
    away: Sequence[str] = ()
