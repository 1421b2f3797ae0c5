"""What stands before an app's `receive` and `send` while nobody knows yet whether its response is a stream of ours?"""

import asyncio
from asyncio import current_task
from collections.abc import Awaitable
from dataclasses import dataclass, field

from sseproxy.asgi.answers import stream_kind
from sseproxy.asgi.early_answer import EarlyAnswerTimer
from sseproxy.asgi.errors import require_asyncio
from sseproxy.asgi.options import StreamOptions
from sseproxy.asgi.receive_channel import ReceiveChannel
from sseproxy.asgi.requests import (
    RequestBody,
    body_of,
    has_mcp_field,
    head_may_declare,
    names_stream,
    stream_request,
    without_codings,
)
from sseproxy.asgi.responder import Responder
from sseproxy.asgi.types import Message, Receive, Scope, Send
from sseproxy.core.http.peek import BodyPeek
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.kinds import MediaKind
from sseproxy.core.stream.request import members_of


@dataclass(slots=True)
class Common:
    """What all requests of one middleware have in common.

    early: `before_response`, in seconds. members: of a JSON body, that may say what a request asks for.
    """

    options: StreamOptions
    early: float | None = field(init=False)
    members: tuple[str, ...] = field(init=False)
    _patience: EarlyAnswerTimer | None = None

    def __post_init__(self) -> None:
        self.early = self.options.heartbeat.before_response
        self.members = members_of(self.options)

    def patience(self, early: float) -> EarlyAnswerTimer:
        """What all requests of the running event loop share that may be answered early."""
        loop, patience = asyncio.get_running_loop(), self._patience
        if patience is None or patience.loop is not loop:
            patience = self._patience = EarlyAnswerTimer(early, loop)
        return patience


class ResponseSwitch:
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
        "_peek",
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
        self._inbox: ReceiveChannel | None = None
        self._patience: EarlyAnswerTimer | None = None
        self._peek: BodyPeek | None = None
        self.responder: Responder | None = None
        try:
            self._task = current_task()  # the stream may begin in another one
        except RuntimeError:
            self._task = None  # no asyncio: that matters only for a stream
        self.scope = scope
        if common.early is not None and self._task is not None:
            self._wait_if_it_may_declare(common.early)
        elif names_stream(scope):
            self._look_into_body(body_of(scope))
            self.scope = without_codings(scope)
        elif scope["method"] == "POST" and (common.options.dialect is Dialect.MCP or has_mcp_field(scope)):
            self._look_into_body(body_of(scope))  # for the id that an error in its stream has to have

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
            if (kind := stream_kind(message)) is not None:
                return self._begin(message, kind)
            if self._inbox is not None:
                self._forget_body()
            self.is_open = True
        return self._server_send(message)

    async def end(self, error: BaseException | None = None) -> bool:
        """The app has returned, or raised `error`. See `Responder.end`."""
        self._stop_waiting()
        self._forget_body()
        self._task = None  # which keeps what is raised, and with it the frames that lead here
        return self.responder is not None and await self.responder.end(error)

    def let_go(self) -> None:
        """The app is through. Keep nothing that leads back here."""
        self._task = None

    def _begin(self, start: Message, kind: MediaKind) -> Awaitable[None]:
        responder = self._new_responder()
        sent = responder.begin(start, kind)
        self.responder = responder
        return sent

    def _new_responder(self) -> Responder:
        require_asyncio(in_another_thread=self._task is not None)
        common = self._common
        plan = stream_request(self.scope, common.options, self._peek).plan()
        self._forget_body()
        client = self.scope.get("client")
        return Responder(
            plan,
            common.options.live,
            self._call_inbox(),
            self._server_send,
            client=str(client[0]) if client else "",
            task=self._task,
        )

    def _call_inbox(self) -> ReceiveChannel:
        if self._inbox is None:
            self._inbox = ReceiveChannel(self._server_receive, is_read=self._has_read, is_waiting=self._is_reading)
        return self._inbox

    # Before the response (S8).

    @property
    def is_waiting(self) -> bool:
        """The request may yet be answered before the app does."""
        return self._patience is not None

    @property
    def wants_body(self) -> bool:
        """The request body is needed to tell whether the request may be answered early."""
        return self._patience is not None and self._peek is not None and not self._peek.is_known

    def receive_body(self, body: bytes) -> None:
        """The request body, all of it; for servers that do not bring it by `receive`."""
        self.note_body(body)
        if self._patience is not None and self not in self._patience:
            self.come_due()

    def note_body(self, body: bytes) -> None:
        """The same, as the response begins: it is too late for an early one, but not for how a stream is treated."""
        if self._peek is not None and not self._peek.is_known:
            self._peek.feed(body)
            self._peek.end()

    def hold(self) -> None:
        """The request body is under way: `wait_again` follows behind it."""
        if self._patience is not None:
            self._patience.end(self)

    def wait_again(self) -> None:
        """The request body has ended: until now the app had no chance to answer."""
        if self._patience is not None:
            self._patience.begin_again(self)

    def come_due(self) -> None:
        """The client has waited long enough. While its request body is under way, the wait begins again behind it."""
        if self._patience is None or (self._inbox is not None and self._inbox.is_body_under_way):
            return
        declares = stream_request(self.scope, self._common.options, self._peek).declares
        if declares is None:
            return
        self._stop_waiting()
        if declares:
            responder = self._new_responder()
            responder.answer_early()
            self.responder = responder

    def _wait_if_it_may_declare(self, early: float) -> None:
        scope = self.scope
        body = body_of(scope)
        common = self._common
        if body is not RequestBody.JSON and not head_may_declare(scope):
            return
        self._patience = common.patience(early)
        self._patience.begin(self)
        self.scope = without_codings(scope)
        if body is not RequestBody.NONE:
            self._look_into_body(body)
            self._call_inbox().on_body_end = self.wait_again

    def _look_into_body(self, body: RequestBody) -> None:
        if body is RequestBody.JSON:
            self._peek = self._call_inbox().peek = BodyPeek(self._common.members)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.end(self)
            self._patience = None

    def _forget_body(self) -> None:
        self._peek = None
        if self._inbox is not None:
            self._inbox.peek = self._inbox.on_body_end = None
