"""Do observers hear of each response that opens, changes and ends, and is it in the list meanwhile?"""

import asyncio

import pytest

from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.live import LiveStream, LiveStreams
from sseproxy.engine.observer import ObservedStream, Observer, Observers, Phase
from sseproxy.engine.relay import Relay
from tests.support.silent_client import session_and_relay


class Notes(Observer):
    """What an observer hears, in its order."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int, Phase, CloseReason | None]] = []

    def _note(self, what: str, stream: ObservedStream) -> None:
        self.said.append((what, stream.id, stream.phase, stream.reason))

    def opened(self, stream: ObservedStream) -> None:
        self._note("opened", stream)

    def changed(self, stream: ObservedStream) -> None:
        self._note("changed", stream)

    def ended(self, stream: ObservedStream) -> None:
        self._note("ended", stream)


@pytest.fixture
def notes() -> Notes:
    return Notes()


def new_stream(phase: Phase = Phase.OPEN) -> LiveStream:
    plan = StreamPlan(dialect=Dialect.MCP)
    _, relay = session_and_relay(plan, now=0.0)
    return LiveStream("route", "192.0.2.1", relay, plan, phase)


async def test_a_stream_is_observed_from_its_promise_to_its_end(notes: Notes) -> None:
    streams = LiveStreams(observers=Observers([notes]))
    stream = new_stream(Phase.WAITING)
    streams.add(stream)
    assert list(streams) == [stream]
    streams.respond(stream)
    streams.respond(stream)
    streams.drain(now=asyncio.get_running_loop().time(), timeout=0.0, spread=0.0)
    assert isinstance(stream.relay, Relay)
    stream.relay.receive_eof()
    streams.remove(stream)
    streams.remove(stream)
    assert notes.said == [
        ("opened", 1, Phase.WAITING, None),
        ("changed", 1, Phase.OPEN, None),
        ("changed", 1, Phase.DRAINING, None),
        ("ended", 1, Phase.ENDED, CloseReason.UPSTREAM_END),
    ]
    assert list(streams) == []


async def test_each_stream_has_a_number_of_its_own(notes: Notes) -> None:
    streams = LiveStreams(observers=Observers([notes]))
    pair = new_stream(), new_stream()
    for stream in pair:
        streams.add(stream)
    assert [stream.id for stream in pair] == [1, 2]
    assert {stream.dialect for stream in streams} == {Dialect.MCP}


async def test_a_stream_that_begins_during_a_drain_drains(notes: Notes) -> None:
    streams = LiveStreams(observers=Observers([notes]))
    streams.drain(now=asyncio.get_running_loop().time(), timeout=5.0, spread=0.0)
    streams.add(new_stream())
    assert [said for said, *_ in notes.said] == ["opened", "changed"]


async def test_an_observer_that_fails_harms_no_stream_and_no_other_observer(notes: Notes) -> None:
    class Defect(Notes):
        def _note(self, what: str, stream: ObservedStream) -> None:
            raise RuntimeError("a defect")

    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    streams = LiveStreams(observers=Observers([Defect(), notes]))
    stream = new_stream(Phase.WAITING)
    streams.add(stream)
    streams.respond(stream)
    streams.remove(stream)
    assert [said for said, *_ in notes.said] == ["opened", "changed", "ended"]
    assert [str(context["exception"]) for context in reported] == ["a defect"] * 3


async def test_a_second_drain_changes_no_phase(notes: Notes) -> None:
    streams = LiveStreams(observers=Observers([notes]))
    streams.add(new_stream())
    for _ in range(2):
        streams.drain(now=asyncio.get_running_loop().time(), timeout=5.0, spread=0.0)
    assert [said for said, *_ in notes.said] == ["opened", "changed"]


async def test_one_stream_is_ended_and_no_other(notes: Notes) -> None:
    streams = LiveStreams(observers=Observers([notes]))
    pair = new_stream(), new_stream()
    for stream in pair:
        streams.add(stream)
    assert streams.kill(2)
    assert [stream.reason for stream in pair] == [None, CloseReason.KILLED]
    assert not streams.kill(2), "it has ended"
    assert not streams.kill(3)
