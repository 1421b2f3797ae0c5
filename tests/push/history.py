"""What happened: who published what, what clients got, when Redis trimmed and when it was away."""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


class Kind(enum.Enum):
    """Of Redis names: a stream has a history, a channel has none."""

    STREAM = enum.auto()
    CHANNEL = enum.auto()


class Start(enum.Enum):
    """Where a client without a position begins."""

    LATEST = enum.auto()
    OLDEST = enum.auto()


@dataclass(frozen=True, slots=True)
class Published:
    """The message `n` of a name, counted from 1. It reached Redis between `begun` and `done`.

    All times are seconds of one monotonic clock.
    """

    name: str
    n: int
    begun: float
    done: float


@dataclass(frozen=True, slots=True)
class Trimmed:
    """Redis has thrown away all messages of a name before `n`, between `begun` and `done`."""

    name: str
    n: int
    begun: float
    done: float


@dataclass(frozen=True, slots=True)
class Fault:
    """Redis, or the way to it, was not well."""

    begun: float
    done: float


@dataclass(frozen=True, slots=True)
class Opened:
    """A client has asked for a stream, with the position it has; "": with none."""

    at: float
    position: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The head has come, or, of a stream that gives ids at once, the first id: `position`."""

    at: float
    position: str


@dataclass(frozen=True, slots=True)
class Got:
    """A message has come. name, n: as its text says, which the publisher wrote; `intact`: its checksum is right."""

    at: float
    name: str
    n: int
    position: str
    intact: bool = True


@dataclass(frozen=True, slots=True)
class Gap:
    """A gap event has come. position: its own id."""

    at: float
    reason: str
    origin: str
    lost: int | None
    position: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over, whichever side ended it."""

    at: float


ClientEvent = Opened | Ready | Got | Gap | Closed


@dataclass(frozen=True, slots=True)
class Lineage:
    """One client through all its connections. reads: the names that are its own."""

    kind: Kind
    reads: frozenset[str]
    events: Sequence[ClientEvent]
    start: Start = Start.OLDEST


@dataclass(frozen=True, slots=True)
class History:
    """Of each name the messages are in the order of `n`, of each lineage the events in the order of time.

    number: returns the number of the last message of a name that a position says the client has; ``None``: not known.
    Left out, no position says anything.
    """

    published: Sequence[Published]
    lineages: Mapping[str, Lineage]
    trims: Sequence[Trimmed] = ()
    faults: Sequence[Fault] = ()
    number: Callable[[str, str], int | None] | None = None
