"""What stands before an app's `receive` and `send` while nobody knows yet whether its response is a stream of ours?"""

import asyncio
from collections.abc import Awaitable

from sseproxy.asgi.answers import is_ours
from sseproxy.asgi.inbox import Inbox
from sseproxy.asgi.options import StreamOptions
from sseproxy.asgi.responder import Responder
from sseproxy.asgi.types import Message, Receive, Scope, Send
from sseproxy.streams import LiveStreams


class Gate:
    """One request. Most are no streams, so this costs next to nothing; what a stream needs is made when one begins.

    responder: who sees to the request, from the moment that there is something to see to.
    """

    __slots__ = ("_inbox", "_is_open", "_options", "_scope", "_server_receive", "_server_send", "_streams", "_task",
                 "responder")  # fmt: skip

    def __init__(
        self, options: StreamOptions, streams: LiveStreams, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._options = options
        self._streams = streams
        self._scope = scope
        self._server_receive = receive
        self._server_send = send
        self._task = asyncio.current_task()  # the stream may begin in another one
        self._inbox: Inbox | None = None
        self._is_open = False  # a response that is none of ours has begun
        self.responder: Responder | None = None
        if options.heartbeat.before_response is not None:
            self._call_responder()

    def receive(self) -> Awaitable[Message]:
        """The app's `receive`."""
        inbox = self._inbox
        if inbox is None:
            inbox = self._inbox = Inbox(self._server_receive)
        return inbox.receive()

    def send(self, message: Message) -> Awaitable[None]:
        """The app's `send`."""
        if self._is_open:
            return self._server_send(message)
        if self.responder is not None:
            return self.responder.send(message)
        if message["type"] == "http.response.start":
            if is_ours(message):
                return self._call_responder().send(message)
            self._is_open = True
        return self._server_send(message)

    def _call_responder(self) -> Responder:
        self._inbox = self._inbox or Inbox(self._server_receive)
        self.responder = Responder(
            self._options, self._streams, self._scope, self._inbox, self._server_send, task=self._task
        )
        return self.responder
