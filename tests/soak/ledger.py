"""What was sent in the soak, and where does a client stand in it?"""

from bisect import bisect_right
from dataclasses import dataclass, field

from tests.sim.history import Gap, Requested, Stream

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Allowance:
    """Seconds. latency: within which an event or an end arrives. stop: within which what is stopped is closed.

    stall: after which a client that takes nothing may be broken off. piece: what was sent within it may arrive at once.
    """

    latency: float = 6.0
    stop: float = 5.0
    stall: float = 3.0
    piece: float = 0.5


@dataclass(slots=True)
class Source:
    """What was sent.

    sent: when each number was, first. numbers, times: those that were larger than all before, and when they were sent.
    arrived: when the first client got each. first: the first that was sent over a connection. open: calls, and when
    they were made. asked: when the first one was. over, stopped, replaced: from when on it was.
    """

    stream: Stream
    sent: dict[int, float] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    arrived: dict[int, float] = field(default_factory=dict)
    first: int = 0
    opened: list[float] = field(default_factory=list)
    calls: int = 0
    open: dict[int, float] = field(default_factory=dict)
    asked: float = NEVER
    over: float = NEVER
    is_clean: bool = False
    stopped: float = NEVER
    replaced: float = NEVER

    @property
    def is_named(self) -> bool:
        """True if its events have ids of their own."""
        return self.stream.source.startswith("named")

    def newest(self, at: float) -> int:
        """Return the largest number that was sent until `at`; 0: none."""
        index = bisect_right(self.times, at)
        return self.numbers[index - 1] if index else 0

    def oldest(self, at: float) -> int:
        """Return the largest number with which a reader of all that is kept may begin at `at`.

        What stands for a hole is kept like an event, and there is one for each time that the upstream was opened.
        """
        newest, kept = self.newest(at), self.stream.events or 0
        index = max(bisect_right(self.times, at) - kept, 0)
        holes = sum(opened >= self.times[index] for opened in self.opened) if self.times else 0
        return max(newest - kept + 1 + holes, self.first)


@dataclass(slots=True)
class Place:
    """A client has all up to a number from `low` to `high`. is_end: and has the end."""

    source: Source | None
    low: float
    high: float
    is_end: bool = False


@dataclass(slots=True)
class Client:
    """One connection. stands: the last position that it named or was given."""

    requested: Requested
    place: Place
    stands: str
    is_known: bool
    head: float = NEVER
    status: int = 0
    seq: tuple[str, int, int] | None = None
    gaps: list[Gap] = field(default_factory=list)
    count: int = 0
    is_over: bool = False
    has_failed: bool = False
    paused: float = NEVER
    resumed: float = -NEVER
    has_stalled: bool = False
