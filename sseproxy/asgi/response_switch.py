"""What stands before an app's `receive` and `send` until it is known whether its response is an event stream?"""

import asyncio
from asyncio import current_task
from collections.abc import Awaitable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial

from sseproxy.asgi.early_answer import EarlyAnswerTimer
from sseproxy.asgi.errors import require_asyncio
from sseproxy.asgi.options import StreamOptions
from sseproxy.asgi.receive_channel import ReceiveChannel
from sseproxy.asgi.request_end import RequestEnd
from sseproxy.asgi.requests import (
    BodyKind,
    body_kind,
    has_mcp_field,
    head_may_declare,
    names_stream,
    record_of,
    stream_request,
    without_codings,
)
from sseproxy.asgi.responder import Responder
from sseproxy.asgi.responses import Opening, stream_kind
from sseproxy.asgi.types import Message, Receive, Scope, Send
from sseproxy.core.eventsource.end_signer import EndSigner
from sseproxy.core.http.peek import BodyPeek
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.json_answer import JSON_ANSWER, WITHOUT_PROMISE
from sseproxy.core.stream.late_refusal import FinalMessage
from sseproxy.core.stream.request import StreamRequest, members_of


@dataclass(slots=True)
class Common:
    """What all requests of one middleware have in common.

    signer: names the ends of its streams. early: `before_response` or `json`, in seconds, whichever comes first.
    members: of a JSON body, that may say what a request asks for. waiting: GETs without a response that name event
    streams, each with its context.
    """

    options: StreamOptions
    signer: EndSigner
    early: float | None = field(init=False)
    members: tuple[str, ...] = field(init=False)
    waiting: dict["ResponseSwitch", Context] = field(default_factory=dict)
    _timers: dict[float, EarlyAnswerTimer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        heartbeat = self.options.heartbeat
        self.early = min((wait for wait in (heartbeat.before_response, heartbeat.json) if wait), default=None)
        self.members = members_of(self.options)

    def early_timer(self, seconds: float) -> EarlyAnswerTimer:
        """Return the timer that all requests of the running event loop share which wait so long."""
        loop, timer = asyncio.get_running_loop(), self._timers.get(seconds)
        if timer is None or timer.loop is not loop:
            timer = self._timers[seconds] = EarlyAnswerTimer(seconds, loop)
        return timer

    def drain(self, *, timeout: float | None, spread: float) -> None:
        """Let all streams come to an end; see `LiveStreams.drain`."""
        # Hazard: a server that ends answers a request without a response with 500, or 503, after which an `EventSource`
        # does not come back. A stream that has begun is sent away.
        for switch, context in tuple(self.waiting.items()):
            context.run(switch.begin_for_drain)
        self.options.live.drain(now=asyncio.get_running_loop().time(), timeout=timeout, spread=spread)


class FirstCall(Enum):
    """How far the app's first call of `receive` is."""

    NOT_MADE = auto()
    WAITS = auto()
    MADE = auto()


# Names of the module: they cost less, and each request needs them.
_NOT_MADE, _WAITS, _MADE = FirstCall

# Strategy. Most requests are no streams, so the switch does as little as it can, and makes what only a stream needs
# when one begins. Where it leads:
#
#     UNDECIDED ─► bypassed    the app responds with anything else: all goes to the server, as if this were not here
#         └──────► responder   the app responds with an event stream, or `before_response` was up before it responded
#
# A GET whose client has seen the end of what it asks for, and comes back by itself, is to be answered without the app:
# the caller that made the switch looks at `end`, and does not call the app then.
#
# Rules
# 1. It is decided once: `is_bypassed` and `responder` exclude each other.
# 2. Until then the app's first `receive` calls the server directly. A channel is made for a second call, for a body
#    that has to be looked into, and for a stream.
# 3. The early answer is for requests that declare a stream, and with `json` for those that take JSON. What the request
#    is may be known only at the end of its body, from which both waits count: until then the app had no chance to
#    respond. So all requests wait for the shorter of the two, and some then for the rest of the longer one.
# 4. The responder calls this object never, so that the two are freed one after the other.
#
# Hazards
# - The stream may begin in another task than the one that the server has called (task groups, Starlette): the app's
#   task, which is cancelled at the end, is the one in which the switch was made.
# - `send` may be called in a thread without an event loop (`run_coroutine_threadsafe` with a call instead of a
#   coroutine): a stream raises a `RuntimeError` that says so.


class ResponseSwitch:
    """One request.

    scope: for the app. is_bypassed: a response that is no event stream has begun.
    responder: of the event stream, once it has begun. end: of what a GET asks for that may be answered early; if it
    `is_known`, the app is not to be called.
    """

    __slots__ = (
        "_channel",
        "_common",
        "_early_timer",
        "_first_call",
        "_peek",
        "_server_receive",
        "_server_send",
        "_task",
        "_waited",
        "end",
        "is_bypassed",
        "responder",
        "scope",
    )

    def __init__(self, common: Common, scope: Scope, receive: Receive, send: Send) -> None:
        self._common = common
        self._server_receive = receive
        self._server_send = send
        self._first_call = _NOT_MADE
        self.is_bypassed = False
        self.end: RequestEnd | None = None
        self._channel: ReceiveChannel | None = None
        self._early_timer: EarlyAnswerTimer | None = None
        self._waited = 0.0  # in seconds, before the timer that runs
        self._peek: BodyPeek | None = None
        self.responder: Responder | None = None
        try:
            self._task = current_task()
        except RuntimeError:
            self._task = None  # no asyncio: that matters only for a stream
        self.scope = scope
        if scope["method"] == "GET" and self._task is not None and names_stream(scope):
            common.waiting[self] = copy_context()
        if common.early is not None and self._task is not None and self._may_be_early():
            self._watch_early(common.early)
        elif names_stream(scope):
            self._look_into_body(body_kind(scope))
            self.scope = without_codings(scope)
        elif scope["method"] == "POST" and (common.options.dialect is Dialect.MCP or has_mcp_field(scope)):
            self._look_into_body(body_kind(scope))  # for the id that an error in its stream has to have

    # The app's side.

    async def receive(self) -> Message:
        """The app's `receive`."""
        if self._first_call is not _NOT_MADE or self._channel is not None:
            return await self._make_channel().receive()
        self._first_call = _WAITS
        try:
            message = await self._server_receive()
            if message["type"] == "http.disconnect":
                self._make_channel().note(message, app_knows=True)
        finally:
            self._first_call = _MADE
            if self._channel is not None:  # made meanwhile
                self._channel.end_call()
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """The app's `send`."""
        if self.is_bypassed:
            return self._server_send(message)
        if self.responder is not None:
            return self.responder.send(message)
        if message["type"] == "http.response.start":
            if self._early_timer is not None:
                self._cancel_early()
            if self._common.waiting:
                self._common.waiting.pop(self, None)
            if (kind := stream_kind(message)) is not None:
                return self._begin_stream(Opening.by_app(message, kind)).flush()
            if self._channel is not None:
                self._stop_looking_into_body()
            self.is_bypassed = True
        return self._server_send(message)

    async def finish(self, error: BaseException | None = None) -> bool:
        """The app has returned, or raised `error`. See `Responder.finish`."""
        self._cancel_early()
        self._stop_looking_into_body()
        self._task = None  # which keeps what is raised, and with it the frames that lead here
        return self.responder is not None and await self.responder.finish(error)

    @property
    def is_broken(self) -> bool:
        """Whether there was a stream that must not look complete. Ask behind `finish`."""
        return self.responder is not None and self.responder.is_broken

    def close(self) -> None:
        """Keep nothing that leads back here, when the app has returned."""
        self._common.waiting.pop(self, None)
        self._task = None

    def _begin_stream(self, opening: Opening) -> Responder:
        require_asyncio(in_another_thread=self._task is not None)
        options = self._common.options
        plan = stream_request(self.scope, options, self._peek).plan(opening.kind)
        self._stop_looking_into_body()
        responder = Responder(
            plan,
            options.live,
            self._make_channel(),
            self._server_send,
            record=record_of(self.scope, now=asyncio.get_running_loop().time()),
            task=self._task,
            opening=opening,
        )
        responder.start()
        self.responder = responder
        return responder

    def _make_channel(self) -> ReceiveChannel:
        if self._channel is None:
            first = self._first_call
            is_read, is_waiting = first is not _NOT_MADE, first is _WAITS
            self._channel = ReceiveChannel(self._server_receive, is_read=is_read, is_waiting=is_waiting)
        return self._channel

    # The early answer (rule 3).

    def _may_be_early(self) -> bool:
        """True if the request may be answered early, at a glance."""
        heartbeat = self._common.options.heartbeat
        if heartbeat.json is not None and self.scope["method"] not in WITHOUT_PROMISE:
            return True
        may_declare = head_may_declare(self.scope) or body_kind(self.scope) is BodyKind.JSON
        return may_declare and heartbeat.before_response is not None

    def _watch_early(self, early: float) -> None:
        """Answer the request early, if it turns out to be one for that."""
        body = body_kind(self.scope)
        if self.scope["method"] == "GET":
            self.end = RequestEnd(self._common.signer, self.scope, self._common.options)
            if self.end.is_known:
                return
        self._early_timer = self._common.early_timer(early)
        self._early_timer.begin(self)
        self.scope = without_codings(self.scope)
        if body is not BodyKind.NONE:
            self._look_into_body(body)
            self._make_channel().on_body_end = self.restart_early

    @property
    def may_answer_early(self) -> bool:
        """True if the request may yet be answered before the app responds."""
        return self._early_timer is not None

    def hold_early(self) -> None:
        """The request body is under way: `restart_early` follows behind it."""
        if self._early_timer is not None:
            self._early_timer.end(self)

    def restart_early(self) -> None:
        """The request body has ended: count from now."""
        if self._channel is not None:
            self._channel.on_body_end = None
        if self._early_timer is not None and self._common.early is not None:
            if self._waited:
                self._early_timer.end(self)
                self._waited, self._early_timer = 0.0, self._common.early_timer(self._common.early)
            self._early_timer.begin_again(self)

    def come_due(self) -> None:
        """The client has waited long enough. While its request body is under way, the wait begins again behind it."""
        # Hazard: a call that a timer has scheduled, and before which the body has come, and with it another wait.
        if self._early_timer is None or self in self._early_timer:
            return
        if self._channel is not None and self._channel.is_body_under_way:
            return
        request = stream_request(self.scope, self._common.options, self._peek)
        declares = request.declares
        # Hazard: of a body that the app has yet to read an early answer keeps a part only (`ReceiveChannel`, rule 2).
        is_unread = self._channel is not None and self._channel.on_body_end is not None
        if declares is None or (is_unread and not declares):
            return
        waited, wait = self._waited + self._early_timer.seconds, request.early_after
        self._cancel_early()
        if wait is not None and wait > waited:
            self._waited, self._early_timer = waited, self._common.early_timer(wait - waited)
            self._early_timer.begin(self)
        elif wait is not None:
            kind, message = (request.promised_kind, self._final_message(request)) if declares else (JSON_ANSWER, None)
            self._begin_stream(Opening.early(kind, message, waited=wait))

    def begin_for_drain(self) -> None:
        """Answer a client that comes back by itself behind the end of a stream: the process ends."""
        request = stream_request(self.scope, self._common.options, self._peek)
        del self._common.waiting[self]
        if request.declares and request.plan().comes_back:
            self._cancel_early()
            kind, wait = request.promised_kind, request.early_after
            self._begin_stream(Opening.early(kind, self._final_message(request), waited=wait))

    def _final_message(self, request: StreamRequest) -> FinalMessage | None:
        if self.end is None or not request.asks_again:
            return None
        return partial(self.end.message, id_has_event=request.drops_ids_without_data)

    def _cancel_early(self) -> None:
        if self._early_timer is not None:
            self._early_timer.end(self)
            self._early_timer = None

    # The request body.

    @property
    def wants_body(self) -> bool:
        """True if the request body is needed to tell whether the request may be answered early."""
        return self._early_timer is not None and self._peek is not None and not self._peek.is_known

    def receive_body(self, body: bytes) -> None:
        """Take the request body, all of it; for servers that do not bring it by `receive`."""
        self.note_body(body)
        if self._early_timer is not None and self not in self._early_timer:
            self.come_due()

    def note_body(self, body: bytes) -> None:
        """The same, as the response begins: too late for an early answer, but not for how a stream is treated."""
        if self._peek is not None and not self._peek.is_known:
            self._peek.feed(body)
            self._peek.end()

    def _look_into_body(self, body: BodyKind) -> None:
        if body is BodyKind.JSON:
            self._peek = self._make_channel().peek = BodyPeek(self._common.members)

    def _stop_looking_into_body(self) -> None:
        self._peek = None
        if self._channel is not None:
            self._channel.peek = self._channel.on_body_end = None
