"""What does the client still say while its stream runs, and who may hear it?

The app's `receive` is never raced: either the app waits for the server, or we do, and then the app is served from
what we have heard.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from sseproxy.asgi.types import Message, Receive
from sseproxy.core.peek import BodyPeek

#: Bytes of a request body that are kept for an app that does not read it.
_KEPT = 64 * 1024


class Inbox:
    """The `receive` of one request.

    on_disconnect: called once when the client has left, with whether the app has been told.
    """

    def __init__(self, receive: Receive, on_disconnect: Callable[[bool], None]) -> None:
        self._receive = receive
        self._on_disconnect = on_disconnect
        self._waiting = 0  # calls of the app that wait for the server
        self._listening = False
        self._listener: asyncio.Task[None] | None = None
        self._kept: deque[Message] = deque()
        self._kept_size = 0
        self._changed = asyncio.Event()
        self._disconnect: Message | None = None
        self.peek: BodyPeek | None = None

    # The app's side.

    async def receive(self) -> Message:
        """The app's `receive`."""
        if self._listener is not None or self._kept:
            return await self._next_kept()
        self._waiting += 1
        try:
            message = await self._receive()
        finally:
            self._waiting -= 1
            if self._listening:
                self._listen()
        self._note(message, app_knows=True)
        return message

    async def _next_kept(self) -> Message:
        while not self._kept:
            if self._disconnect is not None:
                self._on_disconnect(True)
                return self._disconnect
            self._changed.clear()
            await self._changed.wait()
        message = self._kept.popleft()
        self._kept_size -= len(message.get("body", b""))
        self._changed.set()
        return message

    # Our side.

    def listen(self) -> None:
        """From now on, notice that the client leaves, also if the app never asks again."""
        self._listening = True
        self._listen()

    def close(self) -> None:
        """Stop listening."""
        self._listening = False
        if self._listener is not None:
            self._listener.cancel()

    def _listen(self) -> None:
        if not self._waiting and self._listener is None and self._disconnect is None:
            self._listener = asyncio.get_running_loop().create_task(self._keep_listening())

    async def _keep_listening(self) -> None:
        while self._disconnect is None:
            while self._kept_size > _KEPT:
                self._changed.clear()
                await self._changed.wait()
            message = await self._receive()
            if message["type"] != "http.disconnect":
                self._kept.append(message)
                self._kept_size += len(message.get("body", b""))
            self._note(message, app_knows=False)
            self._changed.set()

    def _note(self, message: Message, *, app_knows: bool) -> None:
        if message["type"] == "http.disconnect":
            self._disconnect = message
            self._on_disconnect(app_knows)
        elif self.peek is not None and message["type"] == "http.request":
            self.peek.feed(message.get("body", b""))
            if not message.get("more_body", False):
                self.peek.end()
