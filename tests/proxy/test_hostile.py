"""Does anything of a hostile request reach the upstream? (RFC 9112 sections 6.3 and 11.2)"""

import json

import pytest

from sseproxy.core.limits import LimitPolicy
from tests.proxy.hostile import SMUGGLED, Hostile, bodies, heads, request
from tests.support.http1_reader import Message
from tests.support.proxy_server import Stage, stage
from tests.support.raw_upstream import Visit, replies

HEADS = [pytest.param(case, id=case.name) for case in heads()]


def check_refusal(response: Message, status: int) -> None:
    """An error of ours says so, gives nothing away, and closes."""
    assert response.status == status, response
    assert response.one(b"Connection") == b"close"
    assert response.one(b"Content-Type") == b"application/problem+json"
    assert (response.one(b"Proxy-Status") or b"").startswith(b"sseproxy")
    problem = json.loads(response.body)
    assert problem["status"] == status
    assert set(problem) == {"type", "title", "status", "detail", "request_id"}
    for secret in (b"Traceback", b'File "', b"127.0.0.1", b"aiohttp", b"llhttp", b"0x", b"\\u"):
        assert secret not in response.body


@pytest.mark.parametrize("behind", [pytest.param(b"", id="alone"), pytest.param(SMUGGLED, id="and-more")])
@pytest.mark.parametrize("case", HEADS)
async def test_hostile_head(case: Hostile, behind: bytes) -> None:
    async with stage(replies()) as on:
        await on.client.send(case.data + behind)
        check_refusal(await on.client.response(), case.status)
        assert await on.client.rest() == b""
        assert on.upstream.visits == []


@pytest.mark.parametrize("case", HEADS)
async def test_hostile_head_in_small_pieces(case: Hostile) -> None:
    async with stage(replies()) as on:
        await on.client.send_in_pieces(case.data + SMUGGLED, size=1 if len(case.data) < 1000 else 4000)
        check_refusal(await on.client.response(), case.status)
        on.client.finish_sending()  # the proxy would listen to the rest of a body for a while
        assert await on.client.rest() == b""
        assert on.upstream.visits == []


CHUNKED = request(b"Transfer-Encoding: chunked")
BODIES = [pytest.param(data, id=name) for name, data in bodies()]


@pytest.mark.parametrize("body", BODIES)
async def test_malformed_body_with_the_head(body: bytes) -> None:
    async with stage(replies()) as on:
        await on.client.send(CHUNKED + body + SMUGGLED)
        check_refusal(await on.client.response(), 400)
        assert await on.client.rest() == b""
        assert on.upstream.visits == []


@pytest.mark.parametrize("body", BODIES)
async def test_malformed_body_in_small_pieces(body: bytes) -> None:
    async with stage(replies()) as on:
        await on.client.send_in_pieces(CHUNKED + body + SMUGGLED, size=1)
        check_refusal(await on.client.response(), 400)
        assert await on.client.rest() == b""
        await check_never_whole(on)


@pytest.mark.parametrize("body", BODIES)
async def test_malformed_body_in_a_later_packet(body: bytes) -> None:
    async with stage(replies()) as on:
        await on.client.send(CHUNKED + b"3\r\nabc\r\n")
        visit = await on.upstream.visit()
        await visit.wait_received(b"3\r\nabc\r\n")
        await on.client.send(body + SMUGGLED)
        check_refusal(await on.client.response(), 400)
        assert await on.client.rest() == b""
        await check_never_whole(on)


@pytest.mark.parametrize("body", [b"zz\r\n", b"5\r\nhelloX\r\n", b"5\nhello"])
async def test_malformed_body_after_the_answer_has_begun(body: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await visit.wait_closed()

    async with stage(script) as on:
        await on.client.send(CHUNKED + b"3\r\nabc\r\n")
        assert (await on.client.head()).status == 200
        assert await on.client.chunk() == b"one"
        await on.client.send(body + SMUGGLED)
        assert b"0\r\n\r\n" not in await on.client.rest()
        assert b"smuggled" not in on.upstream.received
        await (await on.upstream.visit()).wait_closed()


async def check_never_whole(on: Stage) -> None:
    """If the upstream got the beginning of a request, it never got its end, and knows that none will come."""
    assert b"smuggled" not in on.upstream.received
    assert on.upstream.requests == []
    for visit in on.upstream.visits:
        await visit.wait_closed()
        assert not visit.received.endswith(b"0\r\n\r\n")
    assert on.upstream.requests == []


# Bodies that are larger than the route allows.

LIMITED = LimitPolicy(request_body=10)


async def test_body_over_the_limit_by_its_length() -> None:
    async with stage(replies(), limits=LIMITED) as on:
        await on.client.send(request(b"Content-Length: 11", body=b"hello world") + SMUGGLED)
        check_refusal(await on.client.response(), 413)
        assert await on.client.rest() == b""
        assert on.upstream.visits == []


async def test_body_over_the_limit_in_its_first_piece() -> None:
    async with stage(replies(), limits=LIMITED) as on:
        await on.client.send(CHUNKED + b"b\r\nhello world\r\n0\r\n\r\n" + SMUGGLED)
        check_refusal(await on.client.response(), 413)
        assert await on.client.rest() == b""
        assert on.upstream.visits == []


async def test_body_over_the_limit_in_a_later_piece() -> None:
    async with stage(replies(), limits=LIMITED) as on:
        await on.client.send(CHUNKED + b"6\r\nhello \r\n")
        visit = await on.upstream.visit()
        await visit.wait_received(b"hello ")
        await on.client.send(b"5\r\nworld\r\n0\r\n\r\n" + SMUGGLED)
        check_refusal(await on.client.response(), 413)
        assert await on.client.rest() == b""
        await check_never_whole(on)


@pytest.mark.parametrize(
    "body", [b"Content-Length: 10\r\n\r\n0123456789", b"Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n"]
)
async def test_body_at_the_limit(body: bytes) -> None:
    async with stage(replies(), limits=LIMITED) as on:
        response = await on.client.ask(b"POST /a HTTP/1.1\r\nHost: a.test\r\n" + body)
        assert response.status == 200
        assert on.upstream.requests[0].body == b"0123456789"


# What comes before and behind.

GOOD = b"GET /good HTTP/1.1\r\nHost: a.test\r\n\r\n"


async def test_hostile_request_behind_a_good_one() -> None:
    async with stage(replies()) as on:
        assert (await on.client.ask(GOOD)).status == 200
        await on.client.send(request(b"Content-Length: +5", body=b"hello") + SMUGGLED)
        check_refusal(await on.client.response(), 400)
        assert await on.client.rest() == b""
        assert [each.target for each in on.upstream.requests] == [b"/good"]
        assert on.upstream.received.count(b"HTTP/1.1") == 1


async def test_body_that_holds_a_request_is_a_body() -> None:
    async with stage(replies()) as on:
        length = b"Content-Length: %d" % len(SMUGGLED)
        assert (await on.client.ask(request(length, body=SMUGGLED) + GOOD)).status == 200
        assert (await on.client.response()).status == 200
        assert [each.target for each in on.upstream.requests] == [b"/a", b"/good"]
        assert on.upstream.requests[0].body == SMUGGLED


async def test_client_that_stops_in_the_middle_of_its_body() -> None:
    async with stage(replies()) as on:
        await on.client.send(request(b"Content-Length: 100", body=b"hello"))
        visit = await on.upstream.visit()
        await visit.wait_received(b"hello")
        on.client.reset()
        await check_never_whole(on)


@pytest.mark.parametrize("trailers", [b"X-A: b\r\n", b"X-A: b\r\nX-C: d\r\n", b"X-A:\r\n", b"X-A: 0\r\n"])
@pytest.mark.parametrize("apart", [False, True])
async def test_trailers_are_dropped_and_never_become_fields_of_the_next_request(trailers: bytes, apart: bool) -> None:
    async with stage(replies()) as on:
        first = CHUNKED + b"5\r\nhello\r\n0\r\n" + trailers + b"\r\n"
        await on.client.send(first if apart else first + GOOD)
        assert (await on.client.response()).status == 200
        if apart:
            await on.client.send(GOOD)
        assert (await on.client.response()).status == 200
        assert [(each.target, each.body) for each in on.upstream.requests] == [(b"/a", b"hello"), (b"/good", b"")]
        assert b"X-A" not in on.upstream.received


async def test_chunked_requests_without_trailers_share_a_connection() -> None:
    async with stage(replies()) as on:
        for body in (b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n", b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"):
            response = await on.client.ask(CHUNKED + body)
            assert response.status == 200
            assert response.one(b"Connection") is None
        assert [each.body for each in on.upstream.requests] == [b"hello", b"", b"\r\n0\r\n\r\n"]


@pytest.mark.parametrize("line", [b"5;a=b", b'5;a="b;c"', b"5;a", b"05", b"5;a;b=c"])
async def test_chunk_extensions_are_dropped(line: bytes) -> None:
    async with stage(replies()) as on:
        assert (await on.client.ask(CHUNKED + line + b"\r\nhello\r\n0\r\n\r\n")).status == 200
        assert on.upstream.received.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize("line", [b"GET  /a HTTP/1.1", b"GET /a  HTTP/1.1"])
async def test_spaces_in_the_request_line_do_not_go_on(line: bytes) -> None:
    async with stage(replies()) as on:
        assert (await on.client.ask(request(line=line))).status == 200
        assert on.upstream.received.startswith(b"GET /a HTTP/1.1\r\nHost: a.test\r\n")


async def test_empty_lines_before_a_request_do_not_matter() -> None:
    async with stage(replies()) as on:
        assert (await on.client.ask(b"\r\n\r\n" + GOOD)).status == 200
        assert on.upstream.received.startswith(b"GET /good HTTP/1.1\r\n")


async def test_all_fields_together_have_a_limit() -> None:
    """Each field is short enough and there are not too many, and still nobody has to keep megabytes of them."""
    async with stage(replies()) as on:
        await on.client.send(b"GET /a HTTP/1.1\r\nHost: a.test\r\n")
        for number in range(40):
            await on.client.send(b"X-%d: %b\r\n" % (number, b"x" * 8000))
        check_refusal(await on.client.response(), 431)
        assert on.upstream.visits == []
