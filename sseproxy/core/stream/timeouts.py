"""When does a stream have to do something, although neither side sent anything?"""

from enum import Enum, IntEnum

from sseproxy.core.frozen import frozen

#: Seconds of silence after which an answer is given up unless the route says otherwise: SDKs wait for 600.
ANSWER_IDLE = 900.0


class Auto(Enum):
    """A value that depends on the request."""

    AUTO = "auto"


@frozen
class TimeoutPolicy:
    """Timeouts of one route in seconds; ``None`` switches one off.

    connect: until the upstream connection stands, TLS included.
    connect_retry: for which a connection that does not come about is tried again, each try within `connect`.
    response: from there until the upstream's response head.
    idle: silence of the upstream inside a response (heartbeats do not count); see `idle_of`.
    write: a client that takes nothing while bytes wait for it.
    max_duration: age of an event stream.
    request_body: from a request's head until the end of its body. Only the proxy looks at it.
    answer_idle: what ``auto`` is for an answer.
    """

    connect: float | None = 5.0
    connect_retry: float | None = None
    response: float | None = 900.0
    idle: float | Auto | None = Auto.AUTO
    write: float | None = 30.0
    max_duration: float | None = None
    request_body: float | None = None
    answer_idle: float = ANSWER_IDLE

    def idle_of(self, *, is_answer: bool) -> float | None:
        """Return the idle timeout in seconds. ``auto`` is for answers: a feed, a tunnel or a download may be silent."""
        if isinstance(self.idle, Auto):
            return self.answer_idle if is_answer else None
        return self.idle


class Timer(IntEnum):
    """The named timers of a stream, the most final first: that is the order in which they are served."""

    DRAIN_DEADLINE = 0  # when a draining stream is aborted, finished or not
    BOUNDARY = 1  # when a stream that looks for its end has looked long enough
    MAX_DURATION = 2  # when the stream has lived long enough
    LAST_EVENT = 3  # when an upstream that has sent its terminal event should have closed
    IDLE = 4  # when the upstream has been silent for too long
    WRITE = 5  # when the client has taken nothing for too long
    DRAIN = 6  # when a draining stream should begin to look for its end
    HEARTBEAT = 7  # when the client should hear something again


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
