"""Which bytes does the client get for a response, and what if it is no response? (contract sections 1 and 2, S11)"""

import asyncio
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from sseproxy.core.http.fields import HeaderRules
from tests.support.http1_reader import Message
from tests.support.proxy_server import stage
from tests.support.raw_upstream import OK, Visit, replies, replies_once

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
HEAD = b"HEAD /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
GET_10 = b"GET /a HTTP/1.0\r\nHost: a.test\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"


def ok(*fields: bytes, body: bytes = b"ok", status: bytes = b"200 OK") -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join([b"HTTP/1.1 " + status, *fields, length]) + b"\r\n\r\n" + body


async def got(response: bytes, request: bytes = GET, **options: object) -> Message:
    """The response as the client got it."""
    async with stage(replies(response), **options) as on:  # type: ignore[arg-type]
        return await on.client.ask(request, to_head=request.startswith(b"HEAD"))


# Heads.


async def test_a_response_passes_as_it_is() -> None:
    fields = [
        b"Server: x",
        b"date: Mon, 23 Nov 2026 00:00:00 GMT",
        b"Set-Cookie: a=1; Path=/",
        b"set-cookie: b=2",
        b"Set-Cookie: a=3",
        b"X-CamelCase_1: a",
        b"X-Empty: ",
        b'ETag: "abc"',
        b"X-Obs: caf\xe9 \xff\x80",
        b"X-Utf8: \xe2\x82\xac",
        b"X-Tab: a\tb",
        b"WWW-Authenticate: Basic",
        b"Content-Encoding: gzip",
        b"Content-Type: application/octet-stream",
        b"X-Long: " + b"x" * 9000,
    ]
    response = ok(*fields, body=b"\x1f\x8b\x00\xff", status=b"200 Fine by me")
    assert (await got(response)).head + b"\x1f\x8b\x00\xff" == response


async def test_nothing_but_a_date_is_added_to_an_empty_head() -> None:
    assert (await got(OK)).undated == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


@pytest.mark.parametrize(("request_", "connection"), [(GET, b"upgrade"), (GET_10, b"close, upgrade")])
async def test_an_upstream_that_wants_another_protocol_says_which(request_: bytes, connection: bytes) -> None:
    """RFC 9110 section 15.5.22; an `Upgrade` elsewhere is for the next hop only."""
    fields = [b"Connection: upgrade", b"Upgrade: TLS/1.0, HTTP/1.1"]
    response = await got(ok(*fields, status=b"426 Upgrade Required"), request_)
    assert response.one(b"Upgrade") == b"TLS/1.0, HTTP/1.1"
    assert response.one(b"Connection") == connection
    assert (await got(ok(*fields))).one(b"Upgrade") is None


@pytest.mark.parametrize("request_", [GET, HEAD, GET_10])
@pytest.mark.parametrize(
    "response",
    [OK, b"HTTP/1.1 304 Not Modified\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"],
)
async def test_a_response_without_a_date_gets_one(response: bytes, request_: bytes) -> None:
    """RFC 9110 section 6.6.1, also for an event stream and an answer to HEAD."""
    async with stage(replies_once(response)) as on:
        before = datetime.now(UTC).replace(microsecond=0)
        await on.client.send(request_)
        date = (await on.client.head()).one(b"Date")
        assert date is not None
        assert before <= parsedate_to_datetime(date.decode()) <= datetime.now(UTC)


async def test_hop_by_hop_fields_stay_here() -> None:
    fields = [
        b"Connection: x-one, Keep-Alive",
        b"X-One: 1",
        b"X-Two: 2",
        b"Keep-Alive: timeout=5",
        b"Proxy-Authenticate: Basic",
        b"Proxy-Connection: close",
        b"Trailer: X-A",
        b"Upgrade: h2,h2c",
        b"TE: trailers",
        b"connection: x-three",
        b"X-Three: 3",
    ]
    assert (await got(ok(*fields))).undated == b"HTTP/1.1 200 OK\r\nX-Two: 2\r\nContent-Length: 2\r\n\r\n"


async def test_connection_cannot_take_the_length_away() -> None:
    response = await got(ok(b"Connection: Content-Length"))
    assert response.body == b"ok"
    assert response.one(b"Content-Length") is None or response.one(b"Transfer-Encoding") is None


async def test_an_upgrade_that_is_only_advertised_is_none() -> None:
    async with stage(replies(ok(b"Upgrade: h2,h2c", b"Connection: Upgrade"))) as on:
        assert (await on.client.ask(GET)).undated == OK[: -len(b"ok")]
        assert (await on.client.ask(GET)).body == b"ok"


async def test_header_rules() -> None:
    rules = HeaderRules(set=(("X-Frame", "DENY"), ("x-two", "2")), remove=("server",))
    response = await got(ok(b"Server: x", b"X-Two: a", b"X-Two: b", b"X-One: 1"), response_headers=rules)
    assert response.undated == b"HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: 2\r\nX-Frame: DENY\r\nx-two: 2\r\n\r\n"


@pytest.mark.parametrize(
    "status", [b"301 Moved Permanently", b"302 Found", b"303 See Other", b"307 Temporary", b"308 Permanent"]
)
async def test_redirects_are_passed_on(status: bytes) -> None:
    async with stage(replies(ok(b"Location: http://elsewhere.test/", status=status), OK)) as on:
        response = await on.client.ask(GET)
        assert response.first_line == b"HTTP/1.1 " + status
        assert response.one(b"Location") == b"http://elsewhere.test/"
        assert len(on.upstream.requests) == 1


async def test_cookies_are_not_kept() -> None:
    async with stage(replies(ok(b"Set-Cookie: secret=1; Path=/"), OK)) as on:
        await on.client.ask(GET)
        async with on.proxy.connect() as other:
            await other.ask(GET)
        assert b"Cookie" not in on.upstream.received


@pytest.mark.parametrize("status", [200, 201, 206, 226, 299, 400, 401, 404, 407, 418, 429, 500, 502, 503, 599])
async def test_any_status_is_passed_on(status: int) -> None:
    response = await got(ok(b"Retry-After: 7", status=b"%d Because" % status))
    assert response.first_line == b"HTTP/1.1 %d Because" % status
    assert response.one(b"Retry-After") == b"7"
    assert response.body == b"ok"


async def test_a_connection_ends_after_a_205_with_a_body() -> None:
    """Browsers take none from it (RFC 9110 section 15.3.6), and would take what comes for the next response."""
    response = await got(ok(status=b"205 Reset Content"))
    assert response.one(b"Connection") == b"close"
    empty = await got(b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n")
    assert not empty.all(b"Connection")


async def test_a_reason_may_be_missing() -> None:
    assert (await got(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok")).first_line == b"HTTP/1.1 200 "


async def test_what_is_read_leniently_is_written_anew() -> None:
    response = b"HTTP/1.1 200 OK\nX-A: b\nContent-Length: 2\nContent-Length: 2, 2\n\nok"
    answer = await got(response)
    assert answer.head.startswith(b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n")
    assert answer.all(b"Content-Length") == [b"2"]


async def test_interim_responses_are_dropped() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    response = await got(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + hints + ok(b"X-A: b"))
    assert response.undated == b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\n"


async def test_interim_responses_in_packets_of_their_own() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        for byte in b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK:
            await visit.send(bytes([byte]))
            await asyncio.sleep(0)

    async with stage(script) as on:
        assert (await on.client.ask(GET)).undated == OK[: -len(b"ok")]


# Bodies and their ends.


@pytest.mark.parametrize("status", [b"200 OK", b"304 Not Modified", b"404 Not Found"])
async def test_an_answer_to_head_keeps_its_length(status: bytes) -> None:
    head = b"HTTP/1.1 " + status + b"\r\nContent-Type: text/event-stream\r\nContent-Length: 1234\r\n\r\n"
    async with stage(replies(head, OK)) as on:
        assert (await on.client.ask(HEAD, to_head=True)).undated == head
        assert (await on.client.ask(GET)).body == b"ok"
        assert len(on.upstream.visits) == 1


async def test_an_answer_to_head_that_has_no_length() -> None:
    async with stage(replies(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", OK)) as on:
        assert (await on.client.ask(HEAD, to_head=True)).undated == b"HTTP/1.1 200 OK\r\n\r\n"
        assert (await on.client.ask(GET)).body == b"ok"


async def test_304_keeps_its_length() -> None:
    head = b'HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nETag: "a"\r\n\r\n'
    async with stage(replies(head, OK)) as on:
        assert (await on.client.ask(GET)).undated == head
        assert (await on.client.ask(GET)).body == b"ok"


@pytest.mark.parametrize(
    "field", [b"", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 0\r\n", b"Content-Length: 5\r\n"]
)
async def test_204_has_neither_body_nor_length(field: bytes) -> None:
    async with stage(replies(b"HTTP/1.1 204 No Content\r\n" + field + b"X-A: b\r\n\r\n", OK)) as on:
        assert (await on.client.ask(GET)).undated == b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n"
        assert (await on.client.ask(GET)).body == b"ok"


@pytest.mark.parametrize(("request_", "head"), [(HEAD, b"HTTP/1.1 200 OK"), (GET, b"HTTP/1.1 304 Not Modified")])
async def test_a_body_where_there_can_be_none_is_not_taken_for_the_next_response(request_: bytes, head: bytes) -> None:
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    first = head + b"\r\nContent-Length: %d\r\n\r\n" % len(evil)
    async with stage(replies(first + evil, OK)) as on:
        await on.client.ask(request_, to_head=True)
        assert (await on.client.ask(GET)).body == b"ok"
        assert len(on.upstream.visits) == 2


async def test_a_second_response_in_the_packet_of_the_first_is_nobodys() -> None:
    evil = b"HTTP/1.1 404 Evil\r\nContent-Length: 4\r\nX-Evil: 1\r\n\r\nevil"
    async with stage(replies(OK + evil, OK)) as on:
        for _ in range(2):
            answer = await on.client.ask(GET)
            assert (answer.undated, answer.body) == (OK[:-2], b"ok")
        assert len(on.upstream.visits) == 2


async def test_a_response_before_its_request_is_nobodys() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(OK)
        await visit.send(ok(body=b"evil"))
        await visit.wait_closed()

    async with stage(script) as on:
        assert (await on.client.ask(GET)).body == b"ok"
        await (await on.upstream.visit()).wait_closed()
        assert (await on.client.ask(GET)).body == b"ok"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_chunked_body_with_extensions_and_trailers() -> None:
    async with stage(replies(CHUNKED + b"5;a=b\r\nhello\r\n01\r\n!\r\n0\r\nX-A: b\r\n\r\n", OK)) as on:
        response = await on.client.ask(GET)
        assert response.undated == CHUNKED
        assert response.body == b"hello!"
        assert (await on.client.ask(GET)).undated == OK[:-2]


async def test_pieces_go_on_as_they_come() -> None:
    go_on = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + b"3\r\none\r\n")
        await go_on.wait()
        await visit.send(b"3\r\ntwo\r\n0\r\n\r\n")

    async with stage(script) as on:
        await on.client.send(GET)
        assert (await on.client.head()).undated == CHUNKED
        assert await on.client.chunk() == b"one"
        go_on.set()
        assert await on.client.chunk() == b"two"
        assert await on.client.chunk() == b""


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
async def test_a_body_that_ends_with_the_connection(version: bytes) -> None:
    async with stage(replies_once(version + b" 200 OK\r\nX-A: b\r\n\r\nhello")) as on:
        for _ in range(2):
            response = await on.client.ask(GET)
            assert response.undated == b"HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n"
            assert response.body == b"hello"


async def test_an_upstream_that_speaks_http_10() -> None:
    async with stage(replies(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")) as on:
        assert (await on.client.ask(GET)).undated == OK[:-2]
        assert (await on.client.ask(GET)).undated == OK[:-2]
        assert len(on.upstream.visits) == 2


async def test_an_upstream_that_keeps_http_10_alive() -> None:
    async with stage(replies(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")) as on:
        assert (await on.client.ask(GET)).undated == OK[:-2]
        assert (await on.client.ask(GET)).undated == OK[:-2]
        assert len(on.upstream.visits) == 1


# Clients that speak HTTP/1.0, or close.


@pytest.mark.parametrize("response", [CHUNKED + b"2\r\nok\r\n0\r\n\r\n", OK])
async def test_http_10_clients_get_no_chunks(response: bytes) -> None:
    async with stage(replies(response)) as on:
        got_ = await on.client.ask(GET_10)
        assert got_.one(b"Transfer-Encoding") is None
        assert got_.one(b"Connection") == b"close"
        assert got_.body == b"ok"
        assert await on.client.rest() == b""
        assert on.upstream.requests[0].first_line == b"GET /a HTTP/1.1"


async def test_http_10_clients_may_keep_a_connection() -> None:
    keep = b"GET /a HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n"
    async with stage(replies(OK, CHUNKED + b"2\r\nok\r\n0\r\n\r\n")) as on:
        assert (await on.client.ask(keep)).one(b"Connection") == b"keep-alive"
        last = await on.client.ask(keep)
        assert last.one(b"Connection") == b"close"
        assert last.body == b"ok"
        assert await on.client.rest() == b""


async def test_a_client_that_wants_to_close() -> None:
    async with stage(replies()) as on:
        response = await on.client.ask(b"GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: Close\r\n\r\n")
        assert response.one(b"Connection") == b"close"
        assert await on.client.rest() == b""


async def test_requests_in_a_pipeline_are_answered_in_order() -> None:
    async with stage(replies(*[ok(body=b"%d" % number) for number in range(50)])) as on:
        await on.client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % number for number in range(50)))
        for number in range(50):
            assert (await on.client.response()).body == b"%d" % number
        assert [request.target for request in on.upstream.requests] == [b"/%d" % number for number in range(50)]


async def test_upstream_connections_are_used_again() -> None:
    async with stage(replies()) as on:
        for _ in range(5):
            assert (await on.client.ask(GET)).status == 200
            assert (await on.client.ask(POST)).status == 200
        assert len(on.upstream.visits) == 1


async def test_an_upstream_that_wants_to_close() -> None:
    async with stage(replies(ok(b"Connection: Close"))) as on:
        for _ in range(2):
            assert (await on.client.ask(GET)).one(b"Connection") is None
        assert len(on.upstream.visits) == 2
