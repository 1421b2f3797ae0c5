"""What does the client still say while its stream runs, and who may hear it?

The app's `receive` is never raced: either the app waits for the server, or we do, and then the app is served from
what we have heard.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from sseproxy.asgi.tasks import begin_later
from sseproxy.asgi.types import Message, Receive
from sseproxy.asgi.waiting import watched
from sseproxy.core.http.peek import BodyPeek

#: Bytes that are kept for an app that reads, for one that has not begun to, and what a message takes beside its body.
_KEPT = 64 * 1024
_KEPT_UNREAD = 1024 * 1024
_MESSAGE = 256

_NOT_READ = (
    f"the request body was not read before the event stream began, and no more than {_KEPT_UNREAD} bytes are kept of "
    "it: read it first"
)


def _ignore(_: bool) -> None:
    """Stand in for `on_disconnect` before and after a stream."""


class ReceiveChannel:
    """The `receive` of one request.

    A client that leaves is heard of behind the rest of its request body only. An app that reads the body sets the
    pace, as it does without us; for one that never does, it is kept up to a limit, and beyond that thrown away.
    on_disconnect: called once when the client has left, with whether the app has been told.
    peek: looks at the request body while it passes. on_body_end: called once, behind its last byte.
    is_read: the app has called the server already. is_waiting: and that call goes on; `go_on` follows, and `note`.
    """

    # Most requests are no streams and need none of this: it is set when it is needed, and costs nothing until then.
    _waiting = 0  # calls of the app that wait for the server
    _asking = 0  # calls of the app that wait for us
    _is_read = False  # the app has called
    _is_lost = False  # what the client has said is not there any more
    _listening = False
    _listener: asyncio.Task[None] | None = None
    _kept_size = 0
    _disconnect: Message | None = None  # for the app, which may hear it although the client is still there
    _has_left = False  # the client
    _waits: "tuple[_Wait, ...]" = ()
    _failure: Exception | None = None  # of the server's `receive` while we listened, and the app has not heard of it
    _kept: deque[Message] | None = None  # what we have heard and the app has not
    _changed: asyncio.Event | None = None
    peek: BodyPeek | None = None
    on_body_end: Callable[[], None] | None = None
    on_disconnect: Callable[[bool], None] = staticmethod(_ignore)

    def __init__(self, receive: Receive, *, is_read: bool = False, is_waiting: bool = False) -> None:
        self._receive = receive
        if is_read:
            self._is_read = True
            self._waiting = int(is_waiting)

    # The app's side.

    async def receive(self) -> Message:
        """The app's `receive`. Raises `RuntimeError` if it comes too late for a request body that was too large."""
        if self._is_read or self._changed is not None:
            if self._has_something_for_the_app:
                return await self._next_kept()
            question: Awaitable[Message] = self._ask()
        else:
            question = self._receive()
        self._is_read = True
        self._waiting += 1
        try:
            message = await question
            if message is not self._disconnect:  # else the middleware sent it when the stream ended
                self.note(message, app_knows=True)
        finally:
            self.go_on()
        return message

    @property
    def _has_something_for_the_app(self) -> bool:
        """Or will have it: somebody listens."""
        is_heard = self._disconnect is not None or self._is_lost or self._failure is not None
        return is_heard or self._listener is not None or bool(self._kept)

    async def _ask(self) -> Message:
        """Ask the server. The client's leaving may be all that is still waited for: that can be broken off."""
        wait = _Wait()
        self._waits = (*self._waits, wait)
        try:
            return await watched(self._receive(), wait.note)
        except (asyncio.CancelledError, Exception):
            # Hazard: a middleware around us may wait in a task group of anyio, which keeps our cancellation to itself.
            if self._disconnect is None or not wait.is_broken_off or _is_cancelled():
                raise
            return self._disconnect
        finally:
            self._waits = tuple(other for other in self._waits if other is not wait)

    def go_on(self) -> None:
        """A call of the app waits for the server no longer. If it has heard that the client left, that is noted."""
        self._waiting -= 1
        if self._listening:
            self._listen()

    def note(self, message: Message, *, app_knows: bool) -> None:
        """What the client has said. app_knows: the app hears it, too."""
        if message["type"] == "http.disconnect":
            self._has_left = True
            self._disconnect = message
            self.on_disconnect(app_knows)
        elif message["type"] == "http.request":
            peek, on_body_end = self.peek, self.on_body_end
            ends = not message.get("more_body", False)
            if peek is not None:
                peek.feed(message.get("body", b""))
                if ends:
                    peek.end()
            if ends and on_body_end is not None:
                self.on_body_end = None
                on_body_end()

    @property
    def is_body_under_way(self) -> bool:
        """True if the app has begun to read a body whose end is waited for."""
        return self._is_read and self.on_body_end is not None

    async def _next_kept(self) -> Message:
        self._is_read = True
        await self._until_heard()
        if self._kept:
            message = self._kept.popleft()
            self._kept_size -= _size(message)
            self._note_change()
            return message
        if self._disconnect is not None:
            if self._has_left:
                self.on_disconnect(True)
            return self._disconnect
        if self._is_lost:
            raise RuntimeError(_NOT_READ)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return await self.receive()  # we have stopped listening

    async def _until_heard(self) -> None:
        self._asking += 1
        try:
            while not (self._kept or self._is_lost) and self._disconnect is None and self._listener is not None:
                await self._change()
        finally:
            self._asking -= 1

    # Our side.

    def listen(self) -> None:
        """From now on, notice that the client leaves, also if the app never asks again."""
        self._kept = deque()
        self._changed = asyncio.Event()
        self._listening = True
        if self._disconnect is not None:
            self.on_disconnect(True)
        self._listen()

    def hang_up(self) -> bool:
        """The stream is over, and there is nobody left to hear from: tell the app, if it waits. Whether it does."""
        is_waiting = self._asking > 0 or bool(self._waits)
        if self._disconnect is None:
            self._disconnect = {"type": "http.disconnect"}
        for wait in self._waits:
            wait.break_off()
        self._note_change()
        return is_waiting

    def close(self) -> None:
        """Stop listening, and let go of whoever listened with us. What the app still asks goes to the server."""
        self._listening = False
        self._failure = None
        self.on_disconnect = _ignore
        if self._listener is not None:
            self._listener.cancel()
            self._listener = None
            self._note_change()

    def _listen(self) -> None:
        if not self._waiting and self._listener is None and not self._has_left:
            self._listener = begin_later(self._keep_listening())

    async def _keep_listening(self) -> None:
        try:
            while not self._has_left:
                await self._until_there_is_room()
                message = await self._receive()
                if message["type"] != "http.disconnect":
                    self._keep(message)
                self.note(message, app_knows=self._asking > 0)
                self._note_change()
        except Exception as error:  # noqa: BLE001 - whatever a server's `receive` raises, or a middleware's around us
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """The app's own call would have raised it: if it asks, it has to hear of it. From then on it asks by itself."""
        self._failure = error
        self._listening = False
        self._listener = None
        self._note_change()

    async def _until_there_is_room(self) -> None:
        while self._kept_size > _KEPT and self._is_read:
            await self._change()

    async def _change(self) -> None:
        assert self._changed is not None
        self._changed.clear()
        await self._changed.wait()

    def _note_change(self) -> None:
        if self._changed is not None:
            self._changed.set()

    def _keep(self, message: Message) -> None:
        assert self._kept is not None
        if not self._is_lost and self._disconnect is None:
            self._kept.append(message)
            self._kept_size += _size(message)
        if self._kept_size > _KEPT_UNREAD and not self._is_read:
            self._is_lost = True
            self._kept.clear()
            self._kept_size = 0


class _Wait:
    """One call of the app's that waits for the server. There may be several: some apps listen, and look besides."""

    def __init__(self) -> None:
        self._waits_for: Any = None
        self._is_to_raise = False
        self.is_broken_off = False

    def note(self, waited_for: Any) -> None:
        """Raises `CancelledError`, once: whoever cleans up after it may wait again."""
        self._waits_for = waited_for
        if self._is_to_raise:
            self._is_to_raise = False
            raise asyncio.CancelledError

    def break_off(self) -> None:
        self.is_broken_off = True
        if hasattr(self._waits_for, "cancel"):
            self._waits_for.cancel()
        else:  # granian waits for nothing in particular, and will be here again
            self._is_to_raise = True


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _size(message: Message) -> int:
    return len(message.get("body", b"")) + _MESSAGE
