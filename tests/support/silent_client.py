"""What is the client's side of a body where a test looks at the other side only?"""

from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.engine.relay import Relay


class SilentClient:
    """Takes everything, and says nothing."""

    def write(self, data: bytes) -> None:
        pass

    def unsent(self) -> int:
        return 0

    def acknowledged(self) -> int | None:
        return None

    def finish(self) -> None:
        pass

    def abort(self) -> None:
        pass


def session_and_relay(plan: StreamPlan, *, now: float) -> tuple[StreamSession, Relay]:
    """Return a session, and the relay that drives it to a silent client. Must be called while the event loop runs."""
    session = StreamSession(plan, now=now)
    return session, Relay(session, SilentClient())
