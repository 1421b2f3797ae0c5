"""Do the bytes of a stream reach the server in one order, one message at a time, and none after the end?"""

import asyncio
import gc
from typing import Any

import pytest

from sseproxy.asgi.send_queue import SendQueue
from sseproxy.asgi.types import Message, Send
from tests.support.asgi_exchange import Exchange, body, head, script
from tests.support.virtual_clock import passing


class Line:
    """A queue on a scripted server. blocked: what it said about having to wait."""

    def __init__(self, send: Send | None = None) -> None:
        self.server = Exchange(script())
        self.blocked: list[bool] = []
        self.failed: list[Exception] = []
        self.queue = SendQueue(send or self.server.send, head(), self.blocked.append, self.failed.append)

    async def settle(self) -> None:
        await passing(0.001)

    def app_sends(self, data: bytes) -> "asyncio.Task[None]":
        self.queue.by_app = True
        self.queue.write(data)
        self.queue.by_app = False
        return asyncio.get_running_loop().create_task(self.queue.flush())  # which counts from here, not from its turn


async def test_the_head_comes_first_and_once() -> None:
    line = Line()
    line.queue.write(b"a")
    await line.queue.flush()
    await line.queue.flush()
    assert line.server.messages == [head(), body(b"a")]


async def test_what_a_timer_brought_is_sent_by_a_task() -> None:
    line = Line()
    line.queue.write(b"a")
    line.queue.write(b"b")
    await line.settle()
    assert line.server.messages == [head(), body(b"ab")]


async def test_what_the_app_brought_is_sent_by_the_app() -> None:
    line = Line()
    line.queue.by_app = True
    line.queue.write(b"a")
    await line.settle()
    assert line.server.messages == []
    await line.queue.flush()
    assert line.server.messages == [head(), body(b"a")]


async def test_order_is_that_of_the_writes_whoever_sends_them() -> None:
    line = Line()
    line.server.freeze()
    line.queue.write(b"1")
    await line.settle()
    tasks = [line.app_sends(b"2")]
    line.queue.write(b"3")
    tasks += [line.app_sends(b"4"), line.app_sends(b"5")]
    await line.settle()
    line.server.thaw()
    await asyncio.gather(*tasks)
    await line.settle()
    assert line.server.body == b"12345"
    assert line.server.faults == []


async def test_the_end_goes_out_with_the_last_bytes() -> None:
    line = Line()
    line.queue.write(b"a")
    line.queue.finish()
    await line.settle()
    assert line.server.messages == [head(), body(b"a", more=False)]


async def test_nothing_goes_out_after_the_end() -> None:
    line = Line()
    line.queue.finish()
    await line.queue.flush()
    line.queue.write(b"late")
    line.queue.finish()
    await line.queue.flush()
    await line.settle()
    assert line.server.messages == [head(), body(more=False)]


async def test_nothing_goes_out_after_closing() -> None:
    line = Line()
    line.queue.write(b"a")
    line.queue.close()
    await line.settle()
    line.queue.write(b"b")
    await line.settle()
    assert line.server.body == b""


async def test_a_send_that_does_not_wait_is_not_noted() -> None:
    line = Line()
    line.queue.write(b"a")
    await line.queue.flush()
    assert line.blocked == []


async def test_a_send_that_waits_is_noted_until_it_goes_on() -> None:
    line = Line()
    await line.queue.flush()
    line.server.freeze()
    sending = line.app_sends(b"abc")
    await line.settle()
    assert line.blocked == [True]
    assert line.queue.unsent() == 3
    line.queue.write(b"de")
    assert line.queue.unsent() == 5
    line.server.thaw()
    await sending
    assert line.blocked == [True, False]
    assert line.queue.unsent() == 0


async def test_a_wait_that_is_cancelled_reaches_the_server_and_ends() -> None:
    cancelled: list[Message] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                cancelled.append(message)
                raise

    line = Line(send)
    sending = line.app_sends(b"a")
    await line.settle()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert cancelled == [body(b"a")]
    assert line.blocked == [True, False]


async def test_what_the_servers_send_raises_comes_out_of_the_apps() -> None:
    async def send(message: Message) -> None:
        raise OSError("gone")

    line = Line(send)
    with pytest.raises(OSError, match="gone"):
        await line.app_sends(b"a")


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("refused")])
async def test_what_the_servers_send_raises_at_a_timer_is_told_once_and_ends_all_sending(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[Message] = []

    async def send(message: Message) -> None:
        calls.append(message)
        raise error

    line = Line(send)
    for _ in range(3):
        line.queue.write(b"a")
        await line.settle()
    assert line.failed == [error]
    assert line.queue.error is error
    assert line.queue.unsent() == 0
    assert len(calls) == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}
    del line
    gc.collect()
    unseen = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert error not in unseen  # no task has failed whose exception is not retrieved


# Large messages.


async def test_what_is_large_goes_out_in_pieces_each_of_which_is_progress() -> None:
    data = bytes(range(256)) * 400
    turns: asyncio.Queue[None] = asyncio.Queue()

    async def send(message: Message) -> None:
        await line.server.send(message)
        if message["type"] == "http.response.body":
            await turns.get()

    line = Line(send)
    sending = line.app_sends(data)
    left = []
    while not sending.done():
        await line.settle()
        left.append(line.queue.unsent())
        turns.put_nowait(None)
        await line.settle()
    assert line.server.body == data
    assert max(map(len, line.server.pieces)) == 16 * 1024
    assert left == sorted(left, reverse=True)
    assert len(set(left)) == 7
    assert line.blocked == [True, False]


@pytest.mark.parametrize("size", [16384, 16385, 32768, 50000])
async def test_the_end_goes_out_with_the_last_piece(size: int) -> None:
    line = Line()
    line.queue.write(bytes(size))
    line.queue.finish()
    await line.settle()
    assert line.server.body == bytes(size)
    assert [message["more_body"] for message in line.server.messages[1:]][-2:] in ([False], [True, False])


async def test_what_is_large_is_not_torn_by_a_cancelled_sender() -> None:
    line = Line()
    await line.queue.flush()
    line.server.freeze()
    sending = line.app_sends(b"a" * 50_000)
    await line.settle()
    sending.cancel()
    await line.settle()
    assert sending.cancelled()
    after = line.app_sends(b"b")
    await line.settle()
    line.server.thaw()
    await after
    assert line.server.body == b"a" * 50_000 + b"b"
    assert line.server.faults == []


async def test_closing_stops_what_is_large_too() -> None:
    line = Line()
    await line.queue.flush()
    line.server.freeze()
    sending = line.app_sends(b"a" * 50_000)
    await line.settle()
    sending.cancel()
    await line.settle()
    line.queue.close()
    line.server.thaw()
    await line.settle()
    assert len(line.server.body) == 16384
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_fails_when_nobody_waits_for_it_any_more_is_told() -> None:
    line = Line()
    await line.queue.flush()
    line.server.freeze()
    sending = line.app_sends(b"a" * 50_000)
    await line.settle()
    sending.cancel()
    await line.settle()
    line.server.send_error = OSError("gone")
    line.server.leave()
    await line.settle()
    assert [str(error) for error in line.failed] == ["gone"]


# Several senders.


async def test_a_cancelled_sender_takes_nobody_elses_bytes_along() -> None:
    waits: list[Message] = []
    passes = asyncio.Event()

    async def send(message: Message) -> None:  # as uvicorn: it waits first, and writes then
        waits.append(message)
        if message["type"] == "http.response.body":
            await passes.wait()
        await line.server.send(message)

    line = Line(send)
    await line.queue.flush()
    first, second, third = (line.app_sends(data) for data in (b"1", b"2", b"3"))
    await line.settle()
    first.cancel()
    second.cancel()
    await line.settle()
    passes.set()
    await third
    await line.settle()
    assert line.server.body == b"23"


async def test_what_a_cancelled_sender_brought_goes_out_although_nobody_else_comes() -> None:
    line = Line()
    line.server.freeze()
    first, second = line.app_sends(b"1"), line.app_sends(b"2")
    await line.settle()
    second.cancel()
    line.server.thaw()
    await first
    await line.settle()
    assert line.server.body == b"12"


async def test_another_message_goes_out_in_its_place() -> None:
    line = Line()
    line.queue.by_app = True
    line.queue.write(b"a")
    push: Message = {"type": "http.response.push", "path": "/x", "headers": []}
    await line.queue.flush(push)
    await line.app_sends(b"b")
    assert line.server.messages == [head(), body(b"a"), push, body(b"b")]


class _BareAwaitable:
    """What granian's send returns: an iterator, without a generator's `send` and `throw`."""

    def __init__(self) -> None:
        self.turns = 2

    def __await__(self) -> "_BareAwaitable":
        return self

    def __iter__(self) -> "_BareAwaitable":
        return self

    def __next__(self) -> None:
        if not self.turns:
            raise StopIteration
        self.turns -= 1


async def test_a_send_that_is_no_coroutine_is_waited_for() -> None:
    waits: list[_BareAwaitable] = []

    def send(message: Message) -> Any:
        waits.append(_BareAwaitable())
        return waits[-1]

    line = Line(send)
    await line.app_sends(b"a")
    assert [wait.turns for wait in waits] == [0, 0]
    assert line.blocked == [True, False]


async def test_a_wait_that_is_no_coroutine_can_be_cancelled() -> None:
    def send(message: Message) -> Any:
        return _BareAwaitable()

    line = Line(send)
    sending = line.app_sends(b"a")
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert line.blocked == [True, False]


async def test_a_send_that_gives_way_and_waits_for_nothing_in_particular_has_waited() -> None:
    turns = 0

    async def send(message: Message) -> None:
        nonlocal turns
        for _ in range(3):
            turns += 1
            await asyncio.sleep(0)
        await line.server.send(message)

    line = Line(send)
    await line.app_sends(b"a")
    assert line.server.messages == [head(), body(b"a")]
    assert turns == 6
    assert line.blocked == [True, False]
