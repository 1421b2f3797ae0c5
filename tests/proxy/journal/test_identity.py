"""Whose run is it, and what of a request goes upstream? (contract of the journal: identity)"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.raw_upstream import RawUpstream, Visit
from tests.support.run_stand import EVENT_SOURCE, JSON, TAKES_IDS, RunStand, at, data_of, id_of

COOKIE, OTHER = b"Cookie: s=one", b"Cookie: s=two"
IDS = (COOKIE, *TAKES_IDS)
BY_RUN = "name: a, match: {path: /a}, journal: {kind: answer, login: 'cookie:s'}"
STOP = "resume: {path: '/a/{key}/stream'}"


def keyed(key: str, *, login: str = "'cookie:s'", more: str = "") -> str:
    return f"name: a, match: {{path: /a}}{more}, journal: {{kind: answer, key: {key}, login: {login}, {STOP}}}"


def feed(login: str, *, key: str = "url", more: str = "") -> str:
    return f"name: f, match: {{path: /f}}{more}, journal: {{kind: feed, key: {key}, login: {login}}}"


# Keys and logins.


@pytest.mark.parametrize(
    ("key", "line", "fields", "body"),
    [
        ("'query:c'", b"POST /a?c=7", (), b"{}"),
        ("'header:X-Chat'", b"POST /a", (b"X-Chat: 7",), b"{}"),
        ("'cookie:chat'", b"POST /a", (b"Cookie: s=one; chat=7",), b"{}"),
        ("'body:id'", b"POST /a", (JSON,), b'{"id": "7"}'),
        ("'body:id'", b"POST /a", (JSON,), b'{"messages": [{"id": 9}], "id": 7}'),
    ],
)
async def test_a_key_names_the_newest_run(key: str, line: bytes, fields: tuple[bytes, ...], body: bytes) -> None:
    own = fields if any(each.startswith(b"Cookie") for each in fields) else (COOKIE, *fields)
    async with RunStand.serve(keyed(key)) as on:
        tab, call = await on.open(line, *own, *TAKES_IDS, body=body, first=b"data: 1\n\n")
        assert call.request.body == body
        other = await on.read(b"GET /a/7/stream", COOKIE)
        assert data_of([await other.event()]) == [b"1"]
        assert (await on.ask(b"GET /a/8/stream", COOKIE)).status == 204
        assert (await on.ask(b"GET /a/7/stream", OTHER)).status == 204
        assert (await on.ask(b"GET /a/7/stream")).status == 204
        assert data_of([await tab.event()]) == [b"1"]


@pytest.mark.parametrize(
    ("key", "line", "fields", "body"),
    [
        ("'query:c'", b"POST /a", (COOKIE,), b"{}"),
        ("'query:c'", b"POST /a?c=", (COOKIE,), b"{}"),
        ("'query:c'", b"POST /a?c=7&c=8", (COOKIE,), b"{}"),
        ("'query:c'", b"POST /a?c=7", (), b"{}"),
        ("'query:c'", b"POST /a?c=7", (b"Cookie: s=",), b"{}"),
        ("'query:c'", b"POST /a?c=7", (b"Cookie: s=one; s=two",), b"{}"),
        ("'query:c'", b"POST /a?c=7", (COOKIE, OTHER), b"{}"),
        ("'header:X-Chat'", b"POST /a", (COOKIE, b"X-Chat: 7", b"X-Chat: 8"), b"{}"),
        ("'body:id'", b"POST /a", (COOKIE, JSON), b'{"no": 7}'),
        ("'body:id'", b"POST /a", (COOKIE, JSON), b'{"id": "7", "id": "8"}'),
        ("'body:id'", b"POST /a", (COOKIE, JSON), b'{"id": null}'),
        ("'body:id'", b"POST /a", (COOKIE, JSON), b"not JSON"),
        ("'body:id'", b"POST /a", (COOKIE, JSON), b'{"x": "' + b"x" * 1_100_000 + b'", "id": "7"}'),
    ],
)
async def test_an_answer_without_a_part_of_key_or_login_is_relayed_without_a_journal(
    key: str, line: bytes, fields: tuple[bytes, ...], body: bytes
) -> None:
    async with RunStand.serve(keyed(key)) as on:
        tab, call = await on.open(line, *fields, *TAKES_IDS, body=body, first=b"data: 1\n\n")
        assert call.request.body == body
        assert await tab.event() == b"data: 1"
        assert list(on.desk) == []
        await tab.leave()
        await call.left()


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ((), b"/f?k=1"),
        ((b"Cookie: s=",), b"/f?k=1"),
        ((COOKIE, OTHER), b"/f?k=1"),
        ((COOKIE,), b"/f"),
        ((COOKIE,), b"/f?k=1&k=2"),
    ],
)
async def test_a_feed_without_a_part_of_key_or_login_is_refused(fields: tuple[bytes, ...], target: bytes) -> None:
    async with RunStand.serve(feed("'cookie:s'", key="'query:k'")) as on:
        response = await on.ask(b"GET " + target, *fields, *TAKES_IDS)
        assert (response.status, response.one(b"Content-Type")) == (400, b"application/problem+json")
        assert on.calls == []


async def test_a_feed_of_a_login_is_shared_by_its_clients_alone() -> None:
    async with RunStand.serve(feed("'cookie:s'")) as on:
        one, first = await on.open(b"GET /f", COOKIE, *TAKES_IDS)
        two, second = await on.open(b"GET /f", OTHER, *TAKES_IDS)
        again = await on.read(b"GET /f", COOKIE, *TAKES_IDS)
        await first.send(b"data: one\n\n")
        await second.send(b"data: two\n\n")
        assert [data_of([await tab.event()]) for tab in (one, two, again)] == [[b"one"], [b"two"], [b"one"]]


async def test_a_position_of_another_login_is_an_unknown_one() -> None:
    async with RunStand.serve(BY_RUN, feed("'cookie:s'")) as on:
        tab, _ = await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: secret\n\n")
        position = id_of(await tab.event()) or b""
        unknown = b"AAAAAAAAAAAAAAAAAAAAAA.1-1"
        for fields in ((OTHER,), (OTHER, *TAKES_IDS), (OTHER, *EVENT_SOURCE)):
            foreign = await on.ask(b"POST /a", *fields, at(position), body=b"{}")
            none = await on.ask(b"POST /a", *fields, at(unknown), body=b"{}")
            assert (foreign.status, foreign.undated, foreign.body) == (none.status, none.undated, none.body)
            assert foreign.status == 410
        urls = (b"GET /_runs/a/" + position.partition(b".")[0], b"GET /_runs/a/AAAAAAAAAAAAAAAAAAAAAA")
        foreign, none = [await on.ask(url, OTHER) for url in urls]
        assert (foreign.status, foreign.undated, foreign.body) == (404, none.undated, none.body)
        assert len(on.calls) == 1


async def test_without_a_login_the_name_of_a_run_is_what_leads_to_it() -> None:
    async with RunStand.serve("name: a, match: {path: /a}, journal: {kind: answer}") as on:
        await on.open(b"POST /a", *TAKES_IDS, body=b"{}", first=b"data: 1\n\n")
        other = await on.read(b"GET /_runs/a/" + on.run.name)
        assert await other.event() == b"data: 1"
        assert len(on.run.name) == 22


async def test_a_run_of_one_route_is_none_of_another() -> None:
    second = "name: b, match: {path: /b}, journal: {kind: answer, login: 'cookie:s'}"
    async with RunStand.serve(BY_RUN, second) as on:
        await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        name = on.run.name
        assert (await on.ask(b"GET /_runs/b/" + name, COOKIE)).status == 404
        assert (await on.ask(b"POST /b", COOKIE, at(name + b".1-1"), body=b"{}")).status == 410


# What goes upstream.

CREDENTIALS = (b"Authorization: Bearer t", b"Cookie: s=one; other=2", b"Proxy-Authorization: p", b"X-Own: 1")


async def test_a_feed_of_anyone_sends_no_credentials_upstream() -> None:
    async with RunStand.serve(feed("anyone", more=", headers: {request: {set: {X-Key: k}}}")) as on:
        _, call = await on.open(b"GET /f", *CREDENTIALS, *TAKES_IDS)
        for name in (b"Authorization", b"Cookie", b"Proxy-Authorization"):
            assert call.request.all(name) == []
        assert (call.request.one(b"X-Own"), call.request.one(b"X-Key")) == (b"1", b"k")


@pytest.mark.parametrize(
    ("login", "authorization", "cookies"),
    [
        ("'cookie:s'", [], [b"s=one"]),
        ("'header:Authorization'", [b"Bearer t"], []),
        ("['header:Authorization', 'cookie:other']", [b"Bearer t"], [b"other=2"]),
        ("'header:Cookie'", [], [b"s=one; other=2"]),
    ],
)
async def test_any_other_feed_sends_what_its_login_names(
    login: str, authorization: list[bytes], cookies: list[bytes]
) -> None:
    async with RunStand.serve(feed(login)) as on:
        _, call = await on.open(b"GET /f", *CREDENTIALS, *TAKES_IDS)
        assert call.request.all(b"Authorization") == authorization
        assert call.request.all(b"Cookie") == cookies


async def test_an_answer_sends_what_its_client_has_sent() -> None:
    async with RunStand.serve(BY_RUN) as on:
        _, call = await on.open(b"POST /a", *CREDENTIALS, *TAKES_IDS, body=b"{}")
        assert call.request.all(b"Cookie") == [b"s=one; other=2"]
        assert call.request.all(b"Authorization") == [b"Bearer t"]


async def test_a_position_of_ours_never_goes_upstream_and_one_that_is_not_ours_does() -> None:
    async with RunStand.serve(feed("anyone")) as on:
        _, call = await on.open(b"GET /f?last-event-id=AAAAAAAAAAA.1-1&lastEventId=x", *TAKES_IDS)
        assert call.request.target == b"/f?lastEventId=x"


# Reading and stopping are asked for, each time.


@asynccontextmanager
async def guarded() -> AsyncIterator[tuple[RunStand, list[bytes], list[bytes]]]:
    """A stand whose routes ask a service, what that has been asked, and its answers: the last one stays."""
    asked: list[bytes] = []
    answers = [b"HTTP/1.1 200 OK\r\nX-User: u\r\nContent-Length: 0\r\n\r\n"]

    async def script(visit: Visit) -> None:
        while True:
            request = await visit.request()
            named = (request.one(b"X-Original-Method"), request.one(b"X-Original-URI"))
            asked.append(b" ".join(each or b"" for each in named))
            await visit.send(answers[-1])

    async with RawUpstream.serve(script) as service:
        authorize = f", authorize: {{url: 'http://127.0.0.1:{service.port}/', take: {{user: X-User}}}}"
        routes = (keyed("'query:c'", login="'auth:user'", more=authorize), feed("'auth:user'", more=authorize))
        async with RunStand.serve(*routes) as on:
            yield on, asked, answers


async def test_every_join_resume_and_stop_is_asked_for() -> None:
    async with guarded() as (on, asked, answers):
        tab, call = await on.open(b"POST /a?c=7", *TAKES_IDS, body=b"{}", first=b"data: 1\n\n")
        position = id_of(await tab.event()) or b""
        await on.read(b"GET /a/7/stream")
        await on.read(b"POST /a?c=7", at(position), body=b"{}")
        assert asked == [b"POST /a?c=7", b"GET /a/7/stream", b"POST /a?c=7"]
        answers.append(b"HTTP/1.1 401 Who\r\nContent-Length: 2\r\n\r\nno")
        for line in (b"GET /a/7/stream", b"DELETE /a/7/stream", b"HEAD /a/7/stream"):
            assert (await on.ask(line)).status == 401
        assert (await on.ask(b"POST /a?c=7", at(position), body=b"{}")).status == 401
        assert asked[-4:] == [b"GET /a/7/stream", b"DELETE /a/7/stream", b"HEAD /a/7/stream", b"POST /a?c=7"]
        assert not call.is_left
        answers.append(b"HTTP/1.1 200 OK\r\nX-User: another\r\nContent-Length: 0\r\n\r\n")
        assert (await on.ask(b"GET /a/7/stream")).status == 204
        assert (await on.ask(b"DELETE /a/7/stream")).status == 204
        assert not call.is_left
        answers.append(answers[0])
        assert (await on.ask(b"DELETE /a/7/stream")).status == 204
        await call.left()


async def test_each_reader_of_a_feed_is_asked_for() -> None:
    async with guarded() as (on, asked, answers):
        await on.open(b"GET /f", *TAKES_IDS)
        await on.read(b"GET /f", *TAKES_IDS)
        assert asked == [b"GET /f", b"GET /f"]
        answers.append(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        assert (await on.ask(b"GET /f", *TAKES_IDS)).status == 403
        assert len(on.calls) == 1


# Reload.


async def test_runs_of_a_route_that_is_gone_live_to_their_end() -> None:
    async with RunStand.serve(keyed("'query:c'"), feed("anyone")) as on:
        tab, call = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: 1\n\n")
        reader, feed_call = await on.open(b"GET /f", *TAKES_IDS)
        await on.reload("name: z, match: {prefix: /}")
        for each in (call, feed_call):
            await each.send(b"data: 2\n\n")
        assert data_of(await tab.events(2)) == [b"1", b"2"]
        assert data_of([await reader.event()]) == [b"2"]
        asking = asyncio.create_task(on.ask(b"GET /b", COOKIE))  # along the new route
        await (await on.call(2)).answer(b"200 OK", b"plain")
        assert (await asking).body == b"plain"
        await call.finish()
        blocks, is_clean = await tab.ending()
        assert (blocks, is_clean) == ([], True)


async def test_a_run_goes_on_when_its_route_stays() -> None:
    async with RunStand.serve(keyed("'query:c'")) as on:
        _, call = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: 1\n\n")
        await on.reload(keyed("'query:c'"))
        other = await on.read(b"GET /a/7/stream", COOKIE)
        assert data_of([await other.event()]) == [b"1"]
        assert (await on.ask(b"DELETE /a/7/stream", COOKIE)).status == 204
        await call.left()


# URLs of runs.

AUTH = ", auth: {cookie: token, header: Authorization, format: 'Bearer {value}'}"


async def test_a_login_by_a_cookie_is_that_of_the_header_which_it_becomes() -> None:
    route = keyed("'query:c'", login="'header:Authorization'", more=AUTH)
    async with RunStand.serve(route) as on:
        _, call = await on.open(b"POST /a?c=7", b"Cookie: token=t", *TAKES_IDS, body=b"{}", first=b"data: 1\n\n")
        assert call.request.one(b"Authorization") == b"Bearer t"
        for fields in (b"Cookie: token=t", b"Authorization: Bearer t"):
            other = await on.read(b"GET /a/7/stream", fields)
            assert await other.event() == b"data: 1"
        for fields in (b"Cookie: token=u", b"Authorization: Bearer u", b"X-Other: t"):
            assert (await on.ask(b"GET /a/7/stream", fields)).status == 204


async def test_a_page_of_another_origin_reads_no_run_with_a_login_cookie() -> None:
    route = keyed("'query:c'", login="'header:Authorization'", more=AUTH)
    async with RunStand.serve(route) as on:
        await on.open(b"POST /a?c=7", b"Cookie: token=t", *TAKES_IDS, body=b"{}", first=b"data: 1\n\n")
        foreign = (b"Cookie: token=t", b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Mode: cors", b"Sec-Fetch-Dest: empty")
        assert (await on.ask(b"GET /a/7/stream", *foreign)).status == 403


async def test_the_urls_of_a_run_are_on_the_host_of_its_route() -> None:
    here = "name: a, match: {path: /a, host: a.test}, journal: {kind: answer}"
    async with RunStand.serve(here, "name: z, match: {prefix: /}") as on:
        await on.open(b"POST /a", *TAKES_IDS, body=b"{}", first=b"data: 1\n\n")
        url = b"/_runs/a/" + on.run.name
        await on.read(b"GET " + url)
        other = await on.client()
        await other.peer.send(b"GET " + url + b" HTTP/1.1\r\nHost: b.test\r\n\r\n")
        await (await on.call(1)).answer(b"200 OK", b"another")
        assert (await other.peer.response()).body == b"another"


@pytest.mark.parametrize(
    "target", [b"/_runs/a/%b", b"/_%%72uns//a/%b", b"/_runs/%%61/%b?x=y", b"http://a.test/_runs/a/%b"]
)
async def test_another_spelling_of_the_url_is_the_same(target: bytes) -> None:
    async with RunStand.serve(BY_RUN) as on:
        await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        other = await on.read(b"GET " + target % on.run.name, COOKIE)
        assert await other.event() == b"data: 1"


@pytest.mark.parametrize("target", [b"/_runs/a/../a/%b", b"/_runs/a/x/%%2e%%2e/%b", b"/_runs/a/./%b"])
async def test_dot_segments_in_the_url_are_refused(target: bytes) -> None:
    async with RunStand.serve(BY_RUN) as on:
        await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        assert (await on.ask(b"GET " + target % on.run.name, COOKIE)).status in (400, 404)


@pytest.mark.parametrize("name", [b"", b"x", b"%00", b"AAAAAAAAAAAAAAAAAAAAAA%2F", b"x" * 3000])
async def test_what_is_no_name_of_a_run_is_not_found(name: bytes) -> None:
    async with RunStand.serve(BY_RUN) as on:
        for method in (b"GET", b"DELETE"):
            response = await on.ask(method + b" /_runs/a/" + name, COOKIE)
            assert response.status in ((404,) if method == b"GET" or not name else (204, 404))
