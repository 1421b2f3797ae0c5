"""Where could an event be lost without a word, or a client come back for ever? (contract of the journal: J2 to J8)"""

import asyncio

import pytest

from tests.support.run_stand import EVENT_SOURCE, JSON, TAKES_IDS, RunStand, at, data_of, id_of
from tests.support.settled import eventually
from tests.support.virtual_clock import passing

FEED = "name: f, match: {prefix: /f}, journal: {kind: feed, login: anyone}"
ANSWER = "name: a, match: {path: /a}, journal: {kind: answer, key: 'query:c', login: 'cookie:s', again: join}"
COOKIE = b"Cookie: s=one"
NAMED = b"id: 1\ndata: 1\n\n"


# An upstream that is asked again.


async def test_an_upstream_that_counts_from_one_again_loses_no_event() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS)
        await call.send(b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n")
        await tab.events(2)
        await call.finish()
        again = await on.call(1)
        await again.begin(first=b"id: 1\ndata: c\n\nid: 2\ndata: d\n\n")
        assert data_of(await tab.events(2)) == [b"c", b"d"]


async def test_an_event_whose_id_and_text_are_kept_is_dropped_up_to_the_first_that_differs() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS)
        await call.send(b"id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n")
        await tab.events(3)
        await call.finish()
        again = await on.call(1)
        await again.begin(first=b"id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: d\n\nid: 2\ndata: b\n\n")
        assert data_of(await tab.events(2)) == [b"d", b"b"]


async def test_an_id_that_was_taken_back_is_not_asked_for_and_readers_hear_of_a_gap() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS, first=NAMED)
        await call.send(b"id\ndata: 2\n\n")
        await tab.events(2)
        await call.finish()
        again = await on.call(1)
        assert again.request.all(b"Last-Event-ID") == []
        await again.begin(first=b"data: 3\n\n")
        gap, event = await tab.events(2)
        assert gap.startswith(b"event: gap\n")
        assert data_of([event]) == [b"3"]


async def test_the_position_of_the_first_client_is_not_asked_for_again_where_events_have_no_ids() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f?last-event-id=77", *TAKES_IDS, at(b"77"), first=b"data: 78\n\n")
        assert call.request.all(b"Last-Event-ID") == [b"77"]
        await tab.event()
        await call.finish()
        again = await on.call(1)
        assert again.request.all(b"Last-Event-ID") == []
        assert again.request.target == b"/f"


# Two requests that open a feed in the same moment.


@pytest.mark.parametrize("position", [b"Q0000000000.1-7", b"oldest", b"3"])
async def test_the_second_of_two_that_open_a_feed_hears_what_it_asked_for(position: bytes) -> None:
    async with RunStand.serve(FEED) as on:
        first = await on.send(b"GET /f")  # neither declares a stream, so there is no run before the answer
        one = await on.call()
        second = await on.send(b"GET /f", at(position))
        other = await on.call(1)
        await one.begin(first=b"data: 1\n\n")
        await first.reading()
        await first.event()
        await other.begin(first=b"data: other\n\n")
        await second.reading()
        await other.left()
        await one.send(b"data: 2\n\n")
        events = await second.events(2 if position == b"oldest" else 3)
        assert data_of(events)[-2:] == [b"1", b"2"]
        assert (b'"unknown"' in events[0]) == (position != b"oldest")


# An `EventSource` behind the end.


async def test_an_event_source_does_not_come_back_for_ever_for_a_last_event_without_an_id() -> None:
    async with RunStand.serve("name: a, match: {path: /a}, journal: {kind: answer}") as on:
        tab, call = await on.open(b"GET /a", *EVENT_SOURCE, first=NAMED)
        await call.send(b"data: [DONE]\n\n")
        await call.finish()
        assert (await tab.ending())[1]
        url = b"/_runs/a/" + on.run.name
        back = await on.read(b"GET " + url, *EVENT_SOURCE, at(b"1"))
        blocks, is_clean = await back.ending()
        assert (blocks[0], is_clean) == (b"data: [DONE]", True)
        end = blocks[1].removeprefix(b"id: ")
        assert (await on.ask(b"GET " + url, *EVENT_SOURCE, at(end))).status == 204
        other = await on.read(b"GET " + url, *TAKES_IDS, at(b"1"))
        assert await other.ending() == ([b"data: [DONE]"], True)


async def test_an_event_source_finds_a_new_feed_behind_one_that_an_operator_has_ended() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *EVENT_SOURCE, first=b"data: 1\n\n")
        await tab.events(2)
        assert on.desk.kill(on.run.number)
        await call.left()
        blocks, is_clean = await tab.ending()
        end = id_of(blocks[-1])
        assert end is not None
        assert not is_clean
        back = await on.send(b"GET /f", *EVENT_SOURCE, at(end))
        await (await on.call(1)).begin(first=b"data: 2\n\n")
        await back.reading()
        gap, event = await back.events(2)
        assert b'"unknown"' in gap
        assert data_of([event]) == [b"2"]


async def test_the_oldest_event_that_is_kept_is_no_gap_though_others_are_too_old() -> None:
    async with RunStand.serve(FEED.replace("anyone", "anyone, keep: {age: 60s}")) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS, first=b"data: 1\n\n")
        await tab.event()
        await call.send(b"data: 2\n\n")
        await tab.event()
        await passing(61)
        late = await on.read(b"GET /f", *TAKES_IDS, at(b"oldest"))
        assert data_of([await late.event()]) == [b"2"]


# Requests that want no stream.


async def test_a_preflight_and_a_handshake_read_no_run() -> None:
    async with RunStand.serve(ANSWER) as on:
        await on.open(b"POST /a?c=1", COOKIE, *TAKES_IDS, body=b"{}")
        preflight = asyncio.ensure_future(
            on.ask(b"OPTIONS /a?c=1", COOKIE, b"Origin: http://b.test", b"Access-Control-Request-Method: POST")
        )
        await (await on.call(1)).answer(b"204 No Content")
        assert (await preflight).status == 204
        socket = await on.send(b"GET /a?c=1", COOKIE, b"Connection: Upgrade", b"Upgrade: websocket")
        await (await on.call(2)).answer(b"426 Upgrade Required")
        assert (await socket.head()).status == 426
        assert len(on.desk) == 1


async def test_what_a_client_sends_as_a_body_fills_no_feed_of_others() -> None:
    async with RunStand.serve(FEED) as on:
        poison = await on.send(b"GET /f", *TAKES_IDS, JSON, body=b'{"topic": "other"}')
        await (await on.call()).begin(first=b"data: other\n\n")
        assert await (await poison.reading()).event() == b"data: other"
        assert len(on.desk) == 0
        tab, call = await on.open(b"GET /f", *TAKES_IDS, b"Content-Length: 0")
        await call.send(b"data: 1\n\n")
        assert data_of([await tab.event()]) == [b"1"]
        assert len(on.desk) == 1


# What was meant for one client.


async def test_a_cookie_that_the_upstream_sets_with_a_refusal_is_for_its_own_client_alone() -> None:
    async with RunStand.serve(ANSWER) as on:
        first = await on.send(b"POST /a?c=1", COOKIE, *TAKES_IDS, body=b"{}")
        call = await on.call()
        second = await on.send(b"POST /a?c=1", COOKIE, *TAKES_IDS, body=b"{}")
        await on.attended(2)
        await first.leave()
        await on.attended(1)
        await call.answer(b"403 No", b"no", b"Set-Cookie: token=of-the-first")
        response = await second.peer.response()
        assert (response.status, response.body, response.all(b"Set-Cookie")) == (403, b"no", [])


async def test_a_client_that_was_answered_early_counts_as_waiting_no_longer() -> None:
    async with RunStand.serve(ANSWER, defaults="heartbeat: {interval: 20s, before_response: 1s}") as on:
        tab = await on.send(b"POST /a?c=1", COOKIE, *TAKES_IDS, body=b"{}")
        call = await on.call()
        await passing(2)
        await tab.reading()
        assert [stream.phase.value for stream in on.proxy.app.streams] == ["waiting"]
        await call.begin(first=b"data: 1\n\n")
        await eventually(lambda: [stream.phase.value for stream in on.proxy.app.streams] == ["open"])


async def test_a_body_that_breaks_off_is_the_fault_of_its_own_client_alone() -> None:
    async with RunStand.serve(ANSWER.replace("match", "stream: always, match")) as on:
        first = await on.client()
        head = b"POST /a?c=1 HTTP/1.1\r\nHost: a.test\r\nCookie: s=one\r\nContent-Length: 9\r\n\r\n"
        await first.peer.send(head + b"{")
        await on.attended(1)
        second = await on.send(b"POST /a?c=1", COOKIE, *TAKES_IDS, body=b"{}")
        await on.attended(2)
        await first.leave()
        assert (await second.peer.response()).status == 502
