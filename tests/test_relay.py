"""Does the relay move bytes at once, wake up only when it has to, and end exactly once?"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVarTuple

import pytest

from sseproxy.core.errors import UpstreamBroken
from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import CloseReason, Transfer
from sseproxy.engine.relay import Relay
from tests.support.playbook import error_of

Ts = TypeVarTuple("Ts")

BEAT = b": heartbeat\n"
EVENT = b"data: x\n\n"


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time passes only when a test says so. armed: when somebody wanted to be woken up."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__()
        self.armed: list[float] = []

    def time(self) -> float:
        return self.now

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self.armed.append(when - 1000.0)
        return super().call_at(when, callback, *args, context=context)

    async def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for _ in range(2):
            await asyncio.sleep(0)


class Client:
    """The downstream. holds: it takes nothing, and says so from within the call that gives it something."""

    def __init__(self) -> None:
        self.said: list[bytes | str] = []
        self.relay: Relay | None = None
        self.holds = False
        self.waiting = 0
        self.arrived: int | None = None
        self.leaves_when_aborted = False

    def write(self, data: bytes) -> None:
        self.said.append(data)
        if self.holds:
            was_empty = not self.waiting
            self.waiting += len(data)
            if was_empty and self.relay is not None:
                self.relay.pause_writing()

    def unsent(self) -> int:
        return self.waiting

    def acknowledged(self) -> int | None:
        return self.arrived

    def finish(self) -> None:
        self.said.append("finish")

    def abort(self) -> None:
        self.said.append("abort")
        if self.leaves_when_aborted and self.relay is not None:
            self.relay.stop(CloseReason.CLIENT_GONE)

    def take_all(self) -> None:
        self.waiting, self.holds = 0, False
        assert self.relay is not None
        self.relay.resume_writing()


class Source:
    """Where the body comes from."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")

    def abort(self) -> None:
        self.told.append("abort")


class Scene:
    """A relay between a client and a source, on a clock."""

    def __init__(
        self,
        clock: Clock,
        *,
        is_stream: bool = True,
        comes_back: bool = False,
        transfer: Transfer | None = None,
        **timeouts: Any,
    ) -> None:
        policy = TimeoutPolicy(**{"idle": None, "write": None, **timeouts})
        heartbeat = HeartbeatPolicy(interval=15.0, form=HeartbeatForm.COMMENT_LINE)
        now = clock.time()
        plan = StreamPlan(heartbeat=heartbeat, form=heartbeat.form, timeouts=policy, comes_back=comes_back)
        if transfer is None:
            transfer = StreamSession(plan, now=now) if is_stream else Transfer(policy, now=now)
        self.clock = clock
        self.client, self.source = Client(), Source()
        self.relay = Relay(transfer, self.client)
        self.client.relay = self.relay
        self.relay.start()
        self.relay.connect(self.source)

    def reason(self) -> CloseReason | None:
        return self.relay.ended.result() if self.relay.ended.done() else None


Test = Callable[[Clock], Coroutine[Any, Any, None]]


def on_a_clock(test: Test) -> Callable[[], None]:
    def run() -> None:
        clock = Clock()
        try:
            clock.run_until_complete(test(clock))
        finally:
            clock.close()

    run.__name__ = test.__name__
    return run


# Bytes.


@on_a_clock
async def test_bytes_leave_in_the_call_that_brought_them(clock: Clock) -> None:
    scene = Scene(clock)
    scene.relay.receive_data(EVENT)
    assert scene.client.said == [EVENT]


@on_a_clock
async def test_a_piece_that_completes_nothing_writes_nothing(clock: Clock) -> None:
    scene = Scene(clock)
    scene.relay.receive_data(b"data: ")
    assert scene.client.said == []
    scene.relay.receive_data(b"x\n")
    assert scene.client.said == [b"data: x\n"]


# Time.


@on_a_clock
async def test_the_timer_is_not_touched_by_bytes(clock: Clock) -> None:
    scene = Scene(clock, idle=60.0)
    for _ in range(100):
        scene.relay.receive_data(EVENT)
    assert clock.armed == [15.0]
    await clock.pass_time(10)
    scene.relay.receive_data(EVENT)
    await clock.pass_time(5)
    assert clock.armed == [15.0, 25.0]
    assert BEAT not in scene.client.said
    await clock.pass_time(10)
    assert scene.client.said[-1] == BEAT
    assert clock.armed == [15.0, 25.0, 40.0]


@on_a_clock
async def test_a_wake_up_that_comes_too_late_does_each_thing_once(clock: Clock) -> None:
    scene = Scene(clock)
    await clock.pass_time(100)
    assert scene.client.said == [BEAT]
    assert clock.armed[-1] == 115.0


@on_a_clock
async def test_the_earliest_deadline_counts(clock: Clock) -> None:
    scene = Scene(clock, idle=20.0, max_duration=17.0)
    assert clock.armed == [15.0]
    await clock.pass_time(15)
    assert clock.armed == [15.0, 17.0]
    await clock.pass_time(2)
    assert scene.reason() is CloseReason.MAX_DURATION


@on_a_clock
async def test_a_drain_brings_the_wake_up_forward(clock: Clock) -> None:
    scene = Scene(clock, comes_back=True)
    scene.relay.receive_data(EVENT)
    scene.relay.drain(at=clock.time() + 2, deadline=clock.time() + 5)
    assert clock.armed == [15.0, 2.0]
    await clock.pass_time(2)
    assert (scene.reason(), scene.client.said[-1]) == (CloseReason.DRAIN, "finish")


@on_a_clock
async def test_a_drain_inside_an_event_waits_for_its_end_or_the_deadline(clock: Clock) -> None:
    scene = Scene(clock, comes_back=True)
    scene.relay.receive_data(b"data: x\n")
    scene.relay.drain(at=clock.time() + 2, deadline=clock.time() + 5)
    await clock.pass_time(2)
    assert scene.reason() is None
    assert clock.armed[-1] == 5.0
    await clock.pass_time(3)
    assert (scene.reason(), scene.client.said[-1]) == (CloseReason.DRAIN, "abort")


@on_a_clock
async def test_without_any_deadline_nothing_is_armed(clock: Clock) -> None:
    scene = Scene(clock, is_stream=False)
    scene.relay.receive_data(b"x")
    assert clock.armed == []


@on_a_clock
async def test_an_ended_relay_leaves_no_timer(clock: Clock) -> None:
    scene = Scene(clock)
    scene.relay.receive_eof()
    said = list(scene.client.said)
    await clock.pass_time(1000)
    scene.relay.drain(at=clock.time(), deadline=clock.time())
    await clock.pass_time(1000)
    assert scene.client.said == said == ["finish"]
    assert clock.armed == [15.0]


# A client that does not keep up.


@on_a_clock
async def test_a_client_that_holds_stops_the_source(clock: Clock) -> None:
    scene = Scene(clock)
    scene.client.holds = True
    scene.relay.receive_data(EVENT)
    assert scene.source.told == ["pause"]
    await clock.pass_time(50)
    assert scene.client.said == [EVENT]  # no heartbeat behind bytes that nobody takes
    scene.client.take_all()
    assert scene.source.told == ["pause", "resume"]
    await clock.pass_time(15)
    assert scene.client.said[-1] == BEAT


@on_a_clock
async def test_a_source_that_comes_late_is_stopped_too(clock: Clock) -> None:
    scene = Scene(clock)
    scene.relay.pause_writing()
    late = Source()
    scene.relay.connect(late)
    assert late.told == ["pause"]


@on_a_clock
async def test_a_heartbeat_may_be_what_fills_the_client(clock: Clock) -> None:
    scene = Scene(clock, write=8.0)
    scene.client.holds = True
    await clock.pass_time(15)
    assert scene.client.said == [BEAT]
    assert scene.source.told == ["pause"]
    for _ in range(9):
        await clock.pass_time(1)
    assert scene.reason() is CloseReason.CLIENT_STALLED


@on_a_clock
async def test_a_client_that_takes_nothing_is_cut_off_in_time(clock: Clock) -> None:
    scene = Scene(clock, write=8.0)
    scene.client.holds = True
    scene.relay.receive_data(EVENT)
    for _ in range(7):
        await clock.pass_time(1)
    assert scene.reason() is None
    await clock.pass_time(1)
    assert (scene.reason(), scene.client.said[-1]) == (CloseReason.CLIENT_STALLED, "abort")
    assert scene.source.told == ["pause", "abort"]


@on_a_clock
async def test_a_client_that_acknowledges_nothing_is_cut_off(clock: Clock) -> None:
    """It would still take what it is sent, as far as anybody here can see. It may never have acknowledged anything."""
    scene = Scene(clock, write=8.0)
    scene.client.arrived = 0
    scene.relay.receive_data(EVENT)
    for _ in range(15):
        await clock.pass_time(1)
    assert scene.reason() is None
    await clock.pass_time(1)
    assert (scene.reason(), scene.client.said) == (CloseReason.CLIENT_STALLED, [EVENT, BEAT, "abort"])
    assert scene.source.told == ["abort"]


@on_a_clock
async def test_a_client_that_has_vanished_gets_no_last_words_of_another_end(clock: Clock) -> None:
    """Both ends fall due at the same time: the upstream has been silent for just as long."""
    scene = Scene(clock, write=8.0, idle=16.0)
    scene.client.arrived = 0
    scene.relay.receive_data(EVENT)
    for _ in range(16):
        await clock.pass_time(1)
    assert (scene.reason(), scene.client.said[-1]) == (CloseReason.CLIENT_STALLED, "abort")
    assert not any(isinstance(said, bytes) and b"event: error" in said for said in scene.client.said)


@on_a_clock
async def test_a_client_that_acknowledges_late_is_not_cut_off(clock: Clock) -> None:
    """At every look there is something on its way, but not the same."""
    scene = Scene(clock, write=8.0)
    for second in range(50):
        scene.client.arrived = second // 7
        await clock.pass_time(1)
    assert scene.reason() is None


@on_a_clock
async def test_what_is_acknowledged_between_two_looks_is_forgotten(clock: Clock) -> None:
    scene = Scene(clock, write=8.0)
    for _ in range(10):
        scene.client.arrived = 100
        await clock.pass_time(8)
        scene.client.arrived = None
        await clock.pass_time(8)
    assert scene.reason() is None


@on_a_clock
async def test_nobody_looks_without_a_limit(clock: Clock) -> None:
    scene = Scene(clock)
    scene.client.arrived = 100
    await clock.pass_time(1000)
    assert scene.reason() is None


@on_a_clock
async def test_a_client_that_takes_a_little_is_not_cut_off(clock: Clock) -> None:
    scene = Scene(clock, write=8.0)
    scene.client.holds = True
    scene.relay.receive_data(EVENT * 100)
    for _ in range(50):
        scene.client.waiting -= 1
        await clock.pass_time(5)
    assert scene.reason() is None


@on_a_clock
async def test_the_upstream_s_silence_does_not_count_while_nobody_listens_to_it(clock: Clock) -> None:
    scene = Scene(clock, idle=20.0)
    scene.client.holds = True
    scene.relay.receive_data(EVENT)
    for _ in range(10):
        await clock.pass_time(10)
    scene.client.take_all()
    await clock.pass_time(19)
    assert scene.reason() is None
    await clock.pass_time(1)
    assert scene.reason() is CloseReason.IDLE_TIMEOUT


@on_a_clock
async def test_the_upstream_s_silence_counts_again_although_the_clock_was_read_meanwhile(clock: Clock) -> None:
    """Read while the client is behind, the clock has no idle timeout in it, and here no other timer."""
    scene = Scene(clock, is_stream=False, idle=10.0)
    scene.client.holds = True
    scene.relay.receive_data(b"x")
    await clock.pass_time(30.0)
    scene.client.take_all()
    await clock.pass_time(10.0)
    assert scene.reason() is CloseReason.IDLE_TIMEOUT


# The end.


def _error() -> UpstreamBroken:
    return UpstreamBroken("broken", proxy_status="connection_terminated")


TOLD = error_of(CloseReason.UPSTREAM_ERROR)

_ENDS: list[tuple[Callable[[Relay], None], CloseReason, list[bytes | str]]] = [
    (lambda relay: relay.receive_eof(), CloseReason.UPSTREAM_END, ["finish"]),
    (lambda relay: relay.receive_error(_error()), CloseReason.UPSTREAM_ERROR, [TOLD, "abort"]),
    (lambda relay: relay.stop(CloseReason.CLIENT_GONE), CloseReason.CLIENT_GONE, ["abort"]),
]


@pytest.mark.parametrize("second", _ENDS)
@pytest.mark.parametrize("first", _ENDS)
def test_the_first_end_counts_and_is_the_only_one(
    first: tuple[Callable[[Relay], None], CloseReason, list[bytes | str]],
    second: tuple[Callable[[Relay], None], CloseReason, list[bytes | str]],
) -> None:
    @on_a_clock
    async def run(clock: Clock) -> None:
        scene = Scene(clock)
        end, reason, said = first
        end(scene.relay)
        second[0](scene.relay)
        scene.relay.receive_data(EVENT)
        scene.relay.pause_writing()
        scene.relay.resume_writing()
        await clock.pass_time(100)
        assert scene.reason() is reason
        assert scene.client.said == said
        assert [told for told in scene.source.told if told != "pause"] == ["abort"]

    run()


@on_a_clock
async def test_a_client_that_leaves_from_within_its_own_end(clock: Clock) -> None:
    scene = Scene(clock)
    scene.client.leaves_when_aborted = True
    scene.relay.receive_error(_error())
    assert scene.client.said == [TOLD, "abort"]
    assert scene.reason() is CloseReason.UPSTREAM_ERROR


@on_a_clock
async def test_the_last_bytes_fill_the_client_in_the_call_that_ends_the_stream(clock: Clock) -> None:
    scene = Scene(clock, write=8.0)
    scene.client.holds = True
    scene.relay.receive_data(b"data: x")
    scene.relay.receive_eof()
    assert scene.client.said == [b"data: x", "finish"]
    scene.client.take_all()
    assert scene.reason() is CloseReason.UPSTREAM_END
    assert "resume" not in scene.source.told


@on_a_clock
async def test_a_source_that_comes_after_the_end_is_closed(clock: Clock) -> None:
    scene = Scene(clock)
    scene.relay.stop(CloseReason.CLIENT_GONE)
    late = Source()
    scene.relay.connect(late)
    assert late.told == ["abort"]


@on_a_clock
async def test_what_is_held_back_is_sent_at_a_clean_end_and_dropped_at_any_other(clock: Clock) -> None:
    whole, broken = Scene(clock), Scene(clock)
    for scene in (whole, broken):
        scene.relay.receive_data(b"data: unfinished")
    whole.relay.receive_eof()
    broken.relay.receive_error(_error())
    assert whole.client.said == [b"data: unfinished", "finish"]
    assert broken.client.said == [TOLD, "abort"]


# A defect of ours.


class Defective(StreamSession):
    """Fails in what it is asked for. also_at_its_end: and in its last words."""

    def __init__(self, fails_in: str, *, also_at_its_end: bool = False, now: float) -> None:
        heartbeat = HeartbeatPolicy(interval=15.0, form=HeartbeatForm.COMMENT_LINE)
        super().__init__(StreamPlan(heartbeat=heartbeat, form=heartbeat.form), now=now)
        self.fails_in = fails_in
        self.also_at_its_end = also_at_its_end

    def forward(self, data: bytes, now: float, *, cut: bool = True) -> bytes:
        self._fail_in("forward")
        return super().forward(data, now, cut=cut)

    def receive_eof(self, *, now: float) -> None:
        self._fail_in("receive_eof")
        super().receive_eof(now=now)

    def receive_error(self, reason: CloseReason, *, now: float) -> None:
        if self.also_at_its_end:
            raise RuntimeError("a defect of last words")
        super().receive_error(reason, now=now)

    def handle_timeout(self, *, now: float) -> None:
        self._fail_in("handle_timeout")
        super().handle_timeout(now=now)

    def stop(self, reason: CloseReason, *, now: float) -> None:
        self._fail_in("stop")
        super().stop(reason, now=now)

    def drain(self, *, at: float | None, deadline: float | None, retry: int | None = None) -> None:
        self._fail_in("drain")
        super().drain(at=at, deadline=deadline, retry=retry)

    def _fail_in(self, call: str) -> None:
        if call == self.fails_in:
            raise RuntimeError("a defect")


@pytest.mark.parametrize("also_at_its_end", [False, True])
@pytest.mark.parametrize("call", ["forward", "receive_eof", "stop", "drain", "handle_timeout"])
def test_a_defect_ends_the_stream_and_is_reported(call: str, also_at_its_end: bool) -> None:
    """The event loop would only log it: the client would wait for ever, or the upstream would have the blame."""

    @on_a_clock
    async def run(clock: Clock) -> None:
        seen: list[str] = []
        clock.set_exception_handler(lambda _, context: seen.append(str(context["exception"])))
        scene = Scene(clock, transfer=Defective(call, also_at_its_end=also_at_its_end, now=clock.time()))
        if call == "forward":
            scene.relay.receive_data(EVENT)
        elif call == "receive_eof":
            scene.relay.receive_eof()
        elif call == "stop":
            scene.relay.stop_soon(CloseReason.STOPPED)
        elif call == "drain":
            scene.relay.drain(at=None, deadline=None)
        else:
            await clock.pass_time(15)
        defects = ["a defect", "a defect of last words"] if also_at_its_end else ["a defect"]
        told = [] if also_at_its_end else [error_of(CloseReason.INTERNAL_ERROR)]
        assert scene.client.said == [*told, "abort"]
        assert (scene.reason(), scene.source.told, seen) == (CloseReason.INTERNAL_ERROR, ["abort"], defects)
        await clock.pass_time(1000)
        assert scene.client.said == [*told, "abort"]

    run()
