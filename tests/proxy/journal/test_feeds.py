"""How do many clients share one upstream, and what becomes of it when it breaks? (contract of the journal: feeds)"""

import json

import pytest

from tests.support.run_stand import EVENT_SOURCE, TAKES_IDS, RunStand, at, data_of, id_of
from tests.support.virtual_clock import now, passing

FEED = "name: f, match: {prefix: /f}, journal: {kind: feed, login: anyone}"
NAMED = b"id: 1\ndata: 1\n\n"


def feed(more: str) -> str:
    return f"name: f, match: {{prefix: /f}}, journal: {{kind: feed, login: anyone, {more}}}"


def gap_of(event: bytes) -> dict[str, object]:
    assert event.startswith(b"event: gap\n"), event
    said: dict[str, object] = json.loads(event.partition(b"data: ")[2])
    return said


# Sharing.


async def test_a_thousand_clients_cost_the_service_one_connection() -> None:
    async with RunStand.serve(FEED) as on:
        tabs = [await on.send(b"GET /f?x=1", *EVENT_SOURCE) for _ in range(50)]
        await on.attended(50)
        call = await on.call()
        await call.begin()
        for tab in tabs:
            await tab.reading()
        await call.send(b"data: 1\n\n")
        assert [data_of(await tab.events(2)) for tab in tabs] == [[b"1"]] * 50
        assert (len(on.calls), len(on.upstream.visits)) == (1, 1)


@pytest.mark.parametrize(
    "target", [b"/f?x=1&last-event-id=oldest", b"/%66?x=1", b"/f?lastEventId=oldest&x=1", b"http://a.test/f?x=1"]
)
async def test_a_position_or_another_spelling_is_the_same_feed(target: bytes) -> None:
    async with RunStand.serve(FEED) as on:
        await on.open(b"GET /f?x=1", *TAKES_IDS)
        await on.read(b"GET " + target, *TAKES_IDS)
        assert len(on.calls) == 1


@pytest.mark.parametrize("target", [b"/f", b"/f?x=2", b"/f?x=1&y", b"/f/g?x=1", b"/f?X=1"])
async def test_another_url_is_another_feed(target: bytes) -> None:
    async with RunStand.serve(FEED) as on:
        await on.open(b"GET /f?x=1", *TAKES_IDS)
        await on.open(b"GET " + target, *TAKES_IDS)
        assert len(on.desk) == 2


async def test_another_host_is_another_feed() -> None:
    async with RunStand.serve(FEED) as on:
        await on.open(b"GET /f", *TAKES_IDS)
        other = await on.client()
        await other.peer.send(b"GET /f HTTP/1.1\r\nHost: b.test\r\nAccept: text/event-stream\r\n\r\n")
        await (await on.call(1)).begin()
        await other.reading()


async def test_a_client_may_leave_and_the_others_stay() -> None:
    async with RunStand.serve(FEED) as on:
        first, call = await on.open(b"GET /f", *TAKES_IDS)
        second = await on.read(b"GET /f", *TAKES_IDS)
        await first.leave()
        await on.attended(1)
        await passing(60)
        await call.send(b"data: 1\n\n")
        assert data_of([await second.event()]) == [b"1"]


# Without a reader.


async def test_a_feed_without_a_reader_sleeps_after_a_while_and_the_next_one_wakes_it() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *EVENT_SOURCE, first=NAMED)
        assert data_of([await tab.event()]) == [b"1"]
        await tab.leave()
        await on.attended(0)
        began = now()
        await passing(20)
        await call.send(b"id: 2\ndata: 2\n\n")
        await call.left()
        assert 29 < now() - began < 32
        back = await on.read(b"GET /f", *EVENT_SOURCE, at(b"1"))  # it has a head, so it need not wait for one
        assert data_of([await back.event()]) == [b"2"]
        again = await on.call(1)
        assert again.request.one(b"Last-Event-ID") == b"2"
        await again.begin(first=b"id: 3\ndata: 3\n\n")
        assert data_of([await back.event()]) == [b"3"]


async def test_a_feed_that_sleeps_and_names_nothing_has_a_gap_when_it_is_woken() -> None:
    async with RunStand.serve(feed("detach: 'off'")) as on:
        tab, call = await on.open(b"GET /f", *EVENT_SOURCE, first=b"data: 1\n\n")
        events = await tab.events(2)
        position = id_of(events[-1]) or b""
        await tab.leave()
        await call.left()
        back = await on.read(b"GET /f", *EVENT_SOURCE, at(position))
        assert (await back.event()) == b"id: " + position
        await (await on.call(1)).begin(first=b"data: 2\n\n")
        gap, event = await back.events(2)
        assert gap_of(gap) == {"reason": "upstream", "from": position.decode(), "lost": None}
        assert data_of([event]) == [b"2"]
        name = on.run.name
        assert (id_of(gap), id_of(event)) == (name + b".2-2", name + b".2-3")


async def test_a_feed_that_sleeps_is_forgotten_after_a_while() -> None:
    async with RunStand.serve(feed("detach: 'off', keep: {age: 60s}")) as on:
        tab, call = await on.open(b"GET /f", *EVENT_SOURCE, first=NAMED)
        await tab.event()
        await tab.leave()
        await call.left()
        await passing(61)
        assert list(on.desk) == []


async def test_a_reader_who_comes_in_time_keeps_a_feed_awake() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS)
        for _ in range(3):
            await tab.leave()
            await on.attended(0)
            await passing(25)
            tab = await on.read(b"GET /f", *TAKES_IDS)
        assert not call.is_left


async def test_a_feed_that_ends_while_it_has_no_reader_sleeps() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *EVENT_SOURCE, first=NAMED)
        await tab.event()
        await tab.leave()
        await on.attended(0)
        await call.finish()
        await passing(120)
        assert len(on.calls) == 1
        back = await on.send(b"GET /f", *EVENT_SOURCE, at(b"1"))
        again = await on.call(1)
        assert again.request.one(b"Last-Event-ID") == b"1"
        await again.begin()
        await back.reading()
