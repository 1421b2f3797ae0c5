"""What becomes of requests and responses on a route with a journal that are not the usual ones?"""

import asyncio
import gc
import gzip

import pytest

from sseproxy.core.stream.request import StreamRequest
from sseproxy.http1.messages import OriginRequest
from sseproxy.proxy.inbound import ClientRequest, InboundRequest
from sseproxy.proxy.journal.upstream import RunUpstream
from sseproxy.proxy.opening import Opening
from tests.support.run_stand import EVENT_SOURCE, JSON, TAKES_IDS, RunStand, at, data_of, id_of
from tests.support.settled import eventually
from tests.support.virtual_clock import passing

COOKIE = b"Cookie: s=one"
IDS = (COOKIE, *TAKES_IDS)
BY_RUN = "name: a, match: {path: /a}, journal: {kind: answer, login: 'cookie:s'}"
BY_BODY = (
    "name: a, match: {path: /a}, limits: {request_body: 100KiB}, "
    "journal: {kind: answer, key: 'body:id', login: 'cookie:s', resume: {path: '/a/{key}/stream'}}"
)
KEYED = (
    "name: a, match: {path: /a}, heartbeat: {interval: 5s, before_response: 10s}, "
    "journal: {kind: answer, key: 'query:c', login: 'cookie:s', resume: {path: '/a/{key}/stream'}}"
)
OLLAMA = (
    "name: a, match: {prefix: /api}, dialect: ollama, heartbeat: {interval: 5s, before_response: 10s}, "
    "journal: {kind: answer, login: 'cookie:s'}"
)
FEED = "name: f, match: {path: /f}, journal: {kind: feed, login: anyone}"


def head_of(media: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: " + media + b"\r\nTransfer-Encoding: chunked\r\n\r\n"


POST = b"POST /a HTTP/1.1\r\nHost: a.test\r\nCookie: s=one\r\nAccept: text/event-stream\r\n"


async def test_a_body_that_waits_to_be_asked_for_is_asked_for_where_the_key_is_in_it() -> None:
    async with RunStand.serve(BY_BODY) as on:
        tab = await on.client()
        body = b'{"id": 7}'
        head = POST + JSON + b"\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
        await tab.peer.send(head)
        assert (await tab.head()).status == 100
        await tab.peer.send(body)
        call = await on.call()
        assert call.request.body == body
        await call.begin(first=b"data: 1\n\n")
        await tab.reading()
        other = await on.read(b"GET /a/7/stream", COOKIE)
        assert data_of([await other.event()]) == [b"1"]


async def test_a_client_that_resumes_is_not_asked_for_its_body() -> None:
    async with RunStand.serve(BY_RUN) as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        position = id_of(await tab.event()) or b""
        back = await on.client()
        await back.peer.send(POST + at(position) + b"\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        await back.reading()
        await call.send(b"data: 2\n\n")
        await call.finish()
        assert data_of((await back.ending())[0]) == [b"2"]


async def test_the_next_request_behind_one_that_resumes_is_served() -> None:
    async with RunStand.serve(BY_RUN) as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        position = id_of(await tab.event()) or b""
        await call.finish()
        await tab.ending()
        for _ in range(2):
            await tab.peer.send(POST + at(position) + b"\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000)
            await tab.reading()
            assert await tab.ending() == ([], True)
        assert len(on.calls) == 1


@pytest.mark.parametrize("framing", [b"Content-Length: 200000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
async def test_a_body_above_the_limit_is_refused(framing: bytes) -> None:
    async with RunStand.serve(BY_BODY) as on:
        tab = await on.client()
        data = b'{"id": "' + b"x" * 199_000
        pieces = data if framing.startswith(b"Content") else b"%x\r\n%b\r\n" % (len(data), data)
        await tab.peer.send(POST + JSON + b"\r\n" + framing + pieces)
        assert (await tab.head()).status == 413
        assert on.calls == []
        assert list(on.desk) == []


async def test_a_client_that_leaves_in_its_body_leaves_nothing() -> None:
    async with RunStand.serve(BY_BODY) as on:
        tab = await on.client()
        await tab.peer.send(POST + JSON + b"\r\nContent-Length: 20\r\n\r\n{")
        await eventually(lambda: on.proxy.app.requests == 1)
        await tab.leave()
        await eventually(lambda: on.proxy.app.requests == 0)
        assert on.calls == []


async def test_a_compressed_stream_is_kept_decoded() -> None:
    async with RunStand.serve(BY_RUN) as on:
        tab = await on.send(b"POST /a", *IDS, body=b"{}")
        call = await on.call()
        await call.begin(b"Content-Encoding: gzip")
        await call.send(gzip.compress(b"data: 1\n\ndata: 2\n\n"))
        await call.finish()
        head = await tab.head()
        assert head.all(b"Content-Encoding") == []
        blocks, is_clean = await tab.ending()
        assert (data_of(blocks), is_clean) == ([b"1", b"2"], True)
        other = await on.read(b"GET /_runs/a/" + on.run.name, COOKIE)
        assert data_of((await other.ending())[0]) == [b"1", b"2"]


async def test_a_stream_of_another_kind_is_not_kept() -> None:
    async with RunStand.serve(BY_RUN) as on:
        tab = await on.send(b"POST /a", *IDS, body=b"{}")
        call = await on.call()
        await call.visit.send(head_of(b"application/x-ndjson"))
        assert (await tab.head()).status == 200
        for number in range(3):
            await call.send(b"%d\n" % number)
            assert await tab.peer.chunk() == b"%d\n" % number
        assert list(on.desk) == []
        await tab.leave()
        await call.left()


async def test_ndjson_is_kept_alive_without_a_run() -> None:
    async with RunStand.serve(OLLAMA) as on:
        tab = await on.send(b"POST /api/chat", COOKIE, body=b"{}")
        head = await tab.head()
        assert (head.status, head.one(b"Content-Type")) == (200, b"application/x-ndjson")
        assert [await tab.peer.chunk() for _ in range(3)] == [b" "] * 3
        call = await on.call()
        await call.visit.send(head_of(b"application/x-ndjson"))
        await call.send(b'{"done": true}\n')
        await call.finish()
        assert [await tab.peer.chunk(), await tab.peer.chunk()] == [b'{"done": true}\n', b""]
        assert list(on.desk) == []


async def test_a_websocket_of_the_route_is_tunnelled() -> None:
    async with RunStand.serve(FEED) as on:
        tab = await on.client()
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        await tab.peer.send(b"GET /f HTTP/1.1\r\nHost: a.test\r\n" + upgrade + b"\r\n")
        call = await on.call()
        await call.visit.send(b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade + b"\r\nhello")
        assert (await tab.head()).status == 101
        assert await tab.peer.exactly(5) == b"hello"
        assert list(on.desk) == []
        await tab.leave()
        await call.left()


async def test_a_client_of_http_10_gets_a_run_until_its_connection_ends() -> None:
    async with RunStand.serve(BY_RUN) as on:
        tab = await on.client()
        await tab.peer.send(
            b"POST /a HTTP/1.0\r\nCookie: s=one\r\nAccept: text/event-stream\r\nContent-Length: 2\r\n\r\n{}"
        )
        call = await on.call()
        await call.begin(first=b"data: 1\n\n")
        assert (await tab.head()).status == 200
        await call.finish()
        assert b"data: 1\n\n" in await tab.peer.rest()
        assert not tab.peer.was_reset


async def test_who_leaves_behind_a_promise_leaves_the_run_to_the_others() -> None:
    async with RunStand.serve(KEYED) as on:
        first = await on.send(b"POST /a?c=7", *IDS, body=b"{}")
        call = await on.call()
        await first.reading()
        second = await on.send(b"GET /a/7/stream", COOKIE, *EVENT_SOURCE)
        await on.attended(2)
        await first.leave()
        await on.attended(1)
        await second.reading()
        await second.leave()
        await on.attended(0)
        await call.begin(first=b"data: 1\n\n")
        await call.finish()
        await eventually(lambda: on.run.state.end is not None)
        third = await on.read(b"POST /a?c=7", *IDS, at(on.run.name + b".1-0"), body=b"{}")
        assert data_of((await third.ending())[0]) == [b"1"]


async def test_a_refusal_whose_client_leaves_in_the_middle_is_closed() -> None:
    async with RunStand.serve(BY_RUN) as on:
        tab = await on.send(b"POST /a", *IDS, body=b"{}")
        call = await on.call()
        await call.visit.send(b"HTTP/1.1 500 Oh\r\nContent-Length: 1000\r\n\r\nabc")
        assert (await tab.head()).status == 500
        await tab.leave()
        await call.left()


async def test_a_refusal_for_which_no_client_waits_any_more_is_closed() -> None:
    async with RunStand.serve(KEYED) as on:
        tab = await on.send(b"POST /a?c=7", *IDS, body=b"{}")
        call = await on.call()
        await tab.leave()
        await on.attended(0)
        await call.visit.send(b"HTTP/1.1 500 Oh\r\nContent-Length: 1000\r\n\r\nabc")
        await call.left()
        await eventually(lambda: list(on.desk) == [])


async def test_a_response_before_the_end_of_the_body_is_a_run_and_takes_the_rest_along() -> None:
    async with RunStand.serve(BY_RUN) as on:
        tab = await on.client()
        await tab.peer.send(POST + b"Content-Length: 100000\r\n\r\n" + b"x" * 70_000)
        visit = await on.upstream.visit()
        await visit.wait_received(b"xxxx")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        await visit.send(head + b"9\r\ndata: 1\n\n\r\n")
        await tab.reading()
        assert data_of([await tab.event()]) == [b"1"]
        await tab.peer.send(b"x" * 30_000)
        call = await on.call()
        assert len(call.request.body) == 100_000
        await call.finish()
        assert (await tab.ending())[1]


async def test_many_requests_come_and_go_and_leave_nothing() -> None:
    async with RunStand.serve(BY_RUN, FEED) as on:
        for number in range(30):
            line = b"POST /a" if number % 2 else b"GET /f?%d" % number
            tab, call = await on.open(line, *IDS, body=b"{}" if number % 2 else None, first=b"data: 1\n\n")
            if number % 3 == 0:
                await tab.event()
            if number % 5 == 0:
                call.break_off()
            await tab.leave()
        await on.attended(0)
        await asyncio.sleep(31)
        assert sum(run.attended for run in on.desk) == 0


def requests_in_memory() -> list[str]:
    """What is there of requests that are served."""
    kinds = (ClientRequest, InboundRequest, StreamRequest, Opening, RunUpstream, OriginRequest)
    return sorted({type(each).__name__ for each in gc.get_objects() if isinstance(each, kinds)})


async def test_a_request_is_kept_nowhere_once_it_was_sent() -> None:
    """Nor is that of another client, once its response has begun: a stream may go on for hours."""
    assert requests_in_memory() == []
    async with RunStand.serve(KEYED) as on:
        tab, call = await on.open(b"POST /a?c=7", *IDS, body=b'{"secret": 1}', first=b"data: 1\n\n")
        assert data_of([await tab.event()]) == [b"1"]
        await passing(0.01)
        assert requests_in_memory() == []
        undeclared, other = await on.open(b"POST /a?c=8", COOKIE, body=b"{}", first=b"data: 1\n\n")
        assert data_of([await undeclared.event()]) == [b"1"]
        third = await on.read(b"GET /a/7/stream", *IDS)
        assert data_of([await third.event()]) == [b"1"]
        await passing(0.01)
        assert requests_in_memory() == []
        await call.finish()
        await other.finish()


async def test_the_request_of_a_feed_is_kept_while_its_upstream_is_there() -> None:
    async with RunStand.serve(FEED.replace("anyone", "anyone, detach: 'off'")) as on:
        tab, call = await on.open(b"GET /f", *EVENT_SOURCE, first=b"data: 1\n\n")
        await tab.events(2)
        other = await on.read(b"GET /f", *EVENT_SOURCE)
        await passing(0.01)
        assert requests_in_memory() == ["Opening", "RunUpstream"]
        await tab.leave()
        await other.leave()
        await call.left()
        await passing(0.01)
        assert requests_in_memory() == []
