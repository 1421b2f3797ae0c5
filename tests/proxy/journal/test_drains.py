"""What becomes of runs and their clients when the process drains? (contract of the journal: ends)"""

import asyncio
import json

from sseproxy.runs.counts import Without
from tests.support.run_stand import EVENT_SOURCE, TAKES_IDS, RunStand, at, data_of
from tests.support.virtual_clock import now

FEED = "name: f, match: {prefix: /f}, journal: {kind: feed, login: anyone}"
NAMED = b"id: 1\ndata: 1\n\n"


def feed(more: str) -> str:
    return f"name: f, match: {{prefix: /f}}, journal: {{kind: feed, login: anyone, {more}}}"


def gap_of(event: bytes) -> dict[str, object]:
    assert event.startswith(b"event: gap\n"), event
    said: dict[str, object] = json.loads(event.partition(b"data: ")[2])
    return said


async def test_a_drain_sends_browsers_of_a_feed_away_and_lets_answers_end() -> None:
    answer = "name: a, match: {path: /a}, journal: {kind: answer}"
    async with RunStand.serve(answer, FEED) as on:
        browser, feed_call = await on.open(b"GET /f", *EVENT_SOURCE, first=NAMED)
        await browser.event()
        plain = await on.read(b"GET /f")
        tab, call = await on.open(b"POST /a", *TAKES_IDS, body=b"{}", first=b"data: 1\n\n")
        on.proxy.app.drain(timeout=25.0, spread=5.0)
        began = now()
        blocks, is_clean = await browser.ending()
        assert (is_clean, blocks[-1][:7]) == (True, b"retry: ")
        assert now() - began < 6
        await call.send(b"data: 2\n\n")
        await call.finish()
        blocks, is_clean = await tab.ending()
        assert (data_of(blocks), is_clean) == ([b"1", b"2"], True)
        await feed_call.send(b"id: 2\ndata: 2\n\n")
        assert data_of([await plain.event()]) == [b"2"]
        blocks, is_clean = await plain.ending()
        assert not is_clean
        assert b"event: error" in blocks[-1]
        assert 24 < now() - began < 26
        await feed_call.left()


async def test_a_feed_whose_last_browser_a_drain_sends_away_sleeps_at_once() -> None:
    async with RunStand.serve(FEED) as on:
        browser, call = await on.open(b"GET /f", *EVENT_SOURCE, first=NAMED)
        await browser.event()
        on.proxy.app.drain(timeout=25.0, spread=5.0)
        await browser.ending()
        began = now()
        await call.left()
        assert now() - began < 1


async def test_a_feed_without_a_reader_sleeps_when_a_drain_begins() -> None:
    async with RunStand.serve(FEED) as on:
        browser, call = await on.open(b"GET /f", *EVENT_SOURCE, first=NAMED)
        await browser.event()
        await browser.leave()
        await on.attended(0)
        on.proxy.app.drain(timeout=25.0, spread=5.0)
        began = now()
        await call.left()
        assert now() - began < 1


async def test_a_browser_that_waits_for_the_head_is_sent_away_by_a_drain() -> None:
    async with RunStand.serve(FEED) as on:
        tab = await on.send(b"GET /f", *EVENT_SOURCE)
        call = await on.call()
        on.proxy.app.drain(timeout=25.0, spread=5.0)
        began = now()
        blocks, is_clean = await (await tab.reading()).ending()
        assert (is_clean, blocks[-1][:7]) == (True, b"retry: ")
        assert now() - began < 6
        await call.left()


async def test_requests_of_a_drain_are_relayed_without_a_journal() -> None:
    async with RunStand.serve(FEED) as on:
        tab = await on.client()
        await tab.peer.send(b"GET /other HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert (await tab.peer.response()).status == 404
        tab.peer.send_now(b"GET /f HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\n\r\n")
        on.proxy.app.drain(timeout=25.0, spread=5.0)
        call = await on.call()
        await call.begin(first=b"data: 1\n\n")
        head = await tab.head()
        assert head.all(b"Content-Location") == []
        await call.finish()
        assert await tab.ending() == ([b"data: 1"], True)
        assert on.desk.stats.unjournalled["f", Without.DRAINING] == 1


async def test_an_answer_that_is_not_done_when_the_drain_is_over_breaks_off() -> None:
    async with RunStand.serve("name: a, match: {path: /a}, journal: {kind: answer}") as on:
        tab, _call = await on.open(b"POST /a", *TAKES_IDS, body=b"{}", first=b"data: 1\n\n")
        on.proxy.app.drain(timeout=25.0, spread=5.0)
        blocks, is_clean = await tab.ending()
        assert not is_clean
        assert b"event: error" in blocks[-1]


async def test_two_that_leave_and_come_at_once_do_not_lose_the_feed() -> None:
    async with RunStand.serve(feed("detach: 'off'")) as on:
        tab, call = await on.open(b"GET /f", *EVENT_SOURCE, first=NAMED)
        await tab.event()
        other = await on.client()
        leaving = asyncio.create_task(tab.leave())
        await other.peer.send(
            b"GET /f HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\nLast-Event-ID: 1\r\n\r\n"
        )
        await leaving
        await other.reading()
        if call.is_left:
            call = await on.call(1)
            await call.begin()
        await call.send(b"id: 2\ndata: 2\n\n")
        assert data_of([await other.event()]) == [b"2"]


async def test_who_wakes_a_feed_does_not_say_where_the_upstream_goes_on() -> None:
    async with RunStand.serve(feed("detach: 'off'")) as on:
        tab, call = await on.open(b"GET /f", *EVENT_SOURCE, first=b"data: 1\n\n")
        await tab.events(2)
        await tab.leave()
        await call.left()
        other = await on.read(b"GET /f?last-event-id=56", *TAKES_IDS, at(b"55"))
        assert gap_of(await other.event())["reason"] == "unknown"
        again = await on.call(1)
        assert (again.request.target, again.request.all(b"Last-Event-ID")) == (b"/f", [])
        await again.begin()
