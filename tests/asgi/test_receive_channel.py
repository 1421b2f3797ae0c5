"""Is the app's `receive` its own, and does the client's leaving get through all the same?"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from sseproxy.asgi.receive_channel import ReceiveChannel
from sseproxy.core.http.peek import BodyPeek
from tests.support.asgi_exchange import Exchange, script
from tests.support.virtual_clock import passing


class Line:
    """A channel on a scripted server. left: what it said about the client's leaving.

    receive: the server's, in place of the script's.
    """

    def __init__(self, *body: bytes, receive: Callable[[], Any] | None = None) -> None:
        self.server = Exchange(script(), body=body or (b"",))
        self.left: list[bool] = []
        self.channel = ReceiveChannel(receive or self.server.receive)
        self.channel.on_disconnect = self.left.append

    async def settle(self) -> None:
        await passing(0.001)

    def ask(self) -> "asyncio.Task[object]":
        return asyncio.get_running_loop().create_task(_as_coroutine(self.channel.receive))


async def _as_coroutine(call: Callable[[], Awaitable[object]]) -> object:
    return await call()


async def test_without_listening_the_app_calls_the_server_and_nobody_else_does() -> None:
    line = Line(b"a", b"b")
    assert (await line.channel.receive())["body"] == b"a"
    await line.settle()
    assert line.server.receives == 1


async def test_an_app_that_waits_for_the_server_is_not_raced() -> None:
    line = Line()
    await line.channel.receive()
    waiting = line.ask()
    await line.settle()
    line.channel.listen()
    await line.settle()
    assert line.server.receives == 2
    line.server.leave()
    assert await waiting == {"type": "http.disconnect"}
    assert line.left == [True]
    assert line.server.faults == []


async def test_an_app_that_has_asked_and_been_answered_is_listened_for() -> None:
    line = Line(b"a", b"b")
    waiting = line.ask()
    line.channel.listen()
    await waiting
    await line.settle()
    line.server.leave()
    await line.settle()
    assert line.left == [False]
    assert line.server.faults == []


async def test_an_app_that_gave_up_waiting_is_listened_for() -> None:
    line = Line()
    await line.channel.receive()
    waiting = line.ask()
    await line.settle()
    line.channel.listen()
    waiting.cancel()
    await line.settle()
    line.server.leave()
    await line.settle()
    assert line.left == [False]
    assert line.server.faults == []


async def test_an_app_that_never_asks_is_listened_for_and_later_gets_what_was_heard() -> None:
    line = Line(b"a", b"b")
    line.channel.listen()
    await line.settle()
    line.server.leave()
    await line.settle()
    assert line.left == [False]
    heard = [await line.channel.receive() for _ in range(3)]
    assert [message.get("body") for message in heard] == [b"a", b"b", None]
    assert heard[-1] == {"type": "http.disconnect"}
    assert line.server.faults == []


async def test_an_app_that_asks_while_we_listen_is_served_from_what_we_hear() -> None:
    line = Line()
    line.channel.listen()
    await line.settle()
    assert (await line.channel.receive())["type"] == "http.request"
    waiting = line.ask()
    await line.settle()
    line.server.say(b"more")
    answer = await waiting
    assert isinstance(answer, dict)
    assert answer["body"] == b"more"
    assert line.server.faults == []


async def test_an_app_that_waits_on_us_knows_that_the_client_has_left() -> None:
    line = Line()
    line.channel.listen()
    await line.channel.receive()
    waiting = line.ask()
    await line.settle()
    line.server.leave()
    assert await waiting == {"type": "http.disconnect"}
    assert line.left[0] is True


async def test_a_client_that_left_before_anybody_listened_is_known_to_have_left() -> None:
    line = Line()
    await line.channel.receive()
    line.server.leave()
    assert (await line.channel.receive())["type"] == "http.disconnect"
    line.left.clear()
    line.channel.listen()
    assert line.left == [True]


async def test_an_app_that_has_begun_to_read_sets_the_pace() -> None:
    piece = bytes(10_000)
    line = Line(*[piece] * 300)
    heard = [await line.channel.receive()]
    line.channel.listen()
    await line.settle()
    assert line.server.receives < 10
    line.server.leave()
    heard += [await line.channel.receive() for _ in range(299)]
    assert [message["body"] for message in heard] == [piece] * 300
    assert (await line.channel.receive())["type"] == "http.disconnect"
    assert line.server.faults == []


async def test_an_app_that_begins_to_read_late_gets_all_of_a_body_that_is_not_too_large() -> None:
    piece = bytes(10_000)
    line = Line(*[piece] * 100)
    line.channel.listen()
    await line.settle()
    heard = [await line.channel.receive() for _ in range(100)]
    assert [message["body"] for message in heard] == [piece] * 100


@pytest.mark.parametrize("piece", [bytes(10_000), b"x", b""])
async def test_a_client_that_leaves_is_noticed_behind_any_body_that_nobody_reads(piece: bytes) -> None:
    line = Line(*[piece] * 6000)
    line.channel.listen()
    await line.settle()
    line.server.leave()
    await line.settle()
    assert line.left == [False]
    assert line.channel.kept_size == 0
    assert (await line.channel.receive())["type"] == "http.disconnect"


async def test_an_app_that_comes_too_late_for_its_body_is_told_so() -> None:
    line = Line(*[bytes(10_000)] * 200)
    line.channel.listen()
    await line.settle()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="request body was not read before the event stream began"):
            await line.channel.receive()
    line.server.leave()
    await line.settle()
    assert (await line.channel.receive())["type"] == "http.disconnect"


async def test_what_the_server_raises_while_we_listen_is_the_apps_to_hear() -> None:
    """As a middleware around us does that limits the size of request bodies."""
    answers = [{"type": "http.request", "body": b"a", "more_body": True}, ValueError("too large")]

    async def fails_once() -> object:
        answer = answers.pop(0) if answers else await line.server.receive()
        if isinstance(answer, Exception):
            raise answer
        return answer

    line = Line(receive=fails_once)
    line.channel.listen()
    await line.settle()
    assert (await line.channel.receive())["body"] == b"a"
    with pytest.raises(ValueError, match="too large"):
        await line.channel.receive()
    assert (await line.channel.receive())["body"] == b""  # the server's own answer


async def test_also_if_the_app_waits_already() -> None:
    failing = asyncio.get_running_loop().create_future()
    line = Line(receive=lambda: failing)
    line.channel.listen()
    await line.settle()
    waiting = line.ask()
    await line.settle()
    failing.set_exception(ValueError("too large"))
    with pytest.raises(ValueError, match="too large"):
        await waiting


async def test_an_app_that_waits_when_too_much_has_come_is_told_so() -> None:
    line = Line()
    line.channel.listen()
    await line.settle()
    line.server.say(*[bytes(10_000)] * 200)
    await line.settle()
    with pytest.raises(RuntimeError, match="was not read"):
        await line.ask()


# When the stream is over before the client has left.


@pytest.mark.parametrize("listening", [False, True])
async def test_an_app_that_waits_is_told_that_it_is_over(listening: bool) -> None:
    line = Line()
    await line.channel.receive()
    if listening:
        line.channel.listen()
        await line.settle()
    waiting = line.ask()
    await line.settle()
    if not listening:
        line.channel.listen()
    assert line.channel.disconnect()
    assert await waiting == {"type": "http.disconnect"}
    assert await line.channel.receive() == {"type": "http.disconnect"}
    assert line.left == []  # it is the stream that is over: the client may still be there
    await line.settle()
    assert line.server.receives == (2 if listening else 3)  # the app's call was broken off, and ours is in its place
    line.server.leave()
    await line.settle()
    assert line.left == [False]
    line.channel.close()
    await line.settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_app_that_does_not_wait_is_told_when_it_asks() -> None:
    line = Line()
    await line.channel.receive()
    line.channel.listen()
    assert not line.channel.disconnect()
    assert await line.channel.receive() == {"type": "http.disconnect"}


async def test_a_wait_that_is_cancelled_as_well_is_cancelled() -> None:
    line = Line()
    await line.channel.receive()
    waiting = line.ask()
    await line.settle()
    line.channel.listen()
    waiting.cancel()
    line.channel.disconnect()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_of_several_that_wait_each_is_told() -> None:
    """An app may listen for the client's leaving and look besides whether it has left: a call that is given up."""
    line = Line()
    await line.channel.receive()
    waiting, besides, given_up = line.ask(), line.ask(), line.ask()
    await line.settle()
    given_up.cancel()
    await line.settle()
    line.channel.listen()
    assert line.channel.disconnect()
    assert await waiting == await besides == {"type": "http.disconnect"}


async def test_a_server_that_cleans_up_when_a_wait_is_broken_off_can_do_so() -> None:
    """Its `receive` may be a middleware's around us, with more to do than to wait."""
    cleaned_up: list[str] = []

    async def receive() -> object:
        try:
            return await Exchange.receive(line.server)
        finally:
            await asyncio.sleep(0)
            await line.settle()
            cleaned_up.append("yes")

    line = Line(receive=receive)
    await line.channel.receive()
    cleaned_up.clear()
    waiting = line.ask()
    await line.settle()
    line.channel.listen()
    assert line.channel.disconnect()
    assert await waiting == {"type": "http.disconnect"}
    assert cleaned_up == ["yes"]


async def test_a_server_that_waits_in_a_task_group_is_broken_off_too() -> None:
    """As Starlette's `BaseHTTPMiddleware` does around us. A task group takes our cancellation for its own."""
    ended: list[str] = []

    async def besides() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("besides")

    async def receive() -> object:
        async with anyio.create_task_group() as group:
            group.start_soon(besides)
            message = await Exchange.receive(line.server)
            group.cancel_scope.cancel()
        return message

    async def asks() -> object:
        message = await line.channel.receive()
        assert ended == ["besides"]
        return message

    line = Line(receive=receive)
    await line.channel.receive()
    ended.clear()
    waiting = asyncio.get_running_loop().create_task(asks())
    await line.settle()
    line.channel.listen()
    assert line.channel.disconnect()
    assert await waiting == {"type": "http.disconnect"}


async def test_nobody_listens_behind_an_app_that_has_heard_it() -> None:
    """Hazard: with `asyncio.eager_task_factory` who listens hears it at once, and believes that the app does not."""
    line = Line()
    await line.channel.receive()

    async def asks() -> object:
        tasks = asyncio.all_tasks()
        message = await line.channel.receive()
        assert asyncio.all_tasks() <= tasks  # none has begun to listen
        return message

    waiting = asyncio.get_running_loop().create_task(asks())
    await line.settle()
    line.channel.listen()
    line.server.leave()
    assert await waiting == {"type": "http.disconnect"}
    assert line.server.receives == 2


async def test_a_wait_of_granians_kind_is_broken_off_too() -> None:
    """Turn by turn, and for nothing in particular."""

    class Never:
        def __await__(self) -> "Never":
            return self

        def __iter__(self) -> "Never":
            return self

        def __next__(self) -> None:
            """Not yet."""

    calls = iter((asyncio.sleep(0, {"type": "http.request"}), Never()))
    line = Line(receive=lambda: next(calls))
    await line.channel.receive()
    waiting = line.ask()
    await asyncio.sleep(0)
    line.channel.listen()
    assert line.channel.disconnect()
    assert await waiting == {"type": "http.disconnect"}


@pytest.mark.parametrize("while_waiting", [False, True])
async def test_after_closing_the_app_speaks_to_the_server_again(while_waiting: bool) -> None:
    line = Line()
    line.channel.listen()
    await line.channel.receive()
    waiting = line.ask() if while_waiting else None
    await line.settle()
    line.channel.close()
    waiting = waiting or line.ask()
    await line.settle()
    line.server.leave()
    assert await waiting == {"type": "http.disconnect"}


@pytest.mark.parametrize("listening", [False, True])
async def test_the_body_is_looked_at_as_it_passes_by(listening: bool) -> None:
    known: list[bool] = []
    line = Line(b'{"stream"', b": true}")
    line.channel.peek = BodyPeek(["stream"])
    line.channel.on_body_end = lambda: known.append(True)
    if listening:
        line.channel.listen()
    await line.channel.receive()
    await line.channel.receive()
    await line.settle()
    assert known == [True]
    assert line.channel.peek.value("stream") is True
