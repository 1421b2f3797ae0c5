"""What does a client get? It is read by the judge of the standard, and written down."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from sseproxy.core.errors import OriginError
from sseproxy.journal.reader import Reader
from sseproxy.runs.live_run import Attendance, LiveRun
from tests.sim import history
from tests.sim.upstream import Log, read_payload
from tests.support.bypassed import Bypassed
from tests.support.whatwg import EventStreamParser

_BOUNDARY = b"\n\n"


@dataclass(eq=False)
class Client(Bypassed):
    """One connection of a client (a `BodySink`), which notes what it gets.

    request: its number. takes_ids: it gets positions as ids. is_browser: it gets one at once, and comes back behind
    each end. declares: it asks for a stream, so that its run begins before its upstream has answered.
    position: what it named. positions: that it was given, and named itself.
    within: is done in the middle of the next piece.
    """

    number: int
    login: str
    key: str
    log: Log
    now: Callable[[], float]
    takes_ids: bool = True
    is_browser: bool = False
    declares: bool = True
    position: str = ""
    run: LiveRun | None = None
    positions: list[str] = field(default_factory=list)
    task: "asyncio.Task[None] | None" = None
    attendance: Attendance | None = None
    reader: Reader | None = None
    within: Callable[[], None] | None = None
    is_over: bool = False
    is_paused: bool = False
    came_late: bool = False
    parser: EventStreamParser = field(default_factory=EventStreamParser)
    rest: bytes = b""

    def answered(self, status: int, source: str = "") -> None:
        """The head has come."""
        self.log(history.Head(at=self.now(), client=self.number, status=status, source=source))
        if status != 200:
            self._close()

    def read(self, reader: Reader) -> None:
        """The body comes from `reader`."""
        self.reader = reader
        if self.is_paused:
            reader.pause()

    # The body.

    def receive_data(self, data: bytes) -> None:
        assert not self.is_over, "a client that has left gets something"
        assert not self.is_paused, "a client that is paused gets something"
        blocks = (self.rest + data).split(_BOUNDARY)
        self.rest = blocks.pop()
        for block in blocks:
            self._receive_block(block + _BOUNDARY)
        within, self.within = self.within, None
        if within is not None:
            within()

    def receive_events(self, data: bytes, events: int, now: float) -> None:
        self.receives()
        self.receive_data(data)

    def receive_eof(self) -> None:
        raise AssertionError("a reader has no end of its own")

    def receive_error(self, error: OriginError) -> None:
        if not self.takes_ids:
            self._end(is_clean=False)
            return
        self.log(history.Failed(at=self.now(), client=self.number))
        self._end(is_clean=False)

    def run_ended(self) -> None:
        """All of the run has come, and it has ended (J8)."""
        assert self.run is not None
        end = self.run.state.end
        assert end is not None
        if end.is_clean:
            self._end(is_clean=True)
            return
        position = self.run.state.position(end.mark).decode() if self.takes_ids else ""
        self.log(history.Failed(at=self.now(), client=self.number, position=position))
        self.positions += [position] if position else []
        self._end(is_clean=self.is_browser and self.came_late)

    def break_off(self) -> None:
        """The server is gone."""
        if not self.is_over:
            self._end(is_clean=False)

    # What the client does.

    def pause(self) -> None:
        if not self.is_paused and not self.is_over:
            self.is_paused = True
            self.log(history.Paused(at=self.now(), client=self.number))
            if self.reader is not None:
                self.reader.pause()

    def unpause(self) -> None:
        if self.is_paused and not self.is_over:
            self.is_paused = False
            self.log(history.Resumed(at=self.now(), client=self.number))
            if self.reader is not None:
                self.reader.resume()

    def leave(self) -> None:
        if not self.is_over:
            self.log(history.Left(at=self.now(), client=self.number))
            self._close()

    # Private.

    def _receive_block(self, block: bytes) -> None:
        parser, count, before = self.parser, len(self.parser.events), self.parser.last_event_id
        parser.feed(block)
        position = parser.last_event_id
        for event in parser.events[count:]:
            if event.type == "gap":
                self._receive_gap(event.data, position)
            else:
                source, n, is_intact = read_payload(event.data)
                self.log(
                    history.Got(
                        at=self.now(),
                        client=self.number,
                        source=source,
                        n=n,
                        type=event.type,
                        position=position,
                        is_intact=is_intact,
                    )
                )
        if len(parser.events) == count and position != before:
            self.log(history.Given(at=self.now(), client=self.number, position=position))
        if position and position != before:
            self.positions.append(position)

    def _receive_gap(self, data: str, position: str) -> None:
        said = json.loads(data)
        self.log(
            history.Gap(
                at=self.now(),
                client=self.number,
                reason=said["reason"],
                origin=said["from"] or "",
                lost=said["lost"],
                position=position,
            )
        )

    def _end(self, *, is_clean: bool) -> None:
        self.log(history.Ended(at=self.now(), client=self.number, is_clean=is_clean, has_rest=bool(self.rest)))
        self._close()

    def _close(self) -> None:
        self.is_over = True
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.abort()
        attendance, self.attendance = self.attendance, None
        if attendance is not None:
            attendance.abort()
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()
