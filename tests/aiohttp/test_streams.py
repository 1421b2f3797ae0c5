"""Do an aiohttp app's event streams live by the rules of the proxy?"""

import asyncio
import gc
import json
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp_sse import sse_response
from multidict import CIMultiDict

from sseproxy.aiohttp import sse_keepalive
from sseproxy.aiohttp.exchange import Exchange
from sseproxy.asgi import StreamAborted
from sseproxy.asgi.responder import Responder
from sseproxy.asgi.response_switch import ResponseSwitch
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.live import LiveStreams
from sseproxy.engine.relay import Relay
from tests.support.aiohttp_app import AiohttpApp, Handler, broken_body, open_stream, until
from tests.support.async_peer import AsyncPeer
from tests.support.patience import LIMIT

BEAT = b": heartbeat\n"
EVENT_SOURCE = ("Accept: text/event-stream", "Cache-Control: no-cache")
EVENTS = "id: 1\nevent: a\ndata: \u00e4\r\n\r\ndata: x\rdata: y\r\rdata: z\n\n".encode()


async def until_beat(client: AsyncPeer, *, times: int = 1) -> bytes:
    body = b""
    while body.count(BEAT) < times:
        body += await client.chunk()
    return body


class Silent:
    """A handler that opens a stream, says something, and then nothing. stopped: it was cancelled."""

    def __init__(self, *first: bytes) -> None:
        self._first = first
        self.stopped = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        response = await open_stream(request)
        for piece in self._first:
            await response.write(piece)
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()
        return response


async def test_a_silent_stream_is_kept_alive_and_not_buffered() -> None:
    async with AiohttpApp.serve(Silent(b"data: 1\n\n"), heartbeat="20ms") as app, app.ask() as client:
        head = await client.head()
        assert await client.chunk() == b"data: 1\n\n"
        await until_beat(client, times=3)
        assert app.keepalive.open_streams == 1
    assert head.status == 200
    assert head.all(b"Cache-Control") == [b"no-cache, no-transform"]
    assert head.all(b"X-Accel-Buffering") == [b"no"]
    assert head.all(b"Transfer-Encoding") == [b"chunked"]


async def test_an_app_that_splits_events_anywhere_is_not_misread() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = await open_stream(request)
        for byte in EVENTS:
            await response.write(bytes([byte]))
            await asyncio.sleep(0.003)
        return response

    async with AiohttpApp.serve(handler, heartbeat="2ms", form="comment-line") as app, app.ask() as client:
        body = (await client.response()).body
    assert BEAT[:-1] in body
    without = b"".join(line for line in body.splitlines(keepends=True) if not line.startswith(BEAT[:-1]))
    # What completes a CRLF in which we inserted is dropped.
    assert without.replace(b"\r\n", b"\r") == EVENTS.replace(b"\r\n", b"\r")


async def test_a_part_of_a_stream_is_none_of_ours() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        fields = {"Content-Range": "bytes 0-4/9", "Content-Length": "5", "ETag": '"a"', "Accept-Ranges": "bytes"}
        response = web.StreamResponse(status=206, headers={"Content-Type": "text/event-stream", **fields})
        await response.prepare(request)
        await asyncio.sleep(0.05)
        await response.write(b"data:")
        return response

    async with AiohttpApp.serve(handler, heartbeat="5ms") as app, app.ask() as client:
        response = await client.response()
    assert response.body == b"data:"
    assert response.one(b"Content-Length") == b"5"
    assert response.one(b"ETag") == b'"a"'
    assert response.one(b"Accept-Ranges") == b"bytes"


STREAM_TYPE, HTML_TYPE = "text/event-stream", "text/html"


@pytest.mark.parametrize("is_prepared", [True, False])
@pytest.mark.parametrize(
    ("types", "is_stream"),
    [
        ([STREAM_TYPE, HTML_TYPE], False),
        ([HTML_TYPE, STREAM_TYPE], True),
        ([f"{STREAM_TYPE}, {HTML_TYPE}"], False),
        ([f"{HTML_TYPE}, {STREAM_TYPE}"], True),
    ],
)
async def test_of_several_media_types_the_last_counts(types: list[str], is_stream: bool, is_prepared: bool) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.Response(body=EVENTS, headers=CIMultiDict(("Content-Type", media) for media in types))
        if is_prepared:
            await response.prepare(request)
        return response

    async with AiohttpApp.serve(handler, prelude=True) as app, app.ask() as client:
        answer = await client.response()
    assert answer.all(b"Content-Type") == [media.encode() for media in types]
    assert answer.body == (BEAT + b"\n" + EVENTS if is_stream else EVENTS)
    assert answer.all(b"X-Accel-Buffering") == ([b"no"] if is_stream else [])


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_length_that_the_app_declared_goes(version: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=EVENTS, content_type="text/event-stream")

    async with (
        AiohttpApp.serve(handler, prelude=True) as app,
        app.ask("Connection: keep-alive", version=version) as client,
    ):
        answer = await client.response()
    assert answer.all(b"Content-Length") == []
    assert answer.body.endswith(EVENTS)
    assert answer.body.startswith(BEAT)


async def test_the_handler_s_own_words_go_as_they_are() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        fields = {"Content-Type": "text/event-stream", "X-Team": "bl\u00e4u \u2713"}
        response = web.StreamResponse(reason="Well and good", headers=fields)
        await response.prepare(request)
        return response

    async with AiohttpApp.serve(handler) as app, app.ask("Connection: close") as client:
        answer = await client.rest()
    assert answer.startswith(b"HTTP/1.1 200 Well and good\r\n")
    assert "\r\nX-Team: bl\u00e4u \u2713\r\n".encode() in answer


async def test_a_body_that_aiohttp_sends_after_the_handler_is_kept_alive_too() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await asyncio.sleep(0.1)
        yield b"data: 2\n\n"

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=pieces(), content_type="text/event-stream")

    async with AiohttpApp.serve(handler, heartbeat="10ms") as app, app.ask() as client:
        body = (await client.response()).body
        # The connection goes on.
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.response()).status == 200
    assert body.replace(BEAT + b"\n", b"") == b"data: 1\n\ndata: 2\n\n"
    assert BEAT in body


@pytest.mark.parametrize("handler_cancellation", [False, True])
async def test_when_the_client_leaves_a_silent_handler_is_stopped(handler_cancellation: bool) -> None:
    handler = Silent()
    async with AiohttpApp.serve(handler, heartbeat="1h", handler_cancellation=handler_cancellation) as app:
        async with app.ask() as client:
            await client.head()
            assert not handler.stopped.is_set()
        async with asyncio.timeout(LIMIT):
            await handler.stopped.wait()
        await until(lambda: app.keepalive.open_streams == 0)


async def test_an_idle_stream_is_broken_off() -> None:
    handler = Silent(b"data: 1\n\n")
    async with AiohttpApp.serve(handler, heartbeat="20ms", idle_timeout="1s") as app, app.ask() as client:
        await client.head()
        body = await broken_body(client)
    assert BEAT in body
    assert b'"type": "idle_timeout"' in body
    assert handler.stopped.is_set()


async def test_at_its_maximum_age_the_stream_of_a_client_that_comes_back_ends_well() -> None:
    handler = Silent(b"data: 1\n\n")
    async with AiohttpApp.serve(handler, max_duration="50ms") as app, app.ask(*EVENT_SOURCE) as client:
        body = (await client.response()).body
    assert body == b"data: 1\n\nretry: 1000\n\n"
    assert handler.stopped.is_set()


async def test_at_its_maximum_age_any_other_stream_is_broken_off() -> None:
    handler = Silent(b"data: 1\n\n")
    async with AiohttpApp.serve(handler, max_duration="50ms", dialect="openai-chat") as app, app.ask() as client:
        await client.head()
        body = await broken_body(client)
    assert body.startswith(b"data: 1\n\ndata: ")
    assert b"max_duration" in body
    assert handler.stopped.is_set()


async def test_a_handler_that_fails_in_the_middle_leaves_a_broken_stream() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await (await open_stream(request)).write(b"data: 1\n\n")
        raise RuntimeError("the model fell over")

    async with AiohttpApp.serve(handler) as app, app.ask() as client:
        await client.head()
        body = await broken_body(client)
    assert body.startswith(b"data: 1\n\nevent: error\n")
    assert b"fell over" not in body


async def test_a_client_that_takes_nothing_slows_the_handler_down_and_is_cut_off() -> None:
    written = 0
    ended = asyncio.Event()
    transport: asyncio.Transport | None = None

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal written, transport
        transport = request.transport
        response = await open_stream(request)
        try:
            while True:
                await response.write(b"data: " + b"x" * 65536 + b"\n\n")
                written += 65536
        finally:
            ended.set()

    async with AiohttpApp.serve(handler, write_timeout="300ms") as app, app.ask() as client:
        await client.head()
        client.pause()
        await ended.wait()
        await until(lambda: app.keepalive.open_streams == 0)
        assert written < 64 * 2**20
        # Aborted, and not closed: that would wait for the client to take what is in it.
        await until(lambda: transport is not None and transport.get_write_buffer_size() == 0)


async def test_a_client_that_is_behind_is_noticed_at_the_write_that_brings_it_there() -> None:
    """aiohttp by itself looks once in 64 KiB, which a stream may not send for hours."""
    ended = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = await open_stream(request)
        assert request.transport is not None
        try:
            while request.transport.get_write_buffer_size() <= 64 * 1024:
                await response.write(b"data: " + b"x" * 1000 + b"\n\n")
            await asyncio.Event().wait()
        finally:
            ended.set()
        return response

    async with AiohttpApp.serve(handler, heartbeat="off", write_timeout="300ms") as app, app.ask() as client:
        await client.head()
        client.pause()
        await until(lambda: ended.is_set() and app.keepalive.open_streams == 0)


async def returned_later(request: web.Request) -> web.StreamResponse:
    return web.Response(text="something else", status=500)


async def prepared_later(request: web.Request) -> web.StreamResponse:
    return await open_stream(request)


async def raised_later(request: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound(text="something else")


@pytest.mark.parametrize("later", [returned_later, prepared_later, raised_later])
async def test_another_response_in_the_middle_of_a_stream_breaks_it(
    later: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await (await open_stream(request)).write(b"data: 1\n\n")
        return await later(request)

    async with AiohttpApp.serve(handler) as app, app.ask() as client:
        await client.head()
        body = await broken_body(client)
        assert body.startswith(b"data: 1\n\nevent: error\n")
        assert body.count(b"\n\n") == 2
        assert app.keepalive.open_streams == 0
    assert "the response has begun already" in caplog.text


@pytest.mark.parametrize("early", ["20ms", "off"])
async def test_a_handler_that_returns_no_response_breaks_its_stream(
    early: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if early == "off":
            await (await open_stream(request)).write(b"data: 1\n\n")
        else:
            await asyncio.sleep(0.1)
        return None  # type: ignore[return-value]

    async with (
        AiohttpApp.serve(handler, before_response=early) as app,
        app.ask("Accept: text/event-stream") as client,
    ):
        await client.head()
        body = await broken_body(client)
        assert await client.rest() == b""
    assert body.count(b"event: error\n") == 1
    assert "should return a response instance, got None" in caplog.text


async def test_a_connection_that_the_client_wants_closed_is_closed() -> None:
    """The head does not say so: undici would take any end of a stream for a good one then."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return await open_stream(request, **{"Keep-Alive": "timeout=5"})

    async with AiohttpApp.serve(handler) as app:
        async with app.ask("Connection: close") as client:
            answer = await client.response()
            assert answer.all(b"Connection") == []
            assert await client.rest() == b""
        async with app.ask() as client:
            assert (await client.response()).all(b"Keep-Alive") == []


async def test_where_the_client_wants_it_closed_a_broken_stream_is_noticed_too() -> None:
    async with (
        AiohttpApp.serve(Silent(b"data: 1\n\n"), idle_timeout="100ms") as app,
        app.ask("Connection: close") as client,
    ):
        head = await client.head()
        assert (head.all(b"Transfer-Encoding"), head.all(b"Connection")) == ([b"chunked"], [])
        assert b'"idle_timeout"' in await broken_body(client)


async def test_a_broken_stream_stays_open_until_the_client_leaves() -> None:
    streams = LiveStreams(linger=1000.0)
    async with AiohttpApp.serve(Silent(b"data: 1\n\n"), idle_timeout="100ms", streams=streams) as app:
        async with app.ask() as client:
            await client.head()
            while b'"idle_timeout"' not in await client.chunk():
                pass
            await asyncio.sleep(0.05)
            assert app.keepalive.open_streams == 1
        await until(lambda: app.keepalive.open_streams == 0)


async def test_a_client_that_takes_nothing_of_the_end_does_not_keep_the_handler() -> None:
    ended = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            response = await open_stream(request)
            await response.write_eof(b"data: " + b"x" * 32_000_000 + b"\n\n")
        finally:
            ended.set()
        return response

    async with AiohttpApp.serve(handler, write_timeout="300ms") as app, app.ask() as client:
        await client.head()
        client.pause()
        await ended.wait()
        await until(lambda: app.keepalive.open_streams == 0)


async def test_of_two_middlewares_the_inner_one_passes_by() -> None:
    inner = sse_keepalive(heartbeat="5ms")

    async def handler(request: web.Request) -> web.StreamResponse:
        return await inner(request, Silent(b"data: 1\n\n"))

    async with AiohttpApp.serve(handler, heartbeat="1h", idle_timeout="100ms") as app, app.ask() as client:
        await client.head()
        rest = await broken_body(client)
        assert inner.open_streams == 0
    assert b'"idle_timeout"' in rest
    assert BEAT not in rest


# Before the response.


async def test_a_handler_that_takes_its_time_is_kept_alive_before_its_response() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        response = await open_stream(request)
        await response.write(EVENTS)
        return response

    async with (
        AiohttpApp.serve(handler, heartbeat="10ms", before_response="20ms") as app,
        app.ask("Accept: text/event-stream") as client,
    ):
        answer = await client.response()
    assert answer.body.startswith(BEAT)
    assert answer.body.endswith(EVENTS)
    assert answer.one(b"Content-Type") == b"text/event-stream"
    assert answer.one(b"Date") is not None


async def test_a_body_that_asks_for_a_stream_behind_two_mebibytes_counts() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert (await request.json())["stream"]
        await asyncio.sleep(0.2)
        return await open_stream(request)

    body = b'{"image": "' + b"x" * 2**21 + b'", "stream": true}'
    async with (
        AiohttpApp.serve(handler, heartbeat="10ms", before_response="20ms") as app,
        app.ask("Content-Type: application/json", method="POST", body=body) as client,
    ):
        assert BEAT in (await client.response()).body


@pytest.mark.parametrize("reads", [0.0, 0.1])
async def test_a_body_that_asks_for_a_stream_counts_as_soon_as_the_handler_has_read_it(reads: float) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(reads)
        assert (await request.json())["stream"]
        await asyncio.sleep(0.2)
        return await open_stream(request)

    async with (
        AiohttpApp.serve(handler, heartbeat="10ms", before_response="20ms") as app,
        app.ask("Content-Type: application/json", method="POST", body=b'{"stream": true}') as client,
    ):
        assert BEAT in (await client.response()).body


@pytest.mark.parametrize("declares", ["Accept: text/event-stream", "Content-Type: application/json"])
async def test_the_wait_begins_behind_the_request_body(declares: str) -> None:
    """A slow upload is no slow answer."""
    time = asyncio.get_running_loop().time
    answered_early = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        assert (await request.json())["stream"]
        await answered_early.wait()
        return await open_stream(request)

    async with (
        AiohttpApp.serve(handler, before_response="200ms") as app,
        app.ask(declares, "Content-Length: 16", method="POST") as client,
    ):
        for piece in (b'{"str', b'eam": ', b"tru"):
            await asyncio.sleep(0.15)
            await client.send(piece)
        await asyncio.sleep(0.15)
        sent = time()
        await client.send(b"e}")
        assert (await client.head()).status == 200
        assert time() - sent >= 0.19
        answered_early.set()


JSON_TEXT = b'{"a":\n"b"}'


async def returned_json(_: web.Request) -> web.StreamResponse:
    return web.Response(body=JSON_TEXT, content_type="application/json")


async def raised_json(_: web.Request) -> web.StreamResponse:
    raise web.HTTPOk(text=JSON_TEXT.decode(), content_type="application/json")


async def json_in_pieces(request: web.Request) -> web.StreamResponse:
    fields = {"Content-Type": "application/json", "Content-Length": str(len(JSON_TEXT))}
    response = web.StreamResponse(status=201, headers=fields)
    await response.prepare(request)
    for byte in JSON_TEXT:
        await response.write(bytes([byte]))
    return response


@pytest.mark.parametrize("answer", [returned_json, raised_json, json_in_pieces])
async def test_a_late_json_answer_becomes_an_event(answer: Handler) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        return await answer(request)

    async with (
        AiohttpApp.serve(handler, before_response="20ms") as app,
        app.ask("Accept: text/event-stream") as client,
    ):
        response = await client.response()
        assert (response.status, response.one(b"Content-Type")) == (200, b"text/event-stream")
        assert response.body == BEAT + b'\ndata: {"a":\ndata: "b"}\n\n'
        await until(lambda: app.keepalive.open_streams == 0)


async def test_a_late_json_answer_without_a_body_becomes_an_error_event() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        return web.Response(content_type="application/json")

    async with (
        AiohttpApp.serve(handler, before_response="20ms") as app,
        app.ask("Accept: text/event-stream") as client,
    ):
        await client.head()
        assert b"event: error\n" in await broken_body(client)


async def plain_answer(request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": "no"}, status=429, headers={"Retry-After": "7"})


async def raised_answer(request: web.Request) -> web.StreamResponse:
    raise web.HTTPTooManyRequests(text="no", headers={"Retry-After": "7"})


async def prepared_answer(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=429, headers={"Retry-After": "7", "Content-Length": "2"})
    await response.prepare(request)
    await response.write(b"no")
    return response


@pytest.mark.parametrize("answer", [plain_answer, raised_answer, prepared_answer])
async def test_a_late_refusal_becomes_an_error_event(answer: Handler) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        return await answer(request)

    async with (
        AiohttpApp.serve(handler, before_response="20ms") as app,
        app.ask("Accept: text/event-stream") as client,
    ):
        assert (await client.head()).status == 200
        body = await broken_body(client)
    event = json.loads(body.rpartition(b"event: error\ndata: ")[2])
    assert (event["status"], event["retry_after"]) == (429, "7")


async def test_a_file_that_comes_late_becomes_an_error_event() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        return web.FileResponse(__file__)

    async with (
        AiohttpApp.serve(handler, before_response="20ms") as app,
        app.ask("Accept: text/event-stream") as client,
    ):
        await client.head()
        assert b"event: error" in await broken_body(client)


async def test_a_handler_that_fails_late_is_told_of() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        raise RuntimeError("the model fell over")

    async with (
        AiohttpApp.serve(handler, before_response="20ms") as app,
        app.ask("Accept: text/event-stream") as client,
    ):
        await client.head()
        body = await broken_body(client)
    assert b'"status": 500' in body
    assert b"fell over" not in body


# Drain.


async def test_the_shutdown_of_the_app_ends_its_streams_at_a_boundary() -> None:
    async with (
        AiohttpApp.serve(Silent(b"data: 1\n\n"), drain="10s", drain_spread="50ms") as app,
        app.ask(*EVENT_SOURCE) as client,
    ):
        await client.head()
        await client.chunk()
        shutdown = asyncio.get_running_loop().create_task(app.runner.cleanup())
        assert b"retry: " in await client.chunk()
        assert await client.chunk() == b""
        await shutdown


async def test_an_event_source_that_waits_for_its_stream_is_sent_away() -> None:
    asked = asyncio.Event()

    async def never(request: web.Request) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        return web.Response()

    async with (
        AiohttpApp.serve(never, drain="10s", drain_spread="50ms") as app,
        app.ask(*EVENT_SOURCE) as client,
    ):
        await asked.wait()
        shutdown = asyncio.get_running_loop().create_task(app.runner.cleanup())
        assert (await client.head()).status == 200
        rest = await client.rest()
        assert b"retry: " in rest
        assert rest.endswith(b"0\r\n\r\n")
        await shutdown


async def test_a_stream_that_never_comes_to_a_boundary_is_broken_off_in_time(caplog: pytest.LogCaptureFixture) -> None:
    async with AiohttpApp.serve(Silent(b"data: 1\n")) as app, app.ask() as client:
        await client.head()
        await client.chunk()
        app.keepalive.begin_drain(timeout="50ms", spread="10ms")
        assert not (await client.rest()).endswith(b"0\r\n\r\n")
    errors = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [error.reason for error in errors if isinstance(error, StreamAborted)] == [CloseReason.DRAIN]


@pytest.mark.parametrize("name", ["timeout", "spread"])
async def test_a_wrong_duration_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: "):
        sse_keepalive().begin_drain(**{name: "soon"})


# Others.


async def test_the_pings_of_aiohttp_sse_do_no_harm() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        async with sse_response(request, ping_interval=0.05) as response:
            for number in range(3):
                await response.send(str(number))
                await asyncio.sleep(0.1)
        return response

    async with AiohttpApp.serve(handler, heartbeat="20ms") as app, app.ask() as client:
        body = (await client.response()).body
    kept = [line for line in body.splitlines() if line and not line.startswith(b":")]
    assert kept == [b"data: 0", b"data: 1", b"data: 2"]
    assert b": ping" in body
    assert BEAT[:-1] in body


async def test_nothing_is_left_of_streams_that_have_ended() -> None:
    handler = Silent(b"data: 1\n\n")
    of_other_tests = _exchanges()
    async with AiohttpApp.serve(handler, heartbeat="10ms", before_response="5ms", max_duration="100ms") as app:
        for leaves in [True, False] * 20:
            async with app.ask(*EVENT_SOURCE) as client:
                await client.head()
                if not leaves:
                    while await client.chunk():
                        pass
        await until(lambda: app.keepalive.open_streams == 0)
        await until(lambda: _exchanges() <= of_other_tests)


def _exchanges() -> int:
    gc.collect()
    return sum(isinstance(thing, Exchange) for thing in gc.get_objects())


@pytest.mark.parametrize("leaves", [True, False])
@pytest.mark.parametrize("early", ["5ms", "off"])
async def test_nothing_is_left_for_the_collector(leaves: bool, early: str) -> None:
    """What ends in a circle of references stays until it comes, and it comes seldom."""

    async def short(request: web.Request) -> web.StreamResponse:
        response = await open_stream(request)
        await response.write(b"data: 1\n\n")
        return response

    handler: Handler = Silent(b"data: 1\n\n") if leaves else short
    async with AiohttpApp.serve(handler, heartbeat="10ms", before_response=early) as app:

        async def visit() -> None:
            async with app.ask("Accept: text/event-stream", "Connection: close") as client:
                await client.head()
                await client.chunk()
                if not leaves:
                    await client.rest()

        await visit()
        await until(lambda: app.keepalive.open_streams == 0)
        before = _of_requests()
        gc.disable()
        try:
            for _ in range(20):
                await visit()
            await until(lambda: app.keepalive.open_streams == 0)
            await until(lambda: not _of_requests(collect=False) - before)
        finally:
            gc.enable()


def _of_requests(*, collect: bool = True) -> Counter[str]:
    if collect:
        gc.collect()
    kinds = (Exchange, ResponseSwitch, Responder, Relay, StreamSession)
    return Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, kinds))
