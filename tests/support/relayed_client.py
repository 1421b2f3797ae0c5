"""What does a client get of a room, by way of a relay and a session?"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sseproxy.core.journal.cursor import Flavour
from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.engine.relay import Relay
from sseproxy.journal.reader import Reader
from tests.support.journal_sink import IDS, Room


class RelayedClient:
    """A reader of a room with a relay and a session. within: what happens in the middle of the next write."""

    def __init__(self, room: Room, flavour: Flavour, form: HeartbeatForm = HeartbeatForm.AUTO) -> None:
        heartbeat = HeartbeatPolicy(interval=7.0, form=form)
        plan = StreamPlan(heartbeat=heartbeat, form=form, timeouts=TimeoutPolicy(idle=60.0, write=30.0))
        self.out = b""
        self.end = ""
        self.is_blocked = False
        self.within: Callable[[], None] | None = None
        self.relay = Relay(StreamSession(plan, now=room.loop.time()), self)
        reader = Reader(self.relay, flavour, room.loop, has_primer=flavour is IDS)
        reader.place(room.fanout).begin(room.window.top)
        self.reader = reader
        self.relay.connect(reader)
        self.relay.start()

    def write(self, data: bytes) -> None:
        assert data
        assert not self.end
        self.out += data
        within, self.within = self.within, None
        if within is not None:
            within()

    def block(self) -> None:
        if not self.is_blocked and not self.end:
            self.is_blocked = True
            self.relay.pause_writing()

    def take(self) -> None:
        if self.is_blocked:
            self.is_blocked = False
            self.relay.resume_writing()

    def unsent(self) -> int:
        return int(self.is_blocked)

    def acknowledged(self) -> int | None:
        return None

    def finish(self) -> None:
        self.end = "finish"

    def abort(self) -> None:
        self.end = "abort"

    def let_go(self) -> None:
        """Break the circle of client and relay, which a server breaks at the end of a response."""
        del self.relay, self.reader

    def seen(self) -> dict[str, Any]:
        return {**asdict(self.relay.stats), "out": self.out, "end": self.end, "reason": self.relay.close_reason}
