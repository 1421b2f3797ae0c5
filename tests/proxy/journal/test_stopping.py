"""Who stops a run, and what does leaving do instead? (contract of the journal: stop is not leaving, money)"""

import pytest

from tests.support.run_stand import EVENT_SOURCE, TAKES_IDS, RunStand, at, data_of, id_of
from tests.support.settled import eventually
from tests.support.virtual_clock import now, passing

COOKIE, OTHER = b"Cookie: s=one", b"Cookie: s=two"
IDS = (COOKIE, *TAKES_IDS)
KEYED = (
    "name: a, match: {path: /a}, journal: {kind: answer, key: 'query:c', login: 'cookie:s', "
    "resume: {path: '/a/{key}/stream'}, stop: {path: '/a/{key}/stop', methods: [POST]}}"
)
BY_RUN = "name: a, match: {path: /a}, journal: {kind: answer, login: 'cookie:s'}"
FEED = "name: f, match: {path: /f}, journal: {kind: feed, login: anyone}"
SCRIPT = (b"Sec-Fetch-Mode: cors", b"Sec-Fetch-Dest: empty", b"Sec-Fetch-Site: same-origin")


def detaching(detach: str, *, more: str = "") -> str:
    return f"name: a, match: {{path: /a}}{more}, journal: {{kind: answer, login: 'cookie:s', detach: {detach}}}"


# Stopping.


@pytest.mark.parametrize("line", [b"DELETE /a/7/stream", b"POST /a/7/stop"])
@pytest.mark.parametrize("fields", [(), SCRIPT])
async def test_a_run_is_stopped_while_its_upstream_is_silent(line: bytes, fields: tuple[bytes, ...]) -> None:
    async with RunStand.serve(KEYED) as on:
        tab, call = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: 1\n\n")
        await passing(5)
        began = now()
        response = await on.ask(line, COOKIE, *fields)
        assert response.status == 204
        await call.left()
        assert now() - began < 1
        blocks, is_clean = await tab.ending()
        assert (data_of(blocks), is_clean) == ([b"1"], True)
        assert on.run.end_reason == "stopped"
        assert (await on.ask(line, COOKIE, *fields)).status == 204  # twice
        assert len(on.calls) == 1


async def test_a_run_is_stopped_while_its_upstream_thinks() -> None:
    async with RunStand.serve(KEYED) as on:
        tab = await on.send(b"POST /a?c=7", *IDS, body=b"{}")
        call = await on.call()
        assert (await on.ask(b"POST /a/7/stop", COOKIE)).status == 204
        await call.left()
        assert (await tab.peer.response()).status == 204


async def test_a_stop_in_the_middle_of_an_event_sends_no_half_of_it() -> None:
    async with RunStand.serve(KEYED) as on:
        tab, call = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: 1\n\ndata: ha")
        assert data_of([await tab.event()]) == [b"1"]
        assert (await on.ask(b"DELETE /a/7/stream", COOKIE)).status == 204
        assert await tab.ending() == ([], True)
        await call.left()


async def test_who_is_behind_gets_all_that_was_there_when_it_was_stopped() -> None:
    async with RunStand.serve(KEYED) as on:
        _, call = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: 1\n\n")
        slow = await on.read(b"GET /a/7/stream", COOKIE)
        slow.peer.pause()
        await call.send(b"data: " + b"x" * 900_000 + b"\n\n")
        await eventually(lambda: on.run.state.seq == 2)
        assert (await on.ask(b"DELETE /a/7/stream", COOKIE)).status == 204
        slow.peer.resume()
        blocks, is_clean = await slow.ending()
        assert (len(blocks), is_clean) == (2, True)


@pytest.mark.parametrize("line", [b"DELETE /a/8/stream", b"POST /a/8/stop", b"DELETE /a/7/stream", b"POST /a/7/stop"])
async def test_who_stops_what_is_not_there_or_not_its_own_gets_the_same_answer(line: bytes) -> None:
    async with RunStand.serve(KEYED) as on:
        tab, call = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: 1\n\n")
        for fields in ((OTHER,), (), (b"Cookie: s=one; s=two",)):
            assert (await on.ask(line, *fields)).status == 204
        await call.send(b"data: 2\n\n")
        assert data_of(await tab.events(2)) == [b"1", b"2"]
        await call.finish()
        assert await tab.ending() == ([], True)


async def test_a_run_is_stopped_by_its_name() -> None:
    async with RunStand.serve(BY_RUN) as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        url = b"DELETE /_runs/a/" + on.run.name
        assert (await on.ask(url, OTHER)).status == 204
        assert (await on.ask(b"DELETE /_runs/a/AAAAAAAAAAAAAAAAAAAAAA", COOKIE)).status == 204
        assert not call.is_left
        assert (await on.ask(url, COOKIE)).status == 204
        await call.left()
        assert data_of((await tab.ending())[0]) == [b"1"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ((b"Origin: http://evil.test",), 403),
        ((b"Origin: http://a.test",), 204),
        ((b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Mode: cors", b"Sec-Fetch-Dest: empty"), 403),
        ((b"Sec-Fetch-Site: same-site", b"Sec-Fetch-Mode: no-cors", b"Sec-Fetch-Dest: empty"), 403),
        ((b"Sec-Fetch-Site: none", b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document"), 404),
        ((b"Sec-Fetch-Site: same-origin", b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: iframe"), 404),
        ((b"Sec-Fetch-Site: same-origin", b"Sec-Fetch-Mode: no-cors", b"Sec-Fetch-Dest: image"), 404),
    ],
)
async def test_only_scripts_of_this_origin_stop(fields: tuple[bytes, ...], status: int) -> None:
    async with RunStand.serve(KEYED) as on:
        tab, call = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: 1\n\n")
        assert (await on.ask(b"POST /a/7/stop", COOKIE, *fields)).status == status
        if status == 204:
            await call.left()
        else:
            await call.send(b"data: 2\n\n")
            assert data_of(await tab.events(2)) == [b"1", b"2"]


async def test_a_page_that_cors_lets_in_stops() -> None:
    cors = ", cors: {origins: ['http://app.test'], credentials: true}"
    async with RunStand.serve(KEYED + cors) as on:
        tab, call = await on.open(b"POST /a?c=7", *IDS, b"Origin: http://app.test", body=b"{}", first=b"data: 1\n\n")
        ask = (b"Origin: http://app.test", b"Access-Control-Request-Method: DELETE")
        preflight = await on.ask(b"OPTIONS /a/7/stream", *ask)
        assert preflight.status == 204
        assert preflight.one(b"Access-Control-Allow-Origin") == b"http://app.test"
        assert (await on.ask(b"DELETE /a/7/stream", COOKIE, b"Origin: http://app.test")).status == 204
        await call.left()
        assert data_of((await tab.ending())[0]) == [b"1"]


async def test_no_client_stops_a_feed() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS, first=b"data: 1\n\n")
        response = await on.ask(b"DELETE /_runs/f/" + on.run.name)
        assert (response.status, response.one(b"Allow")) == (405, b"GET, HEAD")
        await call.send(b"data: 2\n\n")
        assert data_of(await tab.events(2)) == [b"1", b"2"]


async def test_other_methods_of_these_paths_go_along_their_routes() -> None:
    async with RunStand.serve(KEYED) as on:
        assert (await on.ask(b"GET /a/7/stop", COOKIE)).status == 404
        assert (await on.ask(b"PUT /a/7/stream", COOKIE, body=b"")).status == 404


# Leaving.


async def test_leaving_does_not_stop_an_answer() -> None:
    async with RunStand.serve(BY_RUN) as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        position = id_of(await tab.event()) or b""
        await tab.leave()
        await on.attended(0)
        await passing(200)
        await call.send(b"data: 2\n\n")
        await call.finish()
        await eventually(lambda: on.run.state.end is not None)
        back = await on.read(b"POST /a", COOKIE, at(position), body=b"{}")
        blocks, is_clean = await back.ending()
        assert (data_of(blocks), is_clean) == ([b"2"], True)
        assert len(on.calls) == 1


async def test_an_answer_that_may_not_go_on_alone_is_stopped() -> None:
    async with RunStand.serve(detaching("off")) as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        other = await on.read(b"GET /_runs/a/" + on.run.name, COOKIE)
        await tab.leave()
        await on.attended(1)
        await call.send(b"data: 2\n\n")
        assert data_of(await other.events(2)) == [b"1", b"2"]
        await other.leave()
        await call.left()
        assert on.run.end_reason == "abandoned"


async def test_an_answer_goes_on_alone_for_so_long_as_the_route_says() -> None:
    async with RunStand.serve(detaching("40s")) as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        position = id_of(await tab.event()) or b""
        await tab.leave()
        await on.attended(0)
        await passing(35)
        back = await on.read(b"POST /a", COOKIE, at(position), body=b"{}")
        await passing(35)
        assert not call.is_left
        await back.leave()
        began = now()
        await call.left()
        assert 38 < now() - began < 42
        assert on.run.end_reason == "abandoned"
        blocks, is_clean = await (await on.read(b"POST /a", COOKIE, at(position), body=b"{}")).ending()
        assert b"event: error" in blocks[-1]
        assert not is_clean


async def test_a_run_of_one_who_leaves_while_its_upstream_thinks_goes_on() -> None:
    async with RunStand.serve(KEYED) as on:
        tab = await on.send(b"POST /a?c=7", *IDS, body=b"{}")
        call = await on.call()
        await tab.leave()
        await on.attended(0)
        other = await on.send(b"GET /a/7/stream", COOKIE)
        await call.begin(first=b"data: 1\n\n")
        assert data_of([await (await other.reading()).event()]) == [b"1"]


@pytest.mark.parametrize("detach", ["off", "30s"])
async def test_while_its_upstream_thinks_it_goes_on_no_longer_than_the_route_says(detach: str) -> None:
    async with RunStand.serve(detaching(detach)) as on:
        tab = await on.send(b"POST /a", *IDS, body=b"{}")
        call = await on.call()
        began = now()
        await tab.leave()
        await call.left()
        assert now() - began < (1 if detach == "off" else 31)


async def test_who_has_not_asked_for_a_stream_takes_its_upstream_along() -> None:
    async with RunStand.serve(BY_RUN) as on:
        tab = await on.send(b"POST /a", COOKIE, body=b"{}")
        call = await on.call()
        await tab.leave()
        await call.left()
        assert list(on.desk) == []


async def test_a_request_that_breaks_off_in_its_body_takes_its_upstream_along() -> None:
    async with RunStand.serve(BY_RUN) as on:
        tab = await on.client()
        head = b"POST /a HTTP/1.1\r\nHost: a.test\r\nCookie: s=one\r\nAccept: text/event-stream\r\n"
        await tab.peer.send(head + b"Content-Length: 100000\r\n\r\n" + b"x" * 70_000)
        visit = await on.upstream.visit()
        await visit.wait_received(b"xxxx")
        await on.attended(1)
        await tab.leave()
        await visit.wait_closed()
        await eventually(lambda: list(on.desk) == [])


async def test_a_stream_in_the_body_counts_as_declared() -> None:
    async with RunStand.serve(BY_RUN) as on:
        tab = await on.send(b"POST /a", COOKIE, b"Content-Type: application/json", body=b'{"stream": true}')
        call = await on.call()
        await on.attended(1)
        await tab.leave()
        await on.attended(0)
        await call.begin(first=b"data: 1\n\n")
        await call.finish()
        await eventually(lambda: on.run.state.end is not None)
        back = await on.read(b"GET /_runs/a/" + on.run.name, COOKIE)
        assert data_of((await back.ending())[0]) == [b"1"]


# Another one in its place.


async def test_a_newer_answer_of_a_key_stops_the_one_before_when_its_last_reader_goes() -> None:
    async with RunStand.serve(KEYED) as on:
        old, first = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: old\n\n")
        new, second = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: new\n\n")
        await first.send(b"data: more\n\n")
        assert data_of(await old.events(2)) == [b"old", b"more"]
        joined = await on.read(b"GET /a/7/stream", COOKIE)
        assert data_of([await joined.event()]) == data_of([await new.event()]) == [b"new"]
        await old.leave()
        await first.left()
        assert not second.is_left
        assert sorted(run.end_reason for run in on.desk if run.state.end is not None) == ["superseded"]


async def test_one_without_a_reader_is_stopped_at_once() -> None:
    async with RunStand.serve(KEYED) as on:
        old, first = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: old\n\n")
        await old.leave()
        await on.attended(0)
        await on.open(b"POST /a?c=7", *IDS, body=b"{}")
        await first.left()


async def test_a_second_request_of_a_key_joins_if_the_route_says_so() -> None:
    route = "name: a, match: {path: /a}, journal: {kind: answer, key: 'query:c', login: 'cookie:s', again: join}"
    async with RunStand.serve(route) as on:
        tab, call = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: 1\n\n")
        again = await on.read(b"POST /a?c=7", *IDS, body=b'{"again": 1}')
        await call.send(b"data: 2\n\n")
        for each in (tab, again):
            assert data_of(await each.events(2)) == [b"1", b"2"]
        assert len(on.calls) == 1


# Limits of runs without a reader.


async def left_alone(on: RunStand, *fields: bytes) -> bytes:
    """Open a run and leave it. Return its name."""
    known = {run.name for run in on.desk}
    tab, _ = await on.open(b"POST /a", *fields, *TAKES_IDS, body=b"{}", first=b"data: 1\n\n")
    (name,) = {run.name for run in on.desk} - known
    await tab.leave()
    await on.attended(0)
    return name


async def test_the_run_of_a_login_that_has_waited_longest_is_stopped_if_there_are_too_many() -> None:
    async with RunStand.serve(detaching("end", more=", limits: {detached_per_client: 2}")) as on:
        mine = [await left_alone(on, COOKIE) for _ in range(2)]
        others = [await left_alone(on, OTHER) for _ in range(2)]
        last = await left_alone(on, COOKIE)
        await on.calls[0].left()
        reasons = {run.name: run.state.end and run.state.end.reason for run in on.desk}
        assert reasons == {mine[0]: "abandoned"} | dict.fromkeys((mine[1], *others, last))


async def test_the_run_of_a_route_that_has_waited_longest_is_stopped_if_there_are_too_many() -> None:
    async with RunStand.serve(detaching("end", more=", limits: {detached: 2}")) as on:
        for login in (b"one", b"two", b"three"):
            await left_alone(on, b"Cookie: s=" + login)
        await on.calls[0].left()
        assert [call.is_left for call in on.calls] == [True, False, False]


async def test_without_a_login_the_address_counts() -> None:
    route = "name: a, match: {path: /a}, limits: {detached_per_client: 1}, journal: {kind: answer}"
    async with RunStand.serve(route, trusted=["127.0.0.1/32"]) as on:
        await left_alone(on, b"X-Forwarded-For: 1.1.1.1")
        await left_alone(on, b"X-Forwarded-For: 2.2.2.2")
        await left_alone(on, b"X-Forwarded-For: 1.1.1.1")
        await on.calls[0].left()
        assert [call.is_left for call in on.calls] == [True, False, False]


async def test_a_feed_of_too_many_sleeps() -> None:
    route = "name: f, match: {prefix: /f}, limits: {detached: 1}, journal: {kind: feed, login: anyone}"
    async with RunStand.serve(route) as on:
        for target in (b"/f/1", b"/f/2"):
            tab, _ = await on.open(b"GET " + target, *EVENT_SOURCE, first=b"data: 1\n\n")
            await tab.events(2)
            await tab.leave()
            await on.attended(0)
        await on.calls[0].left()
        assert not on.calls[1].is_left
        assert len(on.desk) == 2
