"""Does a reader feed a relay as any other source does?"""

import asyncio

from sseproxy.core.errors import ReaderBehind
from sseproxy.core.journal.cursor import PLAIN, Flavour
from sseproxy.core.journal.window import CHANNEL
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.relay import Relay
from sseproxy.journal.reader import Reader
from tests.support.journal_sink import IDS, Room
from tests.support.whatwg import parse


class Client:
    """A downstream that takes `room` bytes, then blocks within `write`."""

    def __init__(self, room: int = 2**30) -> None:
        self.relay: Relay | None = None
        self.out = b""
        self.room = room
        self.end = ""

    def write(self, data: bytes) -> None:
        self.out += data
        if len(self.out) > self.room and self.relay is not None:
            self.relay.pause_writing()

    def take(self) -> None:
        self.room = len(self.out)
        assert self.relay is not None
        self.relay.resume_writing()

    def unsent(self) -> int:
        return 1 if len(self.out) > self.room else 0

    def acknowledged(self) -> int | None:
        return None

    def finish(self) -> None:
        self.end = "finish"

    def abort(self) -> None:
        self.end = "abort"


def connected(room: Room, client: Client, flavour: Flavour = IDS) -> Relay:
    plan = StreamPlan(heartbeat=HeartbeatPolicy(interval=15.0), timeouts=TimeoutPolicy(idle=None, write=None))
    relay = client.relay = Relay(StreamSession(plan, now=room.loop.time()), client)
    reader = Reader(relay, flavour, room.loop, has_primer=flavour is IDS)
    reader.place(room.fanout).begin(room.window.top)
    relay.connect(reader)
    relay.start()
    return relay


async def test_events_and_heartbeats() -> None:
    room, client = Room(), Client()
    relay = connected(room, client)
    await room.idle()
    room.publish()
    await asyncio.sleep(20)
    room.publish()
    assert relay.stats.heartbeats == 1
    assert [(event.data, event.last_event_id) for event in parse(client.out).events] == [("1", "0-1"), ("2", "0-2")]
    relay.connection_lost()
    assert len(room.fanout) == 0


async def test_a_client_that_blocks_within_each_write() -> None:
    room, client = Room(chunk=40), Client(room=0)
    relay = connected(room, client)
    await room.idle()
    for _ in range(10):
        room.publish(5)
    assert client.out.count(b"data:") == 0
    while client.out.count(b"data:") < 50:
        before = len(client.out)
        client.take()
        await room.idle()
        assert before < len(client.out) < before + 100
    assert [event.last_event_id for event in parse(client.out).events] == [f"0-{number + 1}" for number in range(50)]
    relay.stop(CloseReason.STOPPED)
    assert len(room.fanout) == 0


async def test_a_client_that_is_behind_is_broken_off() -> None:
    room, client = Room(CHANNEL), Client(room=0)
    relay = connected(room, client, PLAIN)
    await room.idle()
    for _ in range(30):
        room.publish(size=40_000)
    assert relay.ended.result() is CloseReason.BEHIND
    assert isinstance(relay.error, ReaderBehind)
    assert client.end == "abort"
    assert parse(client.out).events[-1].type == "message"
    assert len(room.fanout) == 0
