"""What becomes of one JSON answer that a client was promised before its upstream had answered?

White space before a JSON text means nothing (RFC 8259 section 2), so it keeps the connection alive until the text
comes. See ``heartbeat.json`` in docs/configuration.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum

from sseproxy.core.http.accept import admits_json
from sseproxy.core.http.fields import Headers, event_stream
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.ends import WHEN_EXPIRED, LastWord, row
from sseproxy.core.stream.error_events import StreamError, error_object
from sseproxy.core.stream.events import BOM
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.timeouts import Timer
from sseproxy.core.stream.transfer import CloseReason, StreamTransfer

_SPACE = b" "
_WHITE_SPACE = b" \t\r\n"  # RFC 8259 section 2
_NULL = b"null"

#: Methods whose clients are promised nothing.
WITHOUT_PROMISE = frozenset(("GET", "HEAD", "OPTIONS", "CONNECT", "TRACE"))


class _Stage(Enum):
    PROMISED = "the upstream has not answered"
    ANSWERED = "its body comes; nothing but white space has"
    TEXT = "some of its text has left"


class JsonAnswer(StreamTransfer):
    """One JSON answer on its way to one client. plan, lead: see `StreamSession`.

    A space goes out at once, and `receive_json`, `receive_refusal` or an error must follow.
    """

    # PROMISED ─► ANSWERED ─► TEXT. A refusal or an error leads from PROMISED to the end.
    #
    # 1. Spaces go out before the text, and never behind its first byte: inside it they could stand in a string.
    # 2. The text leaves as it came, less a byte order mark, which RFC 8259 section 8.1 forbids, and which no parser
    #    would take behind a space.
    # 3. The client gets one JSON text whole, or a broken end. The text is the upstream's, or, as long as the upstream
    #    has not answered, the error object of the dialect. Behind its head nothing is put in the place of its body:
    #    each end but the upstream's own is a broken one. A body that comes to nothing is what no body would have been.
    #
    # Hazards: a number has no end of its own: ``12`` of ``123`` is JSON, so rule 3 is held by the end of the body, and
    # not by what stands in it. A byte order mark that comes in pieces.

    __slots__ = ("_last_heard", "_lead", "_mark", "_plan", "_stage", "_status")

    def __init__(self, plan: StreamPlan, *, lead: float = 0.0, now: float) -> None:
        super().__init__(plan.timeouts, is_answer=True, now=now)
        self._plan = plan
        self._lead = lead
        self._stage = _Stage.PROMISED
        self._status = 200
        self._mark: bytes | None = b""  # bytes that may be a byte order mark; None behind the place where it may be
        self._last_heard = now
        self._beat(now=now)

    # Receiving from upstream.

    def receive_response(self, *, now: float) -> None:
        self.receive_json(now=now)

    def receive_json(self, *, status: int = 200, now: float) -> None:
        """The upstream has answered with JSON: its body is the answer."""
        self._stage, self._status = _Stage.ANSWERED, status
        self._last_received = now
        self.stats.heard(now=now)

    def receive_refusal(
        self,
        error: StreamError | None,
        reason: CloseReason = CloseReason.UPSTREAM_END,
        *,
        end_message: EndMessage | None = None,
        now: float,
    ) -> None:
        """The upstream has answered with something else: write the error object; ``null`` where there is nothing."""
        if self.close_reason is None:
            self._send(_NULL if error is None else error_object(self._plan.dialect, error))
            self.close(reason, clean=True, now=now)

    def receive_data(self, data: bytes, *, now: float) -> None:
        if self._stage is _Stage.TEXT:
            super().receive_data(data, now=now)
        elif self.close_reason is None and data:
            self.stats.received(len(data), now=now)
            self._last_received = now
            if self._mark is not None:
                data = self._mark + data
                if len(data) < len(BOM) and BOM.startswith(data):
                    self._mark = data
                    return
                data, self._mark = data.removeprefix(BOM), None
            self._pass_on(data, now)

    def receive_eof(self, *, now: float) -> None:
        if self._mark and self.close_reason is None:
            self._pass_on(self._mark, now)  # it was none
        if self._stage is _Stage.ANSWERED:
            # Its head said JSON, and nothing came: an app's 204 may do so, or chunks without any bytes.
            failed, detail = self._status >= 400, f"The upstream answered {self._status} without a body."
            error = StreamError("upstream_response", self._status, detail) if failed else None
            self.receive_refusal(error, now=now)
        super().receive_eof(now=now)

    def receive_error(self, reason: CloseReason, *, now: float) -> None:
        """Something broke, or has to end now: write the error object if the upstream has not answered."""
        end = row(reason)
        if self._stage is _Stage.PROMISED and end.last_word is LastWord.ERROR:
            self.receive_refusal(StreamError(reason, end.status, end.detail), reason, now=now)
        else:
            self.close(reason, clean=False, now=now)

    # Time.

    def resume_writing(self, *, now: float) -> None:
        super().resume_writing(now=now)
        self._last_heard = now

    def set_timers(self) -> None:
        super().set_timers()
        interval = None if self._stage is _Stage.TEXT else self._plan.heartbeat.interval
        self._timers.set(Timer.HEARTBEAT, None if interval is None else self._last_heard + interval - self._lead)
        if self._stage is _Stage.PROMISED:
            self._timers.stop(Timer.IDLE)

    def expire(self, timer: Timer, *, now: float) -> None:
        if timer is Timer.HEARTBEAT:
            self._beat(now=now)
        else:
            self.receive_error(WHEN_EXPIRED[timer], now=now)

    # Private.

    def _beat(self, *, now: float) -> None:
        self._last_heard = now
        if self.delivery.is_blocked:
            self.stats.skipped("backpressure")
            return
        self.stats.heartbeats += 1
        self.stats.heartbeats_before_response += self._stage is _Stage.PROMISED
        self._send(_SPACE)

    def _pass_on(self, data: bytes, now: float) -> None:
        """Let the next bytes of the body go, up to the first of its text."""
        if data:
            self._last_heard = now
            if data.strip(_WHITE_SPACE):
                self._stage = _Stage.TEXT
            self._send(data)


class JsonAnswers:
    """JSON that a client is promised (a `MediaKind`). A response is never one by itself."""

    media_types = (b"application/json",)

    def head(self, headers: Headers, *, decoded: bool) -> Headers:
        return event_stream(headers, decoded=decoded)

    def promised_head(self) -> Headers:
        return event_stream([(b"Content-Type", self.media_types[0])], decoded=False)

    def adapted(self, plan: StreamPlan) -> StreamPlan:
        return replace(plan, is_answer=True, comes_back=False, marker=None, is_declared=None)

    def new_session(
        self, plan: StreamPlan, *, end_message: EndMessage | None, responded: bool, lead: float, now: float
    ) -> JsonAnswer:
        return JsonAnswer(plan, lead=lead, now=now)


JSON_ANSWER = JsonAnswers()


def may_be_promised(method: str, fields: Mapping[bytes, Sequence[bytes]]) -> bool:
    """True if a request with these fields, by lower-case name, may be promised JSON, as far as its head can tell.

    Not one whose answer may be anything, or is its head: a preflight, a handshake.
    """
    is_asking = method not in WITHOUT_PROMISE and b"upgrade" not in fields
    return is_asking and admits_json(fields.get(b"accept", ()))


def may_be_the_answer(status: int) -> bool:
    """True if a JSON body with `status` is what the client has asked for, or says in JSON why it does not get that.

    Of a 206 it is a part, and what stands in a redirect or a 101 is no answer.
    """
    return (200 <= status < 300 and status != 206) or status >= 400
