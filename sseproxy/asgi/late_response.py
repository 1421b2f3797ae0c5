"""What does the app say at last, behind an early answer: a stream, JSON, or something that becomes an error event?"""

from enum import Enum, auto

from sseproxy.asgi.responses import FILES, body_of, fields_of, goes_on, is_coded, is_late_json, stream_kind
from sseproxy.asgi.types import Message
from sseproxy.core.http.fields import Headers, get
from sseproxy.core.limits import ERROR_BODY, REFUSAL_TIME
from sseproxy.core.stream.ends import row
from sseproxy.core.stream.error_events import StreamError
from sseproxy.core.stream.json_answer import JSON_ANSWER
from sseproxy.core.stream.kinds import MediaKind, is_of_a_kind
from sseproxy.core.stream.late_refusal import FinalMessage, LateRefusal, answered, late_refusal
from sseproxy.core.stream.transfer import CloseReason

#: How a stream ends whose app never responds: it returns, or raises; or its time is over.
_WITHOUT_RESPONSE = (CloseReason.UPSTREAM_END, CloseReason.RESPONSE_TIMEOUT)


class LateStep(Enum):
    """What a message of a late response asks for."""

    NOTHING = auto()
    PASS = auto()  # it goes to the server beside the stream
    STREAM = auto()  # a stream begins: its bytes follow
    JSON = auto()  # JSON begins: its bytes follow
    REFUSAL = auto()  # anything else begins, and is gathered here
    WHOLE = auto()  # the last of it has come
    FULL = auto()  # as much of it has come as is kept


# Strategy. The client has its 200 already, so a response that is no stream can only become an event. It is gathered
# until it is whole, or as much of it has come as an error event holds (`ERROR_BODY`); how long that may take is the
# responder's to limit. Nothing is sent here: each message leads to one step, which the responder takes.
#
# Rules
# 1. STREAM, JSON and REFUSAL come once, and exclude each other. Behind STREAM and JSON nothing is asked here any more.
# 2. A stream or JSON that failed (not 2xx) is a refusal, and so is anything with a content coding, which no heartbeat
#    can go into. Where JSON was promised, JSON that failed goes on as it is.
# 3. A file that a server would send by itself is not looked into; its error event has no body.


class LateResponse:
    """The response of an app whose client was promised a stream of `kind`.

    final_message: of the client, see `late_refusal`. refusal_time: seconds that a refusal may take.
    """

    refusal_time = REFUSAL_TIME

    def __init__(self, kind: MediaKind, final_message: FinalMessage | None = None) -> None:
        self._kind = kind
        self._final_message = final_message
        self._start: Message | None = None  # of a refusal
        self._body = bytearray()

    @property
    def is_refusal(self) -> bool:
        """True if a refusal has begun."""
        return self._start is not None

    def receive(self, message: Message) -> LateStep:
        """Take the app's next message. Raises `RuntimeError` for one that is out of place, as servers do."""
        is_start = message["type"] == "http.response.start"
        if self._start is not None:
            if is_start:
                goes_on(message, has_begun=True)  # raises
            return self._gather(message)
        if not is_start:
            return LateStep.PASS if goes_on(message, has_begun=False) else LateStep.NOTHING
        if stream_kind(message) is self._kind and 200 <= message["status"] < 300:
            return LateStep.STREAM
        if is_late_json(message, self._kind):
            return LateStep.JSON
        self._start = message
        if self._kind is JSON_ANSWER and is_of_a_kind(fields_of(message)):
            return LateStep.FULL  # the beginning of a stream says nothing, and its end may never come
        return LateStep.REFUSAL

    def _gather(self, message: Message) -> LateStep:
        if message["type"] == "http.response.body":
            body = body_of(message)
            is_full = len(self._body) + len(body) > ERROR_BODY
            self._body += body[: ERROR_BODY - len(self._body)]
            if is_full:
                return LateStep.FULL
        elif message["type"] not in FILES:
            return LateStep.NOTHING
        return LateStep.NOTHING if message.get("more_body", False) else LateStep.WHOLE

    def status_without_response(self, reason: CloseReason) -> int | None:
        """Return the status that an app is taken to have answered with that has not, for `reason`.

        ``None`` if there is none: streams may be ended by a drain, and a client that leaves asks for none.
        """
        end = row(reason)
        is_failure = self._kind is JSON_ANSWER or reason in _WITHOUT_RESPONSE
        return end.status if is_failure and not end.is_by_client else None

    def refusal(self, detail: str = "") -> LateRefusal:
        """Return what the client gets for the refusal; `detail` if the app has given none."""
        if self._start is None:
            return LateRefusal(StreamError("application_error", 500, detail))
        status: int = self._start["status"]
        headers: Headers = fields_of(self._start)
        retry_after = get(headers, b"retry-after")
        error = StreamError(
            type="upstream_response",
            status=status,
            detail=answered("The application", status, b"", headers),
            retry_after=None if retry_after is None else retry_after.decode("latin-1"),
            body=b"" if is_coded(headers) else bytes(self._body),
        )
        if self._kind is JSON_ANSWER:
            is_empty = 200 <= status < 300 and not self._body and not is_of_a_kind(headers) and not is_coded(headers)
            return LateRefusal(None if is_empty else error)
        return late_refusal(error, self._final_message)
