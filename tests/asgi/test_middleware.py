"""Does a request of an app go as it would without the middleware, except that its event streams stay alive?"""

import asyncio
import gzip
from typing import Any

import pytest

from sseproxy.asgi import SSEKeepaliveMiddleware
from sseproxy.asgi.types import ASGIApp, Message, Receive, Scope, Send
from tests.support.asgi_exchange import EVENT_STREAM, HB, Exchange, Step, body, for_ever, head, script
from tests.support.virtual_clock import passing

BEAT = HB + b"\n"
EVENT = b"data: 1\n\n"


def wrapped(app: ASGIApp, **options: Any) -> SSEKeepaliveMiddleware:
    return SSEKeepaliveMiddleware(app, **options)


class TestWhatIsNoStream:
    """Passes untouched, message by message."""

    RESPONSES: tuple[tuple[str, str, Message], ...] = (
        ("plain text", "GET", head(200, (b"content-type", b"text/plain"), (b"content-length", b"4"))),
        ("no type", "GET", head(200, (b"x", b"y"))),
        ("no headers", "GET", {"type": "http.response.start", "status": 200}),
        ("another stream", "GET", head(200, (b"content-type", b"text/event-streams"))),
        ("204", "GET", head(204, EVENT_STREAM)),
        ("304", "GET", head(304, EVENT_STREAM)),
        ("compressed", "GET", head(200, EVENT_STREAM, (b"content-encoding", b"gzip"), (b"content-length", b"9"))),
        ("twice coded", "GET", head(200, EVENT_STREAM, (b"Content-Encoding", b"identity, br"))),
        ("HEAD", "HEAD", head(200, EVENT_STREAM, (b"content-length", b"9"))),
    )

    @pytest.mark.parametrize(("name", "method", "start"), RESPONSES, ids=[name for name, _, _ in RESPONSES])
    async def test_untouched(self, name: str, method: str, start: Message) -> None:
        steps: list[Step] = [60.0, gzip.compress(EVENT), 60.0, b"rest"]
        seen = await Exchange(wrapped(script(*steps, start=start)), method=method).run()
        plain = await Exchange(script(*steps, start=start), method=method).run()
        assert seen.messages == plain.messages
        assert seen.messages[0] is start

    @pytest.mark.parametrize("kind", ["lifespan", "websocket"])
    async def test_other_kinds_of_scope_are_not_looked_at(self, kind: str) -> None:
        calls: list[tuple[Any, ...]] = []

        async def app(*call: Any) -> None:
            calls.append(call)

        async def receive() -> Message:
            raise AssertionError

        async def send(message: Message) -> None:
            raise AssertionError

        scope = {"type": kind}
        await wrapped(app)(scope, receive, send)
        assert calls == [(scope, receive, send)]

    async def test_paths_that_were_not_selected_are_not_looked_at(self) -> None:
        app = wrapped(script(60.0, EVENT), paths=["/api"])
        assert (await Exchange(app, path="/apix").run()).body == EVENT
        assert (await Exchange(app, path="/api/x").run()).body == BEAT * 4 + EVENT

    async def test_exceptions_pass_unchanged(self) -> None:
        error = RuntimeError("mine")
        start = head(200, (b"content-type", b"text/plain"))
        seen = Exchange(wrapped(script(b"a", error, start=start))).start()
        with pytest.raises(RuntimeError) as raised:
            await seen.finish()
        assert raised.value is error
        assert seen.messages == [start, body(b"a")]


class TestTheHead:
    async def test_what_stops_buffers_is_added_and_the_length_goes(self) -> None:
        start = head(200, EVENT_STREAM, (b"content-length", b"9"), (b"x-own", b"1"), (b"cache-control", b"no-store"))
        seen = await Exchange(wrapped(script(EVENT, start=start))).run()
        fields = seen.headers
        assert b"content-length" not in fields
        assert fields[b"x-own"] == b"1"
        lowered = {name.lower(): value for name, value in fields.items()}
        assert {b"no-store", b"no-transform"} <= set(lowered[b"cache-control"].split(b", "))
        assert lowered[b"x-accel-buffering"] == b"no"

    @pytest.mark.parametrize("name", [b"content-type", b"Content-Type"])
    @pytest.mark.parametrize("value", [b"text/event-stream", b"Text/Event-Stream; charset=utf-8"])
    async def test_a_stream_is_known_however_its_type_is_spelt(self, name: bytes, value: bytes) -> None:
        seen = await Exchange(wrapped(script(16.0, EVENT, start=head(200, (name, value))))).run()
        assert seen.body == BEAT + EVENT

    async def test_several_set_cookies_stay_several(self) -> None:
        cookies = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
        seen = await Exchange(wrapped(script(start=head(200, EVENT_STREAM, *cookies)))).run()
        assert [pair for pair in seen.messages[0]["headers"] if pair[0] == b"set-cookie"] == cookies

    async def test_extra_keys_of_the_head_stay(self) -> None:
        seen = await Exchange(wrapped(script(start={**head(201), "x": 1}))).run()
        assert seen.messages[0]["x"] == 1
        assert seen.status == 201

    async def test_the_head_leaves_at_once(self) -> None:
        seen = Exchange(wrapped(script(10.0, EVENT))).start()
        await passing(0.001)
        assert [message["type"] for message in seen.messages] == ["http.response.start"]
        await seen.finish()

    async def test_a_prelude_goes_out_with_the_head(self) -> None:
        seen = Exchange(wrapped(script(10.0, EVENT), prelude=True)).start()
        await passing(0.001)
        assert seen.body == BEAT
        await seen.finish()


class TestTheStream:
    async def test_without_silence_messages_are_the_same(self) -> None:
        seen = await Exchange(wrapped(script(b"data: 1\n\n", 14.0, b"id: 2\ndata: 2\n\n"))).run()
        assert seen.pieces == [b"data: 1\n\n", b"id: 2\ndata: 2\n\n", b""]

    async def test_heartbeats_come_at_the_given_interval_of_silence(self) -> None:
        seen = await Exchange(wrapped(script(5.0, EVENT, 35.0, EVENT), heartbeat="10s")).run()
        start = seen.sent[0][0]
        times = [(round(when - start, 3), message["body"]) for when, message in seen.sent[1:]]
        assert times == [(5, EVENT), (15, BEAT), (25, BEAT), (35, BEAT), (40, EVENT), (40, b"")]

    async def test_off_means_that_only_the_rest_of_the_policies_apply(self) -> None:
        seen = await Exchange(wrapped(script(60.0, b"da", b"ta: 1\n\n"), heartbeat="off")).run()
        assert seen.pieces == [b"da", b"ta: 1\n\n", b""]

    async def test_a_client_that_is_known_gets_the_form_measured_for_it(self) -> None:
        for name, beat in ((b"python-httpx/0.28", HB), (b"google-genai-sdk/1", b"\n"), (b"curl/8", BEAT)):
            seen = await Exchange(wrapped(script(16.0, EVENT)), headers=[(b"user-agent", name)]).run()
            assert seen.body == beat + EVENT

    async def test_an_end_without_a_body_key_is_an_end(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head())
            await send({"type": "http.response.body", "body": EVENT, "more_body": True})
            await send({"type": "http.response.body"})

        seen = await Exchange(wrapped(app)).run()
        assert seen.pieces == [EVENT, b""]

    async def test_an_unfinished_line_goes_out_with_the_end(self) -> None:
        seen = await Exchange(wrapped(script(b"data: 1\n\ndata: 2"))).run()
        assert seen.body == b"data: 1\n\ndata: 2"
        assert seen.is_whole

    async def test_bytes_may_be_any_buffer(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head())
            await send({"type": "http.response.body", "body": bytearray(EVENT), "more_body": True})
            await send({"type": "http.response.body", "body": memoryview(EVENT)})

        assert (await Exchange(wrapped(app)).run()).body == EVENT * 2

    async def test_streams_are_counted_while_they_are_open(self) -> None:
        app = wrapped(for_ever)
        seen = [Exchange(app).start() for _ in range(3)]
        await passing(1)
        assert app.open_streams == 3
        for exchange in seen:
            exchange.leave()
            await exchange.finish()
        assert app.open_streams == 0


class TestBackpressure:
    async def test_an_app_waits_for_its_client(self) -> None:
        sent = 0

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal sent
            await send(head())
            while sent < 100:
                await send(body(EVENT))
                sent += 1
            await send(body(more=False))

        seen = Exchange(wrapped(app)).start()
        seen.freeze()
        await passing(20)
        assert sent == 0
        seen.thaw()
        await seen.finish()
        assert seen.body == EVENT * 100

    async def test_heartbeats_do_not_pile_up_before_a_frozen_client(self) -> None:
        seen = Exchange(wrapped(for_ever, heartbeat="1s", write_timeout="off")).start()
        await passing(1.5)
        seen.freeze()
        await passing(100)
        seen.thaw()
        await passing(0.5)
        assert seen.body == EVENT + BEAT * 2
        seen.leave()
        await seen.finish()

    async def test_an_app_that_never_suspends_does_not_hold_up_its_end(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head())
            while True:
                await send(body(EVENT))
                if sum(message["type"] == "http.response.body" for message in seen.messages) > 50:
                    seen.leave()
                    await asyncio.sleep(0)

        seen = Exchange(wrapped(app)).start()
        await seen.finish()
        assert len(seen.pieces) < 200
