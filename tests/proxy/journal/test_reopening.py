"""What becomes of a feed whose upstream breaks, and is asked again? (contract of the journal: feeds)"""

import json

import pytest

from tests.support.run_stand import EVENT_SOURCE, TAKES_IDS, RunStand, at, data_of, id_of
from tests.support.settled import eventually
from tests.support.virtual_clock import now, passing

FEED = "name: f, match: {prefix: /f}, journal: {kind: feed, login: anyone}"
NAMED = b"id: 1\ndata: 1\n\n"


def feed(more: str) -> str:
    return f"name: f, match: {{prefix: /f}}, journal: {{kind: feed, login: anyone, {more}}}"


def gap_of(event: bytes) -> dict[str, object]:
    assert event.startswith(b"event: gap\n"), event
    said: dict[str, object] = json.loads(event.partition(b"data: ")[2])
    return said


@pytest.mark.parametrize("how", ["cleanly", "broken"])
async def test_readers_hear_nothing_of_an_upstream_that_goes_on_behind_an_id(how: str) -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f?x=1", *EVENT_SOURCE, b"X-Own: 1", first=NAMED)
        assert await tab.event() == NAMED.strip()
        began = now()
        await call.finish() if how == "cleanly" else call.break_off()
        again = await on.call(1)
        assert 1 <= now() - began <= 1.6
        assert again.request.target == b"/f?x=1"
        assert again.request.one(b"Last-Event-ID") == b"1"
        assert again.request.one(b"X-Own") == b"1"
        await again.begin(first=b"id: 1\ndata: 1\n\nid: 2\ndata: 2\n\n")  # it includes the event that it was asked for
        assert await tab.event() == b"id: 2\ndata: 2"
        await again.send(b"id: 3\ndata: 3\n\n")
        assert await tab.event() == b"id: 3\ndata: 3"


async def test_an_upstream_that_begins_anew_has_the_events_dropped_that_are_known() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS)
        await call.send(b"id: 1\ndata: 1\n\nid: 2\ndata: 2\n\nid: 3\ndata: 3\n\n")
        await tab.events(3)
        await call.finish()
        again = await on.call(1)
        await again.begin()
        for number in range(1, 6):
            await again.send(b"id: %d\ndata: %d\n\n" % (number, number))
        assert data_of(await tab.events(2)) == [b"4", b"5"]


async def test_where_no_event_is_named_readers_hear_of_a_gap() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS, first=b"data: 1\n\n")
        await tab.event()
        await call.finish()
        again = await on.call(1)
        assert again.request.all(b"Last-Event-ID") == []
        await again.begin(first=b"data: 2\n\n")
        gap, event = await tab.events(2)
        assert gap_of(gap)["reason"] == "upstream"
        assert data_of([event]) == [b"2"]
        back = await on.read(b"GET /f", *TAKES_IDS, at(id_of(gap) or b""))
        assert data_of([await back.event()]) == [b"2"]  # it is told once


async def test_the_position_that_opened_the_feed_is_not_asked_for_again() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS, at(b"77"), first=b"id: 78\ndata: 78\n\n")
        assert call.request.one(b"Last-Event-ID") == b"77"
        await tab.event()
        await call.finish()
        again = await on.call(1)
        assert again.request.all(b"Last-Event-ID") == [b"78"]


async def test_the_query_that_opened_the_feed_does_not_name_an_older_position() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f?last-event-id=77&x=1", *TAKES_IDS, first=b"id: 78\ndata: 78\n\n")
        await tab.event()
        await call.finish()
        again = await on.call(1)
        assert again.request.one(b"Last-Event-ID") == b"78"
        assert again.request.target == b"/f?x=1"


@pytest.mark.parametrize(
    ("answer", "wait"),
    [((b"503 Away",), 2), ((b"500 Oh",), 2), ((b"429 Slow", b"", b"Retry-After: 9"), 18), ((b"200 OK", b"{}"), 2)],
)
async def test_an_upstream_that_refuses_for_now_is_asked_again(answer: tuple[bytes, ...], wait: float) -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS, first=NAMED)
        await tab.event()
        await call.finish()
        again = await on.call(1)
        began = now()
        await again.answer(*answer)
        third = await on.call(2)
        assert wait <= now() - began <= wait * 1.5 + 0.1
        await third.begin(first=b"id: 2\ndata: 2\n\n")
        assert data_of([await tab.event()]) == [b"2"]


async def test_the_time_that_the_upstream_has_named_is_waited_for() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS, first=b"retry: 7000\nid: 1\ndata: 1\n\n")
        await tab.event()
        began = now()
        await call.finish()
        await on.call(1)
        assert 7 <= now() - began <= 10.6


@pytest.mark.parametrize("status", [b"404 Not Found", b"401 Who", b"204 No Content", b"410 Gone"])
async def test_an_answer_that_is_final_ends_the_feed(status: bytes) -> None:
    async with RunStand.serve(FEED) as on:
        browser, call = await on.open(b"GET /f", *EVENT_SOURCE, first=NAMED)
        await browser.event()
        await call.finish()
        await (await on.call(1)).answer(status)
        assert (await browser.ending())[1]
        assert (await on.ask(b"GET /f", *EVENT_SOURCE, at(b"1"))).status == 204
        assert len(on.calls) == 2


async def test_when_all_attempts_are_spent_readers_are_broken_off_and_the_next_one_wakes_it() -> None:
    async with RunStand.serve(feed("reopen: 2")) as on:
        tab, call = await on.open(b"GET /f", *EVENT_SOURCE, first=NAMED)
        await tab.event()
        call.break_off()
        for number in (1, 2):
            await (await on.call(number)).answer(b"503 Away")
        blocks, is_clean = await tab.ending()
        assert not is_clean
        assert b"event: error" in blocks[-1]
        assert id_of(blocks[-1]) is None  # it is not the end of the feed
        assert on.run.state.end is None
        back = await on.read(b"GET /f", *EVENT_SOURCE, at(b"1"))
        again = await on.call(3)
        assert again.request.one(b"Last-Event-ID") == b"1"
        await again.begin(first=b"id: 2\ndata: 2\n\n")
        assert data_of([await back.event()]) == [b"2"]


async def test_an_upstream_that_is_not_there_counts_as_an_attempt() -> None:
    async with RunStand.serve(feed("reopen: 1")) as on:
        tab, call = await on.open(b"GET /f", *EVENT_SOURCE, first=NAMED)
        await tab.event()
        call.break_off()
        (await on.call(1)).break_off()
        assert not (await tab.ending())[1]


async def test_a_feed_that_may_not_be_reopened_breaks_its_readers_off() -> None:
    async with RunStand.serve(feed("reopen: 'off'")) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS, first=NAMED)
        await tab.event()
        call.break_off()
        assert not (await tab.ending())[1]
        await passing(60)
        assert len(on.calls) == 1


async def test_silence_of_a_feed_has_it_opened_again() -> None:
    async with RunStand.serve(FEED + ", timeouts: {idle: 40s}") as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS, first=NAMED)
        await tab.event()
        await call.left()
        again = await on.call(1)
        await again.begin(first=b"id: 2\ndata: 2\n\n")
        assert data_of([await tab.event()]) == [b"2"]


async def test_readers_get_heartbeats_while_the_upstream_is_away() -> None:
    async with RunStand.serve(FEED + ", heartbeat: {interval: 5s}") as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS, first=b"retry: 20000\nid: 1\ndata: 1\n\n")
        await tab.event()
        call.break_off()
        for _ in range(4):
            assert await tab.peer.chunk() == b": heartbeat\n"
        await (await on.call(1)).begin()


async def test_who_leaves_while_the_upstream_is_away_lets_it_sleep() -> None:
    async with RunStand.serve(feed("detach: 'off'")) as on:
        tab, call = await on.open(b"GET /f", *EVENT_SOURCE, first=b"retry: 20000\nid: 1\ndata: 1\n\n")
        await tab.event()
        call.break_off()
        await eventually(lambda: not on.run.producer.relay)
        await tab.leave()
        await on.attended(0)
        await passing(60)
        assert len(on.calls) == 1


async def test_max_duration_of_a_feed_is_that_of_each_reader() -> None:
    async with RunStand.serve(FEED + ", timeouts: {max_duration: 60s}") as on:
        tab, call = await on.open(b"GET /f", *EVENT_SOURCE, first=NAMED)
        await tab.event()
        began = now()
        await passing(30)
        late = await on.read(b"GET /f", *EVENT_SOURCE)
        blocks, is_clean = await tab.ending()
        assert (is_clean, blocks[-1][:7]) == (True, b"retry: ")
        assert 59 <= now() - began <= 62
        await call.send(b"id: 2\ndata: 2\n\n")
        assert data_of([await late.event()]) == [b"2"]
        assert not call.is_left
