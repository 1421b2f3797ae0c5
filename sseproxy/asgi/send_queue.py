"""How do the bytes of a stream reach the server: in one order, one at a time, and nothing after the end?"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any

from sseproxy.asgi.tasks import begin_later
from sseproxy.asgi.types import Message, Send
from sseproxy.asgi.waiting import DONE, rest_of, watched
from sseproxy.core.frames import release_frames

#: Bytes of one message at most. That a client takes something is seen only by a `send` that returns.
_PIECE = 16 * 1024


class SendQueue:
    """The `send` of one stream, and the relay's `Downstream`.

    Bytes are queued at once and sent by whoever brought them: the app's own call of `send`, which thereby waits for
    the client, or a task, if it was a timer. Whoever is cancelled takes nobody else's bytes along.
    head: the first message. on_blocked: called with True when the server makes us wait, and with False when it goes
    on. on_failed: called with what the server's `send` has raised at a task of ours.
    """

    def __init__(
        self,
        send: Send,
        head: Message,
        on_blocked: Callable[[bool], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        self._send = send
        self._head: Message | None = head
        self._on_blocked = on_blocked
        self._on_failed = on_failed
        self._context = copy_context()
        self._queue: deque[bytes] = deque()
        self._written = 0  # entries that ever came into the queue
        self._taken = 0  # and out of it
        self._waiting = 0  # bytes that have left it, and that the server has not taken
        self._is_sending = False
        self._is_blocked = False
        self._turn: asyncio.Event | None = None  # somebody waits for theirs
        self._task: asyncio.Task[None] | None = None
        self._large: asyncio.Task[None] | None = None  # sends what is too much for one message
        self._complete = False
        self._over = False
        self.error: Exception | None = None
        self.by_app = False  # the app is in `send`: what is queued now goes out with it

    # The relay's side (a `Downstream`).

    def write(self, data: bytes) -> None:
        if not self._over:
            self._queue.append(data)
            self._written += 1
            if not self.by_app:
                self._flush_soon()

    def unsent(self) -> int:
        return self._waiting + sum(map(len, self._queue))

    def acknowledged(self) -> int | None:
        return None  # only the server could know

    def finish(self) -> None:
        self._complete = True
        if not self.by_app:
            self._flush_soon()

    def abort(self) -> None:
        """What is queued still goes out; the rest is for the server, which sees the app fail."""

    # Sending.

    def flush(self, then: Message | None = None) -> Coroutine[Any, Any, None]:
        """Send all that is queued, and the end if it has come. Waits for the server; raises what its `send` raises.

        then: a message of another kind, to go out behind it.
        """
        return self._flush(self._written, then)

    async def _flush(self, mine: int, then: Message | None) -> None:
        """mine: the entries up to here; who comes later sends the rest, and may be cancelled by itself."""
        while self._is_sending:  # no lock: on the hot path there is nobody else, and a lock costs as much as a send
            self._turn = self._turn or asyncio.Event()
            await self._wait_for_turn(self._turn)
        self._is_sending = True
        try:
            if self._head is not None:
                await self._send_head(self._head)
            while not self._over and (self._taken < mine or (self._complete and mine == self._written)):
                data = self._queue.popleft() if mine - self._taken == 1 else self._take(mine - self._taken)
                self._taken = mine
                is_last = self._complete and mine == self._written
                self._waiting = len(data)
                if self._waiting > _PIECE:
                    await self._send_large(data, is_last=is_last)
                else:
                    self._over = is_last
                    message = {"type": "http.response.body", "body": data, "more_body": not is_last}
                    steps = self._send(message).__await__()
                    waited_for = next(steps, DONE)
                    if waited_for is not DONE:
                        await rest_of(steps, waited_for, self._note_wait)
            if then is not None and not self._over:
                await watched(self._send(then), self._note_wait)
        finally:
            if self._large is not None:
                self._release_behind(self._large)
            elif self._is_blocked:
                self._release()
            else:  # as nearly always; nobody can have come meanwhile
                self._waiting = 0
                self._is_sending = False

    async def _wait_for_turn(self, turn: asyncio.Event) -> None:
        try:
            await turn.wait()
        except BaseException:
            self._flush_soon()  # what was decided goes out, whether or not anybody waits for it
            raise

    def _take(self, entries: int) -> bytes:
        """The bytes of all whose turn it is."""
        return b"".join([self._queue.popleft() for _ in range(entries)])

    async def _send_head(self, head: Message) -> None:
        self._head = None
        await watched(self._send(head), self._note_wait)

    async def _send_large(self, data: bytes, *, is_last: bool) -> None:
        """In a task of its own: whoever waits may be cancelled, and half of an event would be worse than none."""
        self._large = begin_later(self._send_pieces(data, is_last=is_last))
        await asyncio.shield(self._large)

    async def _send_pieces(self, data: bytes, *, is_last: bool) -> None:
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            ends = is_last and len(piece) == self._waiting
            if not self._over:
                self._over = ends
                await watched(self._send(_body(piece, is_last=ends)), self._note_wait)
                self._waiting -= len(piece)

    def _note_wait(self, _: object) -> None:
        if not self._is_blocked:
            self._is_blocked = True
            self._on_blocked(True)

    def _release(self) -> None:
        """Let the next one send."""
        self._waiting = 0
        self._is_sending = False
        if self._is_blocked:
            self._is_blocked = False
            self._on_blocked(False)
        if self._turn is not None:
            self._turn.set()
            self._turn = None

    def _release_behind(self, large: "asyncio.Task[None]") -> None:
        if large.done():
            self._large = None
            self._release()
        else:
            large.add_done_callback(self._release_after)

    def _release_after(self, large: "asyncio.Task[None]") -> None:
        """Whoever waited for what was too much for one message has been cancelled."""
        self._large = None
        error = None if large.cancelled() else large.exception()
        if isinstance(error, Exception):
            self._fail(error)
        self._release()

    # Ends.

    def close(self) -> None:
        """Send nothing more."""
        self._over = True
        self._queue.clear()
        for task in (self._task, self._large):
            if task is not None:
                task.cancel()

    def let_go(self) -> None:
        """Send nothing more, and drop callbacks and tasks: they refer back here."""
        self.close()
        self._on_blocked = self._on_failed = _ignore
        self._task = None

    def _flush_soon(self) -> None:
        if self._task is None or self._task.done():
            self._task = begin_later(self._flush_quietly(), self._context)

    async def _flush_quietly(self) -> None:
        try:
            while not self._over and (self._queue or self._complete):
                await self.flush()
        except Exception as error:  # noqa: BLE001 - whatever a server's `send` raises
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Nobody waits for this: whoever comes next has to be told."""
        self._over = True
        self._queue.clear()
        release_frames(error)  # which lead back here
        self.error = error
        self._on_failed(error)


def _ignore(_: object) -> None:
    """Replace a callback after the end."""


def _body(data: bytes, *, is_last: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": not is_last}
