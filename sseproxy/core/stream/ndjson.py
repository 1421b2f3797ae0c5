"""What becomes of one stream of NDJSON: which bytes leave, when, and how does it end? (docs/ndjson.md)"""

import json
from dataclasses import replace

from sseproxy.core.http.fields import Headers, event_stream
from sseproxy.core.stream.dialects import Finality
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.ends import End, LastWord, decide
from sseproxy.core.stream.error_events import StreamError, error_value
from sseproxy.core.stream.events import LF
from sseproxy.core.stream.heartbeat import WhiteSpace
from sseproxy.core.stream.keepalive import KeptAlive
from sseproxy.core.stream.late_json import JsonRecord
from sseproxy.core.stream.lines import UpstreamLines
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.records import BULK, RecordReader, last_record_in
from sseproxy.core.stream.scanner import Position
from sseproxy.core.stream.transfer import CloseReason


class RecordWords:
    """Decides how one stream of NDJSON can end where it stands. records: follows what has left for the client."""

    __slots__ = ("_plan", "_records")

    def __init__(self, plan: StreamPlan, records: RecordReader) -> None:
        self._plan = plan
        self._records = records

    @property
    def is_between_events(self) -> bool:
        return self._records.position is Position.EVENT_BOUNDARY

    def is_over(self, heard_at: float) -> bool:
        """True behind the terminal record, and behind an error: readers of such a service stop there."""
        return self._finality() in (Finality.TERMINAL, Finality.ERROR)

    def is_terminal(self, heard_at: float) -> bool:
        return self._finality() is Finality.TERMINAL

    def last_at(self, heard_at: float) -> float:
        return self._records.at

    def end(self, reason: CloseReason, heard_at: float) -> End:
        """Return how the stream ends here and now, for `reason`; see `decide`."""
        return decide(reason, self._finality(), is_between_events=self.is_between_events, comes_back=False)

    def write(self, end: End, heard_at: float) -> bytes:
        """Return the error record, where `end` has an error and the dialect has such a record."""
        is_error = end.last_word is LastWord.ERROR
        return self.write_error(StreamError(end.reason, end.status, end.detail)) if is_error else b""

    def write_error(self, error: StreamError) -> bytes:
        if not self._plan.dialect.knows_records:
            return b""
        return json.dumps(error_value(self._plan.dialect, error)).encode() + LF

    def _finality(self) -> Finality:
        """Return what the last record says about the end, if nothing of another one has left after it."""
        return self._records.finality() if self.is_between_events else Finality.NONE


class NdjsonSession(KeptAlive):
    """One stream of NDJSON on its way to one client. plan: as `NdjsonStreams.adapted` makes it.

    responded, lead: see `StreamSession`.
    """

    # Upstream bytes pass `lines` (what has to wait?), then leave; `records` follows what has left.
    #
    # 1. A heartbeat is white space where a record may begin: before the first byte, or behind an LF of the upstream,
    #    however many heartbeats have gone there already. White space before a JSON text means nothing (RFC 8259
    #    section 2), so a space does not change where the stream stands: the next record begins with it.
    # 2. While heartbeats are on, an unfinished line stays in `lines`, so something may be inserted at any time. A lone
    #    CR ends no line: it is white space within a record.
    # 3. Nothing goes behind the last word of a service that has one: the terminal record, or an error.
    # 4. An end of sseproxy's own is an error record where the dialect has one, and an abort; within a record an abort
    #    alone. Clean ends are the upstream's, and those behind the terminal record.
    #
    # The hot path is the first half of `forward`, as in `StreamSession`.
    #
    # Hazards: a byte order mark behind a heartbeat (lines). A line that is over the limit leaves in pieces, and its
    # `"done": true` may stand in any of them, or in a nested object (records). A space behind the last record of a
    # service that has no terminal one stays there: a line of blanks, which readers that parse each line refuse.

    __slots__ = ("_json", "_lines", "_records", "_white_space", "_words")

    def __init__(self, plan: StreamPlan, *, responded: bool = True, lead: float = 0.0, now: float) -> None:
        super().__init__(plan, responded=responded, lead=lead, now=now)
        self._lines = UpstreamLines(plan.limits.line, by_line=plan.heartbeat.interval is not None, cr=b"")
        self._records = RecordReader(reads=plan.dialect.knows_records)
        self._words: RecordWords = RecordWords(plan, self._records)
        self._white_space = LF if plan.heartbeat.ndjson is WhiteSpace.NEWLINE else b" "
        self._json: JsonRecord | None = None  # writes a late JSON answer as a record
        if not responded and plan.heartbeat.interval is not None:
            self._beat(now=now)

    # Receiving from upstream.

    def receive_json(self, *, status: int = 200, now: float) -> None:
        self._json = JsonRecord()
        self.receive_response(now=now)

    def receive_refusal(
        self,
        error: StreamError | None,
        reason: CloseReason = CloseReason.UPSTREAM_END,
        *,
        end_message: EndMessage | None = None,
        now: float,
    ) -> None:
        """Write `error` as a record, and break off. An end message is for an `EventSource`, which reads no NDJSON."""
        if self.close_reason is not None:
            return
        if error is not None:
            self._insert(self._words.write_error(error), now=now)
        self.close(reason, clean=False, now=now)

    def forward(self, data: bytes, now: float) -> bytes:
        # The hot path: whole records that can leave as they came do so here. All else is below.
        if self._settled and data[:1] == b"{" and data[-1:] == LF:
            records = data.count(LF)
            if records == 1 or data.count(b"\n{") == records - 1:
                stats, size = self.stats, len(data)
                stats.bytes_in += size
                stats.bytes_out += size
                stats.events += records
                self._records.newest = data if size <= BULK else last_record_in(data)
                if now - stats.last_upstream_at > stats.longest_silence:  # noqa: PLR1730 - `max` is a call
                    stats.longest_silence = now - stats.last_upstream_at
                stats.last_upstream_at = self._last_received = self._last_heard = self._records.at = now
                return self.data_to_send() + data if self._out else data
        if data and self.close_reason is None:
            self._receive_piece(data, now)
        return self.data_to_send()

    def _receive_piece(self, data: bytes, now: float) -> None:
        lines = self._lines
        self.stats.received(len(data), now=now)
        self._last_received = now
        if self._json is not None:
            data = self._json.feed(data)
        ready = lines.receive(data, is_inside_line=self.position is Position.MID_LINE)
        if ready:
            self._release(ready, now)
        is_free = lines.is_clear and self._ending is None and self._json is None and self.close_reason is None
        self._settled = LF if is_free and self._words.is_between_events else b""

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
        if self.close_reason is None:
            self.stats.events += self._records.end(now)
            self._end_now(CloseReason.UPSTREAM_END, now=now)

    # What is particular to records.

    @property
    def position(self) -> Position:
        return self._records.position

    def write_heartbeat(self) -> bytes | None:
        return self._white_space if self._words.is_between_events else None

    def note_inserted(self, data: bytes) -> None:
        self._lines.note_inserted(data, after_cr=False)

    # Private.

    def _release(self, data: bytes, now: float) -> None:
        """Let `data` of the upstream go, up to the record boundary at which the stream ends, if one is looked for."""
        mark, data = self._lines.split_mark(data)
        if mark:
            self._send(mark)
        end = 0 if self._ending is None else data.find(LF) + 1
        if passed := data[: end or None]:
            self.stats.events += self._records.feed(passed, now)
            self._last_heard = now
            self._send(passed)
        if self._ending is not None and end:
            self._end_now(self._ending, now=now)


class NdjsonStreams:
    """JSON texts, one on each line. Its heartbeats are white space, if they are any."""

    media_types = (
        b"application/x-ndjson",
        b"application/ndjson",
        b"application/jsonl",
        b"application/x-jsonlines",
        b"application/stream+json",
    )

    def head(self, headers: Headers, *, decoded: bool) -> Headers:
        return event_stream(headers, decoded=decoded)

    def promised_head(self) -> Headers:
        return event_stream([(b"Content-Type", self.media_types[0])], decoded=False)

    def adapted(self, plan: StreamPlan) -> StreamPlan:
        """Leave out what is for events, and heartbeats where none may go: readers may break on white space."""
        heartbeat = plan.heartbeat
        is_known = heartbeat.ndjson is WhiteSpace.AUTO and plan.dialect.knows_records
        if not (is_known or heartbeat.ndjson in (WhiteSpace.SPACE, WhiteSpace.NEWLINE)):
            heartbeat = replace(heartbeat, interval=None)
        # Other requests have no way to declare such a stream, so it is no news that one has not.
        is_declared = plan.is_declared if plan.dialect.knows_records else None
        return replace(plan, heartbeat=heartbeat, comes_back=False, marker=None, is_declared=is_declared or None)

    def new_session(
        self, plan: StreamPlan, *, end_message: EndMessage | None, responded: bool, lead: float, now: float
    ) -> NdjsonSession:
        return NdjsonSession(plan, responded=responded, lead=lead, now=now)
