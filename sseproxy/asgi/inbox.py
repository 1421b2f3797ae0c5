"""What does the client still say while its stream runs, and who may hear it?

The app's `receive` is never raced: either the app waits for the server, or we do, and then the app is served from
what we have heard.
"""

import asyncio
from collections.abc import Callable, Sequence

from sseproxy.asgi.types import Message, Receive
from sseproxy.core.peek import BodyPeek

#: Bytes of a request body that are kept for an app that does not read it.
_KEPT = 64 * 1024


def _nobody(_: bool) -> None:
    """Who wants to know that the client has left, before and after a stream."""


class Inbox:
    """The `receive` of one request.

    on_disconnect: called once when the client has left, with whether the app has been told.
    """

    # Most requests are no streams and need none of this: it is set when it is needed, and costs nothing until then.
    _waiting = 0  # calls of the app that wait for the server
    _asking = 0  # calls of the app that wait for us
    _listening = False
    _listener: asyncio.Task[None] | None = None
    _kept_size = 0
    _disconnect: Message | None = None
    _kept: Sequence[Message] = ()  # what we have heard and the app has not
    peek: BodyPeek | None = None
    on_disconnect: Callable[[bool], None] = staticmethod(_nobody)

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

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
        if self.peek is not None or message["type"] == "http.disconnect":
            self._note(message, app_knows=True)
        return message

    async def _next_kept(self) -> Message:
        await self._until_heard()
        if not self._kept:
            if self._disconnect is None:
                return await self.receive()  # we have stopped listening
            self.on_disconnect(True)
            return self._disconnect
        message, *self._kept = self._kept
        self._kept_size -= len(message.get("body", b""))
        self._changed.set()
        return message

    async def _until_heard(self) -> None:
        self._asking += 1
        try:
            while not self._kept and self._disconnect is None and self._listener is not None:
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._asking -= 1

    # Our side.

    def listen(self) -> None:
        """From now on, notice that the client leaves, also if the app never asks again."""
        self._changed = asyncio.Event()
        self._listening = True
        if self._disconnect is not None:
            self.on_disconnect(True)
        self._listen()

    def close(self) -> None:
        """Stop listening, and let go of whoever listened with us. What the app still asks goes to the server."""
        self._listening = False
        self.on_disconnect = _nobody
        if self._listener is not None:
            self._listener.cancel()
            self._listener = None
            self._changed.set()

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
                self._kept = [*self._kept, message]
                self._kept_size += len(message.get("body", b""))
            self._note(message, app_knows=self._asking > 0)
            self._changed.set()

    def _note(self, message: Message, *, app_knows: bool) -> None:
        if message["type"] == "http.disconnect":
            self._disconnect = message
            self.on_disconnect(app_knows)
        elif self.peek is not None and message["type"] == "http.request":
            self.peek.feed(message.get("body", b""))
            if not message.get("more_body", False):
                self.peek.end()
