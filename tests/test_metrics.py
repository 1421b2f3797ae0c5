"""Are streams counted once, and does no figure fall while many are added up?"""

import asyncio

from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.transfer import Transfer
from sseproxy.engine.live import LiveStream, LiveStreams
from sseproxy.engine.metrics import StreamMetrics
from sseproxy.engine.observer import AccessRecord, Observers
from sseproxy.engine.relay import Relay
from sseproxy.metrics import table
from sseproxy.metrics.table import Metric
from tests.support.silent_client import session_and_relay

PLAN = StreamPlan(dialect=Dialect.GENERIC)
MANY = 1000


def transfer_of(stream: LiveStream) -> Transfer:
    assert isinstance(stream.relay, Relay)
    return stream.relay.transfer


class Counted:
    """Streams, each with one event, and what is counted about them."""

    def __init__(self, count: int = 0) -> None:
        self.live = LiveStreams(observers=Observers())
        self.metrics = StreamMetrics(self.live, ["route"])
        self.live.observers.add(self.metrics)
        self.all = [self.begin() for _ in range(count)]

    def begin(self) -> LiveStream:
        session, relay = session_and_relay(PLAN, now=10.0)
        stream = LiveStream("route", "192.0.2.1", relay, PLAN, record=AccessRecord("192.0.2.1", "GET", "/", 7.0))
        self.live.add(stream)
        session.receive_data(b"data: x\n\n", now=11.0)
        return stream

    def end(self, stream: LiveStream) -> None:
        transfer_of(stream).receive_eof(now=100.0)
        self.live.remove(stream)

    async def count(self, metric: Metric) -> float:
        return (await self.metrics.figures()).values.get((metric, ("route",)), 0)


async def test_streams_that_end_while_all_are_added_up_are_counted_once() -> None:
    counted = Counted(MANY)

    async def end_all() -> None:
        for number, stream in enumerate(counted.all):
            counted.end(stream)
            if number % 100 == 0:
                await asyncio.sleep(0)

    ending = asyncio.create_task(end_all())
    seen = []
    while not ending.done():
        seen.append(await counted.count(table.EVENTS))
        await asyncio.sleep(0)
    assert len(seen) > 1
    assert set(seen) == {MANY}
    assert await counted.count(table.EVENTS) == MANY


async def test_the_times_of_a_stream_begin_with_its_request() -> None:
    counted = Counted(1)
    counted.end(counted.all[0])
    found = (await counted.metrics.figures()).histograms
    assert found[table.STREAM_SECONDS, ("route",)].sum == 93
    assert found[table.FIRST_BYTE_SECONDS, ("route",)].sum == 4
    assert found[table.LONGEST_SILENCE_SECONDS, ("route",)].sum == 89


async def test_a_stream_that_lingers_behind_its_end_is_not_open() -> None:
    counted = Counted(2)
    transfer_of(counted.all[0]).receive_eof(now=100.0)
    values = (await counted.metrics.figures()).values
    assert values[table.STREAMS_OPEN, ("route", "open")] == 1
    assert values[table.EVENTS, ("route",)] == 2


async def test_codes_are_bounded_whatever_upstreams_invent() -> None:
    counted = Counted()
    for status in (None, *range(100, 1000)):
        counted.metrics.answered(AccessRecord("peer", "GET", f"/{status}", 0.0, route="route", status=status))
    codes = {labels[1] for metric, labels in (await counted.metrics.figures()).values if metric is table.REQUESTS}
    assert {"none", "200", "404", "2xx", "9xx"} <= codes
    assert len(codes) < 80
