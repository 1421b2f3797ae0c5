"""What stands before an app's `receive` and `send` while nobody knows yet whether its response is a stream of ours?"""

from asyncio import current_task
from collections.abc import Awaitable
from dataclasses import dataclass, field

from sseproxy.asgi.answers import is_ours
from sseproxy.asgi.errors import is_asyncio, require_asyncio
from sseproxy.asgi.inbox import Inbox
from sseproxy.asgi.options import StreamOptions
from sseproxy.asgi.requests import Asks, asks, without_codings
from sseproxy.asgi.responder import Responder
from sseproxy.asgi.types import Message, Receive, Scope, Send
from sseproxy.streams import LiveStreams


@dataclass(frozen=True, slots=True)
class Common:
    """What all requests of one middleware have in common. early: `before_response`, in seconds."""

    options: StreamOptions
    early: float | None
    streams: LiveStreams = field(default_factory=LiveStreams)


class Gate:
    """One request. Most are no streams, so this costs next to nothing; what a stream needs is made when one begins.

    scope: for the app. is_open: a response that is none of ours has begun.
    responder: who sees to the request, from the moment that there is something to see to.
    """

    __slots__ = ("_common", "_inbox", "_server_receive", "_server_send", "_task", "is_open", "responder", "scope")

    def __init__(self, common: Common, scope: Scope, receive: Receive, send: Send) -> None:
        self._common = common
        self._server_receive = receive
        self._server_send = send
        self._inbox: Inbox | None = None
        self.is_open = False
        self.responder: Responder | None = None
        try:
            self._task = current_task()  # the stream may begin in another one
        except RuntimeError:
            self._task = None  # no asyncio: that matters only for a stream
        self.scope = scope
        if common.early is not None:
            self._watch(scope, common.early)
            return
        for name, value in scope["headers"]:
            if name == b"accept":
                if value.lower().find(b"text/event-stream") >= 0:
                    self.scope = without_codings(scope)
                return

    def receive(self) -> Awaitable[Message]:
        """The app's `receive`."""
        inbox = self._inbox
        if inbox is None:
            inbox = self._inbox = Inbox(self._server_receive)
        return inbox.receive()

    def send(self, message: Message) -> Awaitable[None]:
        """The app's `send`."""
        if self.is_open:
            return self._server_send(message)
        responder = self.responder
        if responder is not None and responder.has_stream:
            return responder.send(message)
        if message["type"] == "http.response.start":
            if is_ours(message):
                return (responder or self._call_responder()).begin(message)
            if responder is not None:
                responder.let_go()
            self.is_open = True
        return self._server_send(message)

    async def end(self, error: BaseException | None = None) -> bool:
        """The app has returned, or raised `error`. See `Responder.end`."""
        return self.responder is not None and not self.is_open and await self.responder.end(error)

    def _watch(self, scope: Scope, early: float) -> None:
        """Whoever may be waiting for a stream is not to wait for too long (S8)."""
        wanted = asks(scope)
        if wanted is not Asks.NO and is_asyncio():
            self.scope = without_codings(scope)
            self._call_responder().watch(early, in_body=wanted is Asks.MAYBE)

    def _call_responder(self) -> Responder:
        require_asyncio()
        self._inbox = self._inbox or Inbox(self._server_receive)
        common = self._common
        self.responder = Responder(
            common.options, common.streams, self.scope, self._inbox, self._server_send, task=self._task
        )
        return self.responder
