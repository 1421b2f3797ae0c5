"""What happens to one request of the app, from its call to its return?"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from http import HTTPStatus

from sseproxy.asgi.answers import Refusal, body_of, goes_on, head_of, is_late_json, stream_kind
from sseproxy.asgi.app_task import AppTask
from sseproxy.asgi.errors import StreamAborted
from sseproxy.asgi.final_flush import FinalFlush
from sseproxy.asgi.receive_channel import ReceiveChannel
from sseproxy.asgi.send_queue import SendQueue
from sseproxy.asgi.tasks import begin_later
from sseproxy.asgi.types import Message, Send
from sseproxy.core.limits import REFUSAL_TIME
from sseproxy.core.stream.ends import AppNotice, row
from sseproxy.core.stream.error_events import StreamError
from sseproxy.core.stream.kinds import EVENT_STREAM, MediaKind
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.transfer import CloseReason, TransferStats
from sseproxy.engine.live import LiveStream, LiveStreams
from sseproxy.engine.observer import Phase
from sseproxy.engine.relay import Relay

#: Seconds that an app gets to end its stream by itself once it has heard that the client is gone: if it sends
#: anything later, it is stopped.
_GRACE = 0.5

#: Seconds that it gets for what it does without sending anything: background tasks, dependencies that clean up.
_CLEAN_UP = 30.0

#: The name under which the streams of an app are counted.
_ROUTE = "app"

_NO_RESPONSE = "The application gave no response."
_FAILED = "The application failed."


class Responder:
    """One request that is answered with an event stream, by the app or before it.

    plan: how the stream is treated. client: its address. task: the one the app runs in.
    """

    _relay: Relay
    _session: StreamSession
    _outbox: SendQueue
    _live: LiveStream
    _responded = False  # by the app, with a stream
    _refusal: Refusal | None = None
    _timers: tuple[asyncio.TimerHandle, ...] = ()
    _ending: asyncio.Task[None] | None = None
    _app_ended = False  # the app has sent the last of its response
    _has_left = False  # the client
    _left: asyncio.Event | None = None  # set when the client leaves; there while that is waited for
    _is_overdue = False  # the app has heard that the client is gone, and had time to end its stream

    def __init__(
        self,
        plan: StreamPlan,
        streams: LiveStreams,
        inbox: ReceiveChannel,
        send: Send,
        *,
        client: str,
        task: asyncio.Task[None] | None,
    ) -> None:
        self._streams = streams
        self._plan = plan
        self._client = client
        self._inbox = inbox
        self._server_send = send
        self._app = AppTask(task)
        self._context = copy_context()
        self._farewell = FinalFlush(plan.timeouts.write)
        self._time = asyncio.get_running_loop().time

    # The app's side.

    def begin(self, start: Message, kind: MediaKind) -> Awaitable[None]:
        """The app answers with a stream of `kind`."""
        self._responded = True
        self._open(head_of(start, kind), kind, responded=True)
        return self._outbox.flush()

    def send(self, message: Message) -> Awaitable[None]:
        """The app's `send`, after its `begin` or `answer_early`.

        The hot path: the bytes are in the queue at once, and what is awaited is the server alone.
        """
        relay, outbox = self._relay, self._outbox
        if relay.ended.done() or not self._responded or message["type"] != "http.response.body":
            return self._send_other(message)
        outbox.by_app = True
        try:
            body = message.get("body", b"")
            if body:
                relay.receive_data(body if type(body) is bytes else body_of(message))
            if message.get("more_body", False):
                return outbox.flush()
            self._app_ended = True
            relay.receive_eof()
            return self._flush_last()
        finally:
            outbox.by_app = False

    def _send_other(self, message: Message) -> Awaitable[None]:
        if self._relay.ended.done():
            return self._say_after_the_end(message)
        if not self._responded:
            return self._hear_late(message)
        return self._outbox.flush(message) if goes_on(message, has_begun=True) else _nothing()

    def _say_after_the_end(self, message: Message) -> Awaitable[None]:
        """Nobody listens; but an app that never waits has to be stoppable."""
        if self._outbox.error is not None:
            raise self._outbox.error
        if self._is_overdue:
            self._app.cancel()
        if self._responded and self._session.close_reason is CloseReason.UPSTREAM_END:
            goes_on(message, has_begun=True)
        return _nothing()

    # Before the response (S8).

    def answer_early(self) -> None:
        """The client has waited long enough: promise it a stream."""
        headers = [(name.lower(), value) for name, value in EVENT_STREAM.promised_head()]  # as ASGI wants them
        head = {"type": "http.response.start", "status": 200, "headers": headers}
        self._open(head, EVENT_STREAM, responded=False)
        response, early = self._plan.timeouts.response, self._plan.heartbeat.before_response
        if response is not None and early is not None:
            self._call_later(response - early, self._give_up_waiting)

    async def _hear_late(self, message: Message) -> None:
        """The app answers at last: go on with its stream, or tell the client what it is instead."""
        if self._refusal is not None:
            await self._hear_refusal(message, self._refusal)
        elif message["type"] != "http.response.start":
            if goes_on(message, has_begun=False):
                await self._outbox.flush(message)
        elif stream_kind(message) is EVENT_STREAM and 200 <= message["status"] < 300:
            self._join(self._session.receive_response)
        elif is_late_json(message):
            self._join(self._session.receive_json)
        else:
            self._refusal = Refusal(message)
            self._call_later(REFUSAL_TIME, self._tell_and_stop)  # as far as it has come by then

    def _join(self, receive: Callable[..., None]) -> None:
        """The app's response goes on behind the promised head."""
        self._stop_timers()
        self._responded = True
        self._relay.apply(partial(receive, now=self._time()))
        self._streams.respond(self._live)

    async def _hear_refusal(self, message: Message, refusal: Refusal) -> None:
        if message["type"] == "http.response.start":
            goes_on(message, has_begun=True)
        refusal.receive(message)
        if refusal.is_cut:
            self._tell_and_stop()
        elif refusal.is_whole:
            self._app_ended = True
            self._tell(refusal.error())
            await self._flush_last()

    def _give_up_waiting(self) -> None:
        if self._refusal is None:
            self._relay.stop(CloseReason.RESPONSE_TIMEOUT)
        else:
            self._tell_and_stop()

    def _tell_and_stop(self) -> None:
        """Tell of a refusal of which nobody wants to hear the rest."""
        if self._refusal is not None and not self._relay.ended.done():
            self._tell(self._refusal.error())
            self._end_app()

    def _tell(self, error: StreamError) -> None:
        is_nothing = self._plan.comes_back and error.status == HTTPStatus.NO_CONTENT
        told = None if is_nothing else error
        self._relay.apply(partial(self._session.receive_refusal, told, now=self._time()))

    # The stream.

    def _open(self, head: Message, kind: MediaKind, *, responded: bool) -> None:
        """From here on the response is an event stream of ours."""
        self._session = self._streams.new_session(self._plan, kind=kind, responded=responded, now=self._time())
        self._outbox = SendQueue(self._server_send, head, self._blocked, self._send_failed)
        self._relay = Relay(self._session, self._outbox, clock=self._streams.clock())
        self._relay.connect(self)
        phase = Phase.OPEN if responded else Phase.WAITING
        self._live = LiveStream(_ROUTE, self._client, self, self._plan, phase)
        self._outbox.by_app = responded
        self._relay.start()
        self._outbox.by_app = False
        self._streams.add(self._live)
        self._inbox.on_disconnect = self._client_left
        self._inbox.listen()

    @property
    def stats(self) -> TransferStats:
        return self._session.stats

    @property
    def close_reason(self) -> CloseReason | None:
        return self._session.close_reason

    def drain(self, *, at: float | None, deadline: float | None, retry: int | None = None) -> None:
        """Come to an end; see `Relay.drain`. One that is under way already has no more time than that."""
        self._farewell.hurry(deadline)
        self._relay.drain(at=at, deadline=deadline, retry=retry)

    def _blocked(self, blocked: bool) -> None:
        if blocked:
            self._relay.pause_writing()
        else:
            self._relay.resume_writing()

    def _client_left(self, app_knows: bool) -> None:
        self._has_left = True
        if self._left is not None:
            self._left.set()
        # Hazard: a server says the same once the response is complete, and the app may have work to do after it.
        if not self._relay.ended.done():
            self._relay.stop(CloseReason.CLIENT_GONE)
            if not app_knows:
                self._app.cancel()

    def _send_failed(self, _: Exception) -> None:
        """Nothing reaches the client any more, and the app would not hear of it."""
        self._relay.stop(CloseReason.CLIENT_GONE)
        self._stop_app()

    # The relay's calls (a `BodySource`: the app).

    def pause(self) -> None:
        """Nothing to do: the app waits in `send`."""

    def resume(self) -> None:
        """Nothing to do: the app waits in `send`."""

    def abort(self) -> None:
        """The stream has ended; an app that is not through has to stop."""
        if self._app.is_through:
            return
        reason = self._session.close_reason
        match None if reason is None else row(reason).app:
            case AppNotice.NONE if reason is CloseReason.UPSTREAM_END and not self._app_ended:
                self._let_app_end()  # its terminal event went out long ago: the response is complete without it
            case AppNotice.STOP:
                self._stop_app()
            case AppNotice.DISCONNECT:
                self._let_app_end()
            case AppNotice.STOP_WHEN_SENT:
                self._end_app()

    def _stop_app(self) -> None:
        """At once, unless it waits to hear that there is no client any more: then it can put things in order.

        Hazard: Django does its work in tasks that go on when it is cancelled, and end when it hears that.
        """
        if self._inbox.hang_up():
            self._let_app_end()
        else:
            self._app.cancel()

    def _let_app_end(self) -> None:
        """It has heard. What it still does may be what comes behind every stream of its own, and must not be lost."""
        self._call_later(_GRACE, self._note_overdue)
        self._call_later(_CLEAN_UP, self._app.cancel)

    def _note_overdue(self) -> None:
        self._is_overdue = True

    # Ends.

    async def end(self, error: BaseException | None = None) -> bool:
        """The app has returned, or raised `error`. Whether that was our doing and is to go no further.

        Raises `StreamAborted` if the connection has to be broken.
        """
        self._app.is_through = True
        try:
            if error is None or isinstance(error, Exception):
                with contextlib.nullcontext() if error is None else contextlib.suppress(Exception):  # its own goes on
                    await self._end_without_app(_NO_RESPONSE if error is None else _FAILED)
            if not self._session.clean and (error is None or isinstance(error, Exception) or self._app.is_stopped):
                await self._let_client_read()
        finally:
            self.let_go()
        was_stopped = self._app.was_stopped(error)
        if error is None or was_stopped:
            self._raise_if_broken()
        self._outbox.error = None  # the app has been told by it, so that its traceback leads back here
        return was_stopped

    def let_go(self) -> None:
        """Of all that would otherwise outlive the request."""
        self._app.let_go()
        self._stop_timers()
        self._inbox.close()
        ending, self._ending = self._ending, None
        if ending is not None:
            ending.cancel()
        self._relay.stop(CloseReason.CLIENT_GONE)
        self._outbox.let_go()
        self._streams.remove(self._live)
        del self._live  # which leads back here

    async def _end_without_app(self, detail: str) -> None:
        """The app is through. If its stream is not, it never will be."""
        if not self._relay.ended.done():
            if self._responded:
                self._relay.stop(CloseReason.UPSTREAM_ERROR)
            elif self._refusal is not None:
                self._tell(self._refusal.error())
            else:
                self._tell(StreamError("application_error", 500, detail))
        await self._flush_quietly()

    async def _let_client_read(self) -> None:
        """Keep a stream that breaks open for a moment; see `HttpDownstream`."""
        reason, linger = self._session.close_reason, self._streams.linger
        is_noticed = self._has_left or self._farewell.was_cut or self._outbox.error is not None
        if reason is None or row(reason).is_by_client or is_noticed or linger <= 0:
            return
        self._left = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(linger):
                await self._left.wait()

    def _end_app(self) -> None:
        if self._ending is None:
            self._ending = begin_later(self._end_app_when_flushed(), self._context)

    async def _end_app_when_flushed(self) -> None:
        """What was decided last still has to go out, before the app is stopped."""
        await self._flush_quietly()
        self._stop_app()

    async def _flush_last(self) -> None:
        """The app's own last words. A client that does not take them cannot keep it for ever."""
        await self._farewell.bid(self._outbox.flush(), clean=self._session.clean)
        if self._farewell.was_cut:
            self._outbox.close()
            self._app.cancel()
            await asyncio.sleep(0)  # the app is in this call: if it does not wait again, it is never cancelled

    async def _flush_quietly(self) -> None:
        try:
            await self._farewell.bid(self._outbox.flush(), clean=self._session.clean)
        except OSError:
            self._outbox.close()  # the client has left, says a server that follows ASGI 2.4

    def _raise_if_broken(self) -> None:
        """An end that must not look like one. What the app left undone is between it and the server."""
        reason = self._session.close_reason
        failure, self._outbox.error = self._outbox.error, None
        if failure is not None and not isinstance(failure, OSError):
            try:
                raise failure
            finally:
                del failure  # or this frame, which it holds, would hold it
        if reason is CloseReason.UPSTREAM_END and self._farewell.was_cut:
            reason = CloseReason.CLIENT_STALLED
        is_whole = self._session.clean and not self._farewell.was_cut
        if reason is not None and not is_whole and (self._app_ended or not row(reason).server_ends):
            raise StreamAborted(reason) from None

    # Timers.

    def _call_later(self, seconds: float, call: Callable[[], object]) -> None:
        self._timers = (*self._timers, asyncio.get_running_loop().call_later(seconds, call))

    def _stop_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = ()


def _nothing() -> Awaitable[None]:
    return asyncio.sleep(0)
