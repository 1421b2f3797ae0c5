"""When does a stream have to do something, although nobody sent anything?"""

from dataclasses import dataclass
from enum import IntEnum


@dataclass(frozen=True, slots=True)
class TimeoutPolicy:
    """Timeouts of one route in seconds; ``None`` switches one off.

    connect: until the upstream connection stands, TLS included.
    response: from there until the upstream's response head.
    idle: silence of the upstream inside a response (heartbeats do not count).
    write: a client that takes nothing while bytes wait for it.
    max_duration: age of an event stream.
    request_body: from a request's head until the end of its body. Only the proxy looks at it.
    """

    connect: float | None = 5.0
    response: float | None = 300.0
    idle: float | None = 300.0
    write: float | None = 30.0
    max_duration: float | None = None
    request_body: float | None = None


class Timer(IntEnum):
    """The named timers of a stream, the most final first: that is the order in which they are served."""

    DRAIN_DEADLINE = 0  # when a draining stream is cut, finished or not
    MAX_DURATION = 1  # when the stream has lived long enough
    IDLE = 2  # when the upstream has been silent for too long
    WRITE = 3  # when the client has taken nothing for too long
    DRAIN = 4  # when a draining stream should begin to look for its end
    HEARTBEAT = 5  # when the client should hear something again


_TIMERS = tuple(Timer)


class TimerTable:
    """Deadlines by name. Nothing is armed here: the driver asks for the next one.

    Times are seconds of whatever monotonic clock the driver uses.
    """

    __slots__ = ("_deadlines",)

    def __init__(self) -> None:
        self._deadlines: list[float | None] = [None] * len(Timer)

    def set(self, timer: Timer, deadline: float | None) -> None:
        """Let `timer` expire at `deadline`; ``None`` stops it."""
        self._deadlines[timer] = deadline

    def stop(self, timer: Timer) -> None:
        self._deadlines[timer] = None

    def stop_all(self) -> None:
        self._deadlines = [None] * len(Timer)

    def next_deadline(self) -> float | None:
        """The earliest deadline, or ``None`` when no timer runs."""
        return min((d for d in self._deadlines if d is not None), default=None)

    def expired(self, *, now: float) -> list[Timer]:
        """Those whose time has come, the most final first."""
        return [timer for timer, at in zip(_TIMERS, self._deadlines, strict=True) if at is not None and at <= now]
