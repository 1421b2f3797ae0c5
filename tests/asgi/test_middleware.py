"""Does a request of an app go as it would without the middleware, except that its event streams stay alive?"""

import asyncio
import gzip
from typing import Any

import pytest

from sseproxy.asgi import SSEKeepaliveMiddleware, StreamAborted
from sseproxy.asgi.types import ASGIApp, Message, Receive, Scope, Send
from tests.support.asgi_exchange import EVENT_STREAM, HB, Exchange, Step, body, for_ever, head, on_time, script
from tests.support.virtual_clock import passing
from tests.support.whatwg import parse

BEAT = HB + b"\n"
EVENT = b"data: 1\n\n"
NEVER = 1e9
CHANGEABLE: Any = bytearray(b"image/png")


def wrapped(app: ASGIApp, **options: Any) -> SSEKeepaliveMiddleware:
    return SSEKeepaliveMiddleware(app, **{"streams": on_time(), **options})


class TestWhatIsNoStream:
    """Passes untouched, message by message."""

    RESPONSES: tuple[tuple[str, str, Message], ...] = (
        ("plain text", "GET", head(200, (b"content-type", b"text/plain"), (b"content-length", b"4"))),
        ("JSON", "GET", head(200, (b"content-type", b"application/json"))),
        ("a type that can be changed", "GET", head(200, (b"content-type", CHANGEABLE))),
        ("no type", "GET", head(200, (b"x", b"y"))),
        ("no headers", "GET", {"type": "http.response.start", "status": 200}),
        ("another stream", "GET", head(200, (b"content-type", b"text/event-streams"))),
        ("204", "GET", head(204, EVENT_STREAM)),
        ("304", "GET", head(304, EVENT_STREAM)),
        ("206", "GET", head(206, EVENT_STREAM, (b"content-range", b"bytes 0-3/9"), (b"etag", b'"a"'))),
        ("the last of two types", "GET", head(200, EVENT_STREAM, (b"content-type", b"text/html"))),
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

    @pytest.mark.parametrize("root", ["/mounted", "/mounted/"])
    @pytest.mark.parametrize(
        ("path", "seen_by_the_app"),
        [("/mounted/api/x", "/api/x"), ("/mounted", "/"), ("/mountedx", "/mountedx"), ("/api", "/api")],
    )
    async def test_a_path_is_what_the_apps_routes_have(self, root: str, path: str, seen_by_the_app: str) -> None:
        asked: list[str] = []

        def selects(path: str) -> bool:
            asked.append(path)
            return True

        exchange = Exchange(wrapped(script(EVENT), paths=selects), path=path)
        exchange.scope["root_path"] = root
        await exchange.run()
        assert asked == [seen_by_the_app]

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

    async def test_what_speaks_of_the_apps_bytes_does_not_go_on(self) -> None:
        gone = [b"Accept-Ranges", b"content-md5", b"digest", b"content-digest", b"repr-digest"]
        start = head(200, EVENT_STREAM, (b"etag", b'"a"'), *[(name, b"x") for name in gone])
        fields = (await Exchange(wrapped(script(EVENT, start=start))).run()).headers
        assert fields[b"etag"] == b'W/"a"'
        assert not {name.lower() for name in fields}.intersection(name.lower() for name in gone)

    async def test_a_stream_may_be_the_second_type(self) -> None:
        start = head(200, (b"content-type", b"text/html"), EVENT_STREAM)
        assert (await Exchange(wrapped(script(16.0, EVENT, start=start))).run()).body == BEAT + EVENT

    @pytest.mark.parametrize("name", [b"content-type", b"Content-Type"])
    @pytest.mark.parametrize(
        "value", [b"text/event-stream", b"Text/Event-Stream; charset=utf-8", bytearray(b"text/event-stream")]
    )
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

    async def test_what_belongs_to_the_connection_goes(self) -> None:
        ours = [
            (b"connection", b"keep-alive, x-own"),
            (b"Keep-Alive", b"timeout=5"),
            (b"transfer-encoding", b"chunked"),
        ]
        start = head(200, EVENT_STREAM, *ours, (b"x-own", b"1"), (b"trailer", b"x-sum"), (b"x-kept", b"1"))
        seen = await Exchange(wrapped(script(EVENT, start=start))).run()
        assert {name.lower() for name in seen.headers} == {
            b"content-type", b"x-kept", b"cache-control", b"x-accel-buffering"
        }  # fmt: skip

    async def test_headers_of_any_kind_are_read_once(self) -> None:
        start = {**head(), "headers": (pair for pair in [[b"content-type", b"text/event-stream"]])}
        seen = await Exchange(wrapped(script(16.0, EVENT, start=start))).run()
        assert seen.body == BEAT + EVENT


class TestOtherMessages:
    @staticmethod
    def saying(*messages: Message) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head())
            await send(body(EVENT))
            for message in messages:
                await send(message)
            await send(body(more=False))

        return app

    @pytest.mark.parametrize("kind", ["http.response.push", "http.response.debug", "http.response.of.the.future"])
    async def test_what_is_said_beside_the_bytes_goes_on_in_its_place(self, kind: str) -> None:
        message = {"type": kind, "path": "/x", "headers": []}
        seen = await Exchange(wrapped(self.saying(message))).run()
        assert seen.messages[1:] == [body(EVENT), message, body(more=False)]

    @pytest.mark.parametrize("kind", ["pathsend", "zerocopysend"])
    async def test_a_file_is_refused_in_clear_words(self, kind: str) -> None:
        seen = Exchange(wrapped(self.saying({"type": f"http.response.{kind}", "path": "/x", "file": 3}))).start()
        with pytest.raises(RuntimeError, match=rf"http\.response\.{kind} cannot be used in an event stream"):
            await seen.finish()
        assert not seen.is_whole

    async def test_a_response_cannot_begin_twice(self) -> None:
        seen = Exchange(wrapped(self.saying(head(500, (b"content-type", b"text/plain")), body(b"oops")))).start()
        with pytest.raises(RuntimeError, match="begun already"):
            await seen.finish()
        assert [event.type for event in parse(seen.body).events] == ["message", "error"]
        assert not seen.is_whole

    async def test_it_cannot_begin_in_another_thread(self) -> None:
        """What `send` gives may be run in the loop, as by `run_coroutine_threadsafe`; but a stream is the loop's."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            sent = await asyncio.to_thread(send, head())
            await sent

        with pytest.raises(RuntimeError, match="not the event loop's"):
            await Exchange(wrapped(app)).run()

    async def test_nor_after_its_end(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await script(EVENT)(scope, receive, send)
            await send(head())

        seen = Exchange(wrapped(app)).start()
        with pytest.raises(RuntimeError, match="begun already"):
            await seen.finish()
        assert seen.body == EVENT

    async def test_trailers_go(self) -> None:
        trailers = {"type": "http.response.trailers", "headers": [(b"x", b"y")], "more_trailers": False}

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({**head(), "trailers": True})
            await send(body(EVENT, more=False))
            await send(trailers)

        seen = await Exchange(wrapped(app)).run()
        assert "trailers" not in seen.messages[0]
        assert seen.messages[1:] == [body(EVENT, more=False)]

    @pytest.mark.parametrize("what", [5, "data: 1\n\n", [1], {"a": 1}])
    @pytest.mark.parametrize("before", [0.0, 12.0])
    async def test_a_body_that_is_not_bytes_is_refused(self, what: Any, before: float) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await passing(before)
            await send(head() if not before else head(500, (b"content-type", b"text/plain")))
            await send(body(what))

        app = wrapped(app, before_response="10s")
        seen = Exchange(app, headers=[(b"accept", b"text/event-stream")]).start()
        with pytest.raises(TypeError, match=f"has to be bytes, not {type(what).__name__}"):
            await seen.finish()


class TestContentCodings:
    """Nothing can be said in a stream that the app compresses."""

    ACCEPT = (b"accept", b"application/json, text/event-stream")
    CODINGS = (b"accept-encoding", b"gzip")

    @staticmethod
    async def compressing(scope: Scope, receive: Receive, send: Send) -> None:
        """As Django's GZipMiddleware."""
        coded = b"accept-encoding" in dict(scope["headers"])
        fields = [EVENT_STREAM, (b"content-encoding", b"gzip")] if coded else [EVENT_STREAM]
        await script(16.0, gzip.compress(EVENT) if coded else EVENT, before=12.0, start=head(200, *fields))(
            scope, receive, send
        )

    @pytest.mark.parametrize("accept", [ACCEPT, (b"accept", b"text/event-stream"), (b"accept", b"Text/Event-Stream")])
    async def test_an_app_is_asked_for_none_by_a_request_that_declares_a_stream(
        self, accept: tuple[bytes, bytes]
    ) -> None:
        seen = await Exchange(wrapped(self.compressing), headers=[self.CODINGS, accept]).run()
        assert seen.body == BEAT + EVENT

    @pytest.mark.parametrize("field", [ACCEPT, (b"content-type", b"application/json")])
    async def test_so_that_a_late_stream_can_be_joined_on(self, field: tuple[bytes, bytes]) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await self.compressing(scope, receive, send)

        seen = await Exchange(
            wrapped(app, before_response="10s"),
            method="POST",
            headers=[self.CODINGS, field, (b"content-length", b"16")],
            body=[b'{"stream": true}'],
        ).run()
        assert seen.body == BEAT * 2 + EVENT

    async def test_others_have_what_they_asked_for(self) -> None:
        seen = await Exchange(wrapped(self.compressing), headers=[self.CODINGS, (b"accept", b"*/*")]).run()
        assert gzip.decompress(seen.body) == EVENT

    async def test_the_servers_own_scope_is_as_it_was(self) -> None:
        exchange = Exchange(wrapped(self.compressing), headers=[self.CODINGS, self.ACCEPT])
        before = dict(exchange.scope)
        await exchange.run()
        assert exchange.scope == before


class TestTwoOfThem:
    @pytest.mark.parametrize("before", ["off", "10s"])
    async def test_the_inner_one_passes_by(self, before: str) -> None:
        inner = wrapped(script(NEVER, before=12.0), heartbeat="5s", before_response=before, idle_timeout="off")
        seen = Exchange(
            wrapped(inner, heartbeat="5s", before_response=before, idle_timeout="30s"),
            headers=[(b"accept", b"text/event-stream")],
        ).start()
        with pytest.raises(StreamAborted):
            await seen.finish()
        assert inner.open_streams == 0
        assert seen.body.count(HB) == (5 if before == "off" else 7)

    async def test_a_scope_that_comes_again_is_seen_to_again(self) -> None:
        """An outer app may try one app after the other with one scope."""
        first, second = wrapped(script(start=head(404, EVENT_STREAM))), wrapped(script(16.0, EVENT))

        async def cascade(scope: Scope, receive: Receive, send: Send) -> None:
            async def ignore(message: Message) -> None:
                """Of the first app nobody hears."""

            await first(scope, receive, ignore)
            await second(scope, receive, send)

        assert (await Exchange(cascade).run()).body == BEAT + EVENT

    async def test_the_inner_one_sees_to_what_the_outer_one_does_not_look_at(self) -> None:
        app = wrapped(wrapped(script(16.0, EVENT)), paths=["/other"])
        assert (await Exchange(app).run()).body == BEAT + EVENT


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

    async def test_a_client_that_is_slow_but_takes_something_is_not_cut_off(self) -> None:
        event = b"data: " + b"x" * 1_000_000 + b"\n\n"
        seen = Exchange(wrapped(script(event), write_timeout="5s"))
        take = seen.send

        async def send(message: Message) -> None:
            await take(message)
            await passing(len(message.get("body", b"")) / 10_000)

        seen.send = send  # type: ignore[method-assign]
        await seen.run()
        assert seen.body == event

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
