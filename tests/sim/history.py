"""What happened: what upstreams did, what clients asked for and got, and what was done to the process.

A history is a list of these events in the order of one monotonic clock (`at`, seconds), or a file with one JSON object
a line. The text of each event on the wire says its source, its number and a checksum, so that no id is trusted: ids
only say where a client stands that comes back.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A source of events, as its upstream counts them: one answer, or one feed over all its connections.

    key: what names it in requests; several answers may have the same. owner: the login; empty: anyone.
    events, bytes, age: what is to be kept of it; seconds, of an answer from its end, of a feed from each event.
    """

    at: float
    source: str
    key: str
    owner: str = ""
    is_answer: bool = False
    events: int | None = None
    bytes: int = 2**40
    age: float = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request has reached an upstream. call: its number. request: that of the client's request. position: as it came.

    source: what is sent if the upstream consents.
    """

    at: float
    call: int
    source: str
    request: int
    position: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The upstream has begun an event stream."""

    at: float
    call: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The upstream has answered something else."""

    at: float
    call: int
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitted:
    """Event `n` of a source, counted from 1, has been sent whole. call 0: there was no connection to send it on.

    id: its own, if it has one. is_silent: no client sees it (it has no data). piece: the same number for events that
    arrived together; 0: it arrived alone.
    """

    at: float
    call: int
    source: str
    n: int
    type: str = "message"
    id: str | None = None
    size: int = 1
    is_silent: bool = False
    piece: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The upstream has ended a stream."""

    at: float
    call: int
    is_clean: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Aborted:
    """The upstream has noticed that its stream is not wanted any more."""

    at: float
    call: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """A client has asked for a stream. client: the number of this connection.

    position: what it named, or ``oldest``. starts_latest: where the client begins if it has named nothing.
    source: what its URL names, if it names a run.
    """

    at: float
    client: int
    request: int
    key: str
    login: str = ""
    position: str = ""
    starts_latest: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of the response has come. source: what it says that it is, by the URL of its run."""

    at: float
    client: int
    status: int = 200
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """An event has come. source, n: as its text says. position: the client's last event id then."""

    at: float
    client: int
    source: str
    n: int
    type: str = "message"
    position: str = ""
    is_intact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """An id without an event has come."""

    at: float
    client: int
    position: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A gap event has come. origin: its member `from`. position: its own id."""

    at: float
    client: int
    reason: str
    origin: str
    lost: int | None
    position: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An error event has come."""

    at: float
    client: int
    position: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The server has ended the response. has_rest: part of an event had come."""

    at: float
    client: int
    is_clean: bool
    has_rest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """The client has closed the connection."""

    at: float
    client: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """The client reads no more."""

    at: float
    client: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The client reads again."""

    at: float
    client: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A request to stop an answer has been answered."""

    at: float
    source: str
    login: str = ""
    status: int = 204


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something was not well, until `done`."""

    at: float
    done: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """What was kept of a source (empty: of all) may be gone: memory was short, or a process has died."""

    at: float
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """The process began to drain."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a process held. bytes: of all runs. is_last: no request has come for longer than anything is kept."""

    at: float
    bytes: int
    runs: int
    readers: int
    is_last: bool = False


ClientEvent: TypeAlias = Requested | Head | Got | Given | Gap | Failed | Ended | Left | Paused | Resumed
UpstreamEvent: TypeAlias = Stream | Asked | Opened | Refused | Emitted | Finished | Aborted
Event: TypeAlias = ClientEvent | UpstreamEvent | Stopped | Fault | Lost | Drained | Measured

_KINDS: dict[str, type[Event]] = {
    kind.__name__.lower(): kind
    for kind in (
        *(Stream, Asked, Opened, Refused, Emitted, Finished, Aborted),
        *(Requested, Head, Got, Given, Gap, Failed, Ended, Left, Paused, Resumed),
        *(Stopped, Fault, Lost, Drained, Measured),
    )
}


def written(history: Iterable[Event]) -> str:
    """Return `history` as JSON lines."""
    return "".join(json.dumps({"what": type(event).__name__.lower(), **asdict(event)}) + "\n" for event in history)


def read(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events that JSON lines are. KeyError, TypeError, ValueError: they are no history."""
    for line in lines:
        fields = json.loads(line)
        yield _KINDS[fields.pop("what")](**fields)
