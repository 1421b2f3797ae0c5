"""Is the app's `receive` its own, and does the client's leaving get through all the same?"""

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest

from sseproxy.asgi.receive_channel import ReceiveChannel
from sseproxy.asgi.types import Message, Receive
from sseproxy.core.http.peek import BodyPeek
from tests.support.asgi_exchange import Exchange, script
from tests.support.virtual_clock import passing


class Line:
    """A channel on a scripted server. left: what it said about the client's leaving. receive: the server's."""

    def __init__(self, *body: bytes) -> None:
        self.server = Exchange(script(), body=body or (b"",))
        self.left: list[bool] = []
        self.receive: Receive = self.server.receive
        self.inbox = ReceiveChannel(self._call_receive)
        self.inbox.on_disconnect = self.left.append

    def _call_receive(self) -> Awaitable[Message]:
        return self.receive()

    async def settle(self) -> None:
        await passing(0.001)

    def ask(self) -> "asyncio.Task[object]":
        return asyncio.get_running_loop().create_task(_as_coroutine(self.inbox.receive))


async def _as_coroutine(call: Callable[[], Awaitable[object]]) -> object:
    return await call()


async def test_without_listening_the_app_calls_the_server_and_nobody_else_does() -> None:
    line = Line(b"a", b"b")
    assert (await line.inbox.receive())["body"] == b"a"
    await line.settle()
    assert line.server.receives == 1


async def test_an_app_that_waits_for_the_server_is_not_raced() -> None:
    line = Line()
    await line.inbox.receive()
    waiting = line.ask()
    await line.settle()
    line.inbox.listen()
    await line.settle()
    assert line.server.receives == 2
    line.server.leave()
    assert await waiting == {"type": "http.disconnect"}
    assert line.left == [True]
    assert line.server.faults == []


async def test_an_app_that_has_asked_and_been_answered_is_listened_for() -> None:
    line = Line(b"a", b"b")
    waiting = line.ask()
    line.inbox.listen()
    await waiting
    await line.settle()
    line.server.leave()
    await line.settle()
    assert line.left == [False]
    assert line.server.faults == []


async def test_an_app_that_gave_up_waiting_is_listened_for() -> None:
    line = Line()
    await line.inbox.receive()
    waiting = line.ask()
    await line.settle()
    line.inbox.listen()
    waiting.cancel()
    await line.settle()
    line.server.leave()
    await line.settle()
    assert line.left == [False]
    assert line.server.faults == []


async def test_an_app_that_never_asks_is_listened_for_and_later_gets_what_was_heard() -> None:
    line = Line(b"a", b"b")
    line.inbox.listen()
    await line.settle()
    line.server.leave()
    await line.settle()
    assert line.left == [False]
    heard = [await line.inbox.receive() for _ in range(3)]
    assert [message.get("body") for message in heard] == [b"a", b"b", None]
    assert heard[-1] == {"type": "http.disconnect"}
    assert line.server.faults == []


async def test_an_app_that_asks_while_we_listen_is_served_from_what_we_hear() -> None:
    line = Line()
    line.inbox.listen()
    await line.settle()
    assert (await line.inbox.receive())["type"] == "http.request"
    waiting = line.ask()
    await line.settle()
    line.server.say(b"more")
    answer = await waiting
    assert isinstance(answer, dict)
    assert answer["body"] == b"more"
    assert line.server.faults == []


async def test_an_app_that_waits_on_us_knows_that_the_client_has_left() -> None:
    line = Line()
    line.inbox.listen()
    await line.inbox.receive()
    waiting = line.ask()
    await line.settle()
    line.server.leave()
    assert await waiting == {"type": "http.disconnect"}
    assert line.left[0] is True


async def test_a_client_that_left_before_anybody_listened_is_known_to_have_left() -> None:
    line = Line()
    await line.inbox.receive()
    line.server.leave()
    assert (await line.inbox.receive())["type"] == "http.disconnect"
    line.left.clear()
    line.inbox.listen()
    assert line.left == [True]


async def test_an_app_that_has_begun_to_read_sets_the_pace() -> None:
    piece = bytes(10_000)
    line = Line(*[piece] * 300)
    heard = [await line.inbox.receive()]
    line.inbox.listen()
    await line.settle()
    assert line.server.receives < 10
    line.server.leave()
    heard += [await line.inbox.receive() for _ in range(299)]
    assert [message["body"] for message in heard] == [piece] * 300
    assert (await line.inbox.receive())["type"] == "http.disconnect"
    assert line.server.faults == []


async def test_an_app_that_begins_to_read_late_gets_all_of_a_body_that_is_not_too_large() -> None:
    piece = bytes(10_000)
    line = Line(*[piece] * 100)
    line.inbox.listen()
    await line.settle()
    heard = [await line.inbox.receive() for _ in range(100)]
    assert [message["body"] for message in heard] == [piece] * 100


@pytest.mark.parametrize("piece", [bytes(10_000), b"x", b""])
async def test_a_client_that_leaves_is_noticed_behind_any_body_that_nobody_reads(piece: bytes) -> None:
    line = Line(*[piece] * 6000)
    line.inbox.listen()
    await line.settle()
    line.server.leave()
    await line.settle()
    assert line.left == [False]
    assert (await line.inbox.receive())["type"] == "http.disconnect"


async def test_an_app_that_comes_too_late_for_its_body_is_told_so() -> None:
    line = Line(*[bytes(10_000)] * 200)
    line.inbox.listen()
    await line.settle()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="request body was not read before the event stream began"):
            await line.inbox.receive()
    line.server.leave()
    await line.settle()
    assert (await line.inbox.receive())["type"] == "http.disconnect"


async def test_what_the_server_raises_while_we_listen_is_the_apps_to_hear() -> None:
    """As a middleware around us does that limits the size of request bodies."""
    line = Line()
    answers = [{"type": "http.request", "body": b"a", "more_body": True}, ValueError("too large")]
    said_more = line.server.receive

    async def fails_once() -> object:
        answer = answers.pop(0) if answers else await said_more()
        if isinstance(answer, Exception):
            raise answer
        return answer

    line.receive = fails_once  # type: ignore[assignment]
    line.inbox.listen()
    await line.settle()
    assert (await line.inbox.receive())["body"] == b"a"
    with pytest.raises(ValueError, match="too large"):
        await line.inbox.receive()
    assert (await line.inbox.receive())["body"] == b""  # the server's own answer


async def test_also_if_the_app_waits_already() -> None:
    line = Line()
    failing = asyncio.get_running_loop().create_future()
    line.receive = lambda: failing
    line.inbox.listen()
    await line.settle()
    waiting = line.ask()
    await line.settle()
    failing.set_exception(ValueError("too large"))
    with pytest.raises(ValueError, match="too large"):
        await waiting


async def test_an_app_that_waits_when_too_much_has_come_is_told_so() -> None:
    line = Line()
    line.inbox.listen()
    await line.settle()
    line.server.say(*[bytes(10_000)] * 200)
    await line.settle()
    with pytest.raises(RuntimeError, match="was not read"):
        await line.ask()


# When the stream is over before the client has left.


@pytest.mark.parametrize("listening", [False, True])
async def test_an_app_that_waits_is_told_that_it_is_over(listening: bool) -> None:
    line = Line()
    await line.inbox.receive()
    if listening:
        line.inbox.listen()
        await line.settle()
    waiting = line.ask()
    await line.settle()
    if not listening:
        line.inbox.listen()
    assert line.inbox.hang_up()
    assert await waiting == {"type": "http.disconnect"}
    assert await line.inbox.receive() == {"type": "http.disconnect"}
    assert line.left == []  # it is the stream that is over: the client may still be there
    await line.settle()
    assert line.server.receives == (2 if listening else 3)  # the app's call was broken off, and ours is in its place
    line.server.leave()
    await line.settle()
    assert line.left == [False]
    line.inbox.close()
    await line.settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_app_that_does_not_wait_is_told_when_it_asks() -> None:
    line = Line()
    await line.inbox.receive()
    line.inbox.listen()
    assert not line.inbox.hang_up()
    assert await line.inbox.receive() == {"type": "http.disconnect"}


async def test_a_wait_that_is_cancelled_as_well_is_cancelled() -> None:
    line = Line()
    await line.inbox.receive()
    waiting = line.ask()
    await line.settle()
    line.inbox.listen()
    waiting.cancel()
    line.inbox.hang_up()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_of_several_that_wait_each_is_told() -> None:
    """An app may listen for the client's leaving and look besides whether it has left: a call that is given up."""
    line = Line()
    await line.inbox.receive()
    waiting, besides, given_up = line.ask(), line.ask(), line.ask()
    await line.settle()
    given_up.cancel()
    await line.settle()
    line.inbox.listen()
    assert line.inbox.hang_up()
    assert await waiting == await besides == {"type": "http.disconnect"}


async def test_a_server_that_cleans_up_when_a_wait_is_broken_off_can_do_so() -> None:
    """Its `receive` may be a middleware's around us, with more to do than to wait."""
    line = Line()
    await line.inbox.receive()
    cleaned_up: list[str] = []

    async def receive() -> object:
        try:
            return await Exchange.receive(line.server)
        finally:
            await asyncio.sleep(0)
            await line.settle()
            cleaned_up.append("yes")

    line.receive = receive  # type: ignore[assignment]
    waiting = line.ask()
    await line.settle()
    line.inbox.listen()
    assert line.inbox.hang_up()
    assert await waiting == {"type": "http.disconnect"}
    assert cleaned_up == ["yes"]


async def test_a_server_that_waits_in_a_task_group_is_broken_off_too() -> None:
    """As Starlette's `BaseHTTPMiddleware` does around us. A task group takes our cancellation for its own."""
    line = Line()
    await line.inbox.receive()
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
        message = await line.inbox.receive()
        assert ended == ["besides"]
        return message

    line.receive = receive  # type: ignore[assignment]
    waiting = asyncio.get_running_loop().create_task(asks())
    await line.settle()
    line.inbox.listen()
    assert line.inbox.hang_up()
    assert await waiting == {"type": "http.disconnect"}


async def test_nobody_listens_behind_an_app_that_has_heard_it() -> None:
    """Hazard: with `asyncio.eager_task_factory` who listens hears it at once, and believes that the app does not."""
    line = Line()
    await line.inbox.receive()

    async def asks() -> object:
        message = await line.inbox.receive()
        assert line.server.receives == 2
        return message

    waiting = asyncio.get_running_loop().create_task(asks())
    await line.settle()
    line.inbox.listen()
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

    line = Line()
    await line.inbox.receive()
    line.receive = Never  # type: ignore[assignment]
    waiting = line.ask()
    await asyncio.sleep(0)
    line.inbox.listen()
    assert line.inbox.hang_up()
    assert await waiting == {"type": "http.disconnect"}


@pytest.mark.parametrize("while_waiting", [False, True])
async def test_after_closing_the_app_speaks_to_the_server_again(while_waiting: bool) -> None:
    line = Line()
    line.inbox.listen()
    await line.inbox.receive()
    waiting = line.ask() if while_waiting else None
    await line.settle()
    line.inbox.close()
    waiting = waiting or line.ask()
    await line.settle()
    line.server.leave()
    assert await waiting == {"type": "http.disconnect"}


@pytest.mark.parametrize("listening", [False, True])
async def test_the_body_is_looked_at_as_it_passes_by(listening: bool) -> None:
    known: list[bool] = []
    line = Line(b'{"stream"', b": true}")
    line.inbox.peek = BodyPeek(["stream"])
    line.inbox.on_body_end = lambda: known.append(True)
    if listening:
        line.inbox.listen()
    await line.inbox.receive()
    await line.inbox.receive()
    await line.settle()
    assert known == [True]
    assert line.inbox.peek.value("stream") is True
