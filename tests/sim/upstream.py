"""What does the service behind the proxy do? It sends numbered events, in pieces, and breaks, refuses and goes on."""

import asyncio
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sseproxy.core.errors import UpstreamBroken
from sseproxy.core.http.fields import Headers
from sseproxy.core.journal.run import RunHead
from sseproxy.engine.relay import Relay
from sseproxy.http1.messages import ResponseHead
from sseproxy.origins.http import HttpExchange
from sseproxy.runs.terms import Opened as Answered
from sseproxy.runs.terms import ResponseCopy
from tests.sim import history
from tests.sim.plans import Goes, OwnIds, Setting

Log = Callable[[history.Event], None]

#: Statuses, and 0 for a connection that does not come about.
REPLIES = (200, 503, 429, 204, 404, 0, 200, 200)

_IDS = ("x", "y", "z")


def payload(source: str, n: int) -> str:
    """Return the data of an event: whose it is, its number, a filling, and a checksum over all that."""
    filling = ("", "é☃", "f" * (n * 7 % 60))[n % 3]
    text = f"{source} {n} {filling}"
    return f"{text} {zlib.crc32(text.encode())}"


def read_payload(data: str) -> tuple[str, int, bool]:
    """Return source, number, and whether the checksum is right; "" and 0 if it is no payload."""
    text, _, checksum = data.rpartition(" ")
    source, _, rest = text.partition(" ")
    n = rest.partition(" ")[0]
    if not n.isdecimal():
        return "", 0, False
    return source, int(n), data == payload(source, int(n)) and checksum == str(zlib.crc32(text.encode()))


@dataclass
class Event:
    """One event of a source. wire: as it is sent. text: without what the journal does not keep."""

    n: int
    type: str
    id: str | None
    wire: bytes
    text: bytes
    is_silent: bool = False


def event(source: str, n: int, own: OwnIds, *, is_silent: bool = False) -> Event:
    """Return event `n` of a source, in one of several spellings."""
    name = {
        OwnIds.NONE: None,
        OwnIds.ALL: f"o{n}",
        OwnIds.SPARSE: f"o{n}" if n % 3 == 0 else None,
        OwnIds.REPEATED: _IDS[n * n % 3],
    }[own]
    kind = "tick" if n % 4 == 1 else "message"
    lines = [] if kind == "message" else [f"event: {kind}"]
    lines += [] if name is None else [f"id: {name}"]
    lines.append("retry: 1000" if is_silent else f"data: {payload(source, n)}")
    text = "".join(f"{line}\n" for line in lines) + "\n"
    wire = text.replace("\n", "\r\n") if n % 7 == 3 else text
    if n % 5 == 2:
        wire = ": a comment\n" + wire
    return Event(n, kind, name, wire.encode(), text.encode(), is_silent)


class Body:
    """The body of one response (a `BodySource`). It sends while it is not paused, and logs what has left whole."""

    def __init__(self, source: "Source", call: int) -> None:
        self.source, self.call = source, call
        self.relay: Relay | None = None
        self.is_over = False
        self._is_paused = False
        self._end: str | None = None
        self._waiting: deque[Event] = deque()
        self._sent = 0  # bytes of the first one

    def connect(self, relay: Relay) -> None:
        self.relay = relay
        relay.connect(self)
        self.flush()

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        self.flush()

    def abort(self) -> None:
        if not self.is_over:
            self._over()
            self.source.log(history.Aborted(at=self.source.now(), call=self.call))

    def add(self, event: Event) -> None:
        self._waiting.append(event)

    def flush(self, most: int = 10**9) -> None:
        """Send what waits, or `most` bytes of it; then the end, if there is one."""
        while self._waiting and most > 0 and not self._is_paused and not self.is_over and self.relay is not None:
            event = self._waiting[0]
            piece = event.wire[self._sent : self._sent + most]
            if self._sent + len(piece) == len(event.wire) - 1:
                piece = event.wire[self._sent :]  # behind a CR it would be open whether the event has come
            most -= len(piece)
            self._sent += len(piece)
            if self._sent == len(event.wire):
                self._waiting.popleft()
                self._sent = 0
                self.source.log_event(event, self.call)
            self.relay.receive_data(piece)
        if self._end is not None and not self._waiting and not self._is_paused:
            self._finish(self._end)

    def send_raw(self, data: bytes) -> None:
        if not self._sent and not self._is_paused and not self.is_over and self.relay is not None:
            self.relay.receive_data(data)

    def send_at_once(self, number: int) -> None:
        """Send so many waiting events in one piece."""
        events = [self._waiting.popleft() for _ in range(min(number, len(self._waiting)))]
        if self._is_paused or self._sent or self.relay is None or self.is_over:
            self._waiting.extendleft(reversed(events))
            return
        for event in events:
            self.source.log_event(event, self.call, piece=events[0].n)
        self.relay.receive_data(b"".join(event.wire for event in events))

    def finish(self) -> None:
        """End cleanly once everything has left."""
        self._end = "clean"
        self.flush()

    def break_off(self) -> None:
        self._finish("broken")

    def _finish(self, how: str) -> None:
        relay = self.relay
        if self.is_over or relay is None:
            return
        self._over()
        self.source.log(history.Finished(at=self.source.now(), call=self.call, is_clean=how == "clean"))
        if how == "clean":
            relay.receive_eof()
        else:
            relay.receive_error(UpstreamBroken("It broke.", proxy_status="http_response_incomplete"))

    def _over(self) -> None:
        self.is_over = True
        self.source.lost(self._waiting)
        self._waiting.clear()


@dataclass
class Source:
    """What the service sends: one answer, or one feed.

    produced: of a feed, all that there ever was. replies: to the next requests, as an index of `REPLIES`.
    began: the number of events there were when a connection began that goes on behind none.
    """

    name: str
    setting: Setting
    log: Log
    now: Callable[[], float]
    produced: list[Event] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)
    replies: deque[int] = field(default_factory=deque)
    think: float = 0.0
    began: int = 0

    @property
    def body(self) -> Body | None:
        """The connection that is open."""
        return next((body for body in self.bodies if not body.is_over and body.relay is not None), None)

    def produce(self, *, is_silent: bool = False) -> None:
        """Something happens; it is sent if there is a connection."""
        body = self.body
        if body is None and (self.setting.is_answer or self.forgets):
            return
        new = event(self.name, len(self.produced) + 1, self.setting.own, is_silent=is_silent)
        self.produced.append(new)
        if body is None:
            self.lost([new])
        else:
            body.add(new)

    @property
    def forgets(self) -> bool:
        """True if the service trusts that all is well when it is asked to go on: then nothing happens meanwhile."""
        return self.setting.own is not OwnIds.NONE and self.setting.goes is Goes.NOWHERE

    def go_on(self, body: Body, own_id: str | None) -> None:
        """Send again what the service thinks that the client lacks."""
        if own_id is None:
            self.began = len(self.produced)
        if own_id is None or self.setting.own is OwnIds.NONE:
            return
        at = next((each.n for each in reversed(self.produced) if each.id == own_id), None)
        if at is None or self.setting.goes is Goes.NOWHERE:
            return
        first = {Goes.EXACTLY: at, Goes.INCLUSIVELY: at - 1, Goes.ANEW: min(self.began, at)}[self.setting.goes]
        for each in self.produced[first:]:
            body.add(each)

    def log_event(self, event: Event, call: int, piece: int = 0) -> None:
        self.log(
            history.Emitted(
                at=self.now(),
                call=call,
                source=self.name,
                n=event.n,
                type=event.type,
                id=event.id,
                size=len(event.text),
                is_silent=event.is_silent,
                piece=piece,
            )
        )

    def lost(self, events: "deque[Event] | list[Event]") -> None:
        """There was no connection for `events`, or it broke."""
        if not self.setting.is_answer and not self.forgets:
            for each in events:
                self.log_event(each, 0)


class FakeExchange(HttpExchange):
    """A response. body: of a stream."""

    def __init__(self, status: int, body: Body) -> None:
        self._body = body
        self._head = ResponseHead(status, b"", [], length=0, has_body=False)

    @property
    def head(self) -> ResponseHead:
        return self._head

    def abort(self) -> None:
        if self._head.status == 200:
            self._body.abort()


class Service:
    """All that is behind the proxy."""

    def __init__(self, setting: Setting, log: Log, now: Callable[[], float]) -> None:
        self.setting, self.log, self.now = setting, log, now
        self.sources: dict[str, Source] = {}
        self._calls = 0

    def source(self, name: str, key: str, owner: str) -> Source:
        """Return a source, which is made if it is new."""
        if name not in self.sources:
            setting = self.setting
            self.sources[name] = Source(name, setting, self.log, self.now)
            self.log(
                history.Stream(
                    at=self.now(),
                    source=name,
                    key=key,
                    owner=owner,
                    is_answer=setting.is_answer,
                    events=setting.events,
                    bytes=setting.bytes,
                    age=setting.age,
                )
            )
        return self.sources[name]

    async def open(self, source: Source, request: int, own_id: bytes | None, position: str = "") -> Answered:
        """Answer one request. position: as it came with the client's own."""
        self._calls += 1
        call = self._calls
        named = position if own_id is None else own_id.decode()
        self.log(history.Asked(at=self.now(), call=call, source=source.name, request=request, position=named))
        try:
            if source.think:
                await asyncio.sleep(source.think)
        except asyncio.CancelledError:
            self.log(history.Aborted(at=self.now(), call=call))
            raise
        status = REPLIES[source.replies.popleft() % len(REPLIES)] if source.replies else 200
        if status != 200:
            self.log(history.Refused(at=self.now(), call=call, status=status))
        if not status:
            raise UpstreamBroken("It is away.", proxy_status="connection_refused")
        body = Body(source, call)
        if status == 200:
            source.bodies = [each for each in source.bodies if not each.is_over]
            source.bodies.append(body)
            self.log(history.Opened(at=self.now(), call=call))
            source.go_on(body, named or None)
        return Answered(FakeExchange(status, body), self._head(status), body.connect, self._copy)

    def _head(self, status: int) -> RunHead | None:
        fields: Headers = []
        return RunHead(status, b"OK", fields) if status == 200 else None

    async def _copy(self) -> ResponseCopy:
        return ResponseCopy(503, b"", [], b"", is_whole=True)
