"""What does one connection of an upstream bring to a run, and when is it over?"""

from collections.abc import Callable
from dataclasses import replace

from sseproxy.core.journal.cutter import Cut, Cutter, EventTooLarge, is_event
from sseproxy.core.journal.loose import LOOSE_BYTES, Loose
from sseproxy.core.stream.dialects import Finality
from sseproxy.core.stream.ends import WHEN_EXPIRED, decide
from sseproxy.core.stream.events import CR
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.timeouts import Timer
from sseproxy.core.stream.transfer import CloseReason, Transfer

_CR = CR[0]  # `in` is fast for a number only

#: Seconds that an upstream may stay open behind its terminal event.
_TERMINAL_GRACE = 5.0


class Intake(Transfer):
    """The body of one response on its way into a run.

    plan: of the request that was sent. take: gets the events, in the call that completes them, and the time, but for
    those that go by `loose` while it is open.
    """

    # A `Transfer`, so that a relay drives it: idle timeout, the duration of an answer, backpressure, one end. Nothing
    # leaves by `data_to_send`: `take` has it all.
    #
    # 1. Every byte of the upstream counts as life, also of a comment, which brings no event.
    # 2. The run ends as its readers would have ended without a journal: `decide`, as for a client that does not come
    #    back by itself. What the upstream leaves unfinished is dropped.
    # 3. A client that takes nothing is a matter of its own stream: nothing stalls here.

    __slots__ = (
        "_cutter",
        "_is_newest_loose",
        "_is_settled",
        "_last_event_at",
        "_last_look",
        "_loose",
        "_may_skip",
        "_plan",
        "_take",
    )

    def __init__(self, plan: StreamPlan, take: Callable[[Cut, float], None], loose: Loose, *, now: float) -> None:
        super().__init__(replace(plan.timeouts, write=None), is_answer=plan.is_answer, now=now)
        self._plan = plan
        self._take = take
        self._loose = loose
        self._may_skip = plan.limits.event >= LOOSE_BYTES  # the cutter: what goes past it is never too large
        self._is_settled = False  # it has nothing under way, and may be skipped
        self._is_newest_loose = False  # it has not seen the newest event
        self._cutter = Cutter(plan.limits.event)
        self._last_event_at = self._last_look = now
        if plan.is_answer and plan.timeouts.max_duration is not None:
            self._timers.set(Timer.MAX_DURATION, now + plan.timeouts.max_duration)

    def receive_data(self, data: bytes, *, now: float) -> None:
        self.forward(data, now)

    def forward(self, data: bytes, now: float) -> bytes:
        loose = self._loose
        if (
            loose.is_open
            and self._is_settled
            and len(data) < LOOSE_BYTES
            and _CR not in data
            and is_event(data)
            and loose.add(data, 1, now)
        ):
            self._is_newest_loose = True
            return b""
        if self.close_reason is not None:
            return b""
        try:
            cut = self._cutter.feed(data)
        except EventTooLarge as error:
            cut = error.before
            self.close(CloseReason.UPSTREAM_ERROR, clean=False, now=now)
        self._is_settled = self._may_skip and self._cutter.is_settled
        if cut is not None:
            self._is_newest_loose = False
            if loose.is_open and not cut.ids and loose.add(cut.text, cut.count, now):
                return b""
        # What `TransferStats.received` does, written out: events with ids of the upstream come this way.
        stats = self.stats
        if stats.first_byte_at is None:
            stats.first_byte_at = now
        stats.bytes_in += len(data)
        if now - stats.last_upstream_at > stats.longest_silence:  # noqa: PLR1730 - `max` is a call
            stats.longest_silence = now - stats.last_upstream_at
        stats.last_upstream_at = self._last_received = now
        if cut is not None:
            stats.events += cut.count
            stats.bytes_out += len(cut.text)
            self._last_event_at = now
            self._take(cut, now)
        return b""

    def receive_eof(self, *, now: float) -> None:
        self.receive_error(CloseReason.UPSTREAM_END, now=now)

    def receive_error(self, reason: CloseReason, *, now: float) -> None:
        if self.close_reason is None:
            # Readers have whole events only, so they are between two of them, whatever the upstream has begun.
            end = decide(reason, self._finality(), is_between_events=True, comes_back=False)
            self.close(end.reason, clean=end.is_clean, now=now)

    def resume_writing(self, *, now: float) -> None:
        self._look_at_loose()
        super().resume_writing(now=now)

    def close(self, reason: CloseReason, *, clean: bool, now: float) -> None:
        self._loose.close()
        super().close(reason, clean=clean, now=now)

    # Time.

    def set_timers(self) -> None:
        self._look_at_loose()
        super().set_timers()
        if self._plan.has_terminal_event:
            self._timers.set(Timer.LAST_EVENT, max(self._last_event_at, self._last_look) + _TERMINAL_GRACE)

    def expire(self, timer: Timer, *, now: float) -> None:
        if timer is Timer.LAST_EVENT:
            self._last_look = now
            if self._finality() is Finality.TERMINAL:
                self.receive_error(CloseReason.UPSTREAM_END, now=now)
        else:
            self._timers.stop(timer)
            self.receive_error(WHEN_EXPIRED[timer], now=now)

    # Private.

    def _look_at_loose(self) -> None:
        """Note when the last event has come that nothing was noted of."""
        came_at = self._loose.at
        self._last_received = max(self._last_received, came_at)
        self._last_event_at = max(self._last_event_at, came_at)

    def _finality(self) -> Finality:
        """Return what the last event says about the end, if nothing of another one has come behind it."""
        if not self._cutter.is_between_events:
            return Finality.NONE
        if self._is_newest_loose:
            self._cutter.note(self._loose.newest)
        return self._plan.finality(*self._cutter.last(self._plan.kept_of_events))
