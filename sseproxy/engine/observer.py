"""Who wants to know what happens to requests and streams, and what do they learn of one?"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from sseproxy.core.eventsource.ticket_ids import masked
from sseproxy.core.frames import release_frames
from sseproxy.core.routes import logged_path
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.transfer import CloseReason, TransferStats


class Phase(StrEnum):
    """How far a response is."""

    WAITING = "waiting"  # promised to the client; the upstream has not answered
    OPEN = "open"
    DRAINING = "draining"
    ENDED = "ended"


class GapCount(Protocol):
    """What reads a stream for a client. gaps: how many times events were missing and the client got a gap for them."""

    @property
    def gaps(self) -> int: ...


@dataclass(frozen=True, slots=True)
class JournalReading:
    """How a client reads a stream that has positions. resumes: it has named one."""

    reader: GapCount
    resumes: bool

    def __str__(self) -> str:
        return "gap" if self.reader.gaps else "resumed" if self.resumes else "new"


class ObservedStream(Protocol):
    """One response on its way. It changes while it lives: copy what has to last.

    id: its number in this process. path: of the request, without secrets; empty in the middlewares.
    dialect: of an event stream; ``None`` for any other response. is_declared: the request asked for an event stream.
    started_at: when the request came; the event loop's time, in seconds.
    silence_limit: seconds of silence of the upstream that end it; ``None``: none do.
    reason: ``None`` until it has ended.
    """

    @property
    def id(self) -> int: ...
    @property
    def route(self) -> str: ...
    @property
    def client(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def dialect(self) -> Dialect | None: ...
    @property
    def is_declared(self) -> bool: ...
    @property
    def started_at(self) -> float: ...
    @property
    def silence_limit(self) -> float | None: ...
    @property
    def phase(self) -> Phase: ...
    @property
    def stats(self) -> TransferStats: ...
    @property
    def reason(self) -> CloseReason | None: ...


@dataclass(slots=True)
class AccessRecord:
    """One request, from its first byte to the end of its response.

    peer: who connected; client: who is behind it, as far as trusted proxies tell.
    target: as the client sent it, with all its secrets; only its path is logged.
    journal: of a stream that has positions; ``None`` for any other response.
    status: what the client got; intended: what it would have got had the head not been sent before the response.
    Times are the event loop's, in seconds.
    """

    peer: str
    method: str
    target: str = field(repr=False)
    started_at: float
    client: str | None = None
    route: str = "-"
    status: int | None = None
    intended: int | None = None
    reason: str = "-"
    error: str | None = None
    ended_at: float = 0.0
    journal: JournalReading | None = None
    stats: TransferStats | None = field(default=None, repr=False)

    @property
    def path(self) -> str:
        """See `path_of`."""
        return path_of(self.target)

    def fields(self) -> dict[str, object]:
        """All that is logged, by name; what is not known is left out."""
        values: dict[str, object] = {
            "peer": self.peer,
            "client": self.client if self.client != self.peer else None,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "intended": self.intended if self.intended != self.status else None,
            "route": self.route,
            "reason": self.reason,
            "journal": None if self.journal is None else str(self.journal),
            "seconds": round(self.ended_at - self.started_at, 3),
        }
        if (stats := self.stats) is not None:
            first = stats.first_byte_at
            values |= {
                "first_byte": None if first is None else round(first - self.started_at, 3),
                "longest_silence": round(stats.longest_silence, 3),
                "events": stats.events,
                "bytes": stats.bytes_out,
                "heartbeats": stats.heartbeats,
                "heartbeats_skipped": sum(stats.heartbeats_skipped.values()) or None,
            }
        values["error"] = self.error
        return {name: value for name, value in values.items() if value is not None}


def path_of(target: str) -> str:
    """Return the path of a request target without its secrets: the query, and ids of tickets."""
    return masked(logged_path(target))


class Observer:
    """Follows all requests and streams of a process: a log, metrics, a test. Here it does nothing.

    A call must not take long. What it raises is logged by the event loop, and goes no further.
    """

    def opened(self, stream: ObservedStream) -> None:
        """A response has begun."""

    def changed(self, stream: ObservedStream) -> None:
        """It has entered another phase, which is not its last one."""

    def ended(self, stream: ObservedStream) -> None:
        """It has ended, for `stream.reason`."""

    def answered(self, record: AccessRecord) -> None:
        """The proxy has answered a request, with a stream or without one, or its client has gone."""


class Observers:
    """All observers of a process. A defect of one must not become one of a stream, or of another observer."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._all = list(observers)

    def add(self, observer: Observer) -> None:
        """Let `observer` hear of all that happens from now on."""
        self._all.append(observer)

    def notify(self, call: Callable[[Observer], None]) -> None:
        """Make `call` for each. The event loop logs what one raises."""
        for observer in self._all:
            try:
                call(observer)
            except Exception as error:  # noqa: BLE001 - whatever it is
                context = {"message": "an observer failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
                release_frames(error)
