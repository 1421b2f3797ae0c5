"""Is a client kept alive while the app is still thinking about its response? (docs/middleware.md)"""

import asyncio
import contextlib
import gc
import json
from collections import Counter
from typing import Any

import pytest

from sseproxy.asgi import SSEKeepaliveMiddleware, StreamAborted
from sseproxy.asgi.types import ASGIApp, Message, Receive, Scope, Send
from sseproxy.core.stream.transfer import CloseReason
from tests.support.asgi_exchange import EVENT_STREAM, HB, Exchange, Noted, Step, body, head, on_time, script
from tests.support.virtual_clock import now, passing
from tests.support.whatwg import parse

BEAT = HB + b"\n"
EVENT = b"data: 1\n\n"
ACCEPT = (b"accept", b"text/event-stream")
JSON = (b"content-type", b"application/json")
PLAIN = (b"content-type", b"text/plain")
NEVER = 1e9


def wrapped(app: Any, **options: Any) -> SSEKeepaliveMiddleware:
    return SSEKeepaliveMiddleware(app, **{"before_response": "10s", "streams": on_time(), **options})


def asked(app: ASGIApp, *headers: tuple[bytes, bytes], **options: Any) -> Exchange:
    return Exchange(app, headers=headers or [ACCEPT], **options)


def reads_first(*steps: Step, before: float, pause: float = 0.0, start: Message | None = None) -> ASGIApp:
    """As `script`, but it reads the request first, with a pause before each piece."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            await passing(pause)
            more = (await receive()).get("more_body", False)
        await script(*steps, before=before, start=start)(scope, receive, send)

    return app


def _of_requests() -> "Counter[str]":
    """How many objects there are of what belongs to one request."""
    names = (type(thing).__name__ for thing in gc.get_objects())
    return Counter(name for name in names if name in {"ResponseSwitch", "ReceiveChannel", "BodyPeek"})


def error_of(seen: Exchange) -> dict[str, Any]:
    """The one event that a client got, which is an error; the end is broken."""
    (event,) = parse(seen.body).events
    assert event.type == "error"
    assert seen.status == 200
    assert not seen.is_whole
    told = json.loads(event.data)
    assert isinstance(told, dict)
    return told


async def broken(seen: Exchange, reason: CloseReason = CloseReason.UPSTREAM_END) -> Exchange:
    """The exchange, once its stream has been broken off."""
    with pytest.raises(StreamAborted) as raised:
        await (seen if seen.task else seen.start()).finish()
    assert raised.value.reason is reason
    return seen


class TestWhoIsAnswered:
    async def test_a_fast_response_is_as_it_was(self) -> None:
        for start in (head(), head(404, PLAIN)):
            seen = await asked(wrapped(script(EVENT, before=9.9, start=start))).run()
            assert seen.status == start["status"]
            assert seen.body == EVENT

    @pytest.mark.parametrize("start", [head(), head(404, PLAIN)])
    async def test_nor_is_one_to_a_request_whose_body_says_so_at_once(self, start: Message) -> None:
        app = wrapped(reads_first(EVENT, 14.0, EVENT, before=9.0, start=start))
        seen = await asked(app, JSON, method="POST", body=[b'{"stream": true}']).run()
        assert seen.status == start["status"]
        assert seen.body == EVENT * 2

    async def test_a_response_that_begins_in_the_very_moment_goes_on(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head(404, PLAIN))
            getattr(send, "__self__").come_due()  # noqa: B009 - a bound method of the gate
            await send(body(b"no", more=False))

        seen = await asked(wrapped(app)).run()
        assert (seen.status, seen.body) == (404, b"no")

    async def test_nothing_is_left_to_the_garbage_collector_of_what_was_no_stream(self) -> None:
        app = wrapped(reads_first(b"no", before=1.0, start=head(404, PLAIN)))
        gc.collect()
        of_other_tests = _of_requests()
        gc.disable()
        try:
            await asked(app, JSON, method="POST", body=[b'{"stream": true}']).run()
            left = _of_requests()
        finally:
            gc.enable()
        assert not left - of_other_tests

    async def test_a_stream_asked_for_by_accept(self) -> None:
        seen = await asked(wrapped(script(EVENT, before=41.0))).run()
        times = [round(when - seen.sent[0][0] + 10, 3) for when, _ in seen.sent]
        assert times == [10, 10, 25, 40, 41, 41]
        assert seen.body == BEAT * 3 + EVENT
        assert dict(seen.messages[0]["headers"])[b"content-type"] == b"text/event-stream"
        assert seen.is_whole

    @pytest.mark.parametrize(
        "pieces",
        [
            [b'{"stream": true}'],
            [b'{"str', b'eam":', b" true}"],
            [b'{"image": "' + b"x" * 2**21 + b'", "stream": true}'],
            [b'{"image": "', *[b"x" * 2**16] * 32, b'", "stream": true}'],
        ],
        ids=["whole", "in pieces", "behind 2 MiB", "in pieces behind 2 MiB"],
    )
    async def test_a_stream_asked_for_in_a_json_body(self, pieces: list[bytes]) -> None:
        seen = await asked(wrapped(reads_first(EVENT, before=11.0)), JSON, method="POST", body=pieces).run()
        assert seen.body == BEAT + EVENT

    @pytest.mark.parametrize("read_at", [12.0, 40.0])
    async def test_a_body_that_is_read_late(self, read_at: float) -> None:
        """Until then the app has had no chance to answer."""
        app = wrapped(reads_first(EVENT, before=30.0, pause=read_at))
        seen = asked(app, JSON, method="POST", body=[b'{"stream": true}']).start()
        asked_at = now()
        await seen.finish()
        assert round(seen.sent[0][0] - asked_at, 3) == read_at + 10
        assert seen.body == BEAT * 2 + EVENT

    async def test_a_body_that_is_read_beside_the_work(self) -> None:
        async def read(receive: Receive) -> None:
            await passing(11)
            await receive()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(read(receive))
                await script(EVENT, before=40.0)(scope, receive, send)

        seen = await asked(wrapped(app), JSON, method="POST", body=[b'{"stream": true}']).run()
        assert seen.body == BEAT * 2 + EVENT

    async def test_a_request_that_cannot_be_answered_early_goes_on_as_it_would(self) -> None:
        failed: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
        seen = asked(wrapped(script(b"no", before=12.0, start=head(404, PLAIN))), ACCEPT)
        seen.scope["headers"].append((b"user-agent", "no bytes"))
        await seen.run()
        assert [type(context["exception"]) for context in failed] == [TypeError]
        assert (seen.status, seen.body) == (404, b"no")

    @pytest.mark.parametrize("order", [1, -1])
    async def test_of_several_fields_one_is_enough(self, order: int) -> None:
        fields = [ACCEPT, (b"accept", b"*/*"), (b"accept-encoding", b"gzip")][::order]
        seen = await asked(wrapped(script(EVENT, before=30.0)), *fields).run()
        assert seen.body == BEAT * 2 + EVENT

    async def test_a_body_that_says_so_only_after_the_time(self) -> None:
        app = wrapped(reads_first(EVENT, before=11.0, pause=6.0))
        seen = await asked(app, JSON, method="POST", body=[b'{"stream"', b": true}"]).run()
        assert seen.body == BEAT + EVENT
        assert round(seen.sent[-1][0] - seen.sent[0][0], 3) == 1

    @pytest.mark.parametrize("text", [b'{"stream": false}', b"[]", b"{", b'{"stream": 1}', b'{"a": {"stream": true}}'])
    async def test_a_body_that_does_not_say_so(self, text: bytes) -> None:
        seen = await asked(wrapped(reads_first(EVENT, before=60.0)), JSON, method="POST", body=[text]).run()
        assert seen.body == EVENT

    async def test_a_request_that_does_not_declare_a_stream(self) -> None:
        for field in ((b"content-type", b"image/png"), (b"content-type", b"Multipart/form-data; boundary=x")):
            app = wrapped(reads_first(EVENT, before=60.0))
            seen = await asked(app, field, method="POST", body=[b'{"stream": true}']).run()
            assert seen.body == EVENT
        for field in ((b"accept", b"*/*"), (b"accept", b"application/json")):
            seen = await asked(wrapped(script(EVENT, before=60.0)), field).run()
            assert seen.body == EVENT

    @pytest.mark.parametrize("codings", [(b"gzip",), (b"gzip", b"identity"), (b"identity", b"gzip")])
    async def test_a_body_with_a_coding_in_any_of_its_fields_does_not_say_so(self, codings: tuple[bytes, ...]) -> None:
        fields = [JSON, *((b"content-encoding", coding) for coding in codings)]
        app = wrapped(reads_first(EVENT, before=60.0))
        assert (await asked(app, *fields, method="POST", body=[b'{"stream": true}']).run()).body == EVENT

    @pytest.mark.parametrize(
        "fields",
        [
            [(b"content-type", b"Application/JSON")],
            [(b"content-type", b"application/x-www-form-urlencoded")],
            [PLAIN],
            [(b"content-length", b"16")],
        ],
    )
    async def test_a_body_may_be_json_whatever_it_is_called(self, fields: list[tuple[bytes, bytes]]) -> None:
        app = wrapped(reads_first(EVENT, before=11.0))
        assert (await asked(app, *fields, method="POST", body=[b'{"stream": true}']).run()).body == BEAT + EVENT

    @pytest.mark.parametrize("field", [(b"content-length", b"16"), (b"transfer-encoding", b"chunked")])
    async def test_a_body_of_a_get_counts_too(self, field: tuple[bytes, bytes]) -> None:
        app = wrapped(reads_first(EVENT, before=11.0))
        assert (await asked(app, JSON, field, body=[b'{"stream": true}']).run()).body == BEAT + EVENT

    async def test_nothing_is_made_for_a_request_that_cannot_declare_one(self) -> None:
        made: list[object] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            made.append(getattr(send, "__self__").may_answer_early)  # noqa: B009 - a bound method of the switch
            await script(EVENT)(scope, receive, send)

        for field in ((b"accept", b"*/*"), (b"content-length", b"3"), ACCEPT):
            fields = [field, (b"content-type", b"image/png")]
            await asked(wrapped(app), *fields).run()
        assert made == [False, False, True]

    async def test_off_by_default(self) -> None:
        app = SSEKeepaliveMiddleware(script(EVENT, before=60.0))
        assert (await asked(app).run()).body == EVENT

    async def test_a_head_request_is_none(self) -> None:
        seen = await asked(wrapped(script(before=60.0)), method="HEAD").run()
        assert [message["type"] for message in seen.messages] == ["http.response.start", "http.response.body"]


class TestALateStream:
    async def test_may_be_preceded_by_what_is_no_response(self) -> None:
        debug = {"type": "http.response.debug", "info": {}}

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await passing(12)
            await send(debug)
            await send({"type": "http.response.early_hint", "links": []})
            await script(EVENT)(scope, receive, send)

        seen = await asked(wrapped(app)).run()
        assert [message for message in seen.messages if message["type"] != "http.response.body"][1:] == [debug]
        assert seen.body == BEAT + EVENT

    async def test_cannot_begin_with_its_body(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await passing(12)
            await send(body(EVENT))

        seen = asked(wrapped(app)).start()
        with pytest.raises(RuntimeError, match="before its start"):
            await seen.finish()
        assert error_of(seen)["status"] == 500

    async def test_is_joined_on(self) -> None:
        app = script(b"id: 1\ndata: 1\n\n", 16.0, b"data: 2\n\n", before=12.0)
        seen = await asked(wrapped(app)).run()
        assert seen.body == BEAT + b"id: 1\ndata: 1\n\n" + HB + b"data: 2\n\n"
        assert [message["type"] for message in seen.messages].count("http.response.start") == 1

    async def test_loses_its_byte_order_mark(self) -> None:
        seen = await asked(wrapped(script(b"\xef\xbb\xbf" + EVENT, before=12.0))).run()
        assert seen.body == BEAT + EVENT

    @pytest.mark.parametrize("heartbeat", ["15s", "300s"])
    async def test_is_watched_for_silence_from_then_on(self, heartbeat: str) -> None:
        app = script(NEVER, before=30.0)
        wrap = wrapped(app, heartbeat=heartbeat, idle_timeout="20s", dialect="anthropic")
        seen = await broken(asked(wrap), CloseReason.IDLE_TIMEOUT)
        assert round(seen.sent[-1][0] - seen.sent[0][0], 3) == 40

    async def test_keeps_its_exception(self) -> None:
        seen = asked(wrapped(script(EVENT, RuntimeError("mine"), before=12.0))).start()
        with pytest.raises(RuntimeError, match="mine"):
            await seen.finish()
        assert seen.body.startswith(BEAT + EVENT)
        (_, error) = parse(seen.body).events
        assert (error.type, json.loads(error.data)["status"]) == ("error", 502)
        assert not seen.is_whole


class TestALateRefusal:
    async def test_becomes_an_error_event_with_what_it_said(self) -> None:
        start = head(429, PLAIN, (b"retry-after", b"7"))
        app = Noted(script(b"too ", b"many", before=12.0, start=start))
        told = error_of(await broken(asked(wrapped(app))))
        assert told["status"] == 429
        assert told["retry_after"] == "7"
        assert told["detail"] == "too many"
        assert app.end == "returned"

    async def test_in_the_words_of_the_dialect(self) -> None:
        start = head(503, JSON)
        seen = await broken(asked(wrapped(script(b"{}", before=12.0, start=start), dialect="openai-chat")))
        assert json.loads(parse(seen.body).events[-1].data)["error"]["code"] == 503

    async def test_keeps_at_most_64_kib_of_its_body_in_all(self) -> None:
        start = head(500, PLAIN)
        told = error_of(await broken(asked(wrapped(script(*[b"x" * 50_000] * 4, before=12.0, start=start)))))
        assert (len(told["detail"]), len(told["error"]["message"])) == (32768, 32768)

    async def test_without_a_body_that_could_be_read(self) -> None:
        start = head(500, PLAIN, (b"content-encoding", b"gzip"))
        told = error_of(await broken(asked(wrapped(script(b"\x1f\x8b", before=12.0, start=start)))))
        assert told["detail"] == "The application answered 500."

    @pytest.mark.parametrize(
        "start", [head(200, PLAIN), head(404, EVENT_STREAM), head(200, EVENT_STREAM, (b"content-encoding", b"br"))]
    )
    async def test_is_all_that_is_no_stream_to_join(self, start: Message) -> None:
        told = error_of(await broken(asked(wrapped(script(b"x", before=12.0, start=start)))))
        assert told["status"] == start["status"]

    async def test_that_the_app_does_not_end_is_told_when_it_returns(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await passing(12)
            await send(head(500, PLAIN))
            await send(body(b"half"))

        assert error_of(await broken(asked(wrapped(app))))["detail"] == "half"

    @pytest.mark.parametrize(
        ("options", "told_after"),
        [({"response_timeout": "30s"}, 20), ({"response_timeout": "60s"}, 32), ({"idle_timeout": "off"}, 32)],
    )
    async def test_that_never_ends_is_told_as_far_as_it_has_come(
        self, options: dict[str, str], told_after: float
    ) -> None:
        app = Noted(script(b"half", 10.0, b" a word", NEVER, before=12.0, start=head(500, PLAIN)))
        seen = await broken(asked(wrapped(app, **options)))
        told = error_of(seen)
        assert (told["status"], told["detail"]) == (500, "half a word")
        assert round(seen.sent[-1][0] - seen.sent[0][0], 3) == told_after
        assert app.end is asyncio.CancelledError

    async def test_that_is_too_long_is_told_at_once_and_its_app_stopped(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await passing(12)
            await send(head(500, JSON))
            while True:
                await send(body(b"x" * 50_000))
                await passing(1)

        noted = Noted(app)
        seen = await broken(asked(wrapped(noted)))
        assert len(error_of(seen)["detail"]) == 32768
        assert round(seen.sent[-1][0] - seen.sent[0][0], 3) == 3
        assert noted.end is asyncio.CancelledError

    @pytest.mark.parametrize("kind", ["pathsend", "zerocopysend"])
    async def test_that_is_a_file_is_told_without_it(self, kind: str) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await passing(12)
            await send(head(200, PLAIN))
            await send({"type": f"http.response.{kind}", "path": "/x", "file": 3})

        told = error_of(await broken(asked(wrapped(app))))
        assert told["detail"] == "The application answered 200 with text/plain."

    async def test_cannot_begin_again(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await passing(12)
            await send(head(500, PLAIN))
            await send(head(503, PLAIN))

        seen = asked(wrapped(app)).start()
        with pytest.raises(RuntimeError, match="begun already"):
            await seen.finish()
        assert error_of(seen)["status"] == 500

    async def test_heartbeats_go_on_until_it_is_whole(self) -> None:
        seen = await broken(asked(wrapped(script(b"a", 29.0, b"b", before=12.0, start=head(500, PLAIN)))))
        assert seen.body.count(HB) == 3
        assert error_of(seen)["detail"] == "ab"


class TestNoResponse:
    async def test_an_exception_becomes_an_error_event_and_passes_unchanged(self) -> None:
        error = RuntimeError("secret")

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await passing(12)
            raise error

        seen = asked(wrapped(app)).start()
        with pytest.raises(RuntimeError) as raised:
            await seen.finish()
        assert raised.value is error
        assert error_of(seen)["status"] == 500
        assert b"secret" not in seen.body

    async def test_an_app_that_returns_without_one_gets_an_error_event_too(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await passing(12)

        assert error_of(await broken(asked(wrapped(app))))["status"] == 500

    @pytest.mark.parametrize("error", [None, RuntimeError("mine")])
    async def test_in_time_is_left_to_the_server(self, error: RuntimeError | None) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await passing(5)
            if error is not None:
                raise error

        seen = asked(wrapped(app)).start()
        with pytest.raises(RuntimeError) if error else contextlib.nullcontext():
            await seen.finish()
        await passing(60)
        assert seen.messages == []

    async def test_is_waited_for_only_so_long(self) -> None:
        app = Noted(script(before=NEVER))
        seen = asked(wrapped(app, response_timeout="60s")).start()
        asked_at = now()
        await broken(seen, CloseReason.RESPONSE_TIMEOUT)
        assert error_of(seen)["status"] == 504
        assert round(now() - asked_at, 3) == 60
        assert app.end is asyncio.CancelledError

    async def test_a_client_that_leaves_meanwhile_stops_the_app(self) -> None:
        app = Noted(script(before=NEVER))
        seen = asked(wrapped(app)).start()
        await passing(20)
        seen.leave()
        await seen.finish()
        assert app.end is asyncio.CancelledError
        assert parse(seen.body).events == []

    async def test_a_drain_meanwhile_is_told(self) -> None:
        app = wrapped(script(before=NEVER))
        seen = asked(app).start()
        await passing(20)
        app.begin_drain(timeout="10s", spread="1s")
        await broken(seen, CloseReason.DRAIN)
        assert error_of(seen)["status"] == 503
