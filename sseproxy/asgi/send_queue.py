"""How do the bytes of a stream reach the server: in one order, one at a time, and nothing after the end?"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from enum import Enum, auto
from typing import Any

from sseproxy.asgi.later import begin_later
from sseproxy.asgi.types import Message, Send
from sseproxy.asgi.waiting import DONE, rest_of, watched
from sseproxy.core.frames import release_frames

#: Bytes of one message at most. That a client takes something is seen only by a `send` that returns.
_PIECE = 16 * 1024


class Stage(Enum):
    """How far the stream is, towards the server."""

    OPEN = auto()
    FINISHING = auto()  # the end was decided: it goes out behind what is queued
    OVER = auto()  # the end has gone out, or nothing more will


class Sender(Enum):
    """Is a call of the server's `send` under way?"""

    NONE = auto()
    SENDING = auto()
    BLOCKED = auto()  # and the server makes it wait


# The hot path compares with them.
_OPEN, _FINISHING, _OVER = Stage
_NONE, _SENDING, _BLOCKED = Sender

# Strategy. Bytes are queued when they are decided, and sent by one sender at a time. A sender is the app in its own
# call of `send`, which thereby waits for its client, or a task, for what a timer has decided.
#
#     OPEN ─► FINISHING ─► OVER             NONE ─► SENDING ─► NONE
#       └──── close ────────▲                         └─► BLOCKED ─┘
#
# Rules
# 1. Entries go out in the order in which they came in, and the end behind all of them.
# 2. Each sender sends up to the entry that was the last one when it called `flush`; who comes later sends the rest.
#    So a sender that is cancelled loses its own bytes only: what has left the queue.
# 3. What is decided while the app is in `send` (`by_app`) needs no task: the app flushes it.
# 4. What the server's `send` raises is raised in the app's call, or, where a task has sent, once by `on_failed`.
# 5. on_blocked is called with True when the server makes a sender wait, and with False when that is over; never twice
#    with the same.
#
# Hazards
# - uvicorn's `send` waits first and writes then: the bytes of a sender cancelled there are gone (rule 2 keeps that to
#   its own).
# - Half of an event would be worse than none: what is too large for one message is sent in a task that outlives its
#   caller.
# - A sender that is cancelled while it waits for its turn has bytes in the queue: a task sends them.
# - A lock costs as much as a `send`, and on the hot path there is no second sender: hence `_turn`, made when needed.


class SendQueue:
    """The `send` of one stream, and the relay's `Downstream`.

    head: the first message. on_blocked, on_failed: see rules 5 and 4.
    error: what the server's `send` has raised outside of the app's call. by_app: see rule 3.
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
        self._stage = _OPEN
        self._sender = _NONE
        self._turn: asyncio.Event | None = None  # another sender waits for its turn
        self._task: asyncio.Task[None] | None = None
        self._large: asyncio.Task[None] | None = None  # sends what is too much for one message
        self.error: Exception | None = None
        self.by_app = False

    # The relay's side (a `Downstream`).

    def write(self, data: bytes) -> None:
        if self._stage is not _OVER:
            self._queue.append(data)
            self._written += 1
            if not self.by_app:
                self._flush_soon()

    def unsent(self) -> int:
        return self._waiting + sum(map(len, self._queue))

    def acknowledged(self) -> int | None:
        return None  # only the server could know

    def finish(self) -> None:
        if self._stage is _OPEN:
            self._stage = _FINISHING
            if not self.by_app:
                self._flush_soon()

    def abort(self) -> None:
        """What is queued still goes out; the rest is for the server, which sees the app fail."""

    # Sending.

    def flush(self, then: Message | None = None) -> Coroutine[Any, Any, None]:
        """Send all that is queued, and the end if it has come. Waits for the server; raises what its `send` raises.

        then: a message of another kind, to go out behind it.
        """
        return self._send_up_to(self._written, then)

    async def _send_up_to(self, mine: int, then: Message | None) -> None:
        """mine: the number of the last entry to send (rule 2)."""
        while self._sender is not _NONE:
            await self._wait_for_turn()
        self._sender = _SENDING
        try:
            if self._head is not None:
                head, self._head = self._head, None
                await watched(self._send(head), self.note_wait)
            while self._stage is not _OVER and (
                self._taken < mine or (self._stage is _FINISHING and mine == self._written)
            ):
                data = self._queue.popleft() if mine - self._taken == 1 else self._take(mine - self._taken)
                self._taken = mine
                is_last = self._stage is _FINISHING and mine == self._written
                self._waiting = len(data)
                if self._waiting > _PIECE:
                    self._large = begin_later(self._send_pieces(data, is_last=is_last))
                    await asyncio.shield(self._large)
                    continue
                if is_last:
                    self._stage = _OVER
                message = {"type": "http.response.body", "body": data, "more_body": not is_last}
                steps = self._send(message).__await__()
                waited_for = next(steps, DONE)
                if waited_for is not DONE:
                    await rest_of(steps, waited_for, self.note_wait)
            if then is not None and self._stage is not _OVER:
                await watched(self._send(then), self.note_wait)
        finally:
            if self._large is None and self._sender is _SENDING:  # as nearly always; nothing can have come meanwhile
                self._waiting = 0
                self._sender = _NONE
            elif self._large is None or self._large.done():
                self._large = None
                self._release()
            else:
                self._large.add_done_callback(self._note_large_sent)

    def _take(self, entries: int) -> bytes:
        return b"".join([self._queue.popleft() for _ in range(entries)])

    async def _wait_for_turn(self) -> None:
        self._turn = self._turn or asyncio.Event()
        try:
            await self._turn.wait()
        except BaseException:
            self._flush_soon()
            raise

    async def _send_pieces(self, data: bytes, *, is_last: bool) -> None:
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            ends = is_last and len(piece) == self._waiting
            if self._stage is not _OVER:
                if ends:
                    self._stage = _OVER
                message = {"type": "http.response.body", "body": piece, "more_body": not ends}
                await watched(self._send(message), self.note_wait)
                self._waiting -= len(piece)

    def note_wait(self, _: object) -> None:
        """The server makes the sender wait."""
        if self._sender is not _BLOCKED:
            self._sender = _BLOCKED
            self._on_blocked(True)

    def _release(self) -> None:
        """Let the next sender send."""
        self._waiting = 0
        was, self._sender = self._sender, _NONE
        if was is _BLOCKED:
            self._on_blocked(False)
        if self._turn is not None:
            self._turn.set()
            self._turn = None

    def _note_large_sent(self, large: "asyncio.Task[None]") -> None:
        """What was too large for one message has gone out, or failed, behind its cancelled sender."""
        self._large = None
        error = None if large.cancelled() else large.exception()
        if isinstance(error, Exception):
            self._fail(error)
        self._release()

    def _flush_soon(self) -> None:
        """Send in a task what was decided outside of the app's `send`, or what a cancelled sender has left."""
        if self._task is None or self._task.done():
            self._task = begin_later(self._flush_in_task(), self._context)

    async def _flush_in_task(self) -> None:
        try:
            while self._stage is _FINISHING or (self._stage is _OPEN and self._queue):
                await self.flush()
        except Exception as error:  # noqa: BLE001 - whatever a server's `send` raises
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """The server's `send` has failed, and not in a call of the app's."""
        self._stage = _OVER
        self._queue.clear()
        release_frames(error)  # which lead back here
        self.error = error
        self._on_failed(error)

    # Ends.

    def close(self) -> None:
        """Send nothing more, and drop callbacks and tasks: they refer back here."""
        self._stage = _OVER
        self._queue.clear()
        for task in (self._task, self._large):
            if task is not None:
                task.cancel()
        self._task = None
        self._on_blocked = self._on_failed = _ignore


def _ignore(_: object) -> None:
    """Replace a callback after the end."""
