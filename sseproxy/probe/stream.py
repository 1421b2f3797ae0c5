"""What did one response look like to its client: what came, when, and how did it end?"""

import itertools
from enum import StrEnum

from sseproxy.core.frozen import frozen


class Ending(StrEnum):
    """How a response ended on the wire."""

    CLEAN = "clean end"
    TRUNCATED = "broke off"
    RESET = "was reset"
    NO_RESPONSE = "was closed without a response"
    NOT_HTTP = "no HTTP"
    OPEN = "is still open"


class Sign(StrEnum):
    """What a mark is a mark of."""

    EVENT = "event"
    HEARTBEAT = "heartbeat"


@frozen
class Mark:
    """An event or a heartbeat. at: seconds after the request. name, data: of an event, the beginning of each."""

    at: float
    sign: Sign
    name: str = ""
    data: str = ""


@frozen
class Stream:
    """One response. Times are seconds after the request was sent.

    status, head_at: None if no head came. reads: when bytes of the body came. closes: only the end of the connection
    ends the body. beginning: of the body, as text. seconds: to the end, or until the client left. detail: what the
    network or the parser said about the end.
    """

    ending: Ending
    seconds: float
    status: int | None = None
    fields: tuple[tuple[str, str], ...] = ()
    head_at: float | None = None
    reads: tuple[float, ...] = ()
    marks: tuple[Mark, ...] = ()
    closes: bool = False
    beginning: str = ""
    detail: str = ""

    @property
    def events(self) -> tuple[Mark, ...]:
        """The events, without those that are heartbeats."""
        return tuple(mark for mark in self.marks if mark.sign is Sign.EVENT)

    @property
    def heartbeats(self) -> tuple[Mark, ...]:
        """Comments, lone blank lines, and events that are called so."""
        return tuple(mark for mark in self.marks if mark.sign is Sign.HEARTBEAT)

    @property
    def heartbeat_interval(self) -> float | None:
        """Seconds between heartbeats, on average of those that came."""
        beats = self.heartbeats
        return (beats[-1].at - beats[0].at) / (len(beats) - 1) if len(beats) > 1 else None

    @property
    def first_byte_at(self) -> float | None:
        """When the first byte of the body came."""
        return self.reads[0] if self.reads else None

    @property
    def arrivals(self) -> tuple[float, ...]:
        """When anything came, the head included."""
        head = () if self.head_at is None else (self.head_at,)
        return (*head, *self.reads)

    @property
    def longest_silence(self) -> float:
        """The longest time without a byte, from the request to the end."""
        times = (0.0, *self.arrivals, self.seconds)
        return max(after - before for before, after in itertools.pairwise(times))

    @property
    def last_silence(self) -> float:
        """How long nothing had come when it ended."""
        return self.seconds - max(self.arrivals, default=0.0)

    @property
    def is_event_stream(self) -> bool:
        """True if the response is a 200 that says so."""
        return self.status == 200 and self.media_type == "text/event-stream"

    @property
    def media_type(self) -> str:
        """In lower case, without parameters."""
        return self.field("content-type").partition(";")[0].strip().lower()

    @property
    def coding(self) -> str:
        """The content coding, empty if there is none."""
        coding = self.field("content-encoding").strip().lower()
        return "" if coding == "identity" else coding

    def field(self, name: str) -> str:
        """The last header field of that name, which is given in lower case; empty if there is none."""
        return next((value for key, value in reversed(self.fields) if key.lower() == name), "")
