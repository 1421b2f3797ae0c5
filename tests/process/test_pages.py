"""Are the pages made anew for each question, once for all who ask, and do sums never fall?"""

import asyncio
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from sseproxy.core.stream.plan import StreamPlan
from sseproxy.engine.live import LiveStream, LiveStreams
from sseproxy.engine.metrics import StreamMetrics
from sseproxy.engine.observer import Observers
from sseproxy.process.dashboard.history import History
from sseproxy.process.knowledge import Knowledge
from sseproxy.process.pages import Killing, Pages, SharedWork
from sseproxy.process.siblings import Place, Siblings
from sseproxy.proxy.process_journal import ProcessJournal
from tests.support.silent_client import session_and_relay


async def test_all_who_ask_at_once_get_what_was_made_since() -> None:
    made: list[int] = []
    begun, go = asyncio.Event(), asyncio.Event()

    async def make() -> int:
        made.append(len(made))
        begun.set()
        await go.wait()
        return made[-1]

    work = SharedWork(make)
    first = asyncio.create_task(work.get())
    await begun.wait()
    others = [asyncio.create_task(work.get()) for _ in range(50)]
    impatient = asyncio.create_task(work.get())
    await asyncio.sleep(0)
    impatient.cancel()
    go.set()
    assert await first == 0
    assert await asyncio.gather(*others) == [1] * 50
    assert await work.get() == 2


async def test_one_that_fails_does_not_end_the_next() -> None:
    results = iter([ValueError("once"), None])

    async def make() -> str:
        if (error := next(results)) is not None:
            raise error
        return "made"

    work = SharedWork(make)
    found = await asyncio.gather(work.get(), return_exceptions=True)
    assert [type(each) for each in found] == [ValueError]
    assert await work.get() == "made"


async def test_a_page_is_written_once_for_all_scrapers_that_wait(tmp_path: Path) -> None:
    """Also by those that want another format."""
    pages = OneWorker(0, tmp_path).pages
    plain, open_metrics = "", "application/openmetrics-text; version=1.0.0"
    found = await asyncio.gather(*(pages.metrics(accept) for accept in (plain, open_metrics) * 50))
    assert len({id(page) for page, _ in found}) == 2
    assert {page.endswith(b"# EOF\n") for page, _ in found} == {False, True}


class OneWorker:
    """One of two workers, without a process around it."""

    def __init__(self, index: int, folder: Path) -> None:
        place = Place(index, 2, folder)
        self.streams = LiveStreams(observers=Observers())
        metrics = StreamMetrics(self.streams, ["route"])
        self.streams.observers.add(metrics)
        knowledge = Knowledge(self.streams, ProcessJournal(), metrics, History(), place, add_more=lambda _: None)
        self.siblings = Siblings(place, knowledge.answer)
        self.pages = Pages(place, self.siblings)

    def end_streams(self, count: int) -> None:
        for _ in range(count):
            session, relay = session_and_relay(StreamPlan(), now=0.0)
            stream = LiveStream("route", "192.0.2.1", relay, StreamPlan())
            self.streams.add(stream)
            session.receive_data(b"data: x\n\n", now=1.0)
            session.receive_eof(now=2.0)
            self.streams.remove(stream)

    async def scrape(self, name: str) -> dict[tuple[str, ...], float]:
        page, _ = await self.pages.metrics("")
        families = text_string_to_metric_families(page.decode())
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return {tuple(sample.labels.values()): sample.value for sample in samples}


async def test_a_sum_does_not_fall_when_a_worker_is_away_or_is_another_one(tmp_path: Path) -> None:
    """A counter that falls is taken for one that began anew, so that all of it would count as a rate."""
    one, another = OneWorker(0, tmp_path), OneWorker(1, tmp_path)
    await one.siblings.start()
    await another.siblings.start()
    one.end_streams(1)
    another.end_streams(10)
    assert await one.scrape("sseproxy_events_total") == {("route",): 11}
    assert await one.scrape("sseproxy_worker_up") == {("0",): 1, ("1",): 1}
    (tmp_path / "1.socket").unlink()
    assert await one.scrape("sseproxy_events_total") == {("route",): 11}
    assert await one.scrape("sseproxy_worker_up") == {("0",): 1, ("1",): 0}
    successor = OneWorker(1, tmp_path)
    await successor.siblings.start()
    successor.end_streams(2)
    assert await one.scrape("sseproxy_events_total") == {("route",): 13}
    assert await successor.scrape("sseproxy_stream_seconds_count") == {("route",): 13}
    assert await one.scrape("sseproxy_worker_up") == {("0",): 1, ("1",): 1}
    for worker in (one, another, successor):
        await worker.siblings.stop()


async def test_an_id_of_another_process_names_no_stream(tmp_path: Path) -> None:
    worker = OneWorker(0, tmp_path)
    _, relay = session_and_relay(StreamPlan(), now=0.0)
    worker.streams.add(LiveStream("route", "192.0.2.1", relay, StreamPlan()))
    for name in ("", "9", "0-0000-1", "0--1", "0-1", "7-aaaa-1", "x-aaaa-1", "0-aaaa-x", "-", "²-aaaa-1"):
        assert await worker.pages.kill(name) is Killing.UNKNOWN
    assert await worker.pages.kill("1-aaaa-1") is Killing.NO_ANSWER
    assert len(worker.streams) == 1
