"""What does the client still say while its stream runs, and how does the app receive it?"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from sseproxy.asgi.kept_messages import KEPT_UNREAD, KeptMessages
from sseproxy.asgi.later import begin_later
from sseproxy.asgi.types import Message, Receive
from sseproxy.asgi.waiting import AbortableWait
from sseproxy.core.http.peek import BodyPeek

_NOT_READ = (
    f"the request body was not read before the event stream began, and no more than {KEPT_UNREAD} bytes are kept of "
    "it: read it first"
)


def _ignore(_: bool) -> None:
    """Stand in for `on_disconnect` before and after a stream."""


# Strategy. A client that leaves has to be noticed also if the app never calls `receive`. So during a stream the channel
# calls the server itself (it listens), and serves the app from what it has heard. The server is never called twice at
# once:
#
#     before the stream     the app calls the server, and the channel looks on
#     `listen`              a call of the app that waits goes on; behind it, or at once, the channel listens
#     `close`               the app calls the server again
#
# Rules
# 1. At most one call of the server's `receive` is the channel's, and none while one of the app's waits.
# 2. A client that leaves is heard of behind its request body only. An app that has begun to read the body sets the
#    pace; for one that has not, the body is kept up to a limit, and thrown away beyond.
# 3. `on_disconnect` is called when the client has left, with True if the app receives it as well.
# 4. What the server's `receive` raises while the channel listens is raised at the app's next call, once; from then on
#    the app calls the server itself.
# 5. `disconnect` ends the app's waits though the client may still be there; the channel goes on listening for it.
#
# Hazards
# - Several calls of one app may wait at once: some apps listen for the client, and look besides whether it has left.
# - `BaseHTTPMiddleware` of Starlette around the middleware waits in a task group of anyio, which keeps a cancellation
#   from outside to itself: the wait then ends with another error, or with none.
# - With `asyncio.eager_task_factory` a listener would hear `http.disconnect` before the app whose call has just
#   returned with it: rule 3 needs `note` before `end_call`.


class ReceiveChannel:
    """The `receive` of one request.

    on_disconnect: see rule 3. peek: looks at the request body while it passes. on_body_end: called once, behind its
    last byte. is_read: the app has called the server already. is_waiting: and that call goes on; `end_call` follows,
    and `note` for a disconnect.
    """

    # Most requests are no streams and need none of this: it is set when it is needed, and costs nothing until then.
    _waiting = 0  # calls of the app that wait for the server
    _asking = 0  # calls of the app that wait for the listener
    _is_read = False  # the app has called
    _is_listening = False
    _listener: asyncio.Task[None] | None = None
    _disconnect: Message | None = None  # for the app
    _left: Message | None = None  # the client has: the server's message
    _waits: tuple[AbortableWait, ...] = ()
    _failure: Exception | None = None  # see rule 4
    _changed: asyncio.Event | None = None
    _kept: KeptMessages | None = None  # what the listener has heard
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
            if message is not self._disconnect:  # else it is that of `disconnect`
                self.note(message, app_knows=True)
        finally:
            self.end_call()
        return message

    @property
    def _has_something_for_the_app(self) -> bool:
        """True also if the listener will have it."""
        is_there = self._disconnect is not None or self._failure is not None or self._listener is not None
        return is_there or (self._kept is not None and (bool(self._kept) or self._kept.is_lost))

    async def _ask(self) -> Message:
        """Call the server, until `disconnect` at the latest."""
        wait = AbortableWait()
        self._waits = (*self._waits, wait)
        try:
            return await wait.run(self._receive())
        except (asyncio.CancelledError, Exception):
            # Hazard: what a task group around the middleware makes of the abort may be any error.
            task = asyncio.current_task()
            is_cancelled = task is not None and task.cancelling() > 0
            if self._disconnect is None or not wait.is_aborted or is_cancelled:
                raise
            return self._disconnect
        finally:
            self._waits = tuple(other for other in self._waits if other is not wait)

    async def _next_kept(self) -> Message:
        """Return what the listener has heard, or hears next."""
        self._is_read = True
        if self._kept is None:
            self._kept = KeptMessages()
        kept = self._kept
        self._asking += 1
        try:
            while not (kept or kept.is_lost) and self._disconnect is None and self._listener is not None:
                await self._change()
        finally:
            self._asking -= 1
        if kept:
            self._note_change()
            return kept.pop()
        if self._disconnect is not None:
            if self.has_left:
                self.on_disconnect(True)
            return self._disconnect
        if kept.is_lost:
            raise RuntimeError(_NOT_READ)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return await self.receive()  # the listener has stopped

    # The server's side.

    def note(self, message: Message, *, app_knows: bool) -> None:
        """Take note of what the client has said. app_knows: the app receives it, too."""
        if message["type"] == "http.disconnect":
            self._left = self._disconnect = message
            self.on_disconnect(app_knows)
            self._note_change()
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

    def end_call(self) -> None:
        """A call of the app waits for the server no longer. What it returns was noted before."""
        self._waiting -= 1
        if self._is_listening:
            self._listen()

    @property
    def has_left(self) -> bool:
        """True if the client has left."""
        return self._left is not None

    @property
    def is_body_under_way(self) -> bool:
        """True if the app has begun to read a body whose end is waited for."""
        return self._is_read and self.on_body_end is not None

    @property
    def kept_size(self) -> int:
        """Bytes that are kept for the app."""
        return 0 if self._kept is None else self._kept.size

    # The stream's side.

    def listen(self) -> None:
        """From now on, notice that the client leaves, also if the app never calls again."""
        self._kept = KeptMessages()
        self._changed = asyncio.Event()
        self._is_listening = True
        if self._disconnect is not None:
            self.on_disconnect(True)
        self._listen()

    def _listen(self) -> None:
        if not self._waiting and self._listener is None and not self.has_left:
            assert self._kept is not None
            self._listener = begin_later(self._keep_listening(self._kept))

    async def _keep_listening(self, kept: KeptMessages) -> None:
        try:
            while not self.has_left:
                while kept.is_full and self._is_read:
                    await self._change()
                message = await self._receive()
                if message["type"] != "http.disconnect" and self._disconnect is None:
                    kept.append(message, app_reads=self._is_read)
                self.note(message, app_knows=self._asking > 0)
                self._note_change()
        except Exception as error:  # noqa: BLE001 - whatever a server's `receive` raises, or that of a middleware
            self._failure = error
            self._is_listening = False
            self._listener = None
            self._note_change()

    async def _change(self) -> None:
        assert self._changed is not None
        self._changed.clear()
        await self._changed.wait()

    def _note_change(self) -> None:
        if self._changed is not None:
            self._changed.set()

    def disconnect(self) -> bool:
        """Deliver `http.disconnect` to a waiting app, and to each later call. Return True if the app was waiting."""
        is_waiting = self._asking > 0 or bool(self._waits)
        if self._disconnect is None:
            self._disconnect = {"type": "http.disconnect"}
        for wait in self._waits:
            wait.abort()
        self._note_change()
        return is_waiting

    async def wait_for_disconnect(self, seconds: float) -> None:
        """Wait until the client has left, for `seconds` at most. Only between `listen` and `close`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.has_left:
                    await self._change()

    def close(self) -> None:
        """Stop listening. What the app still asks goes to the server."""
        self._is_listening = False
        self._failure = None
        self.on_disconnect = _ignore
        if self._listener is not None:
            self._listener.cancel()
            self._listener = None
            self._note_change()
