"""What does the proxy ask of the server in front, what does it tell it, and when does it close the upstream?

The test is the server, and stricter than any.
"""

import asyncio
from typing import Any

import pytest
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response

from sseproxy.asgi.types import Message, Receive, Scope, Send
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.engine.live import LiveStreams
from sseproxy.proxy.on_asgi import ResponseAborted
from tests.support.asgi_exchange import Exchange
from tests.support.asgi_proxy import HOST, AsgiStage, asgi_stage
from tests.support.raw_upstream import OK, Script, Visit, replies, replies_once
from tests.support.settled import eventually, settled

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"
LAST = b"0\r\n\r\n"
CHUNKED = (b"transfer-encoding", b"chunked")
EXPECT = (b"expect", b"100-continue")


def length(size: int) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % size)


async def mute(visit: Visit) -> None:
    await visit.head()
    await visit.wait_closed()


def says(data: bytes) -> Script:
    """The head of a request, and then this, and nothing more."""

    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(data)
        await visit.wait_closed()

    return script


async def begun(on: AsgiStage, exchange: Exchange) -> Visit:
    """Start `exchange`, and wait until its upstream has its head."""
    exchange.start()
    visit = await on.upstream.visit()
    await visit.wait_received(b"\r\n\r\n")
    return visit


async def _pass(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


class TestTheRequest:
    async def test_target_and_fields_reach_the_upstream_as_they_are(self) -> None:
        fields = [(b"x-b", b"caf\xe9"), (b"x-a", b"1"), (b"x-b", b"2"), (b"connection", b"x-a, close")]
        async with asgi_stage(replies(OK)) as on:
            await on.exchange(b"/a%2Fb;c//?x=%20+", headers=fields).run()
        (request,) = on.upstream.requests
        assert request.target == b"/a%2Fb;c//?x=%20+"
        assert (request.all(b"X-B"), request.all(b"X-A")) == ([b"caf\xe9", b"2"], [])
        assert request.one(b"X-Forwarded-For") == b"192.0.2.7"
        assert request.all(b"Transfer-Encoding") == request.all(b"Content-Length") == []

    async def test_a_trusted_peer_is_believed(self) -> None:
        fields = [(b"x-forwarded-for", b"198.51.100.1"), (b"x-forwarded-proto", b"https")]
        async with asgi_stage(replies(OK), trusted=["192.0.2.0/24"]) as on:
            await on.exchange(headers=fields).run()
            await on.exchange(headers=fields, client=("203.0.113.1", 1)).run()
            await on.exchange(headers=fields, client=None, server=("/run/a.sock", None)).run()
            await on.exchange(headers=fields, client=None, scheme="https").run()
        seen = [request.all(b"X-Forwarded-For") for request in on.upstream.requests]
        assert seen == [[b"198.51.100.1, 192.0.2.7"], [b"203.0.113.1"], [b"198.51.100.1"], []]
        assert on.upstream.requests[-1].one(b"X-Forwarded-Proto") == b"https"

    async def test_an_upgrade_is_not_passed_on(self) -> None:
        fields = [(b"connection", b"upgrade"), (b"upgrade", b"websocket")]
        async with asgi_stage(replies(OK)) as on:
            assert (await on.exchange(headers=fields).run()).status == 200
        (request,) = on.upstream.requests
        assert request.all(b"Upgrade") == request.all(b"Connection") == []

    @pytest.mark.parametrize(
        "changes",
        [
            {"method": "FOO"},
            {"headers": [(b"host", b"b.test")]},
            {"headers": [CHUNKED, length(1)], "body": [b"x"]},
            {"headers": [CHUNKED], "http_version": "2"},
            {"headers": [(b"x", b"1\x00")]},
            {"http_version": "0.9"},
        ],
    )
    async def test_what_is_malformed_gets_an_answer_and_reaches_no_upstream(self, changes: dict[str, Any]) -> None:
        async with asgi_stage(replies(OK)) as on:
            exchange = await on.exchange(**changes).run()
            assert exchange.status in (400, 501)
            assert exchange.headers[b"content-type"] == b"application/problem+json"
            assert exchange.headers.get(b"connection") == (None if changes.get("http_version") == "2" else b"close")
        assert on.upstream.visits == []


class TestTheRequestBody:
    @pytest.mark.parametrize(
        ("fields", "pieces", "framing"),
        [
            ([length(6)], [b"abc", b"def"], b"Content-Length: 6"),
            ([length(0)], [b""], b"Content-Length: 0"),
            ([CHUNKED], [b"abc", b"", b"def"], b"Transfer-Encoding: chunked"),
            ([CHUNKED], [b""], b"Transfer-Encoding: chunked"),
        ],
    )
    async def test_it_goes_on_as_it_is_framed(
        self, fields: list[tuple[bytes, bytes]], pieces: list[bytes], framing: bytes
    ) -> None:
        async with asgi_stage(replies(OK)) as on:
            assert (await on.exchange(method="POST", headers=fields, body=pieces).run()).status == 200
        (request,) = on.upstream.requests
        assert request.body == b"".join(pieces)
        assert framing in request.head

    @pytest.mark.parametrize("version", ["1.1", "2"])
    async def test_one_that_no_field_speaks_of_goes_on_in_chunks(self, version: str) -> None:
        """Over HTTP/2, or behind a middleware that has decoded it."""
        async with asgi_stage(replies(OK)) as on:
            exchange = on.exchange(method="POST", body=[b"abc", b"def"], http_version=version)
            assert (await exchange.run()).status == 200
        (request,) = on.upstream.requests
        assert (request.body, request.one(b"Transfer-Encoding")) == (b"abcdef", b"chunked")

    async def test_over_http_2_none_stays_none(self) -> None:
        async with asgi_stage(replies(OK)) as on:
            assert (await on.exchange(method="POST", http_version="2").run()).status == 200
        (request,) = on.upstream.requests
        assert request.all(b"Transfer-Encoding") == request.all(b"Content-Length") == []

    @pytest.mark.parametrize("pieces", [[b"abcd"], [b"ab", b"cd", b"ef"], [b"ab"], [b""]])
    async def test_one_of_another_length_breaks_off(self, pieces: list[bytes]) -> None:
        """The upstream must not take a part of it for the next request."""
        async with asgi_stage(replies(OK)) as on:
            exchange = await on.exchange(method="POST", headers=[length(3)], body=pieces).run()
            assert exchange.status == 400
        assert on.upstream.requests == []
        assert len(b"".join(bytes(visit.received).partition(b"\r\n\r\n")[2] for visit in on.upstream.visits)) <= 3

    async def test_one_that_is_too_long_breaks_off_before_its_end(self) -> None:
        async with asgi_stage(mute) as on:
            exchange = on.exchange(method="POST", headers=[length(3)], body=[]).start()
            exchange.say(b"ab")
            visit = await on.upstream.visit()
            await visit.wait_received(b"ab")
            exchange.say(b"cd")
            assert (await exchange.finish()).status == 400
            await visit.wait_closed()
            assert bytes(visit.received).partition(b"\r\n\r\n")[2] == b"ab"

    async def test_it_is_received_no_faster_than_it_is_taken(self) -> None:
        """Also if the client, and the server in front, could give all of it at once."""
        piece, many = bytes(100_000), 400

        async def slow(visit: Visit) -> None:
            await visit.head()
            await may_read.wait()
            await visit.reader.readexactly(len(piece) * many)
            await visit.send(OK)

        may_read = asyncio.Event()
        async with asgi_stage(slow) as on:
            exchange = on.exchange(method="POST", headers=[length(len(piece) * many)], body=[piece] * many).start()
            assert await settled(lambda: exchange.receives) < many / 2
            may_read.set()
            assert (await exchange.finish()).status == 200

    async def test_a_client_that_expects_100_is_asked_when_the_upstream_takes_its_body(self) -> None:
        async with asgi_stage(replies(OK)) as on:
            exchange = await on.exchange(method="POST", headers=[length(3), EXPECT], body=[b"abc"]).run()
            assert exchange.status == 200
            assert exchange.receives > 0
        assert on.upstream.requests[0].body == b"abc"

    async def test_a_client_that_expects_100_is_not_asked_for_what_is_refused(self) -> None:
        async with asgi_stage(replies(OK), limits=LimitPolicy(request_body=2)) as on:
            exchange = on.exchange(method="POST", headers=[length(3), EXPECT])
            exchange.freeze()
            exchange.start()
            assert await settled(lambda: exchange.receives) == 0
            exchange.thaw()
            assert (await exchange.finish()).status == 413
            assert exchange.headers[b"connection"] == b"close"

    async def test_a_middleware_that_replays_it_without_end_does_not_stop_the_loop(self) -> None:
        async with asgi_stage(replies(OK)) as on:
            calls: list[int] = []

            async def replaying(scope: Scope, receive: Receive, send: Send) -> None:
                async def again() -> Message:
                    calls.append(1)
                    assert len(calls) < 1000
                    return {"type": "http.request", "body": b"abc", "more_body": False}

                await on.door(scope, again, send)

            exchange = on.exchange(front=replaying, method="POST", headers=[length(3)], body=[b"abc"])
            assert (await exchange.run()).status == 200
        assert on.upstream.requests[0].body == b"abc"


class TestTheResponse:
    async def test_head_and_body_are_the_upstreams(self) -> None:
        head = b"HTTP/1.1 203 Odd\r\nSet-Cookie: a\r\nX-Obs: caf\xe9\r\nSet-Cookie: b\r\nContent-Length: 5\r\n\r\n"
        async with asgi_stage(replies(head + b"hello")) as on:
            exchange = await on.exchange().run()
        assert exchange.status == 203
        assert exchange.messages[0]["headers"] == [
            (b"set-cookie", b"a"),
            (b"x-obs", b"caf\xe9"),
            (b"set-cookie", b"b"),
            (b"content-length", b"5"),
        ]
        assert exchange.body == b"hello"

    async def test_events_come_one_by_one(self) -> None:
        go_on = asyncio.Event()

        async def script(visit: Visit) -> None:
            await visit.request()
            await visit.send(STREAM)
            for step in (EVENT, EVENT, LAST):
                await go_on.wait()
                go_on.clear()
                await visit.send(step)

        async with asgi_stage(script) as on:
            exchange = on.exchange().start()
            await eventually(lambda: len(exchange.messages) == 2)
            assert exchange.pieces == [b""], "an empty piece brings the head to the client"
            go_on.set()
            await eventually(lambda: exchange.body == b"data: 1\n\n")
            go_on.set()
            await eventually(lambda: exchange.body == b"data: 1\n\n" * 2)
            assert not exchange.is_whole
            go_on.set()
            assert (await exchange.finish()).is_whole

    @pytest.mark.parametrize(
        ("method", "response", "fields"),
        [
            ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", {b"content-length": b"7"}),
            ("HEAD", STREAM, None),
            ("GET", b"HTTP/1.1 204 No\r\nX: 1\r\n\r\n", {b"x": b"1"}),
            ("GET", b"HTTP/1.1 304 No\r\nContent-Length: 7\r\nX: 1\r\n\r\n", {b"x": b"1"}),
        ],
    )
    async def test_no_body_is_an_empty_one(
        self, method: str, response: bytes, fields: dict[bytes, bytes] | None
    ) -> None:
        async with asgi_stage(replies(response)) as on:
            exchange = await on.exchange(method=method).run()
            assert exchange.is_whole
            assert exchange.body == b""
            assert fields is None or exchange.headers == fields

    async def test_a_broken_end_is_one(self) -> None:
        """What arrived whole and the error event come before it."""
        async with asgi_stage(replies_once(STREAM + EVENT)) as on:
            exchange = on.exchange().start()
            with pytest.raises(ResponseAborted):
                await exchange.finish()
            assert exchange.body.startswith(b"data: 1\n\nevent: error\n")
            assert not exchange.is_whole

    async def test_a_broken_end_waits_until_the_client_has_read_what_came_before_it(self) -> None:
        async with asgi_stage(replies_once(STREAM + EVENT), streams=LiveStreams(linger=1e6)) as on:
            exchange = on.exchange().start()
            await eventually(lambda: b"event: error" in exchange.body)
            exchange.leave()
            await exchange.finish()

    async def test_a_length_that_is_not_reached_is_a_broken_end(self) -> None:
        async with asgi_stage(replies_once(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")) as on:
            exchange = on.exchange().start()
            with pytest.raises(ResponseAborted):
                await exchange.finish()
            assert exchange.body == b"hello"
            assert not exchange.is_whole

    async def test_the_process_ends(self) -> None:
        async with asgi_stage(says(STREAM + EVENT)) as on:
            stream, silent = on.exchange().start(), None
            await eventually(lambda: b"data: 1" in stream.body)
            on.app.abort()
            with pytest.raises(ResponseAborted):
                await stream.finish()
        async with asgi_stage(mute) as on:
            await begun(on, silent := on.exchange())
            on.app.leave()
            on.app.abort()
            assert (await silent.finish()).status == 503
            assert silent.headers[b"connection"] == b"close"

    async def test_a_drain_says_that_connections_end(self) -> None:
        async with asgi_stage(replies(OK)) as on:
            assert b"connection" not in (await on.exchange().run()).headers
            on.app.leave()
            assert (await on.exchange().run()).headers[b"connection"] == b"close"
            assert b"connection" not in (await on.exchange(http_version="2").run()).headers
            on.app.drain(timeout=9.0, spread=0.0)
            assert (await on.exchange().run()).headers[b"connection"] == b"close"

    async def test_a_stream_never_says_that_its_connection_ends(self) -> None:
        """Node's fetch would take each end of it for a clean one."""
        async with asgi_stage(replies(STREAM + EVENT + LAST)) as on:
            on.app.leave()
            assert b"connection" not in (await on.exchange().run()).headers


class TestAClientThatLeaves:
    @pytest.mark.parametrize("version", ["1.0", "1.1", "2"])
    async def test_before_the_response(self, version: str) -> None:
        async with asgi_stage(mute) as on:
            exchange = on.exchange(http_version=version)
            visit = await begun(on, exchange)
            exchange.leave()
            await visit.wait_closed()
            assert (await exchange.finish()).status == 499, "for middlewares, which want a response from each app"

    async def test_while_the_stream_is_silent(self) -> None:
        async with asgi_stage(says(STREAM + EVENT)) as on:
            exchange = on.exchange()
            visit = await begun(on, exchange)
            await eventually(lambda: b"data: 1" in exchange.body)
            exchange.leave()
            await visit.wait_closed()
            assert not (await exchange.finish()).is_whole

    async def test_in_the_request_body(self) -> None:
        async with asgi_stage(mute) as on:
            exchange = on.exchange(method="POST", headers=[length(9)], body=[])
            exchange.start()
            exchange.say(b"abc")
            visit = await on.upstream.visit()
            await visit.wait_received(b"abc")
            exchange.leave()
            await visit.wait_closed()
            await exchange.finish()

    async def test_while_it_takes_nothing(self) -> None:
        async with asgi_stage(says(STREAM + EVENT)) as on:
            exchange = on.exchange()
            exchange.freeze()
            visit = await begun(on, exchange)
            await eventually(lambda: bool(exchange.messages))
            exchange.leave()
            await visit.wait_closed()
            await exchange.finish()

    async def test_before_its_request_is_read(self) -> None:
        async with asgi_stage(mute) as on:
            exchange = on.exchange(body=[])
            exchange.leave()
            await exchange.run()
        assert on.upstream.visits == []

    @pytest.mark.parametrize("error", [OSError, ConnectionResetError])
    async def test_and_a_server_whose_send_says_so(self, error: type[OSError]) -> None:
        async with asgi_stage(says(STREAM + EVENT)) as on:
            exchange = on.exchange()
            exchange.refuse_to_send(error)
            visit = await begun(on, exchange)
            await visit.wait_closed()
            await exchange.finish()

    async def test_once_it_has_all_it_is_no_matter(self) -> None:
        """Servers say ``http.disconnect`` behind each response."""
        async with asgi_stage(replies(OK)) as on:
            for _ in range(3):
                assert (await on.exchange().run()).is_whole
        assert len(on.upstream.visits) == 1, "the upstream's connection was kept"


class TestAServerThatFails:
    async def test_in_send(self) -> None:
        async with asgi_stage(says(STREAM + EVENT)) as on:
            exchange = on.exchange()
            exchange.refuse_to_send(RuntimeError)
            visit = await begun(on, exchange)
            await visit.wait_closed()
            with pytest.raises(RuntimeError, match="refused"):
                await exchange.finish()

    async def test_in_receive(self) -> None:
        async with asgi_stage(mute) as on:

            async def failing(scope: Scope, receive: Receive, send: Send) -> None:
                messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

                async def fails() -> Message:
                    for message in messages:
                        return message
                    await may_fail.wait()
                    raise RuntimeError("no more")

                await on.door(scope, fails, send)

            may_fail = asyncio.Event()
            exchange = on.exchange(front=failing)
            visit = await begun(on, exchange)
            may_fail.set()
            await visit.wait_closed()
            with pytest.raises(RuntimeError, match="no more"):
                await exchange.finish()

    async def test_in_receive_and_a_middleware_that_completes_responses(self) -> None:
        async with asgi_stage(says(STREAM + EVENT)) as on:

            async def failing(scope: Scope, receive: Receive, send: Send) -> None:
                async def fails() -> Message:
                    if (message := await receive())["type"] == "http.disconnect":
                        raise RuntimeError("no more")
                    return message

                await BaseHTTPMiddleware(on.door, dispatch=_pass)(scope, fails, send)

            exchange = on.exchange(front=failing)
            visit = await begun(on, exchange)
            await eventually(lambda: len(exchange.messages) > 1)
            exchange.leave()
            await visit.wait_closed()
            with pytest.raises((RuntimeError, AssertionError, BaseExceptionGroup)):
                await exchange.finish()
            assert not exchange.is_whole

    async def test_in_receive_behind_the_end_it_is_no_matter(self) -> None:
        async with asgi_stage(replies(OK)) as on:

            async def failing(scope: Scope, receive: Receive, send: Send) -> None:
                async def fails() -> Message:
                    if (message := await receive())["type"] == "http.disconnect":
                        raise RuntimeError("no more")
                    return message

                await on.door(scope, fails, send)

            assert (await on.exchange(front=failing).run()).is_whole

    @pytest.mark.parametrize("script", [mute, says(STREAM + EVENT)], ids=["before the response", "in a stream"])
    async def test_to_wait_for_the_app(self, script: Script) -> None:
        """As hypercorn does when it shuts down, and a task group in front."""
        async with asgi_stage(script) as on:
            exchange = on.exchange()
            visit = await begun(on, exchange)
            assert exchange.task is not None
            exchange.task.cancel()
            await visit.wait_closed()
            with pytest.raises(asyncio.CancelledError):
                await exchange.finish()


class TestAClientThatIsSlow:
    async def test_holds_the_upstream_back(self) -> None:
        event, sent = b"8000\r\n" + b"data: " + b"x" * 32_760 + b"\n\n\r\n", 0

        async def flood(visit: Visit) -> None:
            nonlocal sent
            await visit.request()
            await visit.send(STREAM)
            for _ in range(1000):
                await visit.send(event)
                sent += 1
            await visit.send(LAST)

        async with asgi_stage(flood) as on:
            exchange = on.exchange()
            exchange.freeze()
            exchange.start()
            assert await settled(lambda: sent) < 900
            assert len(exchange.body) < 200_000
            exchange.thaw()
            assert len((await exchange.finish()).body) == 1000 * 32_768

    async def test_for_too_long_is_broken_off(self) -> None:
        timeouts = TimeoutPolicy(write=0.05)
        async with asgi_stage(says(STREAM + EVENT), timeouts=timeouts) as on:
            exchange = on.exchange()
            exchange.freeze()
            visit = await begun(on, exchange)
            await visit.wait_closed()
            exchange.thaw()
            with pytest.raises(ResponseAborted):
                await exchange.finish()
            assert not exchange.is_whole

    async def test_gets_no_heartbeats_meanwhile(self) -> None:
        async with asgi_stage(says(STREAM), heartbeat=HeartbeatPolicy(interval=0.005)) as on:
            exchange = on.exchange()
            exchange.start()
            await eventually(lambda: exchange.body.count(b"heartbeat") > 2)
            exchange.freeze()
            assert await settled(lambda: len(exchange.body)) > 0
            exchange.thaw()
            before = exchange.body.count(b"heartbeat")
            await eventually(lambda: exchange.body.count(b"heartbeat") > before)
            exchange.leave()
            await exchange.finish()


class TestOtherScopes:
    async def test_a_websocket_is_refused(self) -> None:
        async with asgi_stage(mute) as on:
            sent: list[Message] = []

            async def receive() -> Message:
                return {"type": "websocket.connect"}

            async def send(message: Message) -> None:
                sent.append(message)

            await on.door({"type": "websocket", "path": "/a", "headers": [HOST]}, receive, send)
            assert sent == [{"type": "websocket.close"}]
        assert on.upstream.visits == []

    async def test_what_is_not_known_is_an_error(self) -> None:
        async with asgi_stage(mute) as on:
            with pytest.raises(ValueError, match="lifespan"):
                await on.door({"type": "lifespan"}, _never, _never)


async def _never(*_: object) -> Any:
    raise AssertionError
