"""What does a client get when the upstream's answer is early, late, broken or none? (docs/ends.md)"""

import asyncio
import contextlib
import json
import os
import resource
from collections.abc import AsyncIterator, Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from sseproxy.core.limits import LimitPolicy
from sseproxy.core.routes import Route, Upstream
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.http1.heads import MAX_FIELDS
from tests.support.async_peer import AsyncPeer
from tests.support.http1_reader import Message
from tests.support.proxy_server import SILENT, ProxyServer, Stage, route_to, stage
from tests.support.raw_upstream import OK, RawUpstream, Visit, replies, replies_once

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
GET_10 = b"GET /a HTTP/1.0\r\nHost: a.test\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"


def ok(*fields: bytes, body: bytes = b"ok", status: bytes = b"200 OK") -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join([b"HTTP/1.1 " + status, *fields, length]) + b"\r\n\r\n" + body


def check_bad_gateway(response: Message, error: bytes = b"http_protocol_error", status: int = 502) -> None:
    assert response.status == status
    assert response.one(b"Content-Type") == b"application/problem+json"
    assert response.one(b"Proxy-Status") == b"sseproxy; error=" + error
    assert json.loads(response.body)["status"] == status
    for secret in (b"127.0.0.1", b"Traceback", b"Errno", b"llhttp"):
        assert secret not in response.body


async def test_an_error_has_a_date() -> None:
    async with stage(replies_once(b"hello\r\n\r\n")) as on:
        date = (await on.client.ask(GET)).one(b"Date")
        assert date is not None
        assert parsedate_to_datetime(date.decode()).tzinfo is UTC


# Early answers.


async def test_an_answer_before_the_body_is_sent() -> None:
    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(ok(status=b"413 Too Much"))
        await visit.wait_closed()

    async with stage(script) as on:
        await on.client.send(b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\nhello")
        response = await on.client.response()
        assert response.status == 413
        assert response.body == b"ok"
        visit = await on.upstream.visit()
        await visit.wait_closed()
        await on.client.send(bytes(995))
        assert (await on.client.ask(POST)).status == 413
        assert len(on.upstream.visits) == 2


# Connections that the upstream has closed meanwhile.


async def closes_when_used_again(visit: Visit) -> None:
    await visit.request()
    await visit.send(EMPTY)
    await visit.request()
    visit.reset()


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"PUT"])
async def test_idempotent_requests_do_not_notice_a_stale_connection(method: bytes) -> None:
    request = method + b" /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
    async with stage(closes_when_used_again) as on:
        assert (await on.client.ask(request, to_head=method == b"HEAD")).status == 200
        assert (await on.client.ask(request, to_head=method == b"HEAD")).status == 200
        assert len(on.upstream.visits) == 2


CHUNKED_PUT = b"PUT /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextlib.asynccontextmanager
async def stale_pool(size: int) -> AsyncIterator[Stage]:
    """A proxy that keeps `size` connections, each of which the upstream resets when it is used again."""
    pooled: list[Visit] = []
    everybody = asyncio.Event()

    async def script(visit: Visit) -> None:
        is_pooled = len(pooled) < size
        if is_pooled:
            pooled.append(visit)
        await visit.request()
        if len(pooled) == size:
            everybody.set()
        await everybody.wait()
        await visit.send(EMPTY)
        if is_pooled:
            await visit.head()
            visit.reset()

    async with stage(script) as on, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(on.proxy.connect()) for _ in range(size)]
        answers = await asyncio.gather(*(client.ask(GET) for client in clients))
        assert [answer.status for answer in answers] == [200] * size
        assert len(on.upstream.visits) == size
        yield on


async def test_an_idempotent_request_never_sees_a_stale_pool() -> None:
    """However many of its connections are stale: a second try takes none of them."""
    async with stale_pool(8) as on:
        assert (await on.client.ask(GET)).status == 200
        assert len(on.upstream.visits) == 9


async def test_nor_does_one_whose_body_can_be_sent_only_once() -> None:
    async with stale_pool(2) as on:
        await on.client.send(CHUNKED_PUT + b"3\r\nabc\r\n")
        await (await on.upstream.visit(2)).wait_received(b"3\r\nabc\r\n")
        assert (await on.client.ask(b"0\r\n\r\n")).status == 200
        assert len(on.upstream.visits) == 3


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"DELETE"])
@pytest.mark.parametrize(
    "body", [b"Content-Length: 2\r\n\r\nhi", b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"]
)
async def test_no_request_follows_one_whose_body_means_nothing(method: bytes, body: bytes) -> None:
    """An upstream that does not read such a body takes it for the next request."""
    request = method + b" /a HTTP/1.1\r\nHost: a.test\r\n"
    async with stage(replies(EMPTY)) as on:
        empty = request + b"Content-Length: 0\r\n\r\n"
        for sent, visits in ((empty, 1), (request + body, 1), (empty, 2), (GET, 2)):
            assert (await on.client.ask(sent, to_head=method == b"HEAD" and sent is not GET)).status == 200
            assert len(on.upstream.visits) == visits
        await (await on.upstream.visit()).wait_closed()


@pytest.mark.parametrize("request_", [POST, b"PATCH /a HTTP/1.1\r\nHost: a.test\r\n\r\n"])
async def test_other_requests_are_sent_once(request_: bytes) -> None:
    async with stage(closes_when_used_again) as on:
        assert (await on.client.ask(GET)).status == 200
        check_bad_gateway(await on.client.ask(request_), b"connection_terminated")
        assert len(on.upstream.visits) == 1
        assert (await on.client.ask(GET)).status == 200


async def test_a_connection_closed_while_it_is_idle_is_not_used() -> None:
    async with stage(replies_once(OK)) as on:
        for number in range(3):
            assert (await on.client.ask(POST)).status == 200
            await (await on.upstream.visit(number)).wait_closed()


async def test_a_new_connection_that_is_closed_at_once_is_not_tried_again() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        visit.reset()

    async with stage(script) as on:
        check_bad_gateway(await on.client.ask(GET), b"connection_terminated")
        assert len(on.upstream.visits) == 1


# What is no response.


@pytest.mark.parametrize(
    "response",
    [
        b"hello\r\n\r\n",
        b"\x00\x01\x02\x03",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 000 None\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        ok(b"X-A: a\x00b"),
        ok(b"X-A: a\x01b"),
        ok(b"X-A: a\x0bb"),
        ok(b"X-A: a\x7fb"),
        ok(b"X-A: a\rSet-Cookie: evil=1"),
        ok(b"X A: b"),
        ok(b"X-A : b"),
        ok(b"X-A: b\r\n c"),
        ok(b": b"),
        ok(b"X-A"),
        ok(status=b"200 O\x00K"),
        ok(status=b"200 O\x01K"),
        ok(status=b"200 OK\rX-A: b"),
        ok(b"Content-Length: 3"),
        ok(b"Transfer-Encoding: chunked"),
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2,3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2,02\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2,\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n ,2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2x\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: \r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length : 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\nContent-Length: 2\nTransfer-Encoding: chunked\n\nok",
        b"HTTP/1.1 200 OK\rContent-Length: 2\r\rok",
        b"HTTP/1.1 200 OK\nX-A: b\n c\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ok(*[b"X-%d: a" % number for number in range(MAX_FIELDS + 1)]),
    ],
    ids=lambda response: repr(response[:60]),
)
async def test_a_malformed_response_is_a_502(response: bytes) -> None:
    async with stage(replies(response)) as on:
        answer = await on.client.ask(GET)
        assert answer.status == 502
        check_bad_gateway(answer, (answer.one(b"Proxy-Status") or b"").partition(b"error=")[2])
        assert (answer.one(b"Proxy-Status") or b"").endswith((b"http_protocol_error", b"http_upgrade_failed"))
        await (await on.upstream.visit()).wait_closed()


@pytest.mark.parametrize("pieces", [1, 50])
@pytest.mark.parametrize(
    "fields", [[b"X-A: " + b"a" * 66_000], [b"X-%d: " % number + b"a" * 700 for number in range(100)]]
)
async def test_a_head_that_is_too_large_is_a_502(pieces: int, fields: list[bytes]) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        response = ok(*fields)
        for index in range(0, len(response), size := len(response) // pieces + 1):
            await visit.send(response[index : index + size])
            await asyncio.sleep(0)
        await visit.wait_closed()

    async with stage(script) as on:
        check_bad_gateway(await on.client.ask(GET), b"http_response_header_section_size")


async def test_an_upstream_that_closes_without_an_answer() -> None:
    for beginning in (b"", b"HTT", b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 100 Continue\r\n\r\n"):
        async with stage(replies_once(beginning)) as on:
            check_bad_gateway(await on.client.ask(GET), b"connection_terminated")


async def test_an_upstream_that_does_not_answer() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.wait_closed()

    async with stage(script, timeouts=TimeoutPolicy(response=0.1)) as on:
        check_bad_gateway(await on.client.ask(GET), b"http_response_timeout", 504)
        await (await on.upstream.visit()).wait_closed()


@pytest.mark.parametrize(
    ("upstream", "error"),
    [
        (Upstream("http", "127.0.0.1", 1), b"connection_refused"),
        (Upstream("http+unix", socket_path="/nowhere/at/all"), b"destination_unavailable"),
        (Upstream("http", "nowhere.invalid", 80), b"dns_error"),
    ],
)
async def test_an_upstream_that_is_not_there(upstream: Upstream, error: bytes) -> None:
    async with ProxyServer.serve(Route("default", upstream, heartbeat=SILENT)) as proxy, proxy.connect() as client:
        response = await client.ask(GET)
        check_bad_gateway(response, error)
        assert b"nowhere" not in response.body
        check_bad_gateway(await client.ask(GET), error)


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Whoever asks for a descriptor gets none."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_no_descriptor_is_left_for_the_upstream() -> None:
    async with stage(replies()) as on:
        with no_descriptors():
            response = await on.client.ask(GET)
        check_bad_gateway(response, b"connection_limit_reached", 503)
        assert int(response.one(b"Retry-After") or b"") > 0
        assert (await on.client.ask(GET)).status == 200


async def test_an_upstream_that_speaks_no_tls() -> None:
    async with stage(replies(b"hello")) as on:
        route = Route("default", Upstream("https", "127.0.0.1", on.upstream.port), heartbeat=SILENT)
        async with ProxyServer.serve(route) as proxy, proxy.connect() as client:
            task = asyncio.ensure_future(client.ask(GET))
            (await on.upstream.visit()).close()
            assert (await task).status == 502


@pytest.mark.parametrize("limits", [LimitPolicy(streams=0), LimitPolicy(streams_per_client=0)])
async def test_a_limit_that_is_reached(limits: LimitPolicy) -> None:
    async with stage(replies(), limits=limits) as on:
        response = await on.client.ask(b"GET /a HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\n\r\n")
        check_bad_gateway(response, b"connection_limit_reached", 503)
        assert int(response.one(b"Retry-After") or b"") > 0
        assert on.upstream.visits == []
        assert (await on.client.ask(GET)).status == 200


# Bodies that break.


@pytest.mark.parametrize(("request_", "warned"), [(GET, False), (GET_10, True)])
async def test_over_a_unix_socket_a_broken_body_without_chunks_is_warned_of(
    request_: bytes, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        RawUpstream.serve(replies_once(CHUNKED + b"5\r\nhello\r\n")) as upstream,
        ProxyServer.serve(route_to(upstream), socket_path=tmp_path / "proxy"),
        AsyncPeer.connect_unix(tmp_path / "proxy") as client,
    ):
        await client.send(request_)
        assert b"hello" in await client.rest()
    assert any("HTTP/1.0 over a unix socket" in message for message in caplog.messages) is warned


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"5\r\nhello\r\n5\r\nwo",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        CHUNKED + b"5\r\nhello\r\nzz\r\nworld\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhelloX\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhello\r\n5;\nworld\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhello\r\nfffffffffffffffff\r\n",
    ],
)
@pytest.mark.parametrize("request_", [GET, GET_10])
async def test_a_body_that_breaks_never_looks_complete(response: bytes, request_: bytes) -> None:
    async with stage(replies_once(response)) as on:
        await on.client.send(request_)
        head = await on.client.head()
        assert head.status == 200
        rest = await on.client.rest()
        assert b"hello" in rest
        assert b"world" not in rest
        if head.one(b"Content-Length") is not None:
            assert len(rest) < 10
        elif head.one(b"Transfer-Encoding") is not None:
            assert not rest.endswith(b"0\r\n\r\n")
        else:
            assert on.client.was_reset


@pytest.mark.parametrize("kind", [b"application/json", b"text/event-stream"])
@pytest.mark.parametrize("endless", [b"0\r\nX-A: ", b"5;a="], ids=["a trailer", "a chunk extension"])
async def test_what_is_no_body_has_a_limit_behind_the_head_too(kind: bytes, endless: bytes) -> None:
    """httptools keeps a field until it is whole, and nothing of it counts as a sign of life."""

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Type: " + kind + b"\r\n\r\n"))
        await visit.send(b"1\r\n\n\r\n" + endless)
        while not visit.lost.is_set():
            await visit.send(b"a" * 10_000)
            await asyncio.sleep(0)

    async with stage(script) as on:
        await on.client.send(GET)
        assert (await on.client.head()).status == 200
        out = await on.client.rest()
        assert not out.endswith(b"0\r\n\r\n")


async def test_chunks_whose_framing_comes_by_itself() -> None:
    """However much of it there is in all: here more than a head may have."""
    count = 400

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Type: text/event-stream\r\n\r\n"))
        for _ in range(count):
            await visit.send(b"1;%b\r\n" % (b"a" * 300))
            await asyncio.sleep(0.0001)
            await visit.send(b"\n\r\n")
        await visit.send(b"0\r\n\r\n")

    async with stage(script) as on:
        response = await on.client.ask(GET)
        assert response.body == b"\n" * count


@pytest.mark.parametrize("response", [CHUNKED + b"zz\r\n", CHUNKED + b"\r\n", CHUNKED + b"0x5\r\nhello\r\n"])
async def test_a_bad_chunk_with_the_head_never_looks_complete(response: bytes) -> None:
    async with stage(replies(response)) as on:
        await on.client.send(GET)
        out = await on.client.rest()
        assert not out.endswith(b"0\r\n\r\n")
