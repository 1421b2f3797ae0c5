"""Which requests are answered before the app, how, and what does the late answer become? (docs/middleware.md)"""

import asyncio
import json
from typing import Any

import pytest

from sseproxy.asgi import SSEKeepaliveMiddleware, StreamAborted
from sseproxy.asgi.types import ASGIApp, Message, Receive, Scope, Send
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.live import LiveStreams
from tests.support.asgi_exchange import HB, Exchange, Noted, body, for_ever, head, on_time, script
from tests.support.virtual_clock import now, passing
from tests.support.whatwg import parse

BEAT = HB + b"\n"
EVENT = b"data: 1\n\n"
ACCEPT = (b"accept", b"text/event-stream")
JSON = (b"content-type", b"application/json")
MCP = [(b"accept", b"application/json, text/event-stream"), JSON]
CALL = b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {}}'
NEVER = 1e9


def wrapped(app: ASGIApp, **options: Any) -> SSEKeepaliveMiddleware:
    return SSEKeepaliveMiddleware(app, **{"before_response": "10s", "streams": on_time(), **options})


def thinks(seconds: float, *steps: bytes, start: Message | None = None, reads: bool = True) -> ASGIApp:
    """An app that reads its request, thinks, and answers."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while reads and (await receive()).get("more_body", False):
            pass
        await script(*steps, before=seconds, start=start)(scope, receive, send)

    return app


def post(app: ASGIApp, text: bytes, *headers: tuple[bytes, bytes], path: str = "/") -> Exchange:
    return Exchange(app, method="POST", path=path, headers=headers, body=[text])


def events_of(seen: Exchange) -> list[tuple[str, Any]]:
    return [(event.type, json.loads(event.data)) for event in parse(seen.body).events]


class TestWhoDeclares:
    @pytest.mark.parametrize(
        ("accept", "declares"),
        [
            (b"text/event-stream", True),
            (b"text/event-stream, */*", True),
            (b"text/event-stream, application/json;q=0.9", True),
            (b"text/event-stream, application/json", False),
            (b"text/event-stream;q=0.5, application/json", False),
            (b"text/event-stream;q=0", False),
        ],
    )
    async def test_by_the_weights_of_accept(self, accept: bytes, declares: bool) -> None:
        seen = await Exchange(wrapped(thinks(12, EVENT)), headers=[(b"accept", accept)]).run()
        assert seen.body == (BEAT if declares else b"") + EVENT

    @pytest.mark.parametrize("path", ["/v1/models/m:streamGenerateContent", "/v1/models/m:generateContent"])
    @pytest.mark.parametrize("dialect", ["auto", "gemini"])
    async def test_by_the_query_of_gemini(self, path: str, dialect: str) -> None:
        """With the body unread: the target alone says so."""
        seen = post(wrapped(thinks(12, EVENT, reads=False), dialect=dialect), b"{}", JSON, path=path)
        seen.scope["query_string"] = b"key=k&alt=sse"
        await seen.run()
        is_gemini = dialect == "gemini" or path.endswith(":streamGenerateContent")
        assert seen.body == (b"\n" if is_gemini else b"") + EVENT

    @pytest.mark.parametrize(
        ("text", "declares"),
        [
            (CALL, True),
            (b'{"jsonrpc": "2.0", "id": 1, "method": "initialize"}', False),
            (b'{"jsonrpc": "2.0", "method": "notifications/initialized"}', False),
        ],
    )
    @pytest.mark.parametrize("fields", [[], [(b"mcp-protocol-version", b"2025-06-18")]])
    async def test_of_mcp_every_request_but_the_first(
        self, text: bytes, declares: bool, fields: list[tuple[bytes, bytes]]
    ) -> None:
        seen = await post(wrapped(thinks(12, EVENT)), text, *MCP, *fields).run()
        assert seen.body == (HB if declares else b"") + EVENT

    async def test_a_body_of_another_kind_is_no_reason_to_wait_or_to_refuse_codings(self) -> None:
        codings: list[list[bytes]] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            codings.append([value for name, value in scope["headers"] if name == b"accept-encoding"])
            await thinks(12, EVENT)(scope, receive, send)

        fields = [(b"content-type", b"multipart/form-data; boundary=x"), (b"accept-encoding", b"gzip")]
        assert (await post(wrapped(app), b"--x", *fields).run()).body == EVENT
        assert codings == [[b"gzip"]]


class TestTheWaitBeginsBehindTheBody:
    @pytest.mark.parametrize("text", [[b'{"stream":', b" true", b"}"], [b"[", b"1", b"]"], [b"no", b" JSON", b"!"]])
    @pytest.mark.parametrize("kind", [JSON, (b"content-type", b"multipart/form-data; boundary=x")])
    async def test_that_an_app_reads_slowly(self, text: list[bytes], kind: tuple[bytes, bytes]) -> None:
        """The app is at work on the upload, whatever the head says, and whatever is known of the body already."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            for _ in text:
                await receive()
                await passing(24)
            await script(EVENT)(scope, receive, send)

        seen = Exchange(wrapped(app), method="POST", headers=[ACCEPT, kind], body=text).start()
        asked_at = now()
        await seen.finish()
        assert round(seen.sent[0][0] - asked_at, 3) == 2 * 24 + 10
        assert seen.body == BEAT + EVENT

    async def test_that_a_client_sends_slowly(self) -> None:
        seen = Exchange(wrapped(thinks(12, EVENT)), method="POST", headers=[ACCEPT, JSON], body=[]).start()
        asked_at = now()
        for piece in (b"{", b"}"):
            await passing(30)
            seen.say(piece)
        await passing(30)
        assert seen.sent == []
        seen.end_body()
        await seen.finish()
        assert round(seen.sent[0][0] - asked_at, 3) == 100
        assert seen.body == BEAT + EVENT

    async def test_but_of_an_app_that_never_reads_it_the_head_is_enough(self) -> None:
        seen = await post(wrapped(thinks(12, EVENT, reads=False)), b"{}", ACCEPT, JSON).run()
        assert seen.body == BEAT + EVENT


class TestJson:
    """Requests that declare no stream, with the option `json`."""

    @pytest.mark.parametrize("headers", [[], [(b"content-length", b"0")], [JSON, (b"content-length", b"0")]])
    @pytest.mark.parametrize("reads", [True, False])
    async def test_one_without_a_body_is_answered_early(self, headers: list[Any], reads: bool) -> None:
        app = wrapped(thinks(20, b"{}", start=head(200, JSON), reads=reads), json="10s")
        seen = await Exchange(app, method="DELETE", headers=headers).run()
        assert seen.body == b" {}"

    async def test_an_upload_that_the_app_reads_late_is_whole(self) -> None:
        """What is kept for an app whose client is answered early is less."""
        read = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await passing(25)
            more = True
            while more:
                message = await receive()
                read.append(len(message["body"]))
                more = message["more_body"]
            await script(b"{}", before=25, start=head(200, JSON))(scope, receive, send)

        pieces = [b"x" * 2**16] * 32
        kind, length = (b"content-type", b"image/png"), (b"content-length", b"%d" % 2**21)
        asked_at = now()
        seen = await Exchange(wrapped(app, json="10s"), method="POST", headers=[kind, length], body=pieces).run()
        assert sum(read) == 2**21
        assert round(seen.sent[0][0] - asked_at) == 25 + 10
        assert seen.body == b"  {}"


class TestWhatTheLateAnswerBecomes:
    async def test_json_becomes_an_event(self) -> None:
        app = wrapped(thinks(12, b'{"a":\n', b'"b"}', start=head(200, JSON)))
        seen = await post(app, b'{"stream": true}', JSON).run()
        assert events_of(seen) == [("message", {"a": "b"})]
        assert b"event:" not in seen.body
        assert seen.is_whole

    async def test_json_without_a_body_is_an_error_that_is_not_the_servers_to_find(self) -> None:
        """The app has ended its response: a server would say that it has not."""
        seen = post(wrapped(thinks(12, start=head(200, JSON))), b'{"stream": true}', JSON).start()
        with pytest.raises(StreamAborted) as raised:
            await seen.finish()
        assert raised.value.reason is CloseReason.UPSTREAM_ERROR
        assert [kind for kind, _ in events_of(seen)] == ["error"]
        assert not seen.is_whole

    async def test_json_of_mcp_becomes_a_message(self) -> None:
        answer = {"jsonrpc": "2.0", "id": 7, "result": {}}
        seen = await post(wrapped(thinks(12, json.dumps(answer).encode(), start=head(200, JSON))), CALL, *MCP).run()
        assert events_of(seen) == [("message", answer)]
        assert b"event: message\n" in seen.body
        assert seen.is_whole

    async def test_an_error_of_mcp_carries_the_id_of_its_request(self) -> None:
        seen = post(wrapped(thinks(12, b"no", start=head(503, (b"retry-after", b"9")))), CALL, *MCP).start()
        with pytest.raises(StreamAborted):
            await seen.finish()
        ((kind, told),) = events_of(seen)
        assert b"event: message\n" in seen.body
        assert (kind, told["id"], told["error"]["code"]) == ("message", 7, -32000)
        assert told["error"]["data"] == {"status": 503, "retry_after": "9"}

    async def test_the_id_is_kept_for_errors_within_the_stream_too(self) -> None:
        """The middleware looks into the body of an MCP request also if nothing is ever answered early."""
        app = wrapped(thinks(0, EVENT, NEVER), before_response="off", idle_timeout="20s")  # type: ignore[arg-type]
        seen = post(app, CALL, *MCP).start()
        with pytest.raises(StreamAborted):
            await seen.finish()
        assert events_of(seen)[-1][1]["id"] == 7


class TestHeartbeats:
    async def test_of_streams_that_began_together_do_not_go_out_together(self) -> None:
        """Each up to a tenth of the interval early, by a lead of its own that stays the same."""
        leads = iter([0.0, 0.5, 1.0])
        app = wrapped(for_ever, heartbeat="10s", streams=LiveStreams(chance=lambda: next(leads), linger=0.0))
        streams = [Exchange(app).start() for _ in range(3)]
        await passing(31)
        for seen, every in zip(streams, (10.0, 9.5, 9.0), strict=True):
            beats = [when for when, message in seen.sent if message.get("body") == BEAT]
            assert [round(when - seen.sent[0][0], 3) for when in beats] == [every, 2 * every, 3 * every]
            seen.leave()
            await seen.finish()


class TestABrokenEnd:
    @staticmethod
    def app(listens: str) -> ASGIApp:
        """One that waits in `receive` beside its stream, as frameworks do; its wait begins before it, or in it."""

        async def listening(_: Scope, receive: Receive, send: Send) -> None:
            await receive()
            leaves = asyncio.ensure_future(receive())
            if listens == "before":
                await asyncio.sleep(0)
            await send(head())
            await send(body(EVENT))
            await leaves

        return for_ever if listens == "never" else listening

    @pytest.mark.parametrize("listens", ["never", "before", "within"])
    async def test_stays_open_for_a_moment(self, listens: str) -> None:
        app = Noted(self.app(listens))
        wrap = wrapped(app, idle_timeout="20s", streams=LiveStreams(chance=lambda: 0.0, linger=3.0))
        seen = Exchange(wrap).start()
        asked_at = now()
        with pytest.raises(StreamAborted):
            await seen.finish()
        assert round(now() - asked_at, 3) == 23
        assert app.at is not None
        assert round(app.at - asked_at, 3) == 20
        assert wrap.open_streams == 0

    @pytest.mark.parametrize("listens", ["never", "before", "within"])
    @pytest.mark.parametrize("after", [20.0, 25.0])
    async def test_or_until_the_client_leaves(self, listens: str, after: float) -> None:
        wrap = wrapped(self.app(listens), idle_timeout="20s", streams=LiveStreams(chance=lambda: 0.0, linger=1000.0))
        seen = Exchange(wrap).start()
        asked_at = now()
        await passing(after)
        await passing(0.001)
        seen.leave()
        with pytest.raises(StreamAborted):
            await seen.finish()
        assert now() - asked_at < after + 0.01
        assert not asyncio.all_tasks() - {asyncio.current_task()}

    async def test_or_until_the_client_leaves_while_the_app_tidies_up(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await for_ever(scope, receive, send)
            finally:
                await passing(10)

        wrap = wrapped(app, idle_timeout="20s", streams=LiveStreams(chance=lambda: 0.0, linger=1000.0))
        seen = Exchange(wrap).start()
        asked_at = now()
        await passing(25)
        seen.leave()
        with pytest.raises(StreamAborted):
            await seen.finish()
        assert round(now() - asked_at, 3) == 30

    async def test_a_cancellation_meanwhile_is_the_servers(self) -> None:
        wrap = wrapped(for_ever, idle_timeout="20s", streams=LiveStreams(chance=lambda: 0.0, linger=1000.0))
        seen = Exchange(wrap).start()
        await passing(25)
        assert seen.task is not None
        seen.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await seen.finish()
        assert wrap.open_streams == 0
        assert not asyncio.all_tasks() - {asyncio.current_task()}

    async def test_a_clean_one_does_not(self) -> None:
        wrap = wrapped(script(EVENT), streams=LiveStreams(linger=1000.0))
        asked_at = now()
        await Exchange(wrap).run()
        assert now() - asked_at < 0.01


class TestTheTerminalEvent:
    async def test_ends_a_stream_whose_app_does_not(self) -> None:
        """After five seconds, cleanly; the app may still tidy up, and is stopped at last."""
        noted = Noted(script(b"data: [DONE]\n\n", NEVER))
        seen = post(wrapped(noted), b"{}", JSON, path="/v1/chat/completions").start()
        asked_at = now()
        await seen.finish()
        assert seen.is_whole
        assert seen.body == b"data: [DONE]\n\n"
        assert round(seen.sent[-1][0] - asked_at, 3) == 5
        assert noted.end is asyncio.CancelledError
        assert round(now() - asked_at, 3) == 35

    async def test_lets_the_app_do_what_comes_behind(self) -> None:
        noted = Noted(script(b"data: [DONE]\n\n", 20.0, end=False))
        seen = await post(wrapped(noted), b"{}", JSON, path="/v1/chat/completions").run()
        assert seen.is_whole
        assert noted.end == "returned"
