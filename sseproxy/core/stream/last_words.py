"""What is written before a stream ends, where may it be written, and is the end a clean one?"""

from sseproxy.core.stream.dialects import Finality
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.ends import End, LastWord, decide
from sseproxy.core.stream.error_events import StreamError, error_event
from sseproxy.core.stream.event_reader import EventReader
from sseproxy.core.stream.events import comment, reconnection_time
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.scanner import Position, Scanner
from sseproxy.core.stream.transfer import CloseReason

#: Milliseconds: what a client that comes back by itself waits at least.
RECONNECT_AT_LEAST = 1000


class LastWords:
    """Decides how one stream can end where it stands.

    end_message: for a clean end of the upstream. scanner, events: follow what has left for the client. lead: seconds,
    another for each stream; retry: milliseconds that a client which comes back by itself is asked to wait. position: of
    the end, which an error event has for its id.
    """

    __slots__ = ("_end_message", "_events", "_plan", "_scanner", "position", "retry")

    def __init__(
        self,
        plan: StreamPlan,
        end_message: EndMessage | None,
        scanner: Scanner,
        events: EventReader,
        *,
        lead: float,
    ) -> None:
        self._plan = plan
        self._end_message = end_message
        self._scanner = scanner
        self._events = events
        self.position = b""
        self.retry = RECONNECT_AT_LEAST + int(lead * 1000)

    @property
    def is_between_events(self) -> bool:
        """True if nothing of an event is under way, whether there is a blank line behind the last one or not."""
        return self._scanner.position is not Position.MID_LINE and self._events.is_void

    def finality(self, heard_at: float) -> Finality:
        """Return what the last event says about the end, if nothing of another one has left after it.

        heard_at: when the upstream sent its last byte.
        """
        if not self.is_between_events:
            return Finality.NONE
        self._events.settle(heard_at)
        return self._plan.finality(self._events.name, self._events.data)

    def is_over(self, heard_at: float) -> bool:
        return self.finality(heard_at) is Finality.TERMINAL

    def is_terminal(self, heard_at: float) -> bool:
        return self.finality(heard_at) is Finality.TERMINAL

    def last_at(self, heard_at: float) -> float:
        self._events.settle(heard_at)
        return self._events.at

    def end(self, reason: CloseReason, heard_at: float) -> End:
        """Return how the stream ends here and now, for `reason`; see `decide`."""
        last, comes_back = self.finality(heard_at), self._plan.comes_back
        return decide(reason, last, is_between_events=self.is_between_events, comes_back=comes_back)

    def write(self, end: End, heard_at: float) -> bytes:
        """Return what is written before `end`; often nothing."""
        match end.last_word:
            case LastWord.END_MESSAGE if self._end_message is not None and self.is_between_events:
                # Inside an event nothing can be said: it would end the event, which the client must not see.
                is_meant = not self._plan.only_marker or self.finality(heard_at) is Finality.TERMINAL
                return self._end_message.write(eol=self._scanner.eol) if is_meant else b""
            case LastWord.COMMENT:
                return self._comment(end.reason)
            case LastWord.RETRY if self._plan.takes_retry:
                return reconnection_time(self.retry, eol=self._scanner.eol)
            case LastWord.ERROR:
                return self.write_error(StreamError(end.reason, end.status, end.detail))
        return b""

    def write_error(self, error: StreamError) -> bytes:
        """Return the dialect's error event; a comment where the dialect has none for this request."""
        plan = self._plan
        event = error_event(plan.dialect, error, request_id=plan.request_id, eol=self._scanner.eol)
        if event and self.position:
            event = b"id: " + self.position + self._scanner.eol + event
        return event or self._comment(error.type)

    def _comment(self, reason: str) -> bytes:
        """Return a comment where one is allowed: not inside a line, nor to clients that reject comments."""
        is_allowed = self._scanner.position is not Position.MID_LINE and self._plan.takes_comments
        return comment(reason, eol=self._scanner.eol) if is_allowed else b""
