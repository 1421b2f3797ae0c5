"""How do request bodies get through, and when are they asked for? (RFC 9110 section 10.1.1)"""

import asyncio
import json
from pathlib import Path

import pytest

from sseproxy.core.errors import BadRequest
from sseproxy.core.routes import Route, Upstream
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.http1.content import RequestContent
from sseproxy.proxy.body import BodyReader
from tests.support.http1_reader import Message
from tests.support.patience import LIMIT
from tests.support.programs import require
from tests.support.proxy_server import SILENT, ProxyServer, stage
from tests.support.raw_upstream import OK, Visit, replies


def ask(*fields: bytes, line: bytes = b"GET /a HTTP/1.1", body: bytes = b"") -> bytes:
    return b"\r\n".join([line, b"Host: a.test", *fields]) + b"\r\n\r\n" + body


async def sent(*fields: bytes, line: bytes = b"GET /a HTTP/1.1", body: bytes = b"", **options: object) -> Message:
    """The request as the upstream got it."""
    async with stage(replies(), **options) as on:  # type: ignore[arg-type]
        response = await on.client.ask(ask(*fields, line=line, body=body))
        assert response.status == 200, response
        [request] = on.upstream.requests
        assert bytes(on.upstream.visits[0].received).startswith(request.head)
        return request


# Bodies.


@pytest.mark.parametrize(
    "method", [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"PROPFIND", b"PURGE", b"QUERY"]
)
async def test_any_method_with_a_body(method: bytes) -> None:
    async with stage(replies(b"HTTP/1.1 204 No Content\r\n\r\n")) as on:
        response = await on.client.ask(ask(b"Content-Length: 5", line=method + b" /a HTTP/1.1", body=b"hello"))
        assert response.status == 204
        [request] = on.upstream.requests
        assert request.first_line == method + b" /a HTTP/1.1"
        assert request.body == b"hello"


async def test_no_body_gets_no_framing() -> None:
    request = await sent(line=b"POST /a HTTP/1.1")
    assert request.one(b"Content-Length") is None
    assert request.one(b"Transfer-Encoding") is None


async def test_an_empty_body_keeps_its_length() -> None:
    request = await sent(b"Content-Length: 0", line=b"POST /a HTTP/1.1")
    assert request.one(b"Content-Length") == b"0"


async def test_an_empty_chunked_body() -> None:
    request = await sent(b"Transfer-Encoding: chunked", line=b"POST /a HTTP/1.1", body=b"0\r\n\r\n")
    assert request.one(b"Transfer-Encoding") == b"chunked"
    assert request.body == b""


async def test_a_coded_body_is_not_touched() -> None:
    request = await sent(
        b"Content-Encoding: gzip", b"Content-Length: 4", line=b"POST /a HTTP/1.1", body=b"\x1f\x8b\x00\xff"
    )
    assert request.one(b"Content-Encoding") == b"gzip"
    assert request.body == b"\x1f\x8b\x00\xff"


async def test_pieces_of_a_body_go_on_as_they_come() -> None:
    async with stage(replies()) as on:
        await on.client.send(ask(b"Transfer-Encoding: chunked", line=b"POST /a HTTP/1.1"))
        await on.client.send(b"3\r\none\r\n")
        visit = await on.upstream.visit()
        await visit.wait_received(b"\r\n\r\n3\r\none\r\n")
        await on.client.send(b"3\r\ntwo\r\n")
        await visit.wait_received(b"3\r\none\r\n3\r\ntwo\r\n")
        await on.client.send(b"0\r\n\r\n")
        assert (await on.client.response()).status == 200


async def test_an_upstream_that_does_not_read_slows_the_client_down() -> None:
    read = asyncio.Event()

    async def script(visit: Visit) -> None:
        await read.wait()
        while len(visit.received) < size:
            await visit.reader.read(65536)
        await visit.send(OK)

    size = 64 * 1024 * 1024
    async with stage(script) as on:
        await on.client.send(ask(b"Content-Length: %d" % size, line=b"POST /a HTTP/1.1"))
        piece, taken = bytes(1024 * 1024), 0
        while taken < size // len(piece):
            try:
                async with asyncio.timeout(0.3):
                    await on.client.send(piece)
            except TimeoutError:
                break
            taken += 1
        assert taken < 24, "all of it was taken although nobody reads"
        read.set()
        for _ in range(taken + 1, size // len(piece)):
            await on.client.send(piece)
        assert (await on.client.response()).status == 200


@pytest.mark.parametrize(
    "beginning",
    [
        ask(b"Content-Length: 5", line=b"POST /a HTTP/1.1"),
        ask(b"Content-Length: 5", line=b"POST /a HTTP/1.1", body=b"hell"),
        ask(b"Transfer-Encoding: chunked", line=b"POST /a HTTP/1.1"),
        ask(b"Transfer-Encoding: chunked", line=b"POST /a HTTP/1.1", body=b"5\r\nhell"),
        ask(b"Transfer-Encoding: chunked", line=b"POST /a HTTP/1.1", body=b"5\r\nhello\r\n"),
    ],
    ids=["length, nothing", "length, a part", "chunked, nothing", "chunked, a part", "chunked, a whole chunk"],
)
async def test_a_client_that_stops_to_send_is_told_so(beginning: bytes) -> None:
    async with stage(replies(), timeouts=TimeoutPolicy(response=0.1)) as on:
        response = await on.client.ask(beginning)
        assert response.status == 400
        assert json.loads(response.body)["detail"] == "The request body did not come in time."
        assert on.upstream.requests == []
        for visit in on.upstream.visits:
            await visit.wait_closed()


@pytest.mark.parametrize(
    ("framing", "piece"), [(b"Content-Length: 100000", b"x"), (b"Transfer-Encoding: chunked", b"1\r\nx\r\n")]
)
async def test_a_body_that_trickles_has_a_limit_as_a_whole(framing: bytes, piece: bytes) -> None:
    """Each piece that comes shows that the client lives, but it would hold an upstream's connection for ever."""
    async with stage(replies(), timeouts=TimeoutPolicy(request_body=0.2)) as on:
        await on.client.send(ask(framing, line=b"POST /a HTTP/1.1"))
        answer = asyncio.ensure_future(on.client.response())
        while not answer.done():
            await on.client.send(piece)
            await asyncio.wait({answer}, timeout=0.01)
        response = answer.result()
        assert response.status == 400
        assert json.loads(response.body)["detail"] == "The request body did not come in time."
        await (await on.upstream.visit()).wait_closed()
        assert on.upstream.requests == []


async def test_a_body_that_is_here_is_not_late_because_the_upstream_is() -> None:
    """What has come in time is sent, however long the upstream takes for it."""
    reader = BodyReader(content := RequestContent(lambda _: None), limit=None, ask=None, peek=None, within=0.0)
    content.feed(b"hello")
    content.end()
    await asyncio.sleep(0)
    assert [piece async for piece in reader.pieces()] == [b"hello"]
    late = BodyReader(RequestContent(lambda _: None), limit=None, ask=None, peek=None, within=0.0)
    with pytest.raises(BadRequest):
        await late.read_ahead()


# Expect: 100-continue.


async def test_continue_is_said_once_the_upstream_will_read() -> None:
    async with stage(replies()) as on:
        await on.client.send(ask(b"Expect: 100-Continue", b"Content-Length: 5", line=b"POST /a HTTP/1.1"))
        assert (await on.client.response()).head == b"HTTP/1.1 100 Continue\r\n\r\n"
        await on.client.send(b"hello")
        assert (await on.client.response()).status == 200
        assert on.upstream.requests[0].one(b"Expect") is None
        assert on.upstream.requests[0].body == b"hello"


async def test_continue_for_chunks() -> None:
    async with stage(replies()) as on:
        await on.client.send(ask(b"Expect: 100-continue", b"Transfer-Encoding: chunked", line=b"POST /a HTTP/1.1"))
        assert (await on.client.response()).status == 100
        await on.client.send(b"5\r\nhello\r\n0\r\n\r\n")
        assert (await on.client.response()).status == 200


async def test_continue_is_not_said_to_http_10() -> None:
    async with stage(replies()) as on:
        await on.client.send(
            ask(b"Expect: 100-continue", b"Content-Length: 5", line=b"POST /a HTTP/1.0", body=b"hello")
        )
        assert (await on.client.response()).status == 200


async def test_continue_is_not_said_when_the_body_is_here() -> None:
    async with stage(replies()) as on:
        await on.client.send(
            ask(b"Expect: 100-continue", b"Content-Length: 5", line=b"POST /a HTTP/1.1", body=b"hello")
        )
        assert (await on.client.response()).status == 200


async def test_a_body_that_is_refused_is_not_asked_for() -> None:
    async with stage(replies()) as on:
        expecting = ask(b"Expect: 100-continue", b"Content-Length: 5, 5", line=b"POST /a HTTP/1.1")
        assert (await on.client.ask(expecting)).status == 400
    closed = Route("closed", Upstream("http", "127.0.0.1", 1), heartbeat=SILENT)
    async with ProxyServer.serve(closed) as proxy, proxy.connect() as client:
        expecting = ask(b"Expect: 100-continue", b"Content-Length: 5", line=b"POST /a HTTP/1.1")
        assert (await client.ask(expecting)).status == 502


async def test_curl_waits_for_continue(tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(bytes(2_000_000))
    async with stage(replies()) as on:
        process = await asyncio.create_subprocess_exec(
            *[
                require("curl"),
                "--silent",
                "--include",
                "--expect100-timeout",
                "15",
                "--header",
                "Expect: 100-continue",
            ],
            *["--data-binary", f"@{body}", f"http://127.0.0.1:{on.proxy.port}/a"],
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(LIMIT):
            out, _ = await process.communicate()
        assert out.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
        assert len(on.upstream.requests[0].body) == 2_000_000
