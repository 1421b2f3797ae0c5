"""How do the bytes of a stream reach the server: in one order, one at a time, and nothing after the end?"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from sseproxy.asgi.types import Message, Send


class Outbox:
    """The `send` of one stream, and the relay's `Downstream`.

    Bytes are queued at once and sent by whoever comes first: the app's own call of `send`, which thereby waits for
    the client, or a task, if a timer brought them. head: the first message.
    on_blocked: called with True when the server makes us wait, and with False when it goes on.
    """

    def __init__(self, send: Send, head: Message, on_blocked: Callable[[bool], None]) -> None:
        self._send = send
        self._head: Message | None = head
        self._on_blocked = on_blocked
        self._queue: list[bytes] = []
        self._waiting = 0
        self._is_sending = False
        self._turn: asyncio.Event | None = None  # somebody waits for theirs
        self._task: asyncio.Task[None] | None = None
        self._complete = False
        self._over = False
        self.by_app = False  # the app is in `send`: what is queued now goes out with it

    # The relay's side (a `Downstream`).

    def write(self, data: bytes) -> None:
        self._queue.append(data)
        self._flush_soon()

    def unsent(self) -> int:
        return self._waiting + sum(map(len, self._queue))

    def finish(self) -> None:
        self._complete = True
        self._flush_soon()

    def abort(self) -> None:
        """What is queued still goes out; the rest is for the server, which sees the app fail."""

    # Sending.

    async def flush(self) -> None:
        """Send all that is queued, and the end if it has come. Waits for the server; raises what its `send` raises."""
        while self._is_sending:  # no lock: on the hot path there is nobody else, and a lock costs as much as a send
            self._turn = self._turn or asyncio.Event()
            await self._turn.wait()
        self._is_sending = True
        try:
            if self._head is not None:
                await self._send_head(self._head)
            while (self._queue or self._complete) and not self._over:
                await _Watched(self._send(self._next_message()), self._on_blocked)
                self._waiting = 0
        finally:
            self._is_sending = False
            if self._turn is not None:
                self._turn.set()
                self._turn = None

    async def _send_head(self, head: Message) -> None:
        self._head = None
        await _Watched(self._send(head), self._on_blocked)

    def _next_message(self) -> Message:
        data = self._queue[0] if len(self._queue) == 1 else b"".join(self._queue)
        self._queue.clear()
        self._over = self._complete
        self._waiting = len(data)
        return {"type": "http.response.body", "body": data, "more_body": not self._over}

    async def wait_until_flushed(self) -> None:
        """Wait for the task that sends what a timer brought, if there is one."""
        if self._task is not None:
            await asyncio.wait({self._task})

    def close(self) -> None:
        """Send nothing more."""
        self._over = True
        self._queue.clear()
        if self._task is not None:
            self._task.cancel()

    def _flush_soon(self) -> None:
        if not self.by_app and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._flush_quietly())

    async def _flush_quietly(self) -> None:
        try:
            await self.flush()
        except OSError:
            self._over = True  # the client has left, says a server that follows ASGI 2.4


class _Watched:
    """An awaitable that says whether it had to wait: most calls of `send` do not, and then nothing is to be noted."""

    __slots__ = ("_awaitable", "_on_blocked")

    def __init__(self, awaitable: Awaitable[None], on_blocked: Callable[[bool], None]) -> None:
        self._awaitable = awaitable
        self._on_blocked = on_blocked

    def __await__(self) -> Generator[Any, Any, None]:
        steps: Generator[Any, Any, None] = self._awaitable.__await__()
        try:
            waited_for = next(steps)
        except StopIteration:
            return
        self._on_blocked(True)
        try:
            while True:
                try:
                    answer = yield waited_for
                except BaseException as error:  # cancellation has to reach the server's send
                    if not hasattr(steps, "throw"):
                        raise  # granian waits for something that is no generator; `yield from` would leave it too
                    waited_for = steps.throw(error)
                else:
                    waited_for = next(steps) if answer is None else steps.send(answer)
        except StopIteration:
            return
        finally:
            self._on_blocked(False)
