"""What does a client get that comes to a run of others, before its head and behind it?"""

import asyncio

import pytest

from tests.support.run_stand import JSON, TAKES_IDS, RunStand, Tab, at, data_of
from tests.support.settled import eventually
from tests.support.virtual_clock import now, passing

COOKIE = b"Cookie: s=one"
IDS = (COOKIE, *TAKES_IDS)
KEYED = (
    "name: a, match: {path: /a}, "
    "journal: {kind: answer, key: 'query:c', login: 'cookie:s', resume: {path: '/a/{key}/stream'}}"
)
BY_RUN = "name: a, match: {path: /a}, journal: {kind: answer, login: 'cookie:s'}"
FEED = "name: f, match: {path: /f}, journal: {kind: feed, login: anyone}"
EARLY = ", heartbeat: {interval: 5s, before_response: 10s}"
URL = b"GET /a/7/stream"


async def waiting(on: RunStand, count: int = 2, *fields: bytes) -> list[Tab]:
    """Clients that wait for the head of one run."""
    tabs = [await on.send(b"POST /a?c=7", COOKIE, *TAKES_IDS, body=b"{}")]
    await on.call()
    for number in range(1, count):
        tabs.append(await on.send(URL, COOKIE, *(fields or TAKES_IDS)))
        await on.attended(number + 1)
    return tabs


# The head.


async def test_only_the_first_client_gets_cookies_and_the_date() -> None:
    async with RunStand.serve(BY_RUN) as on:
        tab = await on.send(b"POST /a", *IDS, body=b"{}")
        call = await on.call()
        head = (b"Set-Cookie: secret=1", b"Set-Cookie: b=2", b"Date: Thu, 01 Jan 1970 00:00:00 GMT", b"X-Own: 1")
        await call.begin(
            *head, b"Connection: X-Hop", b"X-Hop: 1", b"Cache-Control: public, max-age=9", status=b"201 Made"
        )
        first = await tab.head()
        again = await on.send(b"GET /_runs/a/" + on.run.name, COOKIE)
        second = await again.head()
        assert first.first_line == second.first_line == b"HTTP/1.1 201 Made"
        assert first.all(b"Set-Cookie") == [b"secret=1", b"b=2"]
        assert first.one(b"Date") == b"Thu, 01 Jan 1970 00:00:00 GMT"
        assert second.all(b"Set-Cookie") == []
        assert second.one(b"Date") != first.one(b"Date")
        for each in (first, second):
            assert each.one(b"X-Own") == b"1"
            assert each.all(b"X-Hop") == []
            assert each.one(b"Cache-Control") == b"no-store, no-transform"
            assert each.one(b"X-Accel-Buffering") == b"no"
            assert each.one(b"Content-Location") == b"/_runs/a/" + on.run.name


async def test_the_url_of_a_run_is_that_of_its_key_where_it_has_one() -> None:
    async with RunStand.serve(KEYED) as on:
        tab = await on.send(b"POST /a?c=a%2Fb%20%C3%A9", *IDS, body=b"{}")
        await (await on.call()).begin(first=b"data: 1\n\n")
        url = (await tab.head()).one(b"Content-Location") or b""
        assert url == b"/a/a%2Fb%20%C3%A9/stream"
        other = await on.read(b"GET " + url, COOKIE)
        assert await other.event() == b"data: 1"
        assert len(on.calls) == 1


async def test_pages_of_other_origins_can_read_the_url() -> None:
    async with RunStand.serve(BY_RUN + ", cors: {origins: ['http://app.test']}") as on:
        tab = await on.send(b"POST /a", *IDS, b"Origin: http://app.test", body=b"{}")
        await (await on.call()).begin()
        exposed = (await tab.head()).one(b"Access-Control-Expose-Headers") or b""
        assert b"Content-Location" in exposed.split(b", ")


async def test_a_head_asks_for_what_a_get_would_say_and_reads_nothing() -> None:
    async with RunStand.serve(BY_RUN) as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        assert (await on.ask(b"HEAD /_runs/a/" + on.run.name, COOKIE)).status == 200
        assert (await on.ask(b"HEAD /_runs/a/AAAAAAAAAAAAAAAAAAAAAA", COOKIE)).status == 404
        assert (await on.ask(b"HEAD /_runs/a/" + on.run.name, b"Cookie: s=two")).status == 404
        await call.finish()
        assert data_of((await tab.ending())[0]) == [b"1"]


async def test_a_head_of_the_route_goes_upstream() -> None:
    async with RunStand.serve(FEED) as on:
        asking = asyncio.create_task(on.ask(b"HEAD /f", *TAKES_IDS))
        call = await on.call()
        await call.answer(b"200 OK", b"", b"X-Own: 1")
        assert (await asking).one(b"X-Own") == b"1"
        assert list(on.desk) == []


async def test_other_methods_of_a_feed_go_upstream() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"POST /f", *TAKES_IDS, body=b"x", first=b"data: 1\n\n")
        await call.finish()
        assert await tab.ending() == ([b"data: 1"], True)
        assert list(on.desk) == []


# Before the head.


async def test_who_joins_before_the_head_gets_it_when_it_is_there() -> None:
    async with RunStand.serve(KEYED) as on:
        first, second = await waiting(on)
        assert first.is_silent
        assert second.is_silent
        await on.calls[0].begin(first=b"data: 1\n\n")
        for tab in (first, second):
            assert data_of([await (await tab.reading()).event()]) == [b"1"]


async def test_who_joins_before_the_head_gets_what_another_leaves_behind() -> None:
    async with RunStand.serve(KEYED) as on:
        first, second = await waiting(on)
        await first.leave()
        await on.attended(1)
        await on.calls[0].begin(first=b"data: 1\n\n")
        assert data_of([await (await second.reading()).event()]) == [b"1"]


@pytest.mark.parametrize("count", [1, 3])
async def test_a_promise_is_kept_to_all_who_wait(count: int) -> None:
    async with RunStand.serve(KEYED + EARLY) as on:
        tabs = await waiting(on, count)
        began = now()
        for tab in tabs:
            await tab.reading()
        assert 9 < now() - began < 12
        assert await tabs[0].event() == b": heartbeat"
        await passing(20)
        await on.calls[0].begin(first=b"data: 1\n\n")
        await on.calls[0].finish()
        for tab in tabs:
            blocks, is_clean = await tab.ending()
            assert (data_of(blocks), is_clean) == ([b"1"], True)


async def test_who_joins_late_is_promised_a_stream_by_its_own_clock() -> None:
    async with RunStand.serve(KEYED + EARLY) as on:
        (first,) = await waiting(on, 1)
        await passing(9.5)
        late = await on.send(URL, *IDS)
        await on.attended(2)
        await first.reading()
        assert late.is_silent
        began = now()
        await late.reading()
        assert 8 < now() - began < 10
        await on.calls[0].begin(first=b"data: 1\n\n")
        await on.calls[0].finish()
        assert [data_of((await tab.ending())[0]) for tab in (first, late)] == [[b"1"], [b"1"]]


async def test_a_promise_waits_for_the_end_of_the_body() -> None:
    async with RunStand.serve(BY_RUN + EARLY) as on:
        tab = await on.client()
        head = (
            b"POST /a HTTP/1.1\r\nHost: a.test\r\nCookie: s=one\r\nAccept: text/event-stream\r\nContent-Length: 2\r\n"
        )
        await tab.peer.send(head + b"\r\n{")
        await passing(30)
        assert tab.is_silent
        await tab.peer.send(b"}")
        began = now()
        await tab.reading()
        assert 9 < now() - began < 11
        call = await on.call()
        await call.begin(first=b"data: 1\n\n")
        await call.finish()
        assert data_of((await tab.ending())[0]) == [b"1"]


@pytest.mark.parametrize("status", [b"404 Not Found", b"500 Oh", b"200 OK"])
async def test_what_is_no_stream_goes_to_its_one_client_whole_and_is_not_kept(status: bytes) -> None:
    body = b"[%b]" % (b"x" * 300_000)
    async with RunStand.serve(BY_RUN) as on:
        asking = asyncio.create_task(on.ask(b"POST /a", *IDS, body=b"{}"))
        call = await on.call()
        await call.answer(status, body, JSON, b"Set-Cookie: a=b")
        response = await asking
        assert response.first_line == b"HTTP/1.1 " + status
        assert response.body == body
        assert response.one(b"Set-Cookie") == b"a=b"
        assert response.all(b"Content-Location") == []
        assert list(on.desk) == []


@pytest.mark.parametrize("size", [0, 10, 64 * 1024, 64 * 1024 + 1, 300_000])
async def test_what_is_no_stream_goes_to_all_who_wait_as_far_as_it_is_kept(size: int) -> None:
    async with RunStand.serve(KEYED) as on:
        tabs = await waiting(on, 3)
        await on.calls[0].answer(b"402 Pay", b"x" * size, b"Content-Type: text/plain", b"X-Own: 1", b"Set-Cookie: a=b")
        for number, tab in enumerate(tabs):
            if size <= 64 * 1024:
                response = await tab.peer.response()
                assert response.body == b"x" * size
            else:
                response = await tab.head()
                assert await tab.body() == (b"x" * 64 * 1024, False)
            assert response.first_line == b"HTTP/1.1 402 Pay"
            assert response.one(b"X-Own") == b"1"
            assert response.all(b"Set-Cookie") == ([b"a=b"] if number == 0 else [])
        assert list(on.desk) == []
        assert len(on.calls) == 1


async def test_an_upstream_that_is_not_there_is_an_error_for_all_who_wait() -> None:
    async with RunStand.serve(KEYED) as on:
        tabs = await waiting(on, 3)
        on.calls[0].break_off()
        assert [(await tab.peer.response()).status for tab in tabs] == [502, 502, 502]
        assert list(on.desk) == []


async def test_an_upstream_that_does_not_answer_in_time() -> None:
    async with RunStand.serve(KEYED + ", timeouts: {response: 20s}") as on:
        tabs = await waiting(on, 2)
        assert [(await tab.peer.response()).status for tab in tabs] == [504, 504]
        await on.calls[0].left()


# Not declared.


async def test_json_passes_whole_where_no_stream_was_asked_for() -> None:
    body = b"[%b]" % (b"1," * 200_000)
    async with RunStand.serve(KEYED) as on:
        asking = asyncio.create_task(on.ask(b"POST /a?c=7", COOKIE, JSON, body=b'{"stream": false}'))
        call = await on.call()
        await call.answer(b"200 OK", body, JSON)
        response = await asking
        assert response.body == body
        assert response.all(b"Content-Location") == []
        assert list(on.desk) == []


async def test_a_stream_that_was_not_asked_for_becomes_a_run() -> None:
    async with RunStand.serve(KEYED) as on:
        tab, call = await on.open(b"POST /a?c=7", COOKIE, body=b"{}", first=b"data: 1\n\n")
        assert await tab.event() == b"data: 1"
        other = await on.read(URL, COOKIE)
        await call.send(b"data: 2\n\n")
        assert await tab.event() == b"data: 2"
        assert await other.events(2) == [b"data: 1", b"data: 2"]
        await tab.leave()
        await call.send(b"data: 3\n\n")
        await call.finish()
        assert await other.ending() == ([b"data: 3"], True)


async def test_two_that_have_not_asked_for_a_stream_share_one_feed_all_the_same() -> None:
    async with RunStand.serve(FEED) as on:
        first, second = await on.send(b"GET /f"), await on.send(b"GET /f")
        calls = [await on.call(0), await on.call(1)]
        await calls[1].begin(first=b"data: 1\n\n")
        await eventually(lambda: len(on.desk) == 1)
        await calls[0].begin(first=b"data: other\n\n")
        await first.reading()
        await second.reading()
        await calls[0].left()
        await calls[1].send(b"data: 2\n\n")
        assert len(on.desk) == 1
        assert [(await tab.event())[-1:] for tab in (second, second, first)] == [b"1", b"2", b"2"]


async def test_two_that_declare_a_feed_at_the_same_moment_share_it() -> None:
    async with RunStand.serve(FEED) as on:
        tabs = await asyncio.gather(*(on.send(b"GET /f", *TAKES_IDS) for _ in range(20)))
        call = await on.call()
        await on.attended(20)
        await call.begin()
        for tab in tabs:
            await tab.reading()
        await call.send(b"data: 1\n\n")
        assert [data_of([await tab.event()]) for tab in tabs] == [[b"1"]] * 20
        assert len(on.calls) == 1


async def test_a_response_that_is_no_2xx_is_no_run_also_if_it_is_an_event_stream() -> None:
    async with RunStand.serve(BY_RUN) as on:
        tab = await on.send(b"POST /a", *IDS, body=b"{}")
        call = await on.call()
        await call.begin(status=b"500 Oh", first=b"data: 1\n\n")
        await call.finish()
        assert (await tab.head()).status == 500
        assert (await tab.ending())[0] == [b"data: 1"]
        assert list(on.desk) == []


# Where one begins.


async def test_who_comes_to_an_answer_without_a_position_gets_all_of_it() -> None:
    async with RunStand.serve(KEYED) as on:
        tab, call = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: 1\n\n")
        await call.send(b"data: 2\n\n")
        await tab.events(2)
        other = await on.read(URL, COOKIE)
        assert await other.events(2) == [b"data: 1", b"data: 2"]


async def test_who_comes_to_an_answer_that_has_lost_its_beginning_is_refused() -> None:
    route = KEYED.replace("kind: answer", "kind: answer, keep: {bytes: 100}")
    async with RunStand.serve(route) as on:
        tab, call = await on.open(b"POST /a?c=7", *IDS, body=b"{}")
        for number in range(30):
            await call.send(b"data: %d\n\n" % number)
            await tab.event()
        assert (await on.ask(URL, COOKIE)).status == 410
        back = await on.read(b"POST /a?c=7", COOKIE, at(on.run.name + b".1-29"), body=b"{}")
        assert data_of([await back.event()]) == [b"29"]
        lost = await on.read(b"POST /a?c=7", COOKIE, at(on.run.name + b".1-2"), body=b"{}")
        assert b'"reason": "trimmed"' in await lost.event()


@pytest.mark.parametrize(("start", "seen"), [("latest", [b"3"]), ("oldest", [b"1", b"2", b"3"])])
async def test_who_comes_to_a_feed_begins_where_the_route_says(start: str, seen: list[bytes]) -> None:
    route = f"name: f, match: {{path: /f}}, journal: {{kind: feed, login: anyone, start: {start}}}"
    async with RunStand.serve(route) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS, first=b"data: 1\n\n")
        await call.send(b"data: 2\n\n")
        await tab.events(2)
        other = await on.read(b"GET /f", *TAKES_IDS)
        await call.send(b"data: 3\n\n")
        assert data_of(await other.events(len(seen))) == seen
