"""How may the streams of a route be treated, and how is one of them? Policies, and what follows from them."""

from enum import StrEnum
from typing import Protocol

from sseproxy.core.frozen import frozen
from sseproxy.core.limits import KIB, LimitPolicy
from sseproxy.core.stream.dialects import Dialect, Finality, Marker, finality
from sseproxy.core.stream.end_message import EndPolicy
from sseproxy.core.stream.error_events import RequestId
from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy
from sseproxy.core.stream.timeouts import TimeoutPolicy


class StreamMode(StrEnum):
    """Which requests of a route declare an event stream."""

    AUTO = "auto"  # those whose head or body say so
    ALWAYS = "always"
    NEVER = "never"  # responses of this route are never touched


class StreamKind(StrEnum):
    """What the streams of a route are."""

    AUTO = "auto"  # the request says so
    ANSWER = "answer"  # finite: each answers one request
    FEED = "feed"  # endless: each goes on until one side leaves


@frozen
class Declaration:
    """How else requests of a route say that they want a stream. Either is left out.

    member, equals: a member of a JSON body, and its value. query: a parameter that is there, and not false.
    """

    member: str | None = None
    equals: str | int | float | bool | None = True
    query: str | None = None


class StreamPolicy(Protocol):
    """What a route or a middleware says about its streams."""

    @property
    def dialect(self) -> Dialect: ...
    @property
    def stream(self) -> StreamMode: ...
    @property
    def declaration(self) -> Declaration: ...
    @property
    def kind(self) -> StreamKind: ...
    @property
    def heartbeat(self) -> HeartbeatPolicy: ...
    @property
    def timeouts(self) -> TimeoutPolicy: ...
    @property
    def limits(self) -> LimitPolicy: ...
    @property
    def end(self) -> EndPolicy | None: ...


@frozen
class StreamPlan:
    """How one stream is treated.

    dialect: never `Dialect.AUTO`. form, event: of the heartbeats, and name and data where the form is ``event``.
    is_answer: the stream is finite. comes_back: its client reconnects by itself. takes_retry: its client accepts
    ``retry`` fields. request_id: of the JSON-RPC request. marker: the route's terminal event.
    only_marker: the end message is written behind the terminal event only. is_declared: the request asked for a stream;
    ``None`` where it has no way to ask for one of this kind.
    """

    heartbeat: HeartbeatPolicy = HeartbeatPolicy()
    timeouts: TimeoutPolicy = TimeoutPolicy()
    limits: LimitPolicy = LimitPolicy()
    dialect: Dialect = Dialect.GENERIC
    form: HeartbeatForm = HeartbeatForm.AUTO
    event: tuple[str, str] | None = None
    is_answer: bool = False
    comes_back: bool = False
    takes_retry: bool = True
    request_id: RequestId | None = None
    marker: Marker | None = None
    only_marker: bool = False
    is_declared: bool | None = True

    @property
    def kept_of_events(self) -> int:
        """Bytes of an event, from its beginning and from its end, that are enough to know the last one by."""
        size = 0 if self.marker is None else len((self.marker.data or "").encode())
        return max(size, 32 * KIB) if self.dialect is Dialect.GEMINI else size

    @property
    def takes_comments(self) -> bool:
        """True if the client takes comments; one that is given blank lines takes them for a broken event."""
        return self.form is not HeartbeatForm.BLANK

    @property
    def has_terminal_event(self) -> bool:
        """True if the last event of a stream is known."""
        return self.marker is not None or self.dialect.is_of_answers

    def finality(self, name: bytes, data: bytes) -> Finality:
        """Return what an event with type `name` and `data` says about the end, if it is the last one."""
        if self.marker is not None and self.marker.is_event(name, data):
            return Finality.TERMINAL
        return finality(self.dialect, name, data)

    @property
    def json_event(self) -> str | None:
        """The type of the event that a late JSON answer becomes."""
        return "message" if self.dialect is Dialect.MCP else None
