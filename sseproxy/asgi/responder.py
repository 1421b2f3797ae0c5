"""What happens to one request of the app, from its call to its return?"""

import asyncio
from collections.abc import Awaitable, Callable

from sseproxy.asgi.answers import Refusal, is_ours
from sseproxy.asgi.errors import StreamAborted
from sseproxy.asgi.inbox import Inbox
from sseproxy.asgi.options import StreamOptions
from sseproxy.asgi.outbox import Outbox
from sseproxy.asgi.types import Message, Scope, Send
from sseproxy.core.clients import form_for_client
from sseproxy.core.dialects import StreamError
from sseproxy.core.headers import Headers, accepts_event_stream, event_stream, get
from sseproxy.core.heartbeat import HeartbeatForm
from sseproxy.core.peek import BodyPeek
from sseproxy.core.session import StreamSession
from sseproxy.core.transfer import CloseReason
from sseproxy.relay import Relay
from sseproxy.streams import LiveStream, LiveStreams

#: Seconds that an app gets to end by itself once it has heard that the client is gone.
_GRACE = 0.5

#: The name under which the streams of an app are counted.
_ROUTE = "app"

#: Ends that the server knows of without us.
_NOT_OUR_DOING = (CloseReason.CLIENT_GONE, CloseReason.UPSTREAM_ERROR)

_NO_RESPONSE = "The application gave no response."
_FAILED = "The application failed."

_EARLY_HEAD: Headers = [(b"content-type", b"text/event-stream")]


class Responder:
    """One request that is answered with an event stream, or may have to be. task: the one that the app runs in."""

    is_passed_on = False  # a response that is none of ours has begun
    _relay: Relay | None = None
    _outbox: Outbox | None = None
    _live: LiveStream | None = None
    _responded = False
    _refusal: Refusal | None = None
    _timers: tuple[asyncio.TimerHandle, ...] = ()
    _ending: asyncio.Task[None] | None = None
    _app_is_done = False
    _cancelled_app = False
    _cancelled_by_others = False  # as well

    def __init__(
        self,
        options: StreamOptions,
        streams: LiveStreams,
        scope: Scope,
        inbox: Inbox,
        send: Send,
        *,
        task: asyncio.Task[None] | None,
    ) -> None:
        self._options = options
        self._streams = streams
        self._scope = scope
        self._inbox = inbox
        self._server_send = send
        self._task = task
        if options.heartbeat.before_response is not None:
            self._watch_for_silence(options.heartbeat.before_response)

    @property
    def has_stream(self) -> bool:
        """Whether the client has been given, or promised, an event stream of ours."""
        return self._relay is not None

    # The app's side.

    def send(self, message: Message) -> Awaitable[None]:
        """The app's `send`."""
        if self.is_passed_on:
            return self._server_send(message)
        if self._relay is not None:
            return self._go_on(message, self._relay)
        if message["type"] != "http.response.start":
            return self._server_send(message)
        if self._timers:
            self._stop_timers()
        if is_ours(message):
            return self._begin(message)
        self.is_passed_on = True
        return self._server_send(message)

    async def _begin(self, message: Message) -> None:
        self._responded = True
        headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
        self._open({**message, "headers": event_stream(headers, decoded=False)}, responded=True)
        await self._flush()

    def _go_on(self, message: Message, relay: Relay) -> Awaitable[None]:
        if relay.ended.done():
            return asyncio.sleep(0)  # nobody listens; an app that never waits has to be stoppable
        if not self._responded:
            return self._hear_late(message, relay)
        if message["type"] != "http.response.body":
            return asyncio.sleep(0)
        return self._pass_on(message, relay)

    def _pass_on(self, message: Message, relay: Relay) -> Awaitable[None]:
        """The hot path: the bytes are in the queue at once, and what is awaited is the server alone."""
        outbox = self._outbox
        assert outbox is not None
        outbox.by_app = True
        try:
            body = message.get("body", b"")
            if body:
                relay.receive_data(bytes(body))
            if not message.get("more_body", False):
                relay.receive_eof()
        finally:
            outbox.by_app = False
        return outbox.flush()

    # Before the response (S8).

    def _watch_for_silence(self, early: float) -> None:
        headers: Headers = list(self._scope["headers"])
        if accepts_event_stream(headers):
            self._call_later(early, self._answer_early)
        elif b"json" in (get(headers, b"content-type") or b""):
            self._inbox.peek = BodyPeek(self._answer_if_wanted)
            self._call_later(early, self._answer_if_wanted)
            self._due_at = asyncio.get_running_loop().time() + early

    def receive_body(self, body: bytes) -> None:
        """The request body, all of it; for servers that do not bring it by `receive`."""
        if self._inbox.peek is not None:
            self._inbox.peek.feed(body)
            self._inbox.peek.end()

    def _answer_if_wanted(self) -> None:
        """Called when the time has come, and when the body has shown what it asks for; the later of the two counts."""
        peek = self._inbox.peek
        is_due = asyncio.get_running_loop().time() >= self._due_at - 0.001
        if peek is not None and peek.declares_stream and is_due:
            self._answer_early()

    def _answer_early(self) -> None:
        """The client has waited long enough: promise it a stream."""
        if self._relay is not None or self.is_passed_on or self._app_is_done:
            return
        self._stop_timers()
        headers = event_stream(_EARLY_HEAD, decoded=False)
        relay = self._open({"type": "http.response.start", "status": 200, "headers": headers}, responded=False)
        response, early = self._options.timeouts.response, self._options.heartbeat.before_response
        if response is not None and early is not None:
            self._call_later(response - early, lambda: relay.stop(CloseReason.RESPONSE_TIMEOUT))

    async def _hear_late(self, message: Message, relay: Relay) -> None:
        """The app answers at last: go on with its stream, or tell the client what it is instead."""
        if message["type"] == "http.response.start":
            if is_ours(message) and 200 <= message["status"] < 300:
                self._stop_timers()
                self._responded = True
                session = relay.transfer
                assert isinstance(session, StreamSession)
                session.receive_response(now=asyncio.get_running_loop().time())
                relay.rearm()
            else:
                self._refusal = Refusal(message)
        elif message["type"] == "http.response.body" and self._refusal is not None:
            self._refusal.receive(message)
            if not message.get("more_body", False):
                self._tell(self._refusal.error(), relay)
                await self._flush()

    def _tell(self, error: StreamError, relay: Relay) -> None:
        session = relay.transfer
        assert isinstance(session, StreamSession)
        session.receive_refusal(error, now=asyncio.get_running_loop().time())
        relay.rearm()

    # The stream.

    def _open(self, head: Message, *, responded: bool) -> Relay:
        """From here on the response is an event stream of ours."""
        options = self._options
        headers: Headers = list(self._scope["headers"])
        session = StreamSession(
            heartbeat=options.heartbeat,
            timeouts=options.timeouts,
            dialect=options.dialect,
            form=_known_form(headers) if options.heartbeat.form is HeartbeatForm.AUTO else None,
            responded=responded,
            now=asyncio.get_running_loop().time(),
        )
        self._outbox = Outbox(self._server_send, head, self._blocked)
        self._relay = relay = Relay(session, self._outbox, write_timeout=options.timeouts.write)
        relay.connect(self)
        self._live = LiveStream(
            route=_ROUTE,
            client=_client_of(self._scope),
            relay=relay,
            is_event_stream=True,
            event_source=self._scope["method"] == "GET" and accepts_event_stream(headers),
        )
        self._outbox.by_app = responded
        relay.start()
        self._outbox.by_app = False
        self._streams.add(self._live)
        self._inbox.on_disconnect = self._client_left
        self._inbox.listen()
        return relay

    async def _flush(self) -> None:
        assert self._outbox is not None
        await self._outbox.flush()

    def _blocked(self, blocked: bool) -> None:
        if self._relay is not None:
            if blocked:
                self._relay.pause_writing()
            else:
                self._relay.resume_writing()

    def _client_left(self, app_knows: bool) -> None:
        # Hazard: a server says the same once the response is complete, and the app may have work to do after it.
        if self._relay is not None and not self._relay.ended.done():
            self._relay.stop(CloseReason.CLIENT_GONE)
            if not app_knows:
                self._cancel_app()

    # The relay's calls (a `BodySource`: the app).

    def pause(self) -> None:
        """Nothing to do: the app waits in `send`."""

    def resume(self) -> None:
        """Nothing to do: the app waits in `send`."""

    def abort(self) -> None:
        """The stream has ended; an app that is not through has to stop."""
        relay = self._relay
        if self._app_is_done or relay is None or relay.transfer.close_reason is CloseReason.UPSTREAM_END:
            return
        match relay.transfer.close_reason:
            case CloseReason.CLIENT_STALLED:
                self._cancel_app()
            case CloseReason.CLIENT_GONE:
                self._call_later(_GRACE, self._cancel_app)
            case _:
                self._ending = asyncio.get_running_loop().create_task(self._cancel_app_when_flushed())

    async def _cancel_app_when_flushed(self) -> None:
        """What was decided last still has to go out, before the app is stopped."""
        assert self._outbox is not None
        try:
            async with asyncio.timeout(self._options.timeouts.write):
                await self._outbox.flush()
        except (OSError, TimeoutError):
            self._outbox.close()
        self._cancel_app()

    def _cancel_app(self) -> None:
        if self._task is not None and not self._app_is_done and not self._cancelled_app:
            self._cancelled_app = True
            self._task.cancel()

    # Ends.

    async def end(self, error: BaseException | None = None) -> bool:
        """The app has returned, or raised `error`. Whether that was our doing and is to go no further.

        Raises `StreamAborted` if the connection has to be broken.
        """
        self._app_is_done = True
        was_cancelled = isinstance(error, asyncio.CancelledError)
        try:
            if self._relay is not None and (error is None or isinstance(error, Exception)):
                await self._end_without_app(_NO_RESPONSE if error is None else _FAILED)
        finally:
            self._let_go()
        is_ours = was_cancelled and self._cancelled_app and not self._cancelled_by_others
        if error is None or is_ours:
            self._raise_if_broken()
        return is_ours

    async def _end_without_app(self, detail: str) -> None:
        """The app is through. If its stream is not, it never will be."""
        relay, outbox = self._relay, self._outbox
        if relay is None or outbox is None:
            return
        if not relay.ended.done():
            if self._responded:
                relay.stop(CloseReason.UPSTREAM_ERROR)
            elif self._refusal is not None:
                self._tell(self._refusal.error(), relay)
            else:
                self._tell(StreamError("application_error", 500, detail), relay)
        try:
            async with asyncio.timeout(self._options.timeouts.write):
                await outbox.flush()
        except (OSError, TimeoutError):
            outbox.close()

    def _let_go(self) -> None:
        if self._cancelled_app and self._task is not None:
            self._cancelled_by_others = self._task.uncancel() > 0
        self._stop_timers()
        self._inbox.close()
        if self._relay is not None:
            self._relay.stop(CloseReason.CLIENT_GONE)
        if self._outbox is not None:
            self._outbox.close()
        if self._ending is not None:
            self._ending.cancel()
        if self._live is not None:
            self._streams.remove(self._live)
        self._task = None

    def _raise_if_broken(self) -> None:
        """An end that must not look like one. What the app did is between it and the server."""
        transfer = None if self._relay is None else self._relay.transfer
        reason = None if transfer is None else transfer.close_reason
        if transfer is not None and reason is not None and not transfer.clean and reason not in _NOT_OUR_DOING:
            raise StreamAborted(reason) from None

    # Timers.

    def _call_later(self, seconds: float, call: Callable[[], object]) -> None:
        self._timers = (*self._timers, asyncio.get_running_loop().call_later(seconds, call))

    def _stop_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = ()


def _known_form(headers: Headers) -> HeartbeatForm | None:
    return form_for_client({name.decode("latin-1"): value.decode("latin-1") for name, value in headers})


def _client_of(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""
