"""What do all streams that are kept alive have in common: when is something said, and when do they end?"""

from abc import abstractmethod
from typing import Protocol

from sseproxy.core.stream.ends import WHEN_EXPIRED, End, row
from sseproxy.core.stream.error_events import StreamError
from sseproxy.core.stream.heartbeat import why_skipped
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.scanner import Position
from sseproxy.core.stream.timeouts import Timer
from sseproxy.core.stream.transfer import CloseReason, StreamTransfer

#: Seconds that an upstream may stay open behind its terminal event.
_TERMINAL_GRACE = 5.0


class Words(Protocol):
    """What a kind of stream can say where it stands. heard_at: when the upstream sent its last byte."""

    @property
    def is_between_events(self) -> bool:
        """True if nothing of an event, or of a record, is under way."""

    def is_over(self, heard_at: float) -> bool:
        """True if the service has said its last word, so that no heartbeat may follow."""

    def is_terminal(self, heard_at: float) -> bool:
        """True if the last event is the terminal one, and nothing of another has left after it."""

    def last_at(self, heard_at: float) -> float:
        """Return when the last event was complete."""

    def end(self, reason: CloseReason, heard_at: float) -> End:
        """Return how the stream ends here and now, for `reason`."""

    def write(self, end: End, heard_at: float) -> bytes:
        """Return what is written before `end`; often nothing."""

    def write_error(self, error: StreamError) -> bytes:
        """Return what tells the client about `error`; nothing where there is no such thing."""


class KeptAlive(StreamTransfer):
    """A stream with heartbeats, on its way to one client.

    plan, responded, lead: see `StreamSession`. words: what can be said where the stream stands.
    """

    # What `StreamSession` says about its bytes holds for each kind. This is the half of it that looks at the clock.
    #
    # 1. Every end is a row of `ends`, and happens in `_end_now`, but for the refusals of a promised stream. The first
    #    reason counts.
    # 2. `_settled` is set while the stream stands at a boundary, and nothing is held, dropped, or about to end: then
    #    whole events may leave as they come. Each step that breaks one of these conditions clears it.
    # 3. Inserted bytes go through `_insert`, which is the only way for them.
    #
    # Hazards: a terminal event whose upstream stays open (LAST_EVENT). A drain inside a long event (BOUNDARY).

    __slots__ = (
        "_ending",
        "_last_heard",
        "_last_look",
        "_lead",
        "_plan",
        "_responded",
        "_settled",
    )

    _words: Words

    def __init__(self, plan: StreamPlan, *, responded: bool, lead: float, now: float) -> None:
        super().__init__(plan.timeouts, is_answer=plan.is_answer, now=now)
        self._plan = plan
        self._lead = lead
        self._responded = responded
        self._settled = b""  # the boundary behind which whole events may leave as they come
        self._ending: CloseReason | None = None  # at the next boundary
        self._last_heard = self._last_look = now
        if plan.timeouts.max_duration is not None:
            self._timers.set(Timer.MAX_DURATION, now + plan.timeouts.max_duration)

    # Receiving from upstream.

    def receive_response(self, *, now: float) -> None:
        self._responded = True
        self._last_received = now
        self.stats.heard(now=now)

    def receive_data(self, data: bytes, *, now: float) -> None:
        """Take bytes of the upstream's body, cut anywhere."""
        out = self.forward(data, now)
        if out:
            self._out.append(out)

    def receive_error(self, reason: CloseReason, *, now: float) -> None:
        """Something broke, or has to end now. An unfinished line is dropped."""
        if self.close_reason is None:
            self._end_now(reason, now=now)

    def stop(self, reason: CloseReason, *, now: float) -> None:
        """End at the next boundary, or soon if none comes; reasons that do not wait end now."""
        if self.close_reason is not None:
            return
        waits = row(reason, comes_back=self._plan.comes_back).waits
        if self._words.is_between_events or not waits:
            self._end_now(reason, now=now)
        elif self._ending is None:
            self._ending = reason
            self._settled = b""
            self._timers.set(Timer.BOUNDARY, now + waits)

    # Backpressure.

    def resume_writing(self, *, now: float) -> None:
        super().resume_writing(now=now)
        self._last_heard = now

    # Time.

    def drain(self, *, at: float | None, deadline: float | None, retry: int | None = None) -> None:
        """End at the first boundary after `at`, or break off at `deadline`.

        at: ``None`` for a client that would lose something by an early end. retry: the reconnection time in
        milliseconds to tell a client that comes back by itself.
        """
        super().drain(at=at, deadline=deadline)
        self._timers.set(Timer.DRAIN, at)

    def set_timers(self) -> None:
        super().set_timers()
        interval = self._plan.heartbeat.interval
        self._timers.set(Timer.HEARTBEAT, None if interval is None else self._last_heard + interval - self._lead)
        if self._plan.has_terminal_event:
            last_at = self._words.last_at(self._last_received)
            self._timers.set(Timer.LAST_EVENT, max(last_at, self._last_look) + _TERMINAL_GRACE)
        if not self._responded:
            self._timers.stop(Timer.IDLE)

    def expire(self, timer: Timer, *, now: float) -> None:
        match timer:
            case Timer.MAX_DURATION | Timer.DRAIN:
                self._timers.stop(timer)
                self.stop(WHEN_EXPIRED[timer], now=now)
            case Timer.BOUNDARY if self._ending is not None:
                self._end_now(self._ending, now=now)
            case Timer.LAST_EVENT:
                self._last_look = now
                if self._words.is_terminal(self._last_received):
                    self._end_now(CloseReason.UPSTREAM_END, now=now)
            case Timer.HEARTBEAT:
                self._beat(now=now)
            case _:
                self._end_now(WHEN_EXPIRED[timer], now=now)

    def close(self, reason: CloseReason, *, clean: bool, now: float) -> None:
        self._settled = b""
        super().close(reason, clean=clean, now=now)

    # What a kind of stream brings.

    @property
    @abstractmethod
    def position(self) -> Position:
        """Where what has left ends."""

    @abstractmethod
    def write_heartbeat(self) -> bytes | None:
        """Return one heartbeat for where the stream stands; ``None`` if nothing may go there."""

    @abstractmethod
    def note_inserted(self, data: bytes) -> None:
        """Take note of bytes of sseproxy's own, which leave now."""

    # Private.

    def _insert(self, data: bytes, *, now: float) -> None:
        """Let bytes of sseproxy's own go."""
        if data:
            self.note_inserted(data)
            self._last_heard = now
            self._send(data)

    def _beat(self, *, now: float) -> None:
        is_over = self._words.is_over(self._last_received)
        is_blocked = self.delivery.is_blocked
        beat = None if is_blocked or is_over else self.write_heartbeat()
        if beat is None:
            self._last_heard = now  # try again after another interval
            self.stats.skipped(why_skipped(self.position, is_blocked=is_blocked, is_over=is_over))
            return
        self.stats.heartbeats += 1
        self.stats.heartbeats_before_response += not self._responded
        self._insert(beat, now=now)

    def _end_now(self, reason: CloseReason, *, now: float) -> None:
        end = self._words.end(reason, self._last_received)
        self._insert(self._words.write(end, self._last_received), now=now)
        self.close(end.reason, clean=end.is_clean, now=now)
