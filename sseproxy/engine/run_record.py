"""What is written down about a run of a journal when it is over?"""

from dataclasses import dataclass

from sseproxy.core.stream.transfer import CloseReason


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run that is over. Nothing here leads to it, or to a login: its name may be all that is asked for.

    number: by which the log and the live list of this process know it. bytes: of its events. seconds: from its request
    to its end. readers: clients that it had; unread: seconds for which it has gone on without one.
    """

    route: str
    number: int
    reason: CloseReason
    events: int
    bytes: int
    seconds: float
    readers: int
    unread: float

    def fields(self) -> dict[str, object]:
        """Return all that is logged, by name."""
        return {
            "route": self.route,
            "run": self.number,
            "reason": self.reason.value,
            "seconds": round(self.seconds, 3),
            "events": self.events,
            "bytes": self.bytes,
            "readers": self.readers,
            "unread": round(self.unread, 3),
        }
