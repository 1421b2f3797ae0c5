"""Is what the app had begun to do before its stream taken over when the stream begins?"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sseproxy.asgi import SSEKeepaliveMiddleware
from sseproxy.asgi.types import Message, Receive, Scope, Send
from tests.support.asgi_exchange import HB, Exchange, Noted, body, head
from tests.support.virtual_clock import now, passing

EVENT = b"data: 1\n\n"
NEVER = 1e9
GONE = {"type": "http.disconnect"}


class Beside:
    """An app that streams in a child task, beside what it does in its own.

    child: how the child task ended.
    """

    def __init__(self, own: Callable[[Receive], Awaitable[object]], *, begins_after: float = 1.0) -> None:
        self._own = own
        self._begins_after = begins_after
        self.child = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with asyncio.TaskGroup() as group:
            streaming = group.create_task(self._stream(send))
            await self._own(receive)
            streaming.cancel()

    async def _stream(self, send: Send) -> None:
        await passing(self._begins_after)
        await send(head())
        try:
            while True:
                await send(body(EVENT))
                await passing(10)
        except asyncio.CancelledError:
            self.child = "cancelled"
            raise


def asked(app: Callable[..., Any], *pieces: bytes) -> Exchange:
    """A request whose body has not come, but for `pieces` of it."""
    seen = Exchange(SSEKeepaliveMiddleware(app), method="POST", body=())
    seen.say(*pieces)
    return seen.start()


async def left(seen: Exchange) -> float:
    """Seconds from the client's leaving to the app's end."""
    seen.leave()
    began = now()
    await seen.finish()
    return now() - began


class TestACallOfReceiveThatWaitsMeanwhile:
    async def test_hears_what_comes_and_nobody_else_asks(self) -> None:
        heard: list[Message] = []

        async def own(receive: Receive) -> None:
            tasks = asyncio.all_tasks()
            heard.append(await receive())
            # Nor would they where tasks begin at once (`asyncio.eager_task_factory`).
            assert asyncio.all_tasks() <= tasks

        app = Noted(Beside(own))
        seen = asked(app)
        await passing(5)
        assert seen.receives == 1
        assert await left(seen) < 0.01
        assert heard == [GONE]
        assert app.end == "returned"
        assert seen.receives == 1

    async def test_once_it_has_been_answered_the_client_is_listened_for(self) -> None:
        async def own(receive: Receive) -> None:
            assert (await receive())["body"] == b"late"
            await passing(NEVER)

        app = Noted(Beside(own))
        seen = asked(app)
        await passing(5)
        seen.say(b"late")
        await passing(5)
        assert seen.receives == 2
        assert await left(seen) < 0.01
        assert app.end is asyncio.CancelledError

    async def test_once_it_has_been_given_up_the_client_is_listened_for(self) -> None:
        async def own(receive: Receive) -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(_coroutine(receive), 3)
            await passing(NEVER)

        app = Noted(Beside(own))
        seen = asked(app)
        await passing(5)
        assert seen.receives == 2
        assert await left(seen) < 0.01
        assert app.end is asyncio.CancelledError


class TestACallOfReceiveThatIsOnlyMadeThen:
    async def test_is_served_from_what_we_hear(self) -> None:
        """A call without its `await`: the server is not asked twice at once."""
        heard: list[Message] = []

        async def own(receive: Receive) -> None:
            call = receive()
            await passing(5)
            heard.append(await call)

        seen = asked(Beside(own), b"early")
        await seen.finish()
        assert [message["body"] for message in heard] == [b"early"]
        assert seen.receives == 2


class TestACallOfReceiveBefore:
    async def test_that_heard_of_the_clients_leaving_is_remembered(self) -> None:
        async def own(receive: Receive) -> None:
            assert await receive() == GONE
            await passing(NEVER)

        app = Noted(Beside(own, begins_after=5.0))
        seen = asked(app)
        await passing(1)
        assert round(await left(seen), 3) == 14  # the stream begins after 4 s, and its second event is one too many
        assert app.end is asyncio.CancelledError
        assert seen.receives == 1

    async def test_counts_as_reading_so_that_the_app_sets_the_pace(self) -> None:
        heard: list[Message] = []

        async def own(receive: Receive) -> None:
            heard.append(await receive())
            await passing(100)
            heard.extend([await receive() for _ in range(299)])

        piece = bytes(10_000)
        seen = asked(Beside(own), *[piece] * 300)
        await passing(50)
        assert seen.receives < 10
        await seen.finish()
        assert [message["body"] for message in heard] == [piece] * 300


class TestWhoIsStopped:
    async def test_the_apps_own_task_and_not_the_one_in_which_the_stream_began(self) -> None:
        async def own(receive: Receive) -> None:
            try:
                await passing(NEVER)
            except asyncio.CancelledError:
                stopped.append(app.child)
                raise

        stopped: list[str] = []
        app = Beside(own)
        seen = asked(app)
        await passing(5)
        assert await left(seen) < 0.01
        assert stopped == [""]
        assert app.child == "cancelled"


@pytest.mark.parametrize("type_of", [b"application/json", b"text/plain; charset=utf-8", b"image/png"])
async def test_what_is_no_stream_reads_on_as_it_likes(type_of: bytes) -> None:
    """Also after its response has begun, and from several tasks, one after the other."""
    heard: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append(await receive())
        await send(head(200, (b"content-type", type_of)))
        async with asyncio.TaskGroup() as group:
            group.create_task(_read(receive, heard))
        await passing(60)
        await send(body(b"x", more=False))
        heard.append(await receive())

    seen = await asked(app, b"a", b"b").finish()
    assert [message.get("body") for message in heard] == [b"a", b"b", None]
    assert HB not in seen.body
    assert seen.receives == 3


async def _read(receive: Receive, heard: list[Message]) -> None:
    heard.append(await receive())


async def _coroutine(receive: Receive) -> Message:
    return await receive()
