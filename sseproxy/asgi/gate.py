"""What stands before an app's `receive` and `send` while nobody knows yet whether its response is a stream of ours?"""

import asyncio
from asyncio import current_task
from collections.abc import Awaitable
from dataclasses import dataclass, field

from sseproxy.asgi.answers import is_ours
from sseproxy.asgi.errors import require_asyncio
from sseproxy.asgi.inbox import Inbox
from sseproxy.asgi.options import StreamOptions
from sseproxy.asgi.patience import Patience
from sseproxy.asgi.requests import asks, for_app, without_codings
from sseproxy.asgi.responder import Responder
from sseproxy.asgi.types import Message, Receive, Scope, Send
from sseproxy.core.peek import BodyPeek
from sseproxy.streams import LiveStreams


@dataclass(slots=True)
class Common:
    """What all requests of one middleware have in common. early: `before_response`, in seconds."""

    options: StreamOptions
    early: float | None
    streams: LiveStreams = field(default_factory=LiveStreams)
    _patience: Patience | None = None

    def patience(self, early: float) -> Patience:
        """What all requests of the running event loop share that may be answered early."""
        loop, patience = asyncio.get_running_loop(), self._patience
        if patience is None or patience.loop is not loop:
            patience = self._patience = Patience(early, loop)
        return patience


class Gate:
    """One request. Most are no streams, so this costs next to nothing; what a stream needs is made when one begins.

    scope: for the app. is_open: a response that is none of ours has begun.
    responder: who sees to the stream, once there is one, or one has been promised.
    """

    __slots__ = (
        "_common",
        "_has_read",
        "_inbox",
        "_is_reading",
        "_patience",
        "_server_receive",
        "_server_send",
        "_task",
        "is_open",
        "responder",
        "scope",
    )

    def __init__(self, common: Common, scope: Scope, receive: Receive, send: Send) -> None:
        self._common = common
        self._server_receive = receive
        self._server_send = send
        self._has_read = False
        self._is_reading = False
        self.is_open = False
        self._inbox: Inbox | None = None
        self._patience: Patience | None = None
        self.responder: Responder | None = None
        try:
            self._task = current_task()  # the stream may begin in another one
        except RuntimeError:
            self._task = None  # no asyncio: that matters only for a stream
        if common.early is None:
            self.scope = for_app(scope)
        else:
            wanted = asks(scope)
            self.scope = scope if wanted is False else self._wait(scope, common.early, in_body=wanted is None)

    async def receive(self) -> Message:
        """The app's `receive`. Most apps call once, and an inbox is for what comes after that."""
        if self._has_read or self._inbox is not None:
            return await self._call_inbox().receive()
        self._has_read = self._is_reading = True
        try:
            message = await self._server_receive()
            if message["type"] == "http.disconnect":
                self._call_inbox().note(message, app_knows=True)
        finally:
            self._is_reading = False
            if self._inbox is not None:  # meanwhile
                self._inbox.go_on()
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """The app's `send`."""
        if self.is_open:
            return self._server_send(message)
        if self.responder is not None:
            return self.responder.send(message)
        if message["type"] == "http.response.start":
            if self._patience is not None:
                self._stop_waiting()
            if is_ours(message):
                return self._begin(message)
            self.is_open = True
        return self._server_send(message)

    async def end(self, error: BaseException | None = None) -> bool:
        """The app has returned, or raised `error`. See `Responder.end`."""
        self._stop_waiting()
        return self.responder is not None and await self.responder.end(error)

    def _begin(self, start: Message) -> Awaitable[None]:
        responder = self._new_responder()
        sent = responder.begin(start)
        self.responder = responder
        return sent

    def _new_responder(self) -> Responder:
        require_asyncio(in_another_thread=self._task is not None)
        common = self._common
        return Responder(
            common.options, common.streams, self.scope, self._call_inbox(), self._server_send, task=self._task
        )

    def _call_inbox(self) -> Inbox:
        if self._inbox is None:
            self._inbox = Inbox(self._server_receive, is_read=self._has_read, is_waiting=self._is_reading)
        return self._inbox

    # Before the response (S8).

    @property
    def is_waiting(self) -> bool:
        """The request may yet be answered before the app does."""
        return self._patience is not None

    def receive_body(self, body: bytes) -> None:
        """The request body, all of it; for servers that do not bring it by `receive`."""
        if self._inbox is not None and self._inbox.peek is not None:
            self._inbox.peek.feed(body)
            self._inbox.peek.end()

    def come_due(self) -> None:
        """The client has waited long enough, or its request body is known: called for both, the later one counts."""
        if self._patience is None or self in self._patience:
            return
        if self._inbox is not None and self._inbox.peek is not None and not self._inbox.peek.declares_stream:
            return
        self._stop_waiting()
        responder = self._new_responder()
        responder.answer_early()
        self.responder = responder

    def _wait(self, scope: Scope, early: float, *, in_body: bool) -> Scope:
        """Begin to. in_body: only the request body can tell whether there is something to wait for.

        What the app is to see.
        """
        if self._task is None:
            return for_app(scope)
        self._patience = self._common.patience(early)
        self._patience.begin(self)
        if in_body:
            self._call_inbox().peek = BodyPeek(self.come_due)
        return without_codings(scope)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.end(self)
            self._patience = None
            if self._inbox is not None:
                self._inbox.peek = None
