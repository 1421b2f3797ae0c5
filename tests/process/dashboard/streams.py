"""How does a test have open streams that have heard what it wants, without a connection?"""

import asyncio

from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.live import LiveStream, LiveStreams
from sseproxy.engine.observer import AccessRecord, Observers
from sseproxy.process.dashboard.history import History
from tests.support.silent_client import session_and_relay

PLAN = StreamPlan()
EVENT = b"data: x\n\n"


class Streams:
    """The live streams of one worker and their history. clock: of the history, in seconds."""

    def __init__(self) -> None:
        self.clock = 1000.0
        self.history = History(clock=lambda: self.clock)
        self.live = LiveStreams(observers=Observers([self.history]))

    def open(
        self,
        route: str = "chat",
        *,
        peer: str = "192.0.2.1",
        target: str = "/a",
        silence: float = 0.0,
        events: int = 0,
        plan: StreamPlan | None = PLAN,
    ) -> LiveStream:
        """Open one whose service has been silent for so many seconds."""
        at = asyncio.get_running_loop().time() - silence
        session, relay = session_and_relay(plan or PLAN, now=at)
        stream = LiveStream(route, peer, relay, plan, record=AccessRecord(peer, "GET", target, at))
        self.live.add(stream)
        if events:
            session.receive_data(EVENT * events, now=at)
        return stream

    def end(self, stream: LiveStream, reason: CloseReason = CloseReason.UPSTREAM_END) -> None:
        """End one."""
        stream.relay.stop(reason)
        self.live.remove(stream)
