"""How does a test make sseproxy itself fail in the middle of a stream?"""

from typing import Any

from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.error_events import StreamError
from sseproxy.core.stream.kinds import EVENT_STREAM, MediaKind
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.transfer import CloseReason, StreamTransfer
from sseproxy.engine.live import LiveStreams

WORDS = "a defect of sseproxy"

#: What a session is asked for when the app goes on with its stream, and when it answers at last.
IN_THE_STREAM = ("forward", "receive_eof", "handle_timeout")
LATE = ("receive_response", "receive_json", "receive_refusal")


class DefectiveStreams(LiveStreams):
    """Streams that fail in one of the calls above. Otherwise as those of `on_time`."""

    def __init__(self, fails_in: str) -> None:
        super().__init__(chance=lambda: 0.0, linger=0.0)
        self._fails_in = fails_in

    def new_session(
        self,
        plan: StreamPlan,
        *,
        kind: MediaKind = EVENT_STREAM,
        end_message: EndMessage | None = None,
        responded: bool,
        now: float,
    ) -> StreamTransfer:
        session = _Defective(plan, end_message=end_message, responded=responded, now=now)
        session.fails_in = self._fails_in
        return session


class _Defective(StreamSession):
    fails_in: str

    def forward(self, data: bytes, now: float, *, cut: bool = True) -> bytes:
        self._fail_in("forward")
        return super().forward(data, now, cut=cut)

    def receive_eof(self, *, now: float) -> None:
        self._fail_in("receive_eof")
        super().receive_eof(now=now)

    def handle_timeout(self, *, now: float) -> None:
        self._fail_in("handle_timeout")
        super().handle_timeout(now=now)

    def receive_response(self, *, now: float) -> None:
        self._fail_in("receive_response")
        super().receive_response(now=now)

    def receive_json(self, *, status: int = 200, now: float) -> None:
        self._fail_in("receive_json")
        super().receive_json(status=status, now=now)

    def receive_refusal(
        self, error: StreamError | None, reason: CloseReason = CloseReason.UPSTREAM_END, **options: Any
    ) -> None:
        self._fail_in("receive_refusal")
        super().receive_refusal(error, reason, **options)

    def _fail_in(self, call: str) -> None:
        if call == self.fails_in:
            raise RuntimeError(WORDS)
