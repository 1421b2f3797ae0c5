"""What does a client get that was promised JSON before its upstream had answered? (`heartbeat.json`)

The clock jumps: a silence of seconds costs none.
"""

import asyncio
import contextlib
import gzip
import json
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import brotli
import pytest

from sseproxy.core.limits import LimitPolicy
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.engine.live import LiveStreams
from sseproxy.engine.metrics import StreamMetrics
from sseproxy.engine.observer import AccessRecord, ObservedStream, Observer, Observers, Phase
from sseproxy.metrics import table
from tests.support.async_peer import AsyncPeer
from tests.support.http1_reader import Message, read_chunk
from tests.support.proxy_server import Stage, stage
from tests.support.raw_upstream import Script, Visit
from tests.support.settled import eventually
from tests.support.virtual_clock import passing

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Seconds. An answer comes when four spaces have gone out: at 5.0, 5.5, 6.0 and 6.5.
JSON, INTERVAL, LATE = 5.0, 0.5, 6.7
SPACES = 4 * b" "

TEXT = b'{"a": ["\xe2\x82\xac", 1.5]}'
BODY = b'{"model": "m"}'
ASK = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n"
    + BODY
)


def head(status: int, *fields: bytes, media: bytes = b"application/json") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 %d Said" % status, b"Content-Type: " + media, *fields]) + b"\r\n\r\n"


def whole(status: int = 200, text: bytes = TEXT, *fields: bytes, media: bytes = b"application/json") -> bytes:
    return head(status, b"Content-Length: %d" % len(text), *fields, media=media) + text


def late(*responses: bytes, closes: bool = False) -> Script:
    """Each request gets the next response, when its client has waited. closes: the connection breaks behind it."""

    async def visited(visit: Visit) -> None:
        for response in responses:
            await visit.request()
            await passing(LATE)
            await visit.send(response)
        if closes:
            visit.close()
        else:
            await visit.wait_closed()

    return visited


class Records(Observer):
    """Keeps what is known of each request, and how its response was counted."""

    def __init__(self) -> None:
        self.records: list[AccessRecord] = []
        self.opened_ones: list[ObservedStream] = []

    def answered(self, record: AccessRecord) -> None:
        self.records.append(record)

    def opened(self, stream: ObservedStream) -> None:
        self.opened_ones.append(stream)


@dataclass(frozen=True, slots=True)
class Seen:
    """What has come behind the head. trailers: its lines; `None` if the body broke off."""

    head: Message
    body: bytes
    trailers: list[bytes] | None

    @property
    def value(self) -> Any:
        assert self.trailers is not None
        return json.loads(self.body)


async def seen(client: AsyncPeer) -> Seen:
    answer, body, trailers = await client.head(), b"", list[bytes]()
    try:
        while piece := await read_chunk(client.reader, trailers):
            body += piece
    except (asyncio.IncompleteReadError, ConnectionError):
        return Seen(answer, body, None)
    return Seen(answer, body, trailers)


@asynccontextmanager
async def standing(script: Script, *observers: Observer, **options: Any) -> AsyncIterator[Stage]:
    streams = LiveStreams(chance=lambda: 0.0, linger=0.0, observers=Observers(observers))
    heartbeat = HeartbeatPolicy(interval=INTERVAL, json=JSON)
    async with stage(script, streams=streams, **{"heartbeat": heartbeat, **options}) as stand:
        yield stand


async def asked(script: Script, *observers: Observer, request: bytes = ASK, **options: Any) -> Seen:
    async with standing(script, *observers, **options) as stand:
        await stand.client.send(request)
        return await seen(stand.client)


# The answer.


async def test_white_space_and_then_the_answer_on_the_wire() -> None:
    async with standing(late(whole(201), whole())) as stand:
        await stand.client.send(ASK)
        got = await stand.client.head()
        assert got.first_line == b"HTTP/1.1 200 OK"
        assert [field for field in got.fields if field[0] != b"Date"] == [
            (b"Content-Type", b"application/json"),
            (b"Cache-Control", b"no-cache, no-transform"),
            (b"X-Accel-Buffering", b"no"),
            (b"X-Request-Id", b"made-here"),
            (b"Transfer-Encoding", b"chunked"),
            (b"Trailer", b"Proxy-Status"),
        ]
        wire = 4 * b"1\r\n \r\n" + b"%x\r\n%b\r\n" % (len(TEXT), TEXT)
        wire += b"0\r\nProxy-Status: sseproxy; received-status=201\r\n\r\n"
        assert await stand.client.exactly(len(wire)) == wire
        # Behind the trailer the connection goes on.
        await stand.client.send(ASK)
        again = await seen(stand.client)
        assert (again.body, again.trailers) == (SPACES + TEXT, [b"Proxy-Status: sseproxy; received-status=200"])
        assert len(stand.upstream.requests) == 2


async def test_an_answer_in_time_is_as_ever() -> None:
    async def prompt(visit: Visit) -> None:
        await visit.request()
        await passing(JSON - 0.1)
        await visit.send(whole(429, TEXT, b"Set-Cookie: a=1"))

    async with standing(prompt) as stand:
        got = await stand.client.ask(ASK)
    assert (got.status, got.one(b"Set-Cookie"), got.one(b"Trailer"), got.body) == (429, b"a=1", None, TEXT)


async def test_the_wait_begins_behind_the_request() -> None:
    async with standing(late(whole())) as stand:
        await stand.client.send(ASK[:-5])
        await passing(20.0)
        await stand.client.send(ASK[-5:])
        assert (await seen(stand.client)).body == SPACES + TEXT


_CODED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}


@pytest.mark.parametrize("coding", _CODED)
async def test_a_coded_answer_is_decoded(coding: str) -> None:
    coded = _CODED[coding](b"\xef\xbb\xbf" + TEXT)
    got = await asked(late(whole(200, coded, b"Content-Encoding: " + coding.encode())))
    assert got.head.one(b"Content-Encoding") is None
    assert (got.body, got.value) == (SPACES + TEXT, json.loads(TEXT))


@pytest.mark.parametrize("coding", _CODED)
async def test_one_that_is_cut_is_broken_though_its_length_is_right(coding: str) -> None:
    coded = _CODED[coding](b"123" + b" " * 5000 + b"4")[:-3]
    got = await asked(late(whole(200, coded, b"Content-Encoding: " + coding.encode())))
    assert got.trailers is None


async def test_one_that_cannot_be_decoded_is_an_error_object() -> None:
    got = await asked(late(whole(200, b"\0\1", b"Content-Encoding: exi")))
    assert got.value["error"]["status"] == 200


@pytest.mark.parametrize("rest", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
async def test_half_an_answer_is_broken(rest: bytes) -> None:
    body = b"12" if rest.endswith(b"5") else b"2\r\n12\r\n"
    got = await asked(late(head(200, rest) + body, closes=True))
    assert (got.body, got.trailers) == (SPACES + b"12", None)


@pytest.mark.parametrize("status", [204, 205])
async def test_no_content_is_null(status: int) -> None:
    response = b"HTTP/1.1 %d No\r\n%b\r\n" % (status, b"" if status == 204 else b"Content-Length: 0\r\n")
    got = await asked(late(response))
    assert (got.body, got.trailers) == (SPACES + b"null", [b"Proxy-Status: sseproxy; received-status=%d" % status])


async def test_so_is_a_success_with_nothing_in_it() -> None:
    assert (await asked(late(whole(202, b"")))).body == SPACES + b"null"


@pytest.mark.parametrize("status", [200, 500])
async def test_nor_is_there_anything_in_chunks_without_bytes(status: int) -> None:
    got = await asked(late(head(status, b"Transfer-Encoding: chunked") + b"0\r\n\r\n"))
    assert (got.value if status == 200 else got.value["error"]["status"]) == (None if status == 200 else 500)
    assert got.trailers == [b"Proxy-Status: sseproxy; received-status=%d" % status]


@pytest.mark.parametrize("status", [400, 404, 429, 500, 529])
async def test_the_services_own_refusal_goes_on(status: int) -> None:
    got = await asked(late(whole(status, b'{"detail": "no"}', media=b"application/problem+json")))
    assert got.value == {"detail": "no"}
    assert got.trailers == [b"Proxy-Status: sseproxy; received-status=%d" % status]


async def test_however_long_it_is() -> None:
    text = json.dumps({"detail": "x" * 300_000}).encode()
    assert (await asked(late(whole(422, text)))).body == SPACES + text


@pytest.mark.parametrize(
    ("response", "status"),
    [
        (whole(503, b"down", media=b"text/plain"), 503),
        (whole(404, b""), 404),
        (whole(200, b"<p>", media=b"text/html"), 200),
        (whole(206, TEXT, b"Content-Range: bytes 0-9/20"), 206),
        (whole(302, TEXT, b"Location: /b"), 302),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", 304),
        (head(200, b"Transfer-Encoding: chunked", media=b"text/event-stream") + b"9\r\ndata: 1\n\n\r\n", 200),
        (head(200, b"Transfer-Encoding: chunked", media=b"application/x-ndjson") + b"3\r\n{}\n\r\n", 200),
    ],
)
async def test_anything_else_is_the_error_object_of_the_dialect(response: bytes, status: int) -> None:
    records = Records()
    got = await asked(late(response), records)
    error = got.value["error"]
    assert (error["type"], error["status"]) == ("upstream_response", status)
    assert got.trailers == [b"Proxy-Status: sseproxy; received-status=%d" % status]
    assert (records.records[0].status, records.records[0].intended) == (200, status)
    assert (records.records[0].error is not None) == (status == 200)


async def test_the_services_own_words_are_passed_on() -> None:
    said = b'{"error": {"message": "Slow down.", "code": "slow"}}'
    got = await asked(late(whole(429, said, b"Retry-After: 7", media=b"text/plain")), dialect=Dialect.ANTHROPIC)
    assert got.value == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "Slow down.", "status": 429, "retry_after": "7"},
    }


# No answer.


async def test_an_upstream_that_does_not_answer() -> None:
    async def silent(visit: Visit) -> None:
        await visit.request()
        await visit.wait_closed()

    records = Records()
    got = await asked(silent, records, timeouts=TimeoutPolicy(response=8.0))
    assert got.value["error"]["code"] == 504
    assert got.trailers == [b"Proxy-Status: sseproxy; received-status=504"]
    record = records.records[0]
    assert (record.status, record.intended, record.reason) == (200, 504, "response_timeout")


async def test_one_that_breaks_off_before_its_head() -> None:
    records = Records()
    got = await asked(late(b"HTTP/1.1 200", closes=True), records)
    assert got.value["error"]["code"] == 502
    assert got.trailers == [b"Proxy-Status: sseproxy; received-status=502"]
    assert (records.records[0].intended, records.records[0].reason) == (502, "upstream_error")


async def test_one_that_falls_silent_behind_its_head() -> None:
    got = await asked(late(head(200, b"Content-Length: 9") + b"12"), timeouts=TimeoutPolicy(idle=3.0))
    assert (got.body, got.trailers) == (SPACES + b"12", None)


async def test_white_space_goes_on_until_the_text_begins() -> None:
    async def slow(visit: Visit) -> None:
        await visit.request()
        await passing(LATE)
        await visit.send(head(200, b"Content-Length: 6"))
        await passing(1.0)
        await visit.send(b"\n")
        await passing(1.0)
        await visit.send(b"[")
        await passing(3.0)
        await visit.send(b"1] ")
        await passing(0.1)
        await visit.send(b"\n")

    got = await asked(slow)
    assert got.body.replace(b" ", b"") == b"\n[1]\n"
    assert got.body.endswith(b"[1] \n")
    assert got.body.count(b" ") == 9  # five before the line end, and three behind it, which is one heard


# The client.


@pytest.mark.parametrize("is_answered", [False, True])
async def test_a_client_that_leaves_closes_the_upstream(is_answered: bool) -> None:
    left = asyncio.Event()

    async def stays(visit: Visit) -> None:
        await visit.request()
        if is_answered:
            await visit.send(head(200, b"Content-Length: 9") + b"1")
        await visit.wait_closed()
        left.set()

    records = Records()
    async with standing(stays, records) as stand:
        await stand.client.send(ASK)
        await stand.client.head()
        stand.client.reset()
        await eventually(left.is_set)
        await eventually(lambda: bool(records.records))
    assert records.records[0].reason == "client_gone"


async def test_http_1_0_gets_the_same_without_a_trailer() -> None:
    async with standing(late(whole(201))) as stand:
        await stand.client.send(ASK.replace(b"HTTP/1.1", b"HTTP/1.0"))
        got = await stand.client.head()
        assert (got.status, got.one(b"Trailer"), got.one(b"Transfer-Encoding")) == (200, None, None)
        assert await stand.client.rest() == SPACES + TEXT


async def test_and_a_reset_where_it_breaks() -> None:
    async with standing(late(head(200, b"Content-Length: 9") + b"12", closes=True)) as stand:
        await stand.client.send(ASK.replace(b"HTTP/1.1", b"HTTP/1.0"))
        await stand.client.head()
        with contextlib.suppress(ConnectionError):
            await stand.client.rest()
        assert stand.client.was_reset


async def test_it_never_says_that_the_connection_closes() -> None:
    """Node's fetch would take a broken end for a clean one."""
    got = await asked(late(whole()), request=ASK.replace(b"Host: a", b"Host: a\r\nConnection: close"))
    assert (got.head.one(b"Connection"), got.body) == (None, SPACES + TEXT)


# What else looks at it.


async def test_a_drain_lets_it_finish() -> None:
    async with standing(late(whole())) as stand:
        await stand.client.send(ASK)
        await stand.client.head()
        stand.proxy.app.drain(timeout=25.0, spread=1.0)
        body, trailers = b"", list[bytes]()
        while piece := await read_chunk(stand.client.reader, trailers):
            body += piece
        assert (body, bool(trailers)) == (SPACES + TEXT, True)
        assert await stand.client.rest() == b""


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_until_its_deadline(version: bytes) -> None:
    async def silent(visit: Visit) -> None:
        await visit.request()
        await visit.wait_closed()

    records = Records()
    async with standing(silent, records) as stand:
        await stand.client.send(ASK.replace(b"1.1", version))
        await stand.client.head()
        stand.proxy.app.drain(timeout=2.0, spread=1.0)
        body, trailers = b"", list[bytes]()
        if version == b"1.0":
            body = await stand.client.rest()
        else:
            while piece := await read_chunk(stand.client.reader, trailers):
                body += piece
            assert trailers == [b"Proxy-Status: sseproxy; received-status=503"]
    assert json.loads(body)["error"]["code"] == 503
    assert (records.records[0].intended, records.records[0].reason) == (503, "drain")


async def test_it_is_no_stream_for_the_limits_and_no_undeclared_one() -> None:
    records = Records()
    async with standing(late(whole()), records, limits=LimitPolicy(streams=1)) as stand:
        metrics = StreamMetrics(stand.proxy.app.streams, ["default"])
        async with stand.proxy.connect() as other:
            for client in (stand.client, other):
                await client.send(ASK)
            for client in (stand.client, other):
                assert (await client.head()).status == 200
            for stream in records.opened_ones:
                metrics.opened(stream)
            figures = await metrics.figures()
            for client in (stand.client, other):
                while await read_chunk(client.reader, []):
                    pass
    assert [stream.is_declared for stream in records.opened_ones] == [None, None]
    assert (table.UNDECLARED_STREAMS, ("default",)) not in figures.values
    assert all(stream.phase is Phase.ENDED for stream in records.opened_ones)
    assert [record.is_declared for record in records.records] == [None, None]
    assert [record.reason for record in records.records] == ["upstream_end", "upstream_end"]
