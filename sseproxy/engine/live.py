"""Which streams are open right now, and how do all of them come to an end?"""

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.kinds import EVENT_STREAM, MediaKind
from sseproxy.core.stream.last_words import RECONNECT_AT_LEAST
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.transfer import CloseReason, StreamTransfer, TransferStats
from sseproxy.engine.observer import AccessRecord, JournalReading, Observers, Phase
from sseproxy.timers import Timers

#: By how much of their interval heartbeats come early, at most.
_MOST_LEAD = 0.1


class Drainable(Protocol):
    """A body under way that can be asked to end."""

    @property
    def stats(self) -> TransferStats: ...

    @property
    def close_reason(self) -> CloseReason | None: ...

    def stop(self, reason: CloseReason) -> None:
        """End here and now, for a reason that neither bytes nor time brought about."""

    def drain(self, *, at: float | None, deadline: float | None, retry: int | None = None) -> None:
        """Come to an end from `at` on, and by `deadline`; times are the event loop's. See `Transfer.drain`."""


@dataclass(eq=False, slots=True)
class LiveStream:
    """One response on its way, as observers see it (`ObservedStream`).

    relay: moves its bytes. plan: how a stream is treated; ``None`` for any other response.
    record: of its request, if that is known. id: set by `LiveStreams.add`.
    """

    route: str
    client: str
    relay: Drainable
    plan: StreamPlan | None = None
    phase: Phase = Phase.OPEN
    record: AccessRecord | None = None
    id: int = field(default=0, init=False)

    @property
    def started_at(self) -> float:
        """When the request came; where that is not known, when the response began."""
        return self.stats.opened_at if self.record is None else self.record.started_at

    @property
    def is_declared(self) -> bool | None:
        """True if the request said that it wants a stream; ``None`` where it has no way to say so."""
        return None if self.plan is None else self.plan.is_declared

    @property
    def path(self) -> str:
        return "" if self.record is None else self.record.path

    @property
    def request_id(self) -> str:
        """By which client and upstream know the request; empty if it has none."""
        return "" if self.record is None else self.record.request_id

    @property
    def journal(self) -> JournalReading | None:
        """How the client reads a stream that has positions."""
        return None if self.record is None else self.record.journal

    @property
    def dialect(self) -> Dialect | None:
        return None if self.plan is None else self.plan.dialect

    @property
    def silence_limit(self) -> float | None:
        if self.plan is None:
            return None
        timeouts = self.plan.timeouts
        return timeouts.response if self.phase is Phase.WAITING else timeouts.idle_of(is_answer=self.plan.is_answer)

    @property
    def comes_back(self) -> bool:
        """True if the client reconnects by itself, and its stream is no answer."""
        return self.plan is not None and self.plan.comes_back

    @property
    def stats(self) -> TransferStats:
        return self.relay.stats

    @property
    def reason(self) -> CloseReason | None:
        return self.relay.close_reason


@dataclass(slots=True)
class LiveStreams:
    """All responses of a process that are on their way.

    chance: gives numbers from 0 to 1, by which streams that began together are kept from acting together.
    linger: seconds for which a stream that breaks stays open behind its last bytes, for clients that are busy.
    observers: hear of each that opens, changes and ends.
    """

    chance: Callable[[], float] = random.random
    linger: float = 1.0
    observers: Observers = field(default_factory=Observers)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _streams: set[LiveStream] = field(default_factory=set)
    _draining: tuple[float | None, float] | None = None
    _timers: Timers | None = None

    def clock(self) -> Timers:
        """The clock that all streams of the running event loop share."""
        loop = asyncio.get_running_loop()
        if self._timers is None or self._timers.loop is not loop:
            self._timers = Timers(loop)
        return self._timers

    def new_session(
        self,
        plan: StreamPlan,
        *,
        kind: MediaKind = EVENT_STREAM,
        end_message: EndMessage | None = None,
        responded: bool,
        now: float,
    ) -> StreamTransfer:
        """Make the session of a stream of `kind`, with a lead of its own. See `MediaKind.new_session`."""
        lead = self.chance() * _MOST_LEAD * (plan.heartbeat.interval or 0.0)
        return kind.new_session(plan, end_message=end_message, responded=responded, lead=lead, now=now)

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[LiveStream]:
        """Iterate over those that are open now; meanwhile they may end."""
        return iter(tuple(self._streams))

    def add(self, stream: LiveStream) -> None:
        """Take note of a stream. One that begins during a drain, late, has the time that is left."""
        stream.id = next(self._numbers)
        self._streams.add(stream)
        self.observers.notify(lambda observer: observer.opened(stream))
        if self._draining is not None:
            deadline, spread = self._draining
            now = asyncio.get_running_loop().time()
            begin = now if deadline is None else max(now, deadline - spread)
            self._drain_one(stream, begin, deadline, spread if deadline is None else (deadline - begin) * 0.8)

    def respond(self, stream: LiveStream) -> None:
        """The upstream of a promised stream has answered."""
        if stream.phase is Phase.WAITING:
            self._enter(stream, Phase.OPEN)

    def remove(self, stream: LiveStream) -> None:
        """A stream has ended."""
        if stream in self._streams:
            self._streams.discard(stream)
            stream.phase = Phase.ENDED
            self.observers.notify(lambda observer: observer.ended(stream))

    def drain(self, *, now: float, timeout: float | None, spread: float) -> None:
        """End streams of clients that come back, each at its moment within `spread` seconds; all others by `timeout`.

        The moments differ so that the clients do not all come back at once. All others may finish until then.
        """
        deadline = None if timeout is None else now + timeout
        self._draining = (deadline, spread)
        for stream in self:
            self._drain_one(stream, now, deadline, spread)

    def reconnect_after(self, spread: float | None = None) -> int:
        """Return after how many milliseconds a client comes back, another number for each. spread: the drain's."""
        if spread is None:
            spread = 0.0 if self._draining is None else self._draining[1]
        return RECONNECT_AT_LEAST + int(self.chance() * max(spread, 1.0) * 1000)

    def kill(self, number: int) -> bool:
        """End the stream with the id `number`: an operator wants it. Return False if it is not open."""
        for stream in self._streams:
            if stream.id == number and stream.reason is None:
                stream.relay.stop(CloseReason.KILLED)
                return True
        return False

    def abort_all(self) -> None:
        """Break off whatever is still open."""
        for stream in self:
            stream.relay.drain(at=0.0, deadline=0.0)

    def _drain_one(self, stream: LiveStream, begin: float, deadline: float | None, spread: float) -> None:
        self._enter(stream, Phase.DRAINING)
        if not stream.comes_back:
            stream.relay.drain(at=None, deadline=deadline)
            return
        retry = self.reconnect_after(spread)
        stream.relay.drain(at=begin + self.chance() * max(spread, 0.0), deadline=deadline, retry=retry)

    def _enter(self, stream: LiveStream, phase: Phase) -> None:
        if stream.phase is not phase and stream.reason is None:
            stream.phase = phase
            self.observers.notify(lambda observer: observer.changed(stream))
