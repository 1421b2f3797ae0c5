"""What becomes of the head and the coding of an event stream, and what is none of ours? (docs/configuration.md)"""

import asyncio
import gzip
import random
import sys
import zlib
from collections.abc import Callable

import brotli
import pytest

from sseproxy.core.http.fields import HeaderRules
from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy
from sseproxy.core.stream.plan import StreamMode
from tests.support.http1_reader import Message
from tests.support.patience import LIMIT
from tests.support.proxy_server import stage
from tests.support.raw_upstream import Script, Visit, replies, replies_once
from tests.support.settled import settled

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
STREAM = b"data: one\n\ndata: two\n\n"
OFTEN = HeartbeatPolicy(interval=0.01, form=HeartbeatForm.COMMENT_LINE)
MERGED = (
    b"Cache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\nX-Request-Id: made-here\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def head(*fields: bytes, kind: bytes = b"text/event-stream") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Type: " + kind, *fields]) + b"\r\n\r\n"


def with_length(*fields: bytes, body: bytes = STREAM, kind: bytes = b"text/event-stream") -> bytes:
    return head(*fields, b"Content-Length: %d" % len(body), kind=kind) + body


async def got(response: bytes, request: bytes = GET, **options: object) -> Message:
    async with stage(replies(response), **options) as on:  # type: ignore[arg-type]
        return await on.client.ask(request)


# The head.


async def test_what_is_added_and_removed() -> None:
    response = await got(with_length(b"X-A: b"))
    assert response.undated == b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-A: b\r\n" + MERGED
    assert response.body == STREAM


@pytest.mark.parametrize(
    ("said", "merged"),
    [
        ([b"no-cache"], b"no-cache, no-transform"),
        ([b"No-Cache, No-Transform"], b"No-Cache, No-Transform"),
        ([b"no-transform"], b"no-transform, no-cache"),
        ([b"no-store", b"private"], b"no-store, private, no-cache, no-transform"),
        ([b""], b"no-cache, no-transform"),
        ([b"max-age=0,no-cache"], b"max-age=0,no-cache, no-transform"),
    ],
)
async def test_cache_control_is_merged(said: list[bytes], merged: bytes) -> None:
    response = await got(with_length(*[b"cache-control: " + value for value in said]))
    assert response.one(b"Cache-Control") == merged


async def test_a_stream_that_begins_during_a_drain_has_the_time_that_is_left() -> None:
    going_on = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        on.proxy.app.drain(timeout=LIMIT, spread=0.0)
        await visit.send(head() + b"data: one\n\n")
        await going_on.wait()
        await visit.send(b"data: two\n\n")

    async with stage(script, heartbeat=OFTEN) as on:
        await on.client.send(GET)
        assert (await on.client.head()).status == 200
        assert await on.client.chunk() == b"data: one\n\n"
        assert await on.client.chunk() == await on.client.chunk() == b": heartbeat\n"
        going_on.set()
        pieces = []
        while piece := await on.client.chunk():
            pieces.append(piece)
        assert b"data: two\n\n" in pieces


@pytest.mark.parametrize("said", [b"yes", b"no", b"No"])
async def test_x_accel_buffering_is_said_once(said: bytes) -> None:
    assert (await got(with_length(b"x-accel-buffering: " + said))).all(b"X-Accel-Buffering") == [b"no"]


@pytest.mark.parametrize(
    "kind",
    [
        b"text/event-stream; charset=utf-8",
        b"Text/Event-Stream",
        b"text/event-stream ;charset=utf-8",
        b"TEXT/EVENT-STREAM;x",
    ],
)
async def test_content_types_of_event_streams(kind: bytes) -> None:
    response = await got(with_length(kind=kind))
    assert response.one(b"Content-Type") == kind
    assert response.one(b"X-Accel-Buffering") == b"no"


@pytest.mark.parametrize(
    "kind",
    [b"text/event-stream-x", b"text/plain", b"x-text/event-stream", b"application/json;a=text/event-stream", b""],
)
async def test_other_content_types_are_none_of_ours(kind: bytes) -> None:
    response = with_length(kind=kind)
    assert (await got(response, heartbeat=OFTEN)).undated + STREAM == response


@pytest.mark.parametrize("status", [b"201 Created", b"203 Other", b"429 Too Many", b"500 Oops"])
async def test_an_event_stream_with_any_status(status: bytes) -> None:
    response = await got(with_length().replace(b"200 OK", status))
    assert response.first_line == b"HTTP/1.1 " + status
    assert response.one(b"X-Accel-Buffering") == b"no"


async def test_a_part_of_a_stream_is_none_of_ours() -> None:
    """Its bytes are those that ``Content-Range`` names, and their number is what it says."""
    fields = [b"Content-Range: bytes 0-%d/99" % (len(STREAM) - 1), b'ETag: "a"', b"Accept-Ranges: bytes"]
    response = with_length(*fields).replace(b"200 OK", b"206 Partial Content")
    assert (await got(response, heartbeat=OFTEN)).undated + STREAM == response


async def test_of_several_content_types_the_last_counts() -> None:
    response = with_length(b"Content-Type: text/html")
    assert (await got(response, heartbeat=OFTEN)).undated + STREAM == response
    assert (await got(with_length(b"Content-Type: text/event-stream", kind=b"a/b"))).one(b"X-Accel-Buffering") == b"no"


async def test_fields_that_no_longer_hold_go() -> None:
    gone = [b"Accept-Ranges", b"Content-MD5", b"Digest", b"Content-Digest", b"Repr-Digest"]
    response = await got(with_length(b'ETag: "a"', *[name + b": x" for name in gone]))
    assert response.one(b"ETag") == b'W/"a"'
    assert [response.one(name) for name in gone] == [None] * len(gone)


async def test_header_rules_of_the_route_win() -> None:
    rules = HeaderRules(set=(("Cache-Control", "no-store"),), remove=("x-accel-buffering",))
    response = await got(with_length(), response_headers=rules)
    assert response.all(b"Cache-Control") == [b"no-store"]
    assert response.all(b"X-Accel-Buffering") == []


async def test_a_prelude_goes_out_with_the_head() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(head())
        await visit.wait_closed()

    policy = HeartbeatPolicy(interval=None, form=HeartbeatForm.COMMENT_BLOCK, comment="hello", prelude=True)
    async with stage(script, heartbeat=policy) as on:
        await on.client.send(GET)
        await on.client.head()
        assert await on.client.chunk() == b": hello\n\n"


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
async def test_heartbeats_fill_the_silence(version: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(head(b"Content-Length: %d" % len(STREAM)) + STREAM[:11])
        await enough.wait()
        await visit.send(STREAM[11:])

    enough = asyncio.Event()
    async with stage(script, heartbeat=OFTEN) as on:
        await on.client.send(GET.replace(b"HTTP/1.1", version))
        response = await on.client.head()
        assert response.one(b"Content-Length") is None
        async with asyncio.timeout(LIMIT):
            await on.client.reader.readuntil(b": heartbeat\n")
        enough.set()
        async with asyncio.timeout(LIMIT):
            rest = await on.client.reader.readuntil(b"data: two\n\n")
        assert set(rest.replace(b"\r\nc\r\n", b"").split(b"\n")) <= {
            b": heartbeat",
            b"data: two",
            b"",
            b"\r",
            b"b\r",
            b"c\r",
        }


# What is none of ours.


@pytest.mark.parametrize("body", [STREAM, b"", bytes(1000)])
async def test_a_route_that_never_streams(body: bytes) -> None:
    response = with_length(b"Cache-Control: private", body=body)
    assert (await got(response, stream=StreamMode.NEVER, heartbeat=OFTEN)).undated + body == response


async def test_old_names_of_codings() -> None:
    response = await got(with_length(b"Content-Encoding: X-GZip", body=gzip.compress(STREAM)))
    assert response.body == STREAM


@pytest.mark.parametrize(
    "fields",
    [[b"Content-Encoding: zip"], [b"Content-Encoding: gzip, br"], [b"Content-Encoding: gzip", b"Content-Encoding: br"]],
)
async def test_codings_that_cannot_be_undone(fields: list[bytes]) -> None:
    response = with_length(*fields, body=b"\x00\x01\x02")
    assert (await got(response, heartbeat=OFTEN)).undated + b"\x00\x01\x02" == response


async def test_other_coded_bodies_stay_coded() -> None:
    body = gzip.compress(STREAM)
    response = with_length(b"Content-Encoding: gzip", body=body, kind=b"text/plain")
    assert (await got(response)).undated + body == response


async def test_identity_is_no_coding() -> None:
    response = await got(with_length(b"Content-Encoding: identity"))
    assert response.body == STREAM


# Codings that are undone.


class RawDeflate:
    """deflate as some servers send it: without the zlib wrapper."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(wbits=-15)
        self.compress = self._zlib.compress

    def sync(self) -> bytes:
        return self._zlib.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._zlib.flush()


class Deflate(RawDeflate):
    """deflate as the RFC has it."""

    def __init__(self, wbits: int = 15) -> None:
        self._zlib = zlib.compressobj(wbits=wbits)
        self.compress = self._zlib.compress


class Gzip(Deflate):
    """gzip."""

    def __init__(self) -> None:
        super().__init__(31)


class Brotli:
    """br."""

    def __init__(self) -> None:
        self._brotli = brotli.Compressor()

    def compress(self, data: bytes) -> bytes:
        return bytes(self._brotli.process(data))

    def sync(self) -> bytes:
        return bytes(self._brotli.flush())

    def end(self) -> bytes:
        return bytes(self._brotli.finish())


class Zstd:
    """zstd."""

    def __init__(self) -> None:
        self._zstd = zstd.ZstdCompressor()

    def compress(self, data: bytes) -> bytes:
        return self._zstd.compress(data)

    def sync(self) -> bytes:
        return self._zstd.flush(zstd.ZstdCompressor.FLUSH_BLOCK)

    def end(self) -> bytes:
        return self._zstd.flush(zstd.ZstdCompressor.FLUSH_FRAME)


Coder = RawDeflate | Brotli | Zstd
CODINGS = [
    pytest.param(b"gzip", Gzip, id="gzip"),
    pytest.param(b"deflate", Deflate, id="deflate"),
    pytest.param(b"deflate", RawDeflate, id="raw-deflate"),
    pytest.param(b"br", Brotli, id="br"),
    pytest.param(b"zstd", Zstd, id="zstd"),
]


@pytest.mark.parametrize(("name", "coder_of"), CODINGS)
async def test_events_are_decoded_as_they_arrive(name: bytes, coder_of: Callable[[], Coder]) -> None:
    turn = asyncio.Semaphore(0)
    coder = coder_of()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(head(b"Content-Encoding: " + name, b"Transfer-Encoding: chunked", b'ETag: "a"'))
        for number in range(5):
            await turn.acquire()
            piece = coder.compress(b"data: %d\n\n" % number) + coder.sync()
            await visit.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        piece = coder.end()
        await visit.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(piece), piece))

    async with stage(script) as on:
        await on.client.send(GET)
        response = await on.client.head()
        assert response.one(b"Content-Encoding") is None
        for number in range(5):
            turn.release()
            assert await on.client.chunk() == b"data: %d\n\n" % number
        assert await on.client.chunk() == b""
        assert (await on.client.reader.read(1) if on.client.reader.at_eof() else b"") == b""


@pytest.mark.parametrize(("name", "coder_of"), CODINGS)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
async def test_coded_bytes_may_be_cut_anywhere(name: bytes, coder_of: Callable[[], Coder], size: int) -> None:
    events = b"".join(b"data: %d\n\n" % random.Random(number).getrandbits(200) for number in range(40))
    coder = coder_of()
    coded = coder.compress(events) + coder.end()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(head(b"Content-Encoding: " + name, b"Content-Length: %d" % len(coded)))
        for index in range(0, len(coded), size):
            await visit.send(coded[index : index + size])
            await asyncio.sleep(0)

    async with stage(script) as on:
        assert (await on.client.ask(GET)).body == events


@pytest.mark.parametrize(("name", "coder_of"), CODINGS)
async def test_coded_data_that_is_cut_short_never_looks_complete(name: bytes, coder_of: Callable[[], Coder]) -> None:
    coder = coder_of()
    coded = coder.compress(STREAM) + coder.sync()
    async with stage(replies_once(with_length(b"Content-Encoding: " + name, body=coded))) as on:
        await on.client.send(GET)
        await on.client.head()
        rest = await on.client.rest()
        assert b"data: two\n\n" in rest
        assert not rest.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(("name", "coder_of"), CODINGS)
async def test_coded_data_that_is_none(name: bytes, coder_of: Callable[[], Coder]) -> None:
    broken = coder_of().compress(b"") + b"\xff\xfe\xfd garbage" * 20
    async with stage(replies(with_length(b"Content-Encoding: " + name, body=broken))) as on:
        await on.client.send(GET)
        assert not (await on.client.rest()).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(("name", "coder_of"), CODINGS)
async def test_a_coded_stream_may_be_empty(name: bytes, coder_of: Callable[[], Coder]) -> None:
    assert (await got(with_length(b"Content-Encoding: " + name, body=b""))).body == b""
    assert (await got(with_length(b"Content-Encoding: " + name, body=coder_of().end()))).body == b""


@pytest.mark.parametrize(("name", "coder_of"), CODINGS)
async def test_a_bomb_waits_for_a_client_that_does_not_read(name: bytes, coder_of: Callable[[], Coder]) -> None:
    """A few kilobytes stand for 64 MiB; while the client is frozen hardly any of it may be unpacked."""
    size = 64 * 1024 * 1024
    async with stage(_bomb(name, coder_of(), size)) as on:
        await on.client.send(GET)
        await on.client.head()
        on.client.pause()
        assert await settled(lambda: on.proxy.bytes_in) < 16 * 1024 * 1024
        on.client.resume()
        total = 0
        while piece := await on.client.chunk():
            total += len(piece)
        assert total == size


def _bomb(name: bytes, coder: Coder, size: int) -> Script:
    line = b":" + b"x" * 1022 + b"\n"

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(head(b"Content-Encoding: " + name))
        piece = line * 1024
        for _ in range(size // len(piece)):
            await visit.send(coder.compress(piece))
        await visit.send(coder.end())

    return script
