"""How does a stream of an app end, what does the client get then, and what becomes of the app? (docs/ends.md)"""

import asyncio
import json
from typing import Any

import pytest

from sseproxy.asgi import SSEKeepaliveMiddleware, StreamAborted
from sseproxy.asgi.types import Message, Receive, Scope, Send
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.live import LiveStreams
from tests.support.asgi_exchange import HB, Exchange, Noted, body, for_ever, head, on_time, script
from tests.support.virtual_clock import now, passing
from tests.support.whatwg import parse

BEAT = HB + b"\n"
EVENT = b"data: 1\n\n"
NEVER = 1e9
ACCEPT = (b"accept", b"text/event-stream")
EVENT_SOURCE = [ACCEPT, (b"cache-control", b"no-cache")]


def wrapped(app: Any, **options: Any) -> SSEKeepaliveMiddleware:
    return SSEKeepaliveMiddleware(app, **{"streams": on_time(), **options})


def remark(reason: str) -> bytes:
    return f": {reason}\n".encode()


def error_of(seen: Exchange) -> str:
    """The type of the error event that came last."""
    last = parse(seen.body).events[-1]
    assert last.type == "error"
    return str(json.loads(last.data)["type"])


async def aborted(seen: Exchange) -> CloseReason:
    """The reason, once the connection has been broken off."""
    with pytest.raises(StreamAborted) as raised:
        await seen.finish()
    assert not seen.is_whole
    return raised.value.reason


class TestTheClientLeaves:
    async def test_an_app_that_never_asks_is_cancelled(self) -> None:
        app = Noted(for_ever)
        seen = Exchange(wrapped(app)).start()
        await passing(5)
        seen.leave()
        left = now()
        await seen.finish()
        assert app.end is asyncio.CancelledError
        assert now() - left < 0.01

    async def test_an_app_that_has_read_its_request_and_asks_no_more_is_cancelled(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            assert not (await receive())["more_body"]
            await for_ever(scope, receive, send)

        noted = Noted(app)
        seen = Exchange(wrapped(noted)).start()
        await passing(5)
        seen.leave()
        left = now()
        await seen.finish()
        assert noted.end is asyncio.CancelledError
        assert now() - left < 0.01

    async def test_an_app_that_has_heard_of_it_ends_by_itself(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(head())
            assert await receive() == {"type": "http.disconnect"}
            await passing(0.2)

        noted = Noted(app)
        seen = Exchange(wrapped(noted)).start()
        await passing(5)
        seen.leave()
        await seen.finish()
        assert noted.end == "returned"

    @pytest.mark.parametrize(("works", "end"), [(29.0, "returned"), (NEVER, asyncio.CancelledError)])
    async def test_an_app_that_has_heard_of_it_has_its_time_to_tidy_up(self, works: float, end: Any) -> None:
        """Background tasks and dependencies of FastAPI: with no middleware in between they would run to their end."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(head())
            await receive()
            await passing(works)

        noted = Noted(app)
        seen = Exchange(wrapped(noted)).start()
        await passing(5)
        seen.leave()
        left = now()
        await seen.finish()
        assert noted.end == end
        assert round(now() - left, 3) == min(works, 30)

    async def test_an_app_that_has_heard_of_it_and_sends_on_is_cancelled(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(head())
            await receive()
            while True:
                await passing(0.1)
                await send(body(EVENT))

        noted = Noted(app)
        seen = Exchange(wrapped(noted)).start()
        await passing(5)
        seen.leave()
        left = now()
        await seen.finish()
        assert noted.end is asyncio.CancelledError
        assert 0.5 <= now() - left < 0.7

    async def test_an_app_that_begins_its_stream_for_a_client_that_has_left_is_cancelled(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            await send(head())
            await passing(NEVER)

        noted = Noted(app)
        seen = Exchange(wrapped(noted)).start()
        seen.leave()
        await seen.finish()
        assert noted.end is asyncio.CancelledError

    async def test_an_app_that_never_waits_anywhere_can_be_stopped(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head())
            while True:
                await send(body(EVENT))
                if len(seen.messages) == 100:
                    seen.leave()
                    await passing(0.001)

        noted = Noted(app)
        seen = Exchange(wrapped(noted)).start()
        await seen.finish()
        assert noted.end is asyncio.CancelledError

    async def test_an_app_that_goes_on_sending_gives_all_others_their_turn(self) -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head())
            try:
                await passing(NEVER)
            finally:
                other = asyncio.get_running_loop().create_task(others())
                for _ in range(20):
                    await send(body(EVENT))
                other.cancel()

        seen = Exchange(wrapped(app)).start()
        await passing(5)
        seen.leave()
        await seen.finish()
        assert turns >= 19

    async def test_a_server_that_raises_where_the_client_is_gone_is_heard_by_the_app(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head())
            seen.has_left = True
            await send(body(EVENT))

        seen = Exchange(wrapped(app), send_error=OSError("gone")).start()
        with pytest.raises(OSError, match="gone"):
            await seen.finish()

    async def test_behind_a_large_request_body_too(self) -> None:
        app = Noted(for_ever)
        seen = Exchange(wrapped(app), method="POST", body=[b"x" * 65536] * 40).start()
        await passing(5)
        seen.leave()
        left = now()
        await seen.finish()
        assert app.end is asyncio.CancelledError
        assert now() - left < 0.01

    async def test_a_server_that_says_so_to_a_heartbeat_only_is_believed(self) -> None:
        class Mute(Exchange):
            async def receive(self) -> Message:
                return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

        app = Noted(for_ever)
        wrap = wrapped(app)
        seen = Mute(wrap, send_error=OSError("gone")).start()
        await passing(5)
        seen.has_left = True
        await seen.finish()
        assert app.end is asyncio.CancelledError
        assert wrap.open_streams == 0

    async def test_nothing_is_sent_any_more(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head())
            try:
                await passing(NEVER)
            finally:
                await send(body(EVENT, more=False))

        seen = Exchange(wrapped(app)).start()
        await passing(1)
        seen.leave()
        await seen.finish()
        assert seen.body == b""

    async def test_work_after_the_last_message_is_left_alone(self) -> None:
        """Hazard: servers say that the client has left as soon as the response is complete."""
        done = False

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal done
            await send(head())
            await send(body(EVENT, more=False))
            await passing(60)
            done = True

        await Exchange(wrapped(app)).run()
        assert done


class TestTheAppEndsIt:
    async def test_what_it_raises_before_its_response_passes_unchanged(self) -> None:
        error = RuntimeError("mine")
        app = wrapped(script(before=1.0, start=None), heartbeat="10s")

        async def failing(scope: Scope, receive: Receive, send: Send) -> None:
            raise error

        app = wrapped(failing)
        seen = Exchange(app).start()
        with pytest.raises(RuntimeError) as raised:
            await seen.finish()
        assert raised.value is error
        assert seen.messages == []

    async def test_what_it_raises_in_its_stream_passes_unchanged_and_nothing_looks_complete(self) -> None:
        error = RuntimeError("mine")
        seen = Exchange(wrapped(script(EVENT, b"data: half", error))).start()
        with pytest.raises(RuntimeError) as raised:
            await seen.finish()
        assert raised.value is error
        assert raised.value.__cause__ is None
        assert seen.body.startswith(EVENT)
        assert error_of(seen) == "upstream_error"
        assert not seen.is_whole

    async def test_what_it_raises_after_its_end_passes_unchanged(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head())
            await send(body(EVENT, more=False))
            raise RuntimeError("late")

        seen = Exchange(wrapped(app)).start()
        with pytest.raises(RuntimeError, match="late"):
            await seen.finish()
        assert seen.is_whole

    async def test_if_it_returns_too_early_the_server_is_left_to_deal_with_it(self) -> None:
        seen = await Exchange(wrapped(script(EVENT, end=False))).run()
        assert seen.body.startswith(EVENT)
        assert error_of(seen) == "upstream_error"
        assert not seen.is_whole

    async def test_what_it_says_after_its_end_goes_nowhere(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head())
            await send(body(EVENT, more=False))
            await send(body(EVENT, more=False))

        assert (await Exchange(wrapped(app)).run()).body == EVENT

    async def test_a_cancellation_from_outside_passes_unchanged(self) -> None:
        app = Noted(for_ever)
        seen = Exchange(wrapped(app)).start()
        await passing(1)
        assert seen.task is not None
        seen.task.cancel("outside")
        with pytest.raises(asyncio.CancelledError):
            await seen.finish()
        assert seen.task.cancelled()
        assert app.end is asyncio.CancelledError

    async def test_a_cancellation_from_outside_is_not_lost_in_ours(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head())
            try:
                await passing(NEVER)
            finally:
                await passing(10)

        seen = Exchange(wrapped(app)).start()
        await passing(1)
        seen.leave()
        await passing(1)
        assert seen.task is not None
        seen.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await seen.finish()

    async def test_ours_leaves_no_trace_in_the_servers_task(self) -> None:
        left: list[int] = []

        async def server() -> None:
            task = asyncio.current_task()
            assert task is not None
            await seen.call()
            left.append(task.cancelling())

        seen = Exchange(wrapped(for_ever))
        seen.task = asyncio.get_running_loop().create_task(server())
        await passing(1)
        seen.leave()
        await seen.finish()
        assert left == [0]


class TestSomethingOutsideFails:
    @staticmethod
    def refusing(app: Any, after: int) -> Any:
        """An outer app whose `send` raises."""

        async def outer(scope: Scope, receive: Receive, send: Send) -> None:
            calls = 0

            async def refuse(message: Message) -> None:
                nonlocal calls
                calls += 1
                if calls > after:
                    raise RuntimeError("outer refuses")
                await send(message)

            await app(scope, receive, refuse)

        return outer

    async def test_at_a_heartbeat_the_app_is_stopped_and_the_error_comes_out(self) -> None:
        app = Noted(for_ever)
        seen = Exchange(self.refusing(wrapped(app, idle_timeout="off"), after=3)).start()
        with pytest.raises(RuntimeError, match="outer refuses"):
            await seen.finish()
        assert app.end is asyncio.CancelledError
        assert app.at is not None
        assert round(app.at - seen.sent[0][0], 3) == 30

    async def test_an_app_that_goes_on_hears_of_it(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head())
            try:
                await passing(NEVER)
            finally:
                await send(body(EVENT))

        seen = Exchange(self.refusing(wrapped(app), after=1)).start()
        with pytest.raises(RuntimeError, match="outer refuses"):
            await seen.finish()


class TestItGetsTooOld:
    @pytest.mark.parametrize(("write_timeout", "after"), [("5s", 5), ("off", 30)])
    async def test_an_end_that_does_not_go_out_does_not_look_like_one(self, write_timeout: str, after: float) -> None:
        """A client that reads nothing when its stream ends, and nothing waits for it that could time out."""
        seen = Exchange(wrapped(for_ever, max_duration="10s", heartbeat="60s", write_timeout=write_timeout)).start()
        await passing(1)
        seen.freeze()
        with pytest.raises(StreamAborted) as raised:
            await seen.finish()
        assert raised.value.reason is CloseReason.MAX_DURATION
        assert round(now() - seen.sent[0][0] - 10, 3) == after

    @pytest.mark.parametrize("returns", [True, False])
    async def test_it_ends_at_the_next_event_boundary(self, returns: bool) -> None:
        """Cleanly for a client that comes back by itself; others are told of it, and the end is broken."""
        app = Noted(script(EVENT, 8.0, b"data: a\n", 4.0, b"data: b\n\n", EVENT, NEVER))
        seen = Exchange(wrapped(app, max_duration="10s"), headers=EVENT_SOURCE if returns else [ACCEPT]).start()
        if returns:
            await seen.finish()
            assert seen.is_whole
            assert parse(seen.body).retries == [1000]
        else:
            assert await aborted(seen) is CloseReason.MAX_DURATION
            assert error_of(seen) == "max_duration"
        assert parse(seen.body).events[:2] == parse(EVENT + b"data: a\ndata: b\n\n").events
        assert len(parse(seen.body).events) == (2 if returns else 3)
        assert app.end is asyncio.CancelledError

    async def test_a_silent_one_ends_at_once(self) -> None:
        seen = await Exchange(wrapped(for_ever, max_duration="10s"), headers=EVENT_SOURCE).run()
        assert round(seen.sent[-1][0] - seen.sent[0][0], 3) == 10
        assert seen.is_whole

    async def test_the_error_event_is_the_dialects(self) -> None:
        seen = Exchange(wrapped(for_ever, max_duration="10s", dialect="openai-chat")).start()
        assert await aborted(seen) is CloseReason.MAX_DURATION
        assert b'"max_duration"' in parse(seen.body).events[-1].data.encode()


class TestTheAppIsSilentForTooLong:
    async def test_it_is_cancelled_and_the_connection_broken_off(self) -> None:
        app = Noted(for_ever)
        seen = Exchange(wrapped(app, idle_timeout="1m")).start()
        assert await aborted(seen) is CloseReason.IDLE_TIMEOUT
        assert app.end is asyncio.CancelledError
        assert seen.body.startswith(EVENT + BEAT * 3 + b"event: error\n")
        assert error_of(seen) == "idle_timeout"

    async def test_the_error_event_is_the_dialects(self) -> None:
        seen = Exchange(wrapped(for_ever, idle_timeout="20s", dialect="anthropic")).start()
        assert await aborted(seen) is CloseReason.IDLE_TIMEOUT
        assert error_of(seen) == "error"

    async def test_by_default_that_is_an_answer_only(self) -> None:
        """A feed may be silent for days; an answer that says nothing for 15 minutes never will."""
        feed, answer = (Exchange(wrapped(for_ever), method=method).start() for method in ("GET", "POST"))
        asked_at = now()
        assert await aborted(answer) is CloseReason.IDLE_TIMEOUT
        assert round(now() - asked_at, 3) == 900
        await passing(10_000)
        assert len(feed.sent) > 600
        feed.leave()
        await feed.finish()

    async def test_off_a_boundary_it_is_broken_off_all_the_same(self) -> None:
        app = wrapped(script(b"data: 1\n", NEVER), idle_timeout="20s", dialect="anthropic")
        seen = Exchange(app).start()
        assert await aborted(seen) is CloseReason.IDLE_TIMEOUT
        assert parse(seen.body).events == []

    async def test_an_app_that_returns_when_it_is_cancelled_does_not_hide_it(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head())
            try:
                await passing(NEVER)
            except asyncio.CancelledError:
                await send(body(more=False))

        seen = Exchange(wrapped(app, idle_timeout="20s")).start()
        assert await aborted(seen) is CloseReason.IDLE_TIMEOUT

    async def test_an_app_that_raises_when_it_is_cancelled_is_heard(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head())
            try:
                await passing(NEVER)
            finally:
                raise RuntimeError("mine")

        with pytest.raises(RuntimeError, match="mine"):
            await Exchange(wrapped(app, idle_timeout="20s")).start().finish()

    async def test_a_slow_client_is_not_held_against_the_app(self) -> None:
        app = script(EVENT, 1.0, EVENT, 1.0, EVENT)
        seen = Exchange(wrapped(app, idle_timeout="20s", write_timeout="off")).start()
        await passing(0.5)
        seen.freeze()
        await passing(60)
        seen.thaw()
        await seen.finish()
        assert seen.body == EVENT * 3
        assert seen.is_whole


class TestAnAppThatListens:
    """It waits in `receive` for the client to leave, beside its work: it hears that there is no client any more."""

    @staticmethod
    def listening(then: float, *pieces: bytes) -> Noted:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            leaves = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            await send(head())
            for piece in pieces:
                await send(body(piece))
            assert await leaves == {"type": "http.disconnect"}
            await passing(then)

        return Noted(app)

    @pytest.mark.parametrize(("then", "end"), [(29.0, "returned"), (NEVER, asyncio.CancelledError)])
    @pytest.mark.parametrize("piece", [EVENT, b"data: half\n"])
    async def test_when_it_has_been_silent_for_too_long(self, piece: bytes, then: float, end: Any) -> None:
        app = self.listening(then, piece)
        seen = Exchange(wrapped(app, idle_timeout="20s")).start()
        assert await aborted(seen) is CloseReason.IDLE_TIMEOUT
        assert app.end == end
        assert app.at is not None
        assert round(app.at - seen.sent[0][0], 3) == 20 + min(then, 30)

    async def test_when_it_has_come_to_its_time(self) -> None:
        app = self.listening(0.0, EVENT)
        seen = await Exchange(wrapped(app, max_duration="20s"), headers=EVENT_SOURCE).run()
        assert seen.is_whole
        assert app.end == "returned"

    async def test_when_the_client_takes_nothing_any_more(self) -> None:
        app = self.listening(0.0, EVENT)
        seen = Exchange(wrapped(app, heartbeat="1s", write_timeout="5s")).start()
        await passing(0.5)
        seen.freeze()
        assert await aborted(seen) is CloseReason.CLIENT_STALLED
        assert app.end == "returned"


class TestTheClientStalls:
    async def test_it_is_cut_off(self) -> None:
        app = Noted(script(EVENT, 1.0, EVENT, NEVER))
        seen = Exchange(wrapped(app, write_timeout="30s")).start()
        await passing(0.5)
        seen.freeze()
        assert await aborted(seen) is CloseReason.CLIENT_STALLED
        assert app.end is asyncio.CancelledError
        assert app.at is not None
        assert 30 <= app.at - seen.sent[0][0] < 36

    async def test_a_heartbeat_that_nobody_takes_counts_too(self) -> None:
        seen = Exchange(wrapped(for_ever, heartbeat="10s", write_timeout="30s")).start()
        await passing(0.5)
        seen.freeze()
        assert await aborted(seen) is CloseReason.CLIENT_STALLED

    async def test_a_stalled_client_cannot_keep_the_end_waiting_for_ever(self) -> None:
        """The app has said all it had to say; the last message waits in the server's send."""
        seen = Exchange(wrapped(script(1.0, EVENT), write_timeout="30s")).start()
        await passing(0.5)
        seen.freeze()
        await passing(100)
        assert seen.task is not None
        assert seen.task.done()

    @pytest.mark.parametrize(("write_timeout", "after"), [("5s", 5), ("off", 30)])
    @pytest.mark.parametrize("works_on", [True, False])
    async def test_nor_can_one_that_stalls_at_the_last_message(
        self, write_timeout: str, after: float, works_on: bool
    ) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head())
            await passing(1)
            await send(body(EVENT, more=False))
            if works_on:
                await passing(NEVER)

        noted = Noted(app)
        seen = Exchange(wrapped(noted, write_timeout=write_timeout)).start()
        await passing(0.5)
        seen.freeze()
        with pytest.raises(StreamAborted) as raised:
            await seen.finish()
        assert raised.value.reason is CloseReason.CLIENT_STALLED
        assert noted.end is asyncio.CancelledError
        assert round(now() - seen.sent[0][0], 3) == 1 + after


class TestTheServerIsToEnd:
    async def test_every_stream_ends_at_an_event_boundary_within_the_spread(self) -> None:
        steps = [step for _ in range(100) for step in (b"data: a\n", 0.3, b"data: b\n\n", 0.3)]
        app = wrapped(script(*steps), streams=LiveStreams(linger=0.0))
        exchanges = [Exchange(app, headers=EVENT_SOURCE).start() for _ in range(50)]
        await passing(10)
        app.begin_drain(timeout="25s", spread="5s")
        began = now()
        ends = []
        for seen in exchanges:
            await seen.finish()
            assert seen.is_whole
            before, _, retry = seen.body.rpartition(b"retry: ")
            assert before.endswith(b"data: b\n\n")
            assert retry.strip().isdigit()
            ends.append(seen.sent[-1][0] - began)
        assert all(0 <= end <= 6 for end in ends)
        assert max(ends) - min(ends) > 2

    @pytest.mark.parametrize("early", ["off", "10s"])
    async def test_an_event_source_that_waits_for_its_stream_is_sent_away(self, early: str) -> None:
        """It does not come back after what servers say at their end to a request without a response."""
        noted = Noted(script(before=1e9))
        app = wrapped(noted, streams=LiveStreams(linger=0.0), before_response=early)
        others = [("POST", EVENT_SOURCE), ("GET", [ACCEPT]), ("GET", [])]
        waiting = [Exchange(app, method=method, headers=headers).start() for method, headers in others]
        seen = Exchange(app, headers=EVENT_SOURCE).start()
        await passing(1)
        app.begin_drain(timeout="25s", spread="5s")
        began = now()
        await seen.finish()
        assert (seen.status, seen.is_whole) == (200, True)
        (retry,) = parse(seen.body).retries
        assert 1000 <= retry <= 6000
        assert now() - began <= 5
        assert not any(other.sent for other in waiting)
        for other in waiting:
            other.leave()
            assert other.task is not None
            other.task.cancel()

    async def test_a_stream_that_comes_before_its_moment_is_joined_on(self) -> None:
        app = wrapped(script(b"data: 1\n\n", 1e9, before=2), streams=LiveStreams(chance=lambda: 1.0, linger=0.0))
        seen = Exchange(app, headers=EVENT_SOURCE).start()
        await passing(1)
        app.begin_drain(timeout="25s", spread="5s")
        await seen.finish()
        assert [event.data for event in parse(seen.body).events] == ["1"]
        assert parse(seen.body).retries
        assert seen.is_whole

    async def test_only_an_event_source_is_told_when_to_come_back(self) -> None:
        app = wrapped(for_ever, streams=LiveStreams(linger=0.0))
        askers = [("GET", EVENT_SOURCE), ("POST", EVENT_SOURCE), ("GET", [ACCEPT]), ("GET", [])]
        exchanges = [Exchange(app, method=method, headers=headers).start() for method, headers in askers]
        await passing(1)
        app.begin_drain(timeout="10s", spread="5s")
        began = now()
        (retry,) = parse((await exchanges[0].finish()).body).retries
        assert exchanges[0].is_whole
        assert 1000 <= retry <= 6000
        assert now() - began <= 5
        for seen in exchanges[1:]:
            assert await aborted(seen) is CloseReason.DRAIN
            assert error_of(seen) == "drain"
            assert parse(seen.body).retries == []
            assert round(now() - began, 3) == 10

    async def test_an_answer_is_let_finish(self) -> None:
        """Nothing of it may be lost: its client would not ask again for the rest."""
        app = wrapped(script(EVENT, 5.0, EVENT, 5.0, EVENT))
        seen = Exchange(app, method="POST", headers=EVENT_SOURCE).start()
        await passing(1)
        app.begin_drain(timeout="25s", spread="5s")
        await seen.finish()
        assert seen.body == EVENT * 3
        assert seen.is_whole

    async def test_a_stream_that_finds_no_boundary_is_broken_off_at_the_deadline(self) -> None:
        app = wrapped(script(b"data: 1\n", NEVER))
        seen = Exchange(app).start()
        await passing(1)
        app.begin_drain(timeout="10s", spread="1s")
        began = now()
        assert await aborted(seen) is CloseReason.DRAIN
        assert round(now() - began, 3) == 10

    @pytest.mark.parametrize("write_timeout", ["30s", "off"])
    @pytest.mark.parametrize("piece", [EVENT, b"data: half\n"])
    async def test_a_client_that_reads_nothing_does_not_hold_it_up(self, write_timeout: str, piece: bytes) -> None:
        steps = [step for _ in range(1000) for step in (piece, 0.5)]
        noted = Noted(script(*steps))
        app = wrapped(noted, write_timeout=write_timeout)
        seen = Exchange(app).start()
        await passing(2)
        seen.freeze()
        await passing(2)
        app.begin_drain(timeout="5s", spread="1s")
        began = now()
        with pytest.raises(StreamAborted) as raised:
            await seen.finish()
        assert raised.value.reason is CloseReason.DRAIN
        assert now() - began <= 5.001
        assert noted.end is asyncio.CancelledError

    @pytest.mark.parametrize("end", ["max_duration", "the app's own"])
    async def test_an_end_that_waits_for_its_client_already_has_no_more_time_than_the_others(self, end: str) -> None:
        steps = [NEVER] if end == "max_duration" else [1.9]
        app = wrapped(script(*steps), max_duration="2s", write_timeout="30s")
        seen = Exchange(app).start()
        await passing(1)
        seen.freeze()
        await passing(5)
        app.begin_drain(timeout="5s", spread="1s")
        began = now()
        with pytest.raises(StreamAborted):
            await seen.finish()
        assert round(now() - began, 3) == 5

    async def test_without_a_spread_and_a_deadline_too(self) -> None:
        app = wrapped(for_ever)
        seen = Exchange(app, headers=EVENT_SOURCE).start()
        await passing(1)
        app.begin_drain(timeout="off", spread="off")
        await seen.finish()
        assert seen.is_whole

    async def test_streams_that_begin_later_end_by_the_deadline_too(self) -> None:
        app = wrapped(for_ever)
        app.begin_drain(timeout="10s", spread="1s")
        began = now()
        seen = await Exchange(app, headers=EVENT_SOURCE).run()
        assert seen.is_whole
        assert now() - began <= 10

    async def test_a_request_that_is_no_stream_is_left_alone(self) -> None:
        app = wrapped(script(b"a", 60.0, b"b", start=head(200, (b"content-type", b"text/plain"))))
        seen = Exchange(app).start()
        await passing(1)
        app.begin_drain(timeout="5s", spread="1s")
        await seen.finish()
        assert seen.body == b"ab"

    @pytest.mark.parametrize(("name", "value"), [("timeout", "soon"), ("spread", -1)])
    async def test_a_wrong_duration_raises(self, name: str, value: Any) -> None:
        with pytest.raises(ValueError, match=rf"^{name}\b"):
            wrapped(for_ever).begin_drain(**{name: value})
