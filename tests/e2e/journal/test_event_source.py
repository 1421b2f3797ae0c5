"""Do pages with `EventSource` share one upstream, and miss nothing when their own connection or the upstream breaks?"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.e2e.journal.stand import MODULES, Stand, stand
from tests.support.async_peer import AsyncPeer
from tests.support.browser import chromium, wait_for
from tests.support.nemesis import Nemesis
from tests.support.settled import eventually
from tests.support.whatwg import EventStreamParser

READERS = 200

_PAGE = """<!doctype html><link rel=icon href="data:,">
<script src="/lib/event-source-polyfill/src/eventsource.js"></script>
<script>
const heard = [];
let opened = 0;
const source = new SOURCE("/feed");
source.onopen = () => { opened += 1; };
source.onmessage = ({ data }) => heard.push(data);
source.addEventListener("gap", ({ data }) => heard.push(`gap: ${JSON.parse(data).reason}`));
source.onerror = () => { if (source.readyState === 2) heard.push("closed"); };
</script>"""


@pytest.fixture
def on(tmp_path: Path) -> Iterator[Stand]:
    with stand(tmp_path, folders={"/lib": MODULES}) as on:
        on.service.pages["/EventSource"] = _PAGE.replace("SOURCE", "EventSource")
        on.service.pages["/polyfill"] = _PAGE.replace("SOURCE", "EventSourcePolyfill")
        yield on


@pytest.fixture
def driver() -> Iterator[Chrome]:
    with chromium() as driver:
        yield driver


def hears(driver: Chrome, *wanted: str) -> None:
    """Wait until the page has heard so much. AssertionError: it is not exactly that."""
    wait_for(driver, lambda _: len(driver.execute_script("return heard")) >= len(wanted))
    assert driver.execute_script("return heard") == list(wanted)


def opens(driver: Chrome, times: int) -> None:
    wait_for(driver, lambda _: driver.execute_script("return opened") >= times)


@contextlib.asynccontextmanager
async def reader(port: int) -> AsyncIterator[EventStreamParser]:
    """A client that reads the feed as a browser would, from its head on."""
    parser = EventStreamParser()
    async with AsyncPeer.connect(port) as peer:
        # The host is part of the stream's name.
        fields = (f"Host: 127.0.0.1:{port}", "Accept: text/event-stream", "Cache-Control: no-cache", "", "")
        await peer.send("\r\n".join(("GET /feed HTTP/1.1", *fields)).encode())
        assert (await peer.head()).status == 200

        async def listen() -> None:
            while data := await peer.chunk():
                parser.feed(data)

        task = asyncio.create_task(listen())
        try:
            yield parser
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_all_share_one_upstream_and_its_restart_is_a_pause(on: Stand, driver: Chrome) -> None:
    async with contextlib.AsyncExitStack() as exits:
        first = asyncio.create_task(exits.enter_async_context(reader(on.port)))
        (await asyncio.to_thread(on.service.call)).begin()
        readers = [await first, *[await exits.enter_async_context(reader(on.port)) for _ in range(READERS)]]
        await asyncio.to_thread(driver.get, f"{on.url}/EventSource")
        await asyncio.to_thread(opens, driver, 1)
        on.service.call().say("one")
        await asyncio.to_thread(hears, driver, "one")
        await eventually(lambda: all([event.data for event in each.events] == ["one"] for each in readers))
        assert len(on.service.calls) == 1
        on.service.call().break_off()
        again = await asyncio.to_thread(on.service.call, 1)
        again.begin()
        again.say("two")
        await asyncio.to_thread(hears, driver, "one", "gap: upstream", "two")
        await eventually(lambda: all(len(each.events) == 3 for each in readers))
        assert {tuple(event.type for event in each.events) for each in readers} == {("message", "gap", "message")}
        assert len(on.service.calls) == 2


def test_a_service_that_resumes_is_no_gap(on: Stand, driver: Chrome) -> None:
    driver.get(f"{on.url}/EventSource")
    call = on.service.call()
    call.begin()
    call.send("id: 7\ndata: seven\n\n")
    hears(driver, "seven")
    call.break_off()
    again = on.service.call(1)
    assert again.fields["Last-Event-ID"] == "7"
    again.begin()
    again.send("id: 8\ndata: eight\n\n")
    hears(driver, "seven", "eight")


@pytest.mark.parametrize("page", ["EventSource", "polyfill"])
async def test_a_break_of_the_network_loses_nothing(on: Stand, driver: Chrome, page: str) -> None:
    """The polyfill names its position in the query, as `lastEventId`."""
    async with Nemesis(on.port) as network:
        await asyncio.to_thread(driver.get, f"http://127.0.0.1:{network.port}/{page}")
        call = await asyncio.to_thread(on.service.call)
        call.begin()
        await asyncio.to_thread(opens, driver, 1)
        call.say("one")
        await asyncio.to_thread(hears, driver, "one")
        for number in range(1, 3):
            network.break_all()
            call.say(f"away {number}")
            await asyncio.to_thread(opens, driver, number + 1)
            call.say(f"back {number}")
            wanted = [f"{what} {past}" for past in range(1, number + 1) for what in ("away", "back")]
            await asyncio.to_thread(hears, driver, "one", *wanted)
        assert len(on.service.calls) == 1
        assert "lastEventId" not in call.target
