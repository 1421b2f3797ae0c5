"""What becomes of one event stream: which bytes leave, when, and how it ends? (contract S1-S10)"""

from sseproxy.core.stream.dialects import Finality
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.ends import LastWord, decide, row
from sseproxy.core.stream.error_events import StreamError, error_event
from sseproxy.core.stream.events import (
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
from sseproxy.core.stream.heartbeat import HeartbeatWriter, why_skipped
from sseproxy.core.stream.last_event import LastEvent, last_event_in
from sseproxy.core.stream.late_json import JsonEvent
from sseproxy.core.stream.lines import HeldLines
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.scanner import Position, Scanner
from sseproxy.core.stream.timeouts import Timer
from sseproxy.core.stream.transfer import CloseReason, Transfer

#: Seconds that an upstream may stay open behind its terminal event.
_LINGER = 5.0

#: Milliseconds: what a client that comes back by itself waits at least.
RECONNECT_AT_LEAST = 1000

_CR = CR[0]  # `in` is fast for a number only: for bytes it makes an exception first, and drops it

#: Bytes: a piece that is longer has whole events in its middle, and looking at each line of it would be dear.
_BULK = 2048


class StreamSession(Transfer):
    """One event stream on its way to one client.

    Rule 1: everything that leaves goes through one queue, `data_to_send`, in the order in which it was decided.
    Rule 2: what has left always ends where the scanner says, so a decision made by it is never out of date.
    Rule 3: while heartbeats are on, an unfinished line stays here (S4), so that Rule 2 ends at a line boundary.
    Rule 4: every end is a row of `ends`, and happens in `_end_now`.

    plan: how the stream is treated. end_message: written when the upstream ends cleanly between events.
    responded: the upstream's head has arrived; otherwise the stream was opened before it (S8), a heartbeat goes out at
    once, and `receive_response`, `receive_json` or an error must follow. lead: seconds by which heartbeats come early,
    so that streams which began, or heard something, together do not all beat together.
    """

    __slots__ = (
        "_end_message",
        "_ending",
        "_events",
        "_held",
        "_inserted",
        "_json",
        "_last",
        "_last_heard",
        "_last_look",
        "_lead",
        "_plan",
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
        plan: StreamPlan,
        *,
        end_message: EndMessage | None = None,
        responded: bool = True,
        lead: float = 0.0,
        now: float,
    ) -> None:
        super().__init__(plan.timeouts, is_answer=plan.is_answer, now=now)
        self._plan = plan
        self._end_message = end_message
        self._lead = lead
        self._writer = HeartbeatWriter(plan.heartbeat, plan.form, plan.event)
        self._scanner = Scanner()
        self._events = EventCounter()
        self._last = LastEvent(plan.kept_of_events)
        self._json: JsonEvent | None = None  # writes a late JSON answer as an event
        self._held = HeldLines(plan.limits.line)
        self._responded = responded
        self._started = False  # a byte of the upstream has left
        self._inserted = False  # a byte of ours has left
        self._settled = b""  # the boundary behind which whole events may leave as they come: nothing is held or owed
        self._swallow_lf = False
        self._ending: CloseReason | None = None
        self._retry = RECONNECT_AT_LEAST + int(lead * 1000)
        self._last_heard = self._last_look = now
        if plan.timeouts.max_duration is not None:
            self._timers.set(Timer.MAX_DURATION, now + plan.timeouts.max_duration)
        if not responded or plan.heartbeat.prelude:
            self._heartbeat(now=now)

    # Receiving from upstream.

    def receive_response(self, *, now: float) -> None:
        """The upstream has answered with an event stream, whose body follows (S8)."""
        self._responded = True
        self._last_received = now
        self.stats.heard(now=now)

    def receive_json(self, *, now: float) -> None:
        """The upstream has answered with JSON, whose body follows: it becomes one event (S8)."""
        self._json = JsonEvent(self._plan.json_event)
        self.receive_response(now=now)

    def receive_refusal(
        self,
        error: StreamError | None,
        reason: CloseReason = CloseReason.UPSTREAM_END,
        *,
        end_message: EndMessage | None = None,
        now: float,
    ) -> None:
        """The client was promised an event stream that it will not get (S8): tell it what there is instead.

        reason: by default the upstream has answered with something else. end_message: for a client that would come back
        for the same answer; behind it the end is clean.
        """
        if self.close_reason is not None:
            return
        if error is not None:
            self._tell(error, now=now)
        if end_message is not None:
            self._insert(end_message.write(eol=self._scanner.eol), now=now)
        self._close(reason, clean=end_message is not None, now=now)

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
                self._last.newest = data if size <= _BULK else last_event_in(data, self._settled)
                if now - stats.last_upstream_at > stats.longest_silence:  # noqa: PLR1730 - `max` is a call
                    stats.longest_silence = now - stats.last_upstream_at
                stats.last_upstream_at = self._last_received = self._last_heard = now
                return self.data_to_send() + data if self._out else data
        if cut and len(data) > _BULK:
            return b"".join([self.forward(part, now, cut=False) for part in around_whole_events(data)])
        if data and self.close_reason is None:
            self._receive_pieces(data, now=now)
        return self.data_to_send()

    def _receive_pieces(self, data: bytes, *, now: float) -> None:
        self._last.settle(self._last_received)
        self.stats.received(len(data), now=now)
        self._last_received = now
        if self._json is not None:
            data = self._json.feed(data)
        if self._swallow_lf:
            data = self._without_second_half(data)
        lines = self._ready(data)
        if lines:
            self._release(lines, now=now)
        is_free = not (self._held or self._swallow_lf) and self._ending is None and self.close_reason is None
        self._settled = self._scanner.settled if is_free else b""

    def receive_eof(self, *, now: float) -> None:
        """The upstream's body is complete: what was held back belongs to it."""
        if self._json is not None and (end := self._json.end()):
            self._held.hold(end)
        elif self._json is not None:
            self.receive_error(CloseReason.UPSTREAM_ERROR, now=now)
        if self._held and self.close_reason is None:
            self._release(self._held.take(), now=now)
        self.receive_error(CloseReason.UPSTREAM_END, now=now)

    def receive_error(self, reason: CloseReason, *, now: float) -> None:
        """Something broke, or has to end now. An unfinished line is dropped."""
        if self.close_reason is None:
            self._end_now(reason, now=now)

    def stop(self, reason: CloseReason, *, now: float) -> None:
        """End at the next event boundary, or soon if none comes; reasons that do not wait end now."""
        if self.close_reason is None:
            self._end_soon(reason, now=now)

    # Backpressure.

    def resume_writing(self, *, now: float) -> None:
        super().resume_writing(now=now)
        self._last_heard = now

    # Time.

    def drain(self, *, at: float | None, deadline: float | None, retry: int | None = None) -> None:
        """End at the first event boundary after `at`, or break off at `deadline`.

        at: ``None`` for a client that would lose something by an early end. retry: the reconnection time in
        milliseconds to tell a client that comes back by itself.
        """
        super().drain(at=at, deadline=deadline)
        self._timers.set(Timer.DRAIN, at)
        self._retry = self._retry if retry is None else retry

    # Private: the upstream's bytes.

    def _without_second_half(self, data: bytes) -> bytes:
        """S5: an LF that completes a CRLF in which we inserted would now be a blank line."""
        self._swallow_lf = False
        if not data.startswith(LF):
            return data
        self._scanner.feed(LF)
        self._last.feed(LF, self._last_received)
        self.stats.events += self._events.feed(LF)
        return data[1:]

    def _ready(self, data: bytes) -> bytes:
        """What may leave. Without heartbeats only a BOM is waited for: cut in two, behind a prelude (S6)."""
        if self._plan.heartbeat.interval is not None:
            return self._held.complete(data, is_inside_line=self._scanner.position is Position.MID_LINE)
        return data if self._started else self._held.whole_mark(data)

    def _release(self, data: bytes, *, now: float) -> None:
        if not self._started:
            data = self._without_late_bom(data)
        end = None if self._ending is None else first_boundary(self._scanner.tail, data)
        self._pass_on(data if end is None else data[:end], now=now)
        if self._ending is not None and end is not None:
            self._end_now(self._ending, now=now)

    def _without_late_bom(self, data: bytes) -> bytes:
        """S6: a client strips a BOM at the very start only; behind a heartbeat it would be part of a field name."""
        self._started = True
        if data.startswith(BOM) and not self._inserted:
            self._send(BOM, now=self._last_heard)
        return data.removeprefix(BOM)

    def _pass_on(self, data: bytes, *, now: float) -> None:
        if not data:
            return
        if self._writer.observes:
            self._observe(data)
        self._scanner.feed(data)
        self._last.feed(data, now)
        self.stats.events += self._events.feed(data)
        self._last_heard = now
        self._send(data, now=now)

    def _observe(self, data: bytes) -> None:
        # Hazard: a line over the limit leaves in pieces, and one of them may begin with what looks like a field.
        self._writer.observe(b" " + data if self._scanner.position is Position.MID_LINE else data)

    # Private: own bytes.

    def _insert(self, data: bytes, *, now: float) -> None:
        self._inserted = True
        # Only where nothing is held: behind a CR that is followed by a held line, the next LF ends that line.
        # Behind a CR of ours the LF makes no blank line but one line end with it. To drop it there would be wrong:
        # in CR, ours with CR, LF, LF the second LF is a blank line, and would be taken for the rest of our CRLF.
        self._swallow_lf = self._scanner.after_cr and not self._held and not data.endswith(CR)
        self._last_heard = now
        self._send(data, now=now)

    def _heartbeat(self, *, now: float) -> None:
        is_over = self._look() is Finality.TERMINAL
        is_blocked = self.delivery.is_blocked
        beat = None if is_blocked or is_over else self._writer.write(self._scanner)
        if beat is None:
            self._last_heard = now  # try again after another interval
            self.stats.skipped(why_skipped(self._scanner.position, is_blocked=is_blocked, is_over=is_over))
            return
        self.stats.heartbeats += 1
        self.stats.heartbeats_before_response += not self._responded
        self._insert(beat, now=now)

    def _tell(self, error: StreamError, *, now: float) -> None:
        """Write the dialect's error event; a comment where the dialect has none for this request."""
        asked = self._plan.request_id
        if written := error_event(self._plan.dialect, error, request_id=asked, eol=self._scanner.eol):
            self._insert(written, now=now)
        else:
            self._remark(error.type, now=now)

    @property
    def _is_between_events(self) -> bool:
        """Nothing of an event is under way, whether there is a blank line behind the last one or not."""
        return self._scanner.position is not Position.MID_LINE and self._events.is_void

    def _bid_end_message(self, *, now: float) -> None:
        """Inside an event nothing can be said: it would end the event, which the client must not see (S1)."""
        is_meant = not self._plan.only_marker or self._look() is Finality.TERMINAL
        if self._end_message is not None and self._is_between_events and is_meant:
            self._insert(self._end_message.write(eol=self._scanner.eol), now=now)

    def _remark(self, reason: str, *, now: float) -> None:
        """A comment with the reason, where one is allowed: not inside a line, nor to clients that reject comments."""
        if self._scanner.position is not Position.MID_LINE and self._writer.comments_allowed:
            self._insert(comment(reason, eol=self._scanner.eol), now=now)

    # Private: time.

    def _set_timers(self) -> None:
        super()._set_timers()
        interval = self._plan.heartbeat.interval
        self._timers.set(Timer.HEARTBEAT, None if interval is None else self._last_heard + interval - self._lead)
        if self._plan.has_terminal_event:
            self._last.settle(self._last_received)
            self._timers.set(Timer.LAST_EVENT, max(self._last.at, self._last_look) + _LINGER)
        if not self._responded:
            self._timers.stop(Timer.IDLE)

    def _expire(self, timer: Timer, *, now: float) -> None:
        match timer:
            case Timer.MAX_DURATION:
                self._timers.stop(timer)
                self._end_soon(CloseReason.MAX_DURATION, now=now)
            case Timer.DRAIN:
                self._timers.stop(timer)
                self._end_soon(CloseReason.DRAIN, now=now)
            case Timer.DRAIN_DEADLINE:
                self._end_now(CloseReason.DRAIN, now=now)
            case Timer.BOUNDARY if self._ending is not None:
                self._end_now(self._ending, now=now)
            case Timer.LAST_EVENT:
                self._last_look = now
                if self._look() is Finality.TERMINAL:
                    self._end_now(CloseReason.UPSTREAM_END, now=now)
            case Timer.IDLE:
                self._end_now(CloseReason.IDLE_TIMEOUT, now=now)
            case Timer.HEARTBEAT:
                self._heartbeat(now=now)
            case _:
                super()._expire(timer, now=now)

    # Private: ends.

    def _look(self) -> Finality:
        """What the last event that has left says about the end, if nothing of another one has left after it."""
        if not self._is_between_events:
            return Finality.NONE
        self._last.settle(self._last_received)
        return self._plan.finality(self._last.name, self._last.data)

    def _end_soon(self, reason: CloseReason, *, now: float) -> None:
        """End here if this is an event boundary, else at the next one; one that does not come is not waited for."""
        waits = row(reason, comes_back=self._plan.comes_back).waits
        if self._is_between_events or not waits:
            self._end_now(reason, now=now)
        elif self._ending is None:
            self._ending = reason
            self._settled = b""
            self._timers.set(Timer.BOUNDARY, now + waits)

    def _end_now(self, reason: CloseReason, *, now: float) -> None:
        plan = self._plan
        end = decide(reason, self._look(), is_between_events=self._is_between_events, comes_back=plan.comes_back)
        match end.last_word:
            case LastWord.END_MESSAGE:
                self._bid_end_message(now=now)
            case LastWord.COMMENT:
                self._remark(end.reason, now=now)
            case LastWord.RETRY if plan.takes_retry:
                self._insert(reconnection_time(self._retry, eol=self._scanner.eol), now=now)
            case LastWord.ERROR:
                self._tell(StreamError(end.reason, end.status, end.detail), now=now)
        self._close(end.reason, clean=end.is_clean, now=now)

    def _close(self, reason: CloseReason, *, clean: bool, now: float) -> None:
        self._settled = b""
        super()._close(reason, clean=clean, now=now)
