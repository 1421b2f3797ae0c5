"""What becomes of one event stream: which bytes leave, when, and how it ends? (contract S1-S10)"""

from sseproxy.core.dialects import ENDS_OF_OURS, Dialect, StreamError, error_event
from sseproxy.core.ending import Farewell
from sseproxy.core.events import (
    BOM,
    CR,
    LF,
    EventCounter,
    around_whole_events,
    comment,
    first_boundary,
    one_line_events,
    reconnection_time,
    whole_events,
)
from sseproxy.core.heartbeat import HeartbeatForm, HeartbeatPolicy, HeartbeatWriter
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.scanner import Position, Scanner
from sseproxy.core.timeouts import TimeoutPolicy, Timer
from sseproxy.core.transfer import CloseReason, Transfer

#: Why a heartbeat that was due did not go out; the values of the label ``why``.
SKIPPED_BACKPRESSURE = "backpressure"
SKIPPED_MID_LINE = "mid_line"
SKIPPED_INSIDE_EVENT = "inside_event"

_CR = CR[0]  # `in` is fast for a number only: for bytes it makes an exception first, and drops it

#: Bytes: a piece that is longer has whole events in its middle, and looking at each line of it would be dear.
_BULK = 2048


class StreamSession(Transfer):
    """One event stream on its way to one client.

    Rule 1: everything that leaves goes through one queue, `data_to_send`, in the order in which it was decided.
    Rule 2: what has left always ends where the scanner says, so a decision made by it is never out of date.
    Rule 3: while heartbeats are on, an unfinished line stays here (S4), so that Rule 2 ends at a line boundary.

    form: the measured form for this client, if the route's form is ``auto`` and the client is known.
    farewell: what the client is told at a clean end of the upstream, if that is between events.
    responded: the upstream's head has arrived; otherwise the stream was opened before it (S8), a heartbeat
    goes out at once, and `receive_response` or an error must follow.
    early: seconds by which heartbeats come before their time, so that streams which began, or heard something, together
    do not all beat together.
    """

    __slots__ = (
        "_dialect",
        "_early",
        "_ending",
        "_events",
        "_farewell",
        "_held",
        "_held_size",
        "_inserted",
        "_last_heard",
        "_limits",
        "_policy",
        "_responded",
        "_retry",
        "_scanner",
        "_settled",
        "_started",
        "_swallow_lf",
        "_writer",
    )

    def __init__(
        self,
        *,
        heartbeat: HeartbeatPolicy,
        timeouts: TimeoutPolicy,
        limits: LimitPolicy = LimitPolicy(),
        dialect: Dialect = Dialect.GENERIC,
        form: HeartbeatForm | None = None,
        farewell: Farewell | None = None,
        responded: bool = True,
        early: float = 0.0,
        now: float,
    ) -> None:
        super().__init__(timeouts, now=now)
        self._farewell = farewell
        self._policy = heartbeat
        self._limits = limits
        self._dialect = dialect
        self._early = early
        self._writer = HeartbeatWriter(heartbeat, form)
        self._scanner = Scanner()
        self._events = EventCounter()
        self._held: list[bytes] = []
        self._held_size = 0
        self._responded = responded
        self._started = False  # a byte of the upstream has left
        self._inserted = False  # a byte of ours has left
        self._settled = b""  # the boundary behind which whole events may leave as they come: nothing is held or owed
        self._swallow_lf = False
        self._ending: CloseReason | None = None
        self._retry: int | None = None
        self._last_heard = now
        if timeouts.max_duration is not None:
            self._timers.set(Timer.MAX_DURATION, now + timeouts.max_duration)
        if not responded or heartbeat.prelude:
            self._heartbeat(now=now)

    # Receiving from upstream.

    def receive_response(self, *, now: float) -> None:
        """The upstream has answered with an event stream, whose body follows (S8)."""
        self._responded = True
        self._last_received = now
        self.stats.heard(now=now)

    def receive_refusal(
        self, error: StreamError, reason: CloseReason = CloseReason.UPSTREAM_END, *, now: float
    ) -> None:
        """The client was promised an event stream that it will not get (S8): tell it what there is instead.

        reason: whose fault it is; by default the upstream has answered with something else.
        """
        if self.close_reason is not None:
            return
        self._insert(error_event(self._dialect, error, eol=self._scanner.eol), now=now)
        if reason is CloseReason.UPSTREAM_END:
            self._bid_farewell(now=now)
        self._close(reason, clean=True, now=now)

    def receive_data(self, data: bytes, *, now: float) -> None:
        """Take bytes of the upstream's body, cut anywhere."""
        out = self.forward(data, now)
        if out:
            self._out.append(out)

    def forward(self, data: bytes, now: float, *, cut: bool = True) -> bytes:
        # The hot path: what can leave as it came does so here. All else, and all that it is checked against, is below.
        if self._settled:
            writer = self._writer
            if (
                data[:5] == b"data:"
                and data[-2:] == self._settled
                and len(data) <= _BULK
                and data.count(b"\n") == 2
                and _CR not in data
            ):
                events, look = 1, writer.keeps_data  # one event of one line, as most of them are: it has no id
            else:
                events, look = 0, writer.keeps_data
                if self._settled == LF + LF:
                    events = one_line_events(data)
                if not events:
                    events, look = whole_events(data, self._settled), writer.observes
            if events:
                if look:
                    writer.observe(data)
                stats, size = self.stats, len(data)
                stats.bytes_in += size
                stats.bytes_out += size
                stats.events += events
                if now - stats.last_upstream_at > stats.longest_silence:  # noqa: PLR1730 - `max` is a call
                    stats.longest_silence = now - stats.last_upstream_at
                stats.last_upstream_at = self._last_received = self._last_heard = now
                return self._with_what_waits(data) if self._out else data
        if cut and len(data) > _BULK:
            return b"".join([self.forward(part, now, cut=False) for part in around_whole_events(data)])
        if data and self.close_reason is None:
            self._receive_pieces(data, now=now)
        return self.data_to_send()

    def _with_what_waits(self, data: bytes) -> bytes:
        self._out.append(data)
        return self.data_to_send()

    def _receive_pieces(self, data: bytes, *, now: float) -> None:
        self.stats.received(len(data), now=now)
        self._last_received = now
        if self._swallow_lf:
            data = self._without_second_half(data)
        lines = self._with_whole_bom(data) if self._policy.interval is None else self._complete_lines(data)
        if lines:
            self._release(lines, now=now)
        is_free = not (self._held or self._swallow_lf) and self._ending is None and self.close_reason is None
        self._settled = self._scanner.settled if is_free else b""

    def receive_eof(self, *, now: float) -> None:
        """The upstream's body is complete: what was held back belongs to it."""
        if self.close_reason is None and self._held:
            self._release(self._take_held(), now=now)
        self._bid_farewell(now=now)
        super().receive_eof(now=now)

    def receive_error(self, reason: CloseReason, *, now: float) -> None:
        """Something broke. An unfinished line is dropped; before the response (S8) the client is told."""
        if self.close_reason is None and not self._responded and reason in ENDS_OF_OURS:
            self._tell(reason, now=now)
            self._close(reason, clean=True, now=now)
        else:
            self._close(reason, clean=False, now=now)

    # Backpressure.

    def write_finished(self, *, now: float) -> None:
        super().write_finished(now=now)
        self._last_heard = now

    # Time.

    def drain(self, *, at: float, deadline: float | None, retry: int | None = None) -> None:
        """End at the first event boundary after `at`, or break off at `deadline`.

        retry: the reconnection time in milliseconds to tell the client; only for those that reconnect by themselves.
        """
        super().drain(at=at, deadline=deadline)
        self._timers.set(Timer.DRAIN, at)
        self._retry = retry

    # Private: the upstream's bytes.

    def _without_second_half(self, data: bytes) -> bytes:
        """S5: an LF that completes a CRLF in which we inserted would now be a blank line."""
        self._swallow_lf = False
        if not data.startswith(LF):
            return data
        self._scanner.feed(LF)
        self.stats.events += self._events.feed(LF)
        return data[1:]

    def _complete_lines(self, data: bytes) -> bytes:
        """S4: all that is complete by now, or, when a line grows too long, all there is."""
        if data.endswith(LF) and not self._held:
            return data
        end = max(data.rfind(LF), data.rfind(CR)) + 1
        if not end and not self._held and self._scanner.position is Position.MID_LINE:
            return data  # a line that is already known to be too long
        lines = self._take_held() + data[:end] if end else b""
        if end < len(data):
            self._hold(data[end:])
        return lines + self._take_held() if self._held_size > self._limits.line else lines

    def _with_whole_bom(self, data: bytes) -> bytes:
        """S6 without heartbeats: a BOM cut in two, behind a prelude, must still be known for one."""
        if self._started:
            return data
        data = self._take_held() + data
        if len(data) < len(BOM) and BOM.startswith(data):
            self._hold(data)
            return b""
        return data

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_size += len(data)

    def _take_held(self) -> bytes:
        held = b"".join(self._held)
        self._held.clear()
        self._held_size = 0
        return held

    def _release(self, data: bytes, *, now: float) -> None:
        if not self._started:
            data = self._without_late_bom(data)
        if self._ending is not None:
            self._release_last_event(data, self._ending, now=now)
        else:
            self._pass_on(data, now=now)

    def _without_late_bom(self, data: bytes) -> bytes:
        """S6: a client strips a BOM at the very start only; behind a heartbeat it would be part of a field name."""
        self._started = True
        if not data.startswith(BOM):
            return data
        if not self._inserted:
            self._send(BOM, now=self._last_heard)
        return data[len(BOM) :]

    def _release_last_event(self, data: bytes, reason: CloseReason, *, now: float) -> None:
        end = first_boundary(self._scanner.tail, data)
        self._pass_on(data if end is None else data[:end], now=now)
        if end is not None:
            self._finish(reason, now=now)

    def _pass_on(self, data: bytes, *, now: float) -> None:
        if not data:
            return
        if self._writer.observes:
            self._observe(data)
        self._scanner.feed(data)
        self.stats.events += self._events.feed(data)
        self._last_heard = now
        self._send(data, now=now)

    def _observe(self, data: bytes) -> None:
        # Hazard: a line over the limit leaves in pieces, and one of them may begin with what looks like a field.
        inside_a_line = self._scanner.position is Position.MID_LINE
        self._writer.observe(b" " + data if inside_a_line else data)

    # Private: our own bytes.

    def _insert(self, data: bytes, *, now: float) -> None:
        self._inserted = True
        # Only where nothing is held: behind a CR that is followed by a held line, the next LF ends that line.
        # Behind a CR of ours the LF makes no blank line but one line end with it. To drop it there would be wrong:
        # in CR, ours with CR, LF, LF the second LF is a blank line, and would be taken for the rest of our CRLF.
        self._swallow_lf = self._scanner.after_cr and not self._held and not data.endswith(CR)
        self._last_heard = now
        self._send(data, now=now)

    def _heartbeat(self, *, now: float) -> None:
        beat = None if self._blocked else self._writer.write(self._scanner)
        if beat is None:
            self._last_heard = now  # try again after another interval
            self.stats.skipped(self._why_skipped())
            return
        self.stats.heartbeats += 1
        self.stats.heartbeats_before_response += not self._responded
        self._insert(beat, now=now)

    def _why_skipped(self) -> str:
        if self._blocked:
            return SKIPPED_BACKPRESSURE
        return SKIPPED_MID_LINE if self._scanner.position is Position.MID_LINE else SKIPPED_INSIDE_EVENT

    def _tell(self, reason: CloseReason, *, now: float) -> None:
        """The error event for an end of ours, in the route's dialect."""
        self._insert(error_event(self._dialect, ENDS_OF_OURS[reason], eol=self._scanner.eol), now=now)

    @property
    def _is_between_events(self) -> bool:
        """Nothing of an event is under way, whether there is a blank line behind the last one or not."""
        return self._scanner.position is not Position.MID_LINE and self._events.is_void

    def _bid_farewell(self, *, now: float) -> None:
        """Inside an event nothing can be said: it would end the event, which the client must not see (S1)."""
        if self._farewell is not None and self.close_reason is None and self._is_between_events:
            self._insert(self._farewell.write(eol=self._scanner.eol), now=now)

    def _remark(self, reason: CloseReason, *, now: float) -> None:
        """A comment with the reason, where one is allowed: not inside a line, nor to clients that reject comments."""
        if self._scanner.position is not Position.MID_LINE and self._writer.comments_allowed:
            self._insert(comment(reason, eol=self._scanner.eol), now=now)

    # Private: time.

    def _set_timers(self) -> None:
        super()._set_timers()
        interval = self._policy.interval
        self._timers.set(Timer.HEARTBEAT, None if interval is None else self._last_heard + interval - self._early)
        if not self._responded:
            self._timers.stop(Timer.IDLE)

    def _expire(self, timer: Timer, *, now: float) -> None:
        match timer:
            case Timer.MAX_DURATION:
                self._timers.stop(timer)
                self._end(CloseReason.MAX_DURATION, now=now)
            case Timer.DRAIN:
                self._timers.stop(timer)
                self._end(CloseReason.DRAIN, now=now)
            case Timer.DRAIN_DEADLINE if self._scanner.position is Position.EVENT_BOUNDARY:
                self._finish(CloseReason.DRAIN, now=now)
            case Timer.IDLE:
                self._give_up(now=now)
            case Timer.HEARTBEAT:
                self._heartbeat(now=now)
            case _:
                super()._expire(timer, now=now)

    # Private: ends.

    def _end(self, reason: CloseReason, *, now: float) -> None:
        """End cleanly, here or at the next event boundary."""
        if self._scanner.position is Position.EVENT_BOUNDARY:
            self._finish(reason, now=now)
        elif self._ending is None:
            self._ending = reason

    def _finish(self, reason: CloseReason, *, now: float) -> None:
        """End cleanly at this event boundary."""
        if not self._responded or (reason is CloseReason.MAX_DURATION and self._dialect.has_error_event):
            self._tell(reason, now=now)
        elif reason is CloseReason.MAX_DURATION:
            self._remark(reason, now=now)
        elif self._retry is not None:
            self._insert(reconnection_time(self._retry, eol=self._scanner.eol), now=now)
        self._close(reason, clean=True, now=now)

    def _give_up(self, *, now: float) -> None:
        """The upstream is silent: say so where the client can know it, break off where it cannot."""
        told = self._dialect.has_error_event and self._scanner.position is Position.EVENT_BOUNDARY
        if told:
            self._tell(CloseReason.IDLE_TIMEOUT, now=now)
        else:
            self._remark(CloseReason.IDLE_TIMEOUT, now=now)
        self._close(CloseReason.IDLE_TIMEOUT, clean=told, now=now)

    def _close(self, reason: CloseReason, *, clean: bool, now: float) -> None:
        self._settled = b""
        super()._close(reason, clean=clean, now=now)
