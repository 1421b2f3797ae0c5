"""Who wants to know what happens to requests and streams, and what do they learn of one?"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from sseproxy.core.errors import SSEProxyError
from sseproxy.core.eventsource.ticket_ids import masked
from sseproxy.core.frames import release_frames
from sseproxy.core.frozen import frozen
from sseproxy.core.http.fields import Headers
from sseproxy.core.routes import logged_path
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.transfer import CloseReason, TransferStats
from sseproxy.engine.run_record import RunRecord

if TYPE_CHECKING:
    from sseproxy.core.journal.positions import Mark


class Phase(StrEnum):
    """How far a response is."""

    WAITING = "waiting"  # promised to the client; the upstream has not answered
    OPEN = "open"
    DRAINING = "draining"
    ENDED = "ended"


class Place(Protocol):
    """Where a reader is. reached: the mark up to which it was given everything."""

    @property
    def reached(self) -> "Mark": ...


class GapCount(Protocol):
    """What reads a stream for a client. gaps: how many times events were missing and the client got a gap for them."""

    @property
    def gaps(self) -> int: ...


@frozen
class JournalReading:
    """How a client reads a stream that has positions. resumes: it has named one.

    how: how it has come to a run. place: where it is in the run; first: where it began. run: its number.
    """

    reader: GapCount
    resumes: bool
    how: str = ""
    place: "Place | None" = None
    first: tuple[int, int] = (0, 0)
    run: int | None = None

    def __str__(self) -> str:
        return "gap" if self.reader.gaps else self.how or ("resumed" if self.resumes else "new")

    @property
    def span(self) -> str | None:
        """The sequence numbers of the events that the client has got, first and last; ``None`` if it has got none."""
        if self.place is None or (last := self.place.reached[1]) <= self.first[1]:
            return None
        return f"{self.first[1] + 1}..{last}"


class ObservedStream(Protocol):
    """One response on its way. It changes while it lives: copy what has to last.

    id: its number in this process. path: of the request, without secrets. record: what is known of its request.
    plan: how an event stream is treated; ``None`` for any other response. dialect: likewise.
    is_declared: the request asked for a stream; ``None`` where it has no way to.
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
    def record(self) -> "AccessRecord | None": ...
    @property
    def plan(self) -> StreamPlan | None: ...
    @property
    def dialect(self) -> Dialect | None: ...
    @property
    def is_declared(self) -> bool | None: ...
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


class Trace(Protocol):
    """What follows a request over several services.

    id: the same in all of them. fields: tell the upstream of it, in place of what the client has said.
    """

    @property
    def id(self) -> str: ...
    @property
    def fields(self) -> Headers: ...


@dataclass(slots=True)
class AccessRecord:
    """One request, from its first byte to the end of its response.

    peer: who connected; client: who is behind it, as far as trusted proxies tell. scheme: ``http`` or ``https``.
    target: as the client sent it, with all its secrets; only its path is logged, and where that has a secret itself,
    `shown_path` in its place. host: which the client asked for.
    request_id: by which client and upstream know the request, too. trace: set by an observer that follows requests.
    upstream: where the route leads. is_declared: of an event stream, whether the request asked for one.
    journal: of a stream that has positions; ``None`` for any other response.
    status: what the client got; intended: what it would have got had the head not been sent before the response.
    refusal: the status, sent or intended, of an error of sseproxy; ``None`` if the response is the upstream's.
    Times are the event loop's, in seconds.
    """

    peer: str
    method: str
    target: str = field(repr=False)
    started_at: float
    request_id: str = ""
    client: str | None = None
    host: str | None = None
    route: str = "-"
    upstream: str | None = None
    status: int | None = None
    intended: int | None = None
    refusal: int | None = None
    reason: str = "-"
    error: str | None = None
    ended_at: float = 0.0
    is_declared: bool | None = None
    journal: JournalReading | None = None
    stats: TransferStats | None = field(default=None, repr=False)
    trace: Trace | None = field(default=None, repr=False)
    scheme: str = "http"
    shown_path: str | None = None

    @property
    def path(self) -> str:
        """See `path_of`."""
        return path_of(self.target) if self.shown_path is None else self.shown_path

    def refuse(self, error: SSEProxyError) -> None:
        """Take note that the client gets `error`, or would get it if it had no response yet."""
        self.intended = self.refusal = error.status
        self.error = str(error)

    def beginning(self) -> dict[str, object]:
        """All that is logged when a response begins, by name; what is not known is left out."""
        values: dict[str, object] = {"peer": self.peer}
        if self.client is not None and self.client != self.peer:
            values["client"] = self.client
        values["method"] = self.method
        if self.host:
            values["host"] = self.host
        values["path"] = self.path
        if self.status is not None:
            values["status"] = int(self.status)
        if self.intended is not None and self.intended != self.status:
            values["intended"] = int(self.intended)
        values["route"] = self.route
        if self.upstream is not None:
            values["upstream"] = self.upstream
        return values

    def fields(self) -> dict[str, object]:
        """All that is logged when a request has been answered, by name; what is not known is left out."""
        values = self.beginning()
        values["reason"] = self.reason
        values |= self.names()
        values["seconds"] = round(self.ended_at - self.started_at, 3)
        if (stats := self.stats) is not None:
            if (first := stats.first_byte_at) is not None:
                values["first_byte"] = round(first - self.started_at, 3)
            values["longest_silence"] = round(stats.longest_silence, 3)
            values["events"] = stats.events
            values["bytes"] = stats.bytes_out
            values["heartbeats"] = stats.heartbeats
            if stats.heartbeats_skipped:
                values["heartbeats_skipped"] = sum(stats.heartbeats_skipped.values())
        if self.error is not None:
            values["error"] = self.error
        return values

    def names(self) -> dict[str, object]:
        """By what the request is known elsewhere, and what it asked for."""
        values: dict[str, object] = {"request_id": self.request_id} if self.request_id else {}
        if self.trace is not None:
            values["trace_id"] = self.trace.id
        if self.is_declared is not None:
            values["declared"] = "yes" if self.is_declared else "no"
        if self.journal is not None:
            values["journal"] = str(self.journal)
            if self.journal.run is not None:
                values["run"] = self.journal.run
            if (span := self.journal.span) is not None:
                values["seq"] = span
        return values


def path_of(target: str) -> str:
    """Return the path of a request target without its secrets: the query, and ids of tickets."""
    return masked(logged_path(target))


def silence_used(stream: ObservedStream, now: float) -> float:
    """Return which share of its `silence_limit` a stream has been silent; 0 without one. now: the event loop's time."""
    limit = stream.silence_limit
    return (now - stream.stats.last_upstream_at) / limit if limit else 0.0


class Observer:
    """Follows all requests and streams of a process: a log, metrics, a test. Here it does nothing.

    A call must not take long. What it raises is logged by the event loop, and goes no further.
    """

    def asked(self, record: AccessRecord, fields: Headers) -> None:
        """A request has come to the proxy, with `fields` in its head. It may yet be refused as none."""

    def opened(self, stream: ObservedStream) -> None:
        """A response has begun."""

    def changed(self, stream: ObservedStream) -> None:
        """It has entered another phase, which is not its last one."""

    def ended(self, stream: ObservedStream) -> None:
        """It has ended, for `stream.reason`."""

    def answered(self, record: AccessRecord) -> None:
        """The proxy has answered a request, with a stream or without one, or its client has gone.

        The middlewares report only requests that were answered with a stream.
        """

    def run_ended(self, run: RunRecord) -> None:
        """A run of a journal is over."""


class Observers:
    """All observers of a process. A defect of one must not become one of a stream, or of another observer."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._all: list[Observer] = []
        #: True if any of them wants to hear of requests before they are answered: most processes pay nothing for it.
        self.follow_requests = False
        for observer in observers:
            self.add(observer)

    def add(self, observer: Observer) -> None:
        """Let `observer` hear of all that happens from now on."""
        self._all.append(observer)
        self.follow_requests |= type(observer).asked is not Observer.asked

    def notify(self, call: Callable[[Observer], None]) -> None:
        """Make `call` for each. The event loop logs what one raises."""
        for observer in self._all:
            try:
                call(observer)
            except Exception as error:  # noqa: BLE001 - whatever it is
                context = {"message": "an observer failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
                release_frames(error)
