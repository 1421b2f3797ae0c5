"""How is one request answered with an event stream, from its head to its end?"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from enum import Enum, auto
from functools import partial

from sseproxy.asgi.app_task import AppTask
from sseproxy.asgi.final_flush import FinalFlush
from sseproxy.asgi.late_response import LateResponse, LateStep
from sseproxy.asgi.later import DelayedCalls, begin_later
from sseproxy.asgi.receive_channel import ReceiveChannel
from sseproxy.asgi.responses import Opening, body_of, goes_on
from sseproxy.asgi.send_queue import SendQueue
from sseproxy.asgi.types import Message, Send
from sseproxy.core.stream.ends import AppNotice, row
from sseproxy.core.stream.late_refusal import LateRefusal
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.transfer import CloseReason, TransferStats
from sseproxy.engine.live import LiveStream, LiveStreams
from sseproxy.engine.observer import AccessRecord, Phase
from sseproxy.engine.relay import Relay

_NO_RESPONSE = "The application gave no response."
_FAILED = "The application failed."


class ResponsePhase(Enum):
    """How far the app's response is."""

    AWAITED = auto()  # the request was answered early; the app has not responded, or with something else
    STREAMING = auto()  # the app's response is the stream
    COMPLETE = auto()  # the app has sent the last of its response, a stream or not


_STREAMING = ResponsePhase.STREAMING  # the hot path compares with it

# Strategy. Four parts do the work, and the responder is what connects them: the session (what leaves, and when) on its
# relay, the send queue towards the server, the receive channel from it, and the task of the app.
#
#     app.send ─► Responder.send ─► Relay.receive_data ─► StreamSession ─► SendQueue.write        (at once)
#         └──────────────── awaits ──────────────────────────────────────► SendQueue.flush ─► server
#
# A request goes through `start`, any number of `send`, `finish` when the app has returned, and `close`. With an early
# answer there is no app's response at `start`: what it is shows in `send` (see `LateResponse`).
#
# Rules
# 1. The phase only goes forward: AWAITED, STREAMING, COMPLETE. A refusal goes from AWAITED to COMPLETE.
# 2. What the app's `send` raises is the server's own error or one of the app's. Never the session's: the relay ends the
#    stream for that.
# 3. At each end of the stream the relay calls `abort`, once, where the table of `core/stream/ends` decides how the app
#    learns of it. `finish` never stops the app: it has returned by then.
# 4. What was decided before the end still goes out, in order, in the time that `FinalFlush` grants.
# 5. `finish` raises only where the server has to break the connection and would not by itself.
# 6. Behind `close` nothing leads here from timers, tasks, the channel, the queue or the live streams: a request that
#    has ended is freed without the garbage collector.
#
# Hazards
# - A server says `http.disconnect` also behind a complete response, while background tasks run: they are not stopped.
# - A terminal event (`[DONE]`) completes the response before the app does: the app gets time, not a cancellation.
# - An app that never awaits anything that waits (a tight loop over `send`) is cancelled only if `send` gives way once
#   the stream has ended: hence `asyncio.sleep(0)` there.
# - `begin_later` and not `create_task`: a task that starts at once would call back into the relay from within it.


class Responder:
    """One request that is answered with an event stream, by the app or before it.

    plan: how the stream is treated. record: of the request. task: in which the app runs.
    is_broken: it has ended, and not by its client or by the server, and must not look complete.
    """

    def __init__(
        self,
        plan: StreamPlan,
        streams: LiveStreams,
        channel: ReceiveChannel,
        send: Send,
        *,
        record: AccessRecord,
        task: asyncio.Task[None] | None,
        opening: Opening,
    ) -> None:
        is_early = opening.is_early
        self._time = asyncio.get_running_loop().time
        self._plan = plan
        self._streams = streams
        self._channel = channel
        self._app = AppTask(task, channel)
        self._phase = ResponsePhase.AWAITED if is_early else _STREAMING
        # Also behind its end, unless a stream or JSON joined.
        self._late = LateResponse(opening.kind, opening.final_message) if is_early else None
        self._delayed = DelayedCalls()  # of a late response
        self._waited = opening.waited
        self._session = streams.new_session(plan, kind=opening.kind, responded=not is_early, now=self._time())
        self._queue = SendQueue(send, opening.head, self.note_blocked, self.note_send_failed)
        self._flush = FinalFlush(self._session, self._queue, write=plan.timeouts.write)
        self._relay = Relay(self._session, self._queue, clock=streams.clock())
        record.status, record.is_declared, record.stats = opening.head["status"], plan.is_declared, self._session.stats
        phase = Phase.WAITING if is_early else Phase.OPEN
        self._live = LiveStream(record.route, record.peer, self, plan, phase, record)
        self._context = copy_context()
        self._stopping: asyncio.Task[None] | None = None
        self.is_broken = False

    def start(self) -> None:
        """Begin the stream. The head goes out with `flush`, or with the first heartbeat of an early answer."""
        self._relay.connect(self)
        self._queue.by_app = self._late is None
        self._relay.start()
        self._queue.by_app = False
        self._streams.add(self._live)
        self._channel.on_disconnect = self.note_disconnect
        self._channel.listen()
        response = self._plan.timeouts.response
        if self._late is not None and response is not None and self._waited is not None:
            self._delayed.call_later(response - self._waited, self._stop_waiting)

    # The app's side.

    def flush(self) -> Awaitable[None]:
        """Send what is queued, in the app's call of `send`."""
        return self._queue.flush()

    def send(self, message: Message) -> Awaitable[None]:
        """Take the app's next message, and return what it waits for.

        The hot path: the bytes are in the queue at once, and what is awaited is the server alone.
        """
        relay, queue = self._relay, self._queue
        if relay.ended.done() or self._phase is not _STREAMING or message["type"] != "http.response.body":
            return self._send_other(message)
        queue.by_app = True
        try:
            body = message.get("body", b"")
            if body:
                relay.receive_data(body if type(body) is bytes else body_of(message))
            if message.get("more_body", False):
                return queue.flush()
            self._phase = ResponsePhase.COMPLETE
            relay.receive_eof()
            return self._flush_last()
        finally:
            queue.by_app = False

    def _send_other(self, message: Message) -> Awaitable[None]:
        """What is no bytes of a stream that goes on."""
        if not self._relay.ended.done():
            if self._late is not None:
                return self._receive_late(message, self._late)
            return self._queue.flush(message) if goes_on(message, has_begun=True) else asyncio.sleep(0)
        if self._queue.error is not None:
            raise self._queue.error
        self._app.note_late_send()
        if self._late is None and self._session.close_reason is CloseReason.UPSTREAM_END:
            goes_on(message, has_begun=True)  # raises for a second start, as a server does
        return asyncio.sleep(0)

    async def _receive_late(self, message: Message, late: LateResponse) -> None:
        step = late.receive(message)
        if message["type"] == "http.response.start" and self._live.record is not None:
            self._live.record.intended = message["status"]
        match step:
            case LateStep.PASS:
                await self._queue.flush(message)
            case LateStep.STREAM:
                self._join(self._session.receive_response)
            case LateStep.JSON:
                self._join(partial(self._session.receive_json, status=message["status"]))
            case LateStep.REFUSAL:
                # It is sent as far as it has come by then.
                self._delayed.call_later(late.refusal_time, self._stop_waiting)
            case LateStep.FULL:
                self._refuse_and_stop(late)
            case LateStep.WHOLE:
                self._phase = ResponsePhase.COMPLETE
                self._refuse(late.refusal())
                await self._flush_last()

    def _join(self, receive: Callable[..., None]) -> None:
        """The app's response goes on behind the early head."""
        self._delayed.cancel()
        self._late = None
        self._phase = _STREAMING
        self._relay.apply(partial(receive, now=self._time()))
        self._streams.respond(self._live)

    def _refuse(self, refusal: LateRefusal) -> None:
        """End the stream with what is left to say."""
        receive = self._session.receive_refusal
        self._relay.apply(partial(receive, refusal.error, end_message=refusal.end_message, now=self._time()))

    def _refuse_and_stop(self, late: LateResponse) -> None:
        self._refuse(late.refusal())
        self._stop_app_when_sent()

    def _stop_waiting(self) -> None:
        """The app has had its time to respond."""
        if self._late is None or self._relay.ended.done():
            return
        if self._late.is_refusal:
            self._refuse_and_stop(self._late)
        else:
            self._relay.stop(CloseReason.RESPONSE_TIMEOUT)

    # The relay's calls (a `BodySource`: the app).

    def pause(self) -> None:
        """Nothing to do: the app waits in `send`."""

    def resume(self) -> None:
        """Nothing to do: the app waits in `send`."""

    def abort(self) -> None:
        """The stream has ended: stop an app that has not returned."""
        if self._app.is_finished:
            return
        reason = self._session.close_reason
        match None if reason is None else row(reason).app:
            case AppNotice.NONE if reason is CloseReason.UPSTREAM_END and self._phase is not ResponsePhase.COMPLETE:
                self._app.expect_end()  # its terminal event went out long ago: the response is complete without it
            case AppNotice.STOP:
                self._app.stop()
            case AppNotice.DISCONNECT:
                self._app.expect_end()
            case AppNotice.STOP_WHEN_SENT:
                self._stop_app_when_sent()

    def _stop_app_when_sent(self) -> None:
        """Stop the app behind the bytes that were decided last."""
        if self._stopping is None:

            async def flush_and_stop() -> None:
                await self._flush.run_quietly()
                self._app.stop()

            self._stopping = begin_later(flush_and_stop(), self._context)

    # What the client and the server do meanwhile.

    def note_blocked(self, blocked: bool) -> None:
        """The server makes the app wait, or goes on."""
        if blocked:
            self._relay.pause_writing()
        else:
            self._relay.resume_writing()

    def note_send_failed(self, _: Exception) -> None:
        """The server's `send` has failed outside of the app's: the app would not learn of it."""
        self._relay.stop(CloseReason.CLIENT_GONE)
        self._app.stop()

    def note_disconnect(self, app_knows: bool) -> None:
        """The client has left. app_knows: the app hears it, too."""
        # Hazard: a server says the same once the response is complete, and the app may have work to do after it.
        if not self._relay.ended.done():
            self._relay.stop(CloseReason.CLIENT_GONE)
            if not app_knows:
                self._app.cancel()

    @property
    def stats(self) -> TransferStats:
        return self._session.stats

    @property
    def close_reason(self) -> CloseReason | None:
        return self._session.close_reason

    def stop(self, reason: CloseReason) -> None:
        self._relay.stop(reason)

    def drain(self, *, at: float | None, deadline: float | None, retry: int | None = None) -> None:
        """Come to an end; see `Relay.drain`. An end that is under way has no more time than that."""
        self._flush.drain(deadline)
        self._relay.drain(at=at, deadline=deadline, retry=retry)

    # Ends.

    async def _flush_last(self) -> None:
        """Send the app's own last bytes: a client that takes none of them must not keep the app for ever."""
        await self._flush.run()
        if self._flush.is_truncated:
            self._queue.close()
            self._app.cancel()
            await asyncio.sleep(0)  # the app is in this call: if it does not wait again, it is never cancelled

    async def finish(self, error: BaseException | None = None) -> bool:
        """The app has returned, or raised `error`: end the stream, and close.

        Return True if `error` is the middleware's cancellation, which is to go no further. Raises `StreamAborted` if
        the connection has to be broken.
        """
        self._app.finish()
        is_own = error is None or isinstance(error, Exception)  # else the server cancels, or the process ends
        try:
            if is_own:
                with contextlib.nullcontext() if error is None else contextlib.suppress(Exception):  # its own goes on
                    if not self._relay.ended.done():
                        self._end_unfinished(_NO_RESPONSE if error is None else _FAILED)
                    await self._flush.run_quietly()
            if not self._session.clean and (is_own or self._app.is_cancelled):
                await self._flush.linger(self._channel, self._streams.linger)
        finally:
            self.close()
        was_stopped = self._app.was_stopped(error)
        self.is_broken = (is_own or was_stopped) and self._flush.is_broken
        try:
            if error is None or was_stopped:
                self._flush.raise_if_broken(app_is_complete=self._phase is ResponsePhase.COMPLETE)
        finally:
            self._queue.error = None  # its traceback leads back there (rule 6)
        return was_stopped

    def _end_unfinished(self, detail: str) -> None:
        """End a stream that its app has not ended, and never will."""
        if self._late is None:
            self._relay.stop(CloseReason.UPSTREAM_ERROR)
        else:
            self._refuse(self._late.refusal(detail))

    def close(self) -> None:
        """Release all that would otherwise outlive the request (rule 6)."""
        self._app.close()
        self._delayed.cancel()
        self._channel.close()
        stopping, self._stopping = self._stopping, None
        if stopping is not None:
            stopping.cancel()
        self._relay.stop(CloseReason.CLIENT_GONE)
        self._queue.close()
        self._streams.remove(self._live)
        if (record := self._live.record) is not None:
            closed_at, reason = self._session.stats.closed_at, self._session.close_reason
            if self._late is not None and record.intended is None and reason is not None:
                record.intended = self._late.status_without_response(reason)
            record.reason = self._session.close_reason or "-"
            record.ended_at = self._time() if closed_at is None else closed_at
            self._streams.observers.notify(lambda observer: observer.answered(record))
        del self._live  # which leads back here
