"""What becomes of one event stream: which bytes leave, when, and how it ends?"""

from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.error_events import StreamError
from sseproxy.core.stream.event_reader import EventReader, last_event_in
from sseproxy.core.stream.events import CR, LF, LOOK, around_whole_events, first_boundary, one_line_events, whole_events
from sseproxy.core.stream.heartbeat import HeartbeatWriter
from sseproxy.core.stream.keepalive import KeptAlive
from sseproxy.core.stream.last_words import LastWords
from sseproxy.core.stream.late_json import JsonEvent
from sseproxy.core.stream.lines import UpstreamLines
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.scanner import Position, Scanner
from sseproxy.core.stream.tally import Sum, Tally
from sseproxy.core.stream.transfer import CloseReason

_BOUNDARY = LF + LF

_CR = CR[0]  # `in` is fast for a number only: for bytes it makes an exception first, and drops it

#: Bytes: a piece that is longer has whole events in its middle, and looking at each line of it would be dear.
_BULK = 2048


class StreamSession(KeptAlive):
    """One event stream on its way to one client.

    plan: how the stream is treated. end_message: written when the upstream ends cleanly between events.
    responded: the upstream's head has arrived; otherwise the client was promised the stream before it, a heartbeat goes
    out at once, and `receive_response`, `receive_json`, `receive_refusal` or an error must follow. lead: seconds by
    which heartbeats come early, so that streams which began, or heard something, together do not all beat together.
    """

    # Upstream bytes pass `lines` (what has to wait?), then leave; `scanner` and `events` follow what has left. Whatever
    # is decided about heartbeats and ends is decided by what has left, never by what has come.
    #
    # 1. All bytes leave through one queue, `data_to_send`, in the order in which they were decided. Nothing is
    #    written past it: a heartbeat that was decided on earlier, and written later, would land inside a line. Whole
    #    events may be, while `may_bypass` says so: the queue is empty, and `count` comes before any decision.
    # 2. What has left always ends where the scanner says, so a decision that was made by it is never out of date.
    # 3. While heartbeats are on, an unfinished line stays in `lines`: so what has left ends at a line boundary, and
    #    something may be inserted at any time.
    # 4. Inserted bytes never go through `scanner` and `events`: for the client, they are not part of the stream.
    #
    # Clocks, boundary and ends are those of `KeptAlive`.
    #
    # The hot path is the first half of `forward`: while `_settled` is set, the stream stands at an event boundary, its
    # line ends are known, nothing is held, dropped, or about to end. Bytes that are plainly whole events leave as they
    # came then, and change nothing but counters. Each step that breaks one of these conditions clears `_settled`.
    #
    # Hazards: ``data: x`` LF | heartbeat | LF: the blank line still ends the event (scanner). CR | heartbeat | LF, and
    # a byte order mark behind a heartbeat (lines).

    __slots__ = ("_events", "_json", "_lines", "_scanner", "_words", "_writer")

    def __init__(
        self,
        plan: StreamPlan,
        *,
        end_message: EndMessage | None = None,
        responded: bool = True,
        lead: float = 0.0,
        now: float,
    ) -> None:
        super().__init__(plan, responded=responded, lead=lead, now=now)
        self._lines = UpstreamLines(plan.limits.line, by_line=plan.heartbeat.interval is not None)
        self._scanner = Scanner()
        self._events = EventReader(plan.kept_of_events)
        self._writer = HeartbeatWriter(plan.heartbeat, plan.form, plan.event)
        self._words: LastWords = LastWords(plan, end_message, self._scanner, self._events, lead=lead)
        self._json: JsonEvent | None = None  # writes a late JSON answer as an event
        if not responded or plan.heartbeat.prelude:
            self._beat(now=now)

    # Receiving from upstream.

    def receive_json(self, *, status: int = 200, now: float) -> None:
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
        if self.close_reason is not None:
            return
        if error is not None:
            self._insert(self._words.write_error(error), now=now)
        if end_message is not None:
            self._insert(end_message.write(eol=self._scanner.eol), now=now)
        self.close(reason, clean=end_message is not None, now=now)

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
                if self._settled == _BOUNDARY:
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
                self._events.newest = data if size <= _BULK else last_event_in(data, self._settled)
                if now - stats.last_upstream_at > stats.longest_silence:  # noqa: PLR1730 - `max` is a call
                    stats.longest_silence = now - stats.last_upstream_at
                stats.last_upstream_at = self._last_received = self._last_heard = now
                return self.data_to_send() + data if self._out else data
        if cut and len(data) > _BULK:
            return b"".join([self.forward(part, now, cut=False) for part in around_whole_events(data)])
        if data and self.close_reason is None:
            self._receive_piece(data, now)
        return self.data_to_send()

    def forward_events(self, data: bytes, events: int, now: float) -> bytes:
        # The hot path of what a journal keeps: what it has cut into events is not looked through again.
        seen, lines = LOOK.newest
        if seen is not data:
            lines = LOOK.lines(data)
        if self._settled != _BOUNDARY or lines < events:
            return self.forward(data, now)  # some of them bring no data, and are no events to a client
        writer = self._writer
        if writer.observes:
            seen, may_have_id = LOOK.newest_of_ids
            if seen is not data:
                may_have_id = LOOK.may_have_id(data)
            if may_have_id or writer.keeps_data:
                writer.observe(data)
        stats, size = self.stats, len(data)
        stats.bytes_in += size
        stats.bytes_out += size
        stats.events += events
        self._events.newest = data if size <= _BULK else last_event_in(data, _BOUNDARY)
        if now - stats.last_upstream_at > stats.longest_silence:  # noqa: PLR1730 - `max` is a call
            stats.longest_silence = now - stats.last_upstream_at
        stats.last_upstream_at = self._last_received = self._last_heard = now
        return self.data_to_send() + data if self._out else data

    def may_bypass(self, tally: Tally) -> bool:
        writer = self._writer
        if self._settled != _BOUNDARY or self._out:
            return False
        return not writer.observes or not (writer.keeps_data or tally.may_have_ids)

    def count(self, passed: Sum) -> None:
        stats, newest = self.stats, passed.newest
        stats.bytes_in += passed.size
        stats.bytes_out += passed.size
        stats.events += passed.events
        self._events.newest = newest if len(newest) <= _BULK else last_event_in(newest, _BOUNDARY)
        silence = max(passed.silence, passed.first_at - stats.last_upstream_at)
        stats.longest_silence = max(stats.longest_silence, silence)
        stats.last_upstream_at = self._last_received = self._last_heard = passed.last_at

    def _receive_piece(self, data: bytes, now: float) -> None:
        lines = self._lines
        self._events.park(self._last_received)
        self.stats.received(len(data), now=now)
        self._last_received = now
        if self._json is not None:
            data = self._json.feed(data)
        if lines.drops_lf:
            lines.drops_lf = False
            if data.startswith(LF):
                self._scanner.feed(LF)
                self._events.settle(now)
                self._events.feed(LF, now)
                data = data[1:]
        ready = lines.receive(data, is_inside_line=self._scanner.position is Position.MID_LINE)
        if ready:
            self._release(ready, now)
        is_free = lines.is_clear and self._ending is None and self.close_reason is None
        self._settled = self._scanner.settled if is_free else b""

    def receive_eof(self, *, now: float) -> None:
        """The upstream's body is complete: what was held back belongs to it."""
        held = self._lines.take()
        if self._json is not None:
            last = self._json.end()
            if not last:
                self.receive_error(CloseReason.UPSTREAM_ERROR, now=now)
            held += last
        if held and self.close_reason is None:
            self._release(held, now)
        self.receive_error(CloseReason.UPSTREAM_END, now=now)

    def name_end(self, position: bytes) -> None:
        """Let an error event have `position` for its id, so that a client which comes back names the end."""
        self._words.position = position

    def receive_past_end(self, reason: CloseReason, *, now: float) -> None:
        """End cleanly what has ended for `reason` before this client came back. See `name_end`.

        The client gets the position of the end with the error, or without one if the last event was an error.
        """
        if self.close_reason is None:
            written = self._words.write(self._words.end(reason, self._last_received), self._last_received)
            if self._words.position and not written.startswith(b"id:"):
                written += b"id: " + self._words.position + LF + LF
            self._insert(written, now=now)
            self.close(reason, clean=True, now=now)

    # Time.

    def drain(self, *, at: float | None, deadline: float | None, retry: int | None = None) -> None:
        super().drain(at=at, deadline=deadline)
        if retry is not None:
            self._words.retry = retry

    # What is particular to events.

    @property
    def position(self) -> Position:
        return self._scanner.position

    def write_heartbeat(self) -> bytes | None:
        return self._writer.write(self._scanner)

    def note_inserted(self, data: bytes) -> None:
        self._lines.note_inserted(data, after_cr=self._scanner.after_cr)

    # Private.

    def _release(self, data: bytes, now: float) -> None:
        """Let `data` of the upstream go, up to the event boundary at which the stream ends, if one is looked for."""
        mark, data = self._lines.split_mark(data)
        if mark:
            self._send(mark)
        end = None if self._ending is None else first_boundary(self._scanner.tail, data)
        if passed := data[:end]:
            self._pass_on(passed, now)
        if self._ending is not None and end is not None:
            self._end_now(self._ending, now=now)

    def _pass_on(self, data: bytes, now: float) -> None:
        scanner, writer = self._scanner, self._writer
        if writer.observes:
            # Hazard: a line over the limit leaves in pieces, and one of them may begin with what looks like a field.
            writer.observe(b" " + data if scanner.position is Position.MID_LINE else data)
        boundary = scanner.settled
        events = whole_events(data, boundary) if boundary else 0
        if events:
            self._events.newest = data if len(data) <= _BULK else last_event_in(data, boundary)
        else:
            scanner.feed(data)
            self._events.settle(now)
            events = self._events.feed(data, now)
        self.stats.events += events
        self._last_heard = now
        self._send(data)
