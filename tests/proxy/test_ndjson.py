"""What becomes of NDJSON on its way through the proxy: its head, its coding, its place, its end? (docs/ndjson.md)"""

import asyncio
import contextlib
import gzip
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from sseproxy.core.limits import LimitPolicy
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.heartbeat import HeartbeatPolicy, WhiteSpace
from sseproxy.core.stream.plan import StreamMode
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.live import LiveStreams
from sseproxy.engine.observer import AccessRecord, ObservedStream, Observer
from sseproxy.logs import LOGGER
from sseproxy.proxy.notices import UndeclaredNotice
from tests.support.async_peer import AsyncPeer
from tests.support.http1_reader import Message
from tests.support.patience import LIMIT
from tests.support.proxy_server import Stage, stage
from tests.support.raw_upstream import Script, Visit, replies, replies_once

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
ONE, TWO, DONE = b'{"a": 1}\n', b'{"b": 2}\n', b'{"done": true}\n'
TYPES = [
    b"application/x-ndjson",
    b"application/ndjson; charset=utf-8",
    b"application/jsonl",
    b"application/x-jsonlines",
    b"application/stream+json",
]
OFTEN = HeartbeatPolicy(interval=0.01)
SPACES = replace(OFTEN, ndjson=WhiteSpace.SPACE)
NEWLINES = replace(OFTEN, ndjson=WhiteSpace.NEWLINE)
EARLY = replace(OFTEN, before_response=0.01)


def asks(body: bytes = b'{"model": "m"}', *fields: bytes, path: bytes = b"/api/chat") -> bytes:
    head = [b"POST " + path + b" HTTP/1.1", b"Host: a.test", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def head(*fields: bytes, media: bytes = TYPES[0]) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Type: " + media, *fields]) + b"\r\n\r\n"


def with_length(body: bytes, *fields: bytes, media: bytes = TYPES[0]) -> bytes:
    return head(*fields, b"Content-Length: %d" % len(body), media=media) + body


CHUNKED = head(b"Transfer-Encoding: chunked")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def silent_behind(response: bytes) -> Script:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(response)
        await visit.wait_closed()

    return script


async def until_heartbeats(client: AsyncPeer, beat: bytes = b" ", count: int = 3) -> bytes:
    """Read chunks until so many heartbeats have come, one behind the other; return all but those."""
    seen = b""
    while not seen.endswith(beat * count):
        piece = await client.chunk()
        assert piece, seen
        seen += piece
    return seen[: -len(beat) * count]


# The head.


@pytest.mark.parametrize("media", TYPES)
async def test_the_head_is_that_of_a_stream(media: bytes) -> None:
    response = with_length(ONE, b"Accept-Ranges: bytes", b'ETag: "a"', media=media)
    async with stage(replies(response), heartbeat=OFTEN) as on:
        seen = await on.client.ask(GET)
    assert seen.body == ONE
    assert seen.one(b"Content-Type") == media
    assert seen.one(b"Cache-Control") == b"no-cache, no-transform"
    assert seen.one(b"X-Accel-Buffering") == b"no"
    assert seen.one(b"ETag") == b'W/"a"'
    for name in (b"Content-Length", b"Accept-Ranges", b"Connection"):
        assert seen.all(name) == [], name


async def test_there_is_no_prelude() -> None:
    async with stage(replies(with_length(ONE)), heartbeat=replace(SPACES, interval=60.0, prelude=True)) as on:
        assert (await on.client.ask(GET)).body == ONE


@pytest.mark.parametrize(
    ("response", "options"),
    [
        (with_length(ONE, b'ETag: "a"'), {"stream": StreamMode.NEVER}),
        (with_length(gzip.compress(ONE), b"Content-Encoding: gzip"), {"stream": StreamMode.NEVER}),
        (with_length(ONE, b"Content-Range: bytes 0-8/20").replace(b"200 OK", b"206 Partial"), {}),
        (with_length(ONE, media=b"application/json"), {}),
        (with_length(ONE, media=b"application/x-ndjson2"), {}),
        (with_length(ONE, b"Content-Encoding: x-own"), {}),
    ],
    ids=["never", "never, coded", "a range", "JSON", "another type", "an unknown coding"],
)
async def test_what_is_none_of_ours_is_untouched(response: bytes, options: dict[str, Any]) -> None:
    async with stage(replies(response), heartbeat=SPACES, **options) as on:
        seen = await on.client.ask(GET)
    assert seen.undated + seen.body == response


@pytest.mark.parametrize("coding", [b"gzip"])
async def test_a_coding_is_undone(coding: bytes) -> None:
    response = with_length(gzip.compress(ONE + TWO), b"Content-Encoding: " + coding)
    async with stage(replies(response), heartbeat=SPACES) as on:
        seen = await on.client.ask(GET)
    assert (seen.body, seen.all(b"Content-Encoding")) == (ONE + TWO, [])


# Heartbeats.


@pytest.mark.parametrize(
    ("heartbeat", "dialect", "beat"),
    [(OFTEN, Dialect.OLLAMA, b" "), (SPACES, Dialect.AUTO, b" "), (NEWLINES, Dialect.AUTO, b"\n")],
)
async def test_a_silence_between_records_is_filled(heartbeat: HeartbeatPolicy, dialect: Dialect, beat: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + chunk(ONE) + chunk(b'{"b"'))
        await going_on.wait()
        await visit.send(chunk(b": 2}\n") + chunk(b""))

    going_on = asyncio.Event()
    async with stage(script, heartbeat=heartbeat, dialect=dialect) as on:
        await on.client.send(GET)
        assert (await on.client.head()).status == 200
        assert (await until_heartbeats(on.client, beat)).rstrip() == ONE.rstrip()
        going_on.set()
        rest = b""
        while piece := await on.client.chunk():
            rest += piece
        assert rest.lstrip() == TWO


# Before the response.


@contextlib.asynccontextmanager
async def promised(response: bytes, *, ends: bool = True, **options: object) -> AsyncIterator[Stage]:
    """What follows is the upstream's response to a request of Ollama that was answered early."""
    going_on = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await going_on.wait()
        await visit.send(response)
        if not ends:
            await visit.wait_closed()

    async with stage(script, heartbeat=EARLY, dialect=Dialect.OLLAMA, **options) as on:  # type: ignore[arg-type]
        await on.client.send(asks())
        seen = await on.client.head()
        assert seen.status == 200
        assert seen.one(b"Content-Type") == b"application/x-ndjson"
        assert await until_heartbeats(on.client) == b""
        going_on.set()
        yield on


async def body_of(client: AsyncPeer) -> tuple[bytes, bool]:
    """Return the rest of the body, without white space around it, and whether it is whole."""
    rest = b""
    try:
        while piece := await client.chunk():
            rest += piece
    except (asyncio.IncompleteReadError, ConnectionError):
        return rest.strip(), False
    return rest.strip(), True


async def test_the_stream_is_joined_on() -> None:
    async with promised(CHUNKED + chunk(ONE) + chunk(DONE) + chunk(b"")) as on:
        assert await body_of(on.client) == ((ONE + DONE).strip(), True)


@pytest.mark.parametrize("media", [*TYPES, b"application/json"])
async def test_in_whichever_type_it_comes(media: bytes) -> None:
    async with promised(with_length(DONE, media=media)) as on:
        assert await body_of(on.client) == (DONE.strip(), True)


async def test_a_late_model_that_is_only_loaded_is_one_record() -> None:
    body = b'{\n  "model": "m",\n  "done": true\n}\n'
    async with promised(with_length(body, media=b"application/json")) as on:
        seen, is_whole = await body_of(on.client)
    assert is_whole
    assert b"\n" not in seen
    assert json.loads(seen) == json.loads(body)


@pytest.mark.parametrize(
    ("response", "error", "status"),
    [
        (
            with_length(b'{"error":"model \'m\' not found"}', media=b"application/json").replace(b"200 OK", b"404 No"),
            "model 'm' not found",
            404,
        ),
        (with_length(b"data: 1\n\n", media=b"text/event-stream"), "data: 1", 200),
        (b"HTTP/1.1 503 Away\r\nContent-Length: 4\r\n\r\nbusy", "busy", 503),
        (b"nonsense\r\n\r\n", None, 502),
    ],
    ids=["an error of Ollama", "an event stream", "text", "no HTTP"],
)
async def test_anything_else_is_an_error_record(response: bytes, error: str | None, status: int) -> None:
    async with promised(response) as on:
        seen, is_whole = await body_of(on.client)
    said = json.loads(seen)
    assert not is_whole
    assert said["status"] == status
    assert isinstance(said["error"], str)
    assert error in (None, said["error"])


async def test_json_that_breaks_off_is_one_too() -> None:
    async with promised(head(b"Content-Length: 100", media=b"application/json") + b'{"a":') as on:
        seen, is_whole = await body_of(on.client)
    assert json.loads(seen)["status"] == 502
    assert not is_whole


# Places and ends.


async def test_a_stream_takes_a_place() -> None:
    async with stage(silent_behind(CHUNKED + chunk(ONE)), limits=LimitPolicy(streams=1)) as on:
        await on.client.send(GET)
        assert (await on.client.head()).status == 200
        async with on.proxy.connect() as second:
            assert (await second.ask(GET)).status == 503


async def test_it_breaks_where_the_upstream_does() -> None:
    for response in (CHUNKED + chunk(ONE) + chunk(b'{"half'), head(b"Content-Length: 99") + ONE + b'{"half'):
        async with stage(replies_once(response), heartbeat=OFTEN, dialect=Dialect.OLLAMA) as on:
            await on.client.send(GET)
            await on.client.head()
            assert await on.client.chunk() == ONE
            seen, is_whole = await body_of(on.client)
            assert json.loads(seen) == {"error": "the response broke off", "status": 502}
            assert not is_whole


async def test_http_10_gets_a_reset() -> None:
    async with stage(replies_once(CHUNKED + chunk(ONE)), heartbeat=OFTEN, dialect=Dialect.OLLAMA) as on:
        await on.client.send(GET.replace(b"1.1", b"1.0"))
        rest = await on.client.rest()
        assert b'{"error": "the response broke off"' in rest
        assert on.client.was_reset


async def test_its_end_is_found_in_the_body_also_for_a_client_that_closes() -> None:
    """`Connection: close` would hide a broken end from Node's fetch."""
    async with stage(replies(with_length(ONE)), heartbeat=OFTEN) as on:
        seen: Message = await on.client.ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert (seen.body, seen.all(b"Connection")) == (ONE, [])
        assert await on.client.rest() == b""


async def test_a_drain_lets_it_finish_until_its_deadline() -> None:
    async with stage(silent_behind(CHUNKED + chunk(ONE)), heartbeat=OFTEN, dialect=Dialect.OLLAMA) as on:
        await on.client.send(GET)
        await on.client.head()
        await until_heartbeats(on.client)
        on.proxy.app.drain(timeout=0.2, spread=0.0)
        seen, is_whole = await body_of(on.client)
        assert json.loads(seen) == {"error": "the server is shutting down", "status": 503}
        assert not is_whole


class _Noted(Observer):
    def __init__(self) -> None:
        self.streams: list[tuple[Dialect | None, bool | None, int, int]] = []
        self.records: list[AccessRecord] = []

    def ended(self, stream: ObservedStream) -> None:
        self.streams.append((stream.dialect, stream.is_declared, stream.stats.events, stream.stats.heartbeats))

    def answered(self, record: AccessRecord) -> None:
        self.records.append(record)


async def test_what_is_counted_and_logged() -> None:
    noted, streams = _Noted(), LiveStreams(linger=0.0)
    streams.observers.add(noted)
    async with promised(CHUNKED + chunk(ONE + TWO) + chunk(DONE) + chunk(b""), streams=streams) as on:
        assert await body_of(on.client) == ((ONE + TWO + DONE).strip(), True)
    [(dialect, is_declared, events, heartbeats)], [record] = noted.streams, noted.records
    assert (dialect, is_declared, events) == (Dialect.OLLAMA, True, 3)
    assert heartbeats >= 3
    assert record.reason is CloseReason.UPSTREAM_END
    assert (record.status, record.intended, record.is_declared) == (200, 200, True)
    assert record.fields()["events"] == 3
    assert record.names()["declared"] == "yes"


async def test_of_another_service_nothing_is_said_to_be_undeclared(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, LOGGER)
    noted, streams = _Noted(), LiveStreams(linger=0.0)
    streams.observers.add(noted)
    streams.observers.add(UndeclaredNotice())
    async with stage(replies(with_length(ONE)), heartbeat=EARLY, streams=streams) as on:
        await on.client.ask(asks(b'{"stream": true}', b"Accept: application/x-ndjson"))
    assert caplog.messages == []
    [record] = noted.records
    assert record.is_declared is None
    assert "declared" not in record.names()


async def test_a_feed_has_no_idle_timeout_of_its_own() -> None:
    timeouts = TimeoutPolicy(answer_idle=0.05)
    async with stage(silent_behind(CHUNKED + chunk(ONE)), heartbeat=SPACES, timeouts=timeouts) as on:
        await on.client.send(GET)
        await on.client.head()
        assert await until_heartbeats(on.client, count=10) == ONE
        async with on.proxy.connect() as answered:
            await answered.send(asks())
            await answered.head()
            async with asyncio.timeout(LIMIT):
                assert (await body_of(answered)) == (ONE.strip(), False)
