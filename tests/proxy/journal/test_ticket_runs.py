"""What is a ticket of a route with a journal? (docs/eventsource.md)"""

import json

from tests.support.http1_reader import Message
from tests.support.run_stand import EVENT_SOURCE, JSON, RunStand, at, data_of
from tests.support.settled import eventually
from tests.support.virtual_clock import now, passing

ANSWER = "name: a, match: {path: /a}, tickets: {path: /_t}, journal: {kind: answer, login: 'cookie:s'}"
KEYED = (
    "name: a, match: {path: /a}, tickets: {path: /_t}, "
    "journal: {kind: answer, key: 'query:c', login: 'cookie:s', resume: {path: '/a/{key}/stream'}}"
)
OFF = "name: a, match: {path: /a}, tickets: {path: /_t, ttl: 40s}, journal: {kind: answer, detach: off}"
FEED = "name: f, match: {path: /f}, tickets: {path: /_t}, journal: {kind: feed, login: anyone}"
COOKIE = b"Cookie: s=one"


async def made(on: RunStand, line: bytes = b"POST /_t/a?x=1", *fields: bytes, first: bytes = b"data: 1\n\n") -> Message:
    """The answer to who makes a ticket, whose upstream has answered with a stream."""
    number = len(on.calls)
    tab = await on.send(line, COOKIE, JSON, *fields, body=None if line.startswith(b"GET") else b"{}")
    call = await on.call(number)
    await call.begin(first=first)
    return await tab.peer.response()


def url_of(answer: Message) -> bytes:
    return str(json.loads(answer.body)["url"]).encode()


async def test_it_is_sent_at_once_and_its_url_is_that_of_the_run() -> None:
    async with RunStand.serve(ANSWER) as on:
        answer = await made(on)
        assert answer.status == 201
        assert on.calls[0].request.first_line == b"POST /a?x=1 HTTP/1.1"
        assert on.calls[0].request.body == b"{}"
        name = on.run.name
        assert json.loads(answer.body) == {"ticket": name.decode(), "url": f"/_runs/a/{name.decode()}"}
        assert answer.one(b"Location") == url_of(answer)
        assert answer.one(b"Cache-Control") == b"no-store"
        for _ in range(2):  # it may be read as often as one likes
            tab = await on.read(b"GET " + url_of(answer), COOKIE, *EVENT_SOURCE)
            assert data_of(await tab.events(2)) == [b"1"]
        await on.calls[0].finish()


async def test_it_is_that_of_its_login_alone() -> None:
    async with RunStand.serve(ANSWER) as on:
        url = url_of(await made(on))
        assert (await on.ask(b"GET " + url, b"Cookie: s=two")).status == 404
        assert (await on.ask(b"GET " + url)).status == 404
        assert (await on.ask(b"DELETE " + url, b"Cookie: s=two")).status == 204
        assert on.run.state.is_under_way
        assert (await on.ask(b"POST /_t/a", JSON, body=b"{}")).status == 400
        assert len(on.calls) == 1


async def test_delete_stops_it() -> None:
    async with RunStand.serve(ANSWER) as on:
        url = url_of(await made(on))
        assert (await on.ask(b"DELETE " + url, COOKIE)).status == 204
        await on.calls[0].left()


async def test_the_url_of_a_key() -> None:
    async with RunStand.serve(KEYED) as on:
        answer = await made(on, b"POST /_t/a?c=7")
        assert url_of(answer) == b"/a/7/stream"
        tab = await on.read(b"GET /a/7/stream", COOKIE)
        assert await tab.event() == b"data: 1"


async def test_what_the_upstream_refuses_is_the_answer_and_leaves_no_run() -> None:
    async with RunStand.serve(ANSWER) as on:
        tab = await on.send(b"POST /_t/a", COOKIE, JSON, body=b"{}")
        await (await on.call()).answer(b"402 Pay", b"no money", b"X-Own: 1")
        answer = await tab.peer.response()
        assert (answer.status, answer.body, answer.one(b"X-Own")) == (402, b"no money", b"1")
        assert len(on.desk) == 0


async def test_one_that_is_known_is_not_sent_again() -> None:
    async with RunStand.serve(ANSWER) as on:
        url = url_of(await made(on))
        again = await on.ask(b"POST /_t/a?x=1", COOKIE, JSON, at(on.run.name + b".1-1"), body=b"{}")
        assert (again.status, url_of(again)) == (201, url)
        gone = await on.ask(b"POST /_t/a?x=1", COOKIE, JSON, at(b"A" * 22 + b".1-1"), body=b"{}")
        assert gone.status == 410
        assert len(on.calls) == 1


async def test_its_run_waits_for_its_first_reader_as_long_as_a_ticket_does() -> None:
    async with RunStand.serve(OFF) as on:
        url = url_of(await made(on))
        await on.attended(0)
        await passing(35)
        assert on.run.state.is_under_way
        tab = await on.read(b"GET " + url)
        await passing(60)
        assert on.run.state.is_under_way
        began = now()
        await tab.leave()  # from now on it is as any other
        await on.calls[0].left()
        assert now() - began < 10
        assert on.run.end_reason == "abandoned"


async def test_one_that_no_client_reads_is_stopped() -> None:
    async with RunStand.serve(OFF) as on:
        await made(on)
        began = now()
        await on.calls[0].left()
        assert 39 <= now() - began < 45


async def test_a_feed() -> None:
    async with RunStand.serve(FEED) as on:
        url = url_of(await made(on, b"GET /_t/f?x=1", first=b"data: 1\n\n"))
        tab = await on.read(b"GET " + url + b"?last-event-id=oldest", *EVENT_SOURCE)
        assert data_of(await tab.events(2)) == [b"1"]
        assert (await on.ask(b"POST /_t/f", JSON, body=b"{}")).status == 400
        assert len(on.calls) == 1


async def test_a_feed_that_it_wakes_is_not_asked_for_the_id_that_the_client_has_brought() -> None:
    async with RunStand.serve(FEED.replace("path: /_t", "path: /_t, ttl: 30s")) as on:
        await made(on, b"GET /_t/f?x=1", first=b"data: 1\n\n")
        await on.calls[0].left()  # no client has read it in time
        assert on.run.is_asleep
        tab = await on.send(b"GET /_t/f?x=1", at(b"foreign"))
        call = await on.call(1)
        assert (await tab.peer.response()).status == 201
        assert call.request.all(b"Last-Event-ID") == []


async def test_a_client_that_leaves_before_the_head_and_one_that_does_not_wait() -> None:
    async with RunStand.serve(ANSWER) as on:
        tab = await on.send(b"POST /_t/a", COOKIE, JSON, body=b"{}")
        call = await on.call()
        await tab.leave()
        await on.attended(0)
        await call.begin(first=b"data: 1\n\n")
        await eventually(lambda: on.run.state.head is not None)  # it goes on, and can be stopped by its limits only


async def test_there_is_no_ticket_without_a_journal() -> None:
    async with RunStand.serve(ANSWER) as on:
        on.desk.drain()
        assert (await on.ask(b"POST /_t/a", COOKIE, JSON, body=b"{}")).status == 503
        assert on.calls == []
