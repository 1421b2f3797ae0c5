"""What is left of a request once its response has begun, and how does it end? A stream holds this for hours."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any, Protocol

from sseproxy.core.errors import Draining, InternalError, OriginError, SSEProxyError
from sseproxy.core.http.fields import Headers
from sseproxy.core.routes import Route
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.kinds import MediaKind
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.transfer import CloseReason, Transfer, TransferStats
from sseproxy.engine.admissions import Admission, Admissions
from sseproxy.engine.live import Drainable, LiveStream, LiveStreams
from sseproxy.engine.observer import AccessRecord, JournalReading, Phase
from sseproxy.engine.relay import Relay
from sseproxy.proxy.port import ClientConnection, ClientResponse
from sseproxy.proxy.responses import send_away, send_nothing, send_problem

_RETRY_AFTER = 1  # seconds until another process has taken over


#: Seconds for which a client may take nothing of an answer that sseproxy gives itself.
ANSWER_TIME = 30.0


class Abortable(Protocol):
    """What brings the body of a response."""

    def abort(self) -> None:
        """Bring nothing more. Calling it again is allowed."""


class _Stopped(Enum):
    """Who has stopped a request that had no response yet."""

    BY_PROCESS = "the process ends"
    BY_TICKET = "its ticket was deleted"


@dataclass(frozen=True, slots=True)
class _EmptyStream:
    """The head of a stream that ends before it has begun; see `ResponseTail.await_stream`."""

    fields: Headers
    takes_retry: bool


@dataclass(slots=True, eq=False)
class ResponseTail:
    """One response, from the arrival of its request to its last byte.

    exchange: the one with the upstream, or what else feeds the response; `close` aborts it.
    """

    # Plan: the handler makes a tail for each request, in the task that serves it, and keeps nothing else. What serves
    # the request (`Forwarding`, `TicketOpening`) puts the parts in that have to be released in the end: a place among
    # the streams, the exchange, the relay. Then it goes, with the head and the body of the request, and the task sleeps
    # in `wait` until the relay has ended.
    #
    # Invariants:
    # 1. Each response has exactly one close reason: the first that is noted.
    # 2. An error becomes a response of its own before the head, the end of the connection behind it, and an error event
    #    in a stream whose relay runs.
    # 3. `close` releases all that was put in, is called last, and may be called again.
    # 4. Only a request without a response is cancelled. Whatever has begun is ended by its relay, so that the client
    #    gets the end that its framing has.
    #
    # Hazards:
    # - a client that leaves cancels the task in any of its waits, also in the flush behind the last byte. That is the
    #   close reason only if there was no other before;
    # - a task that is referred to from its own frames (`_task`) is a circle that the garbage collector has to find.

    connection: ClientConnection
    downstream: ClientResponse
    record: AccessRecord
    streams: LiveStreams
    admissions: Admissions
    exchange: Abortable | None = None
    _relay: Relay | None = field(default=None, init=False)
    _live: LiveStream | None = field(default=None, init=False)
    _admission: Admission | None = field(default=None, init=False)
    _task: asyncio.Task[Any] | None = field(default_factory=asyncio.current_task, init=False)
    _stopped: _Stopped | None = field(default=None, init=False)
    _empty_stream: _EmptyStream | None = field(default=None, init=False)
    _write_timeout: float | None = field(default=ANSWER_TIME, init=False)

    # What serves the request.

    def admit(self, route: Route) -> None:
        """Take a place among the event streams, once. Raises `TooManyStreams`."""
        if self._admission is None:
            self._admission = self.admissions.admit(route, self.record.client or self.record.peer)

    def await_stream(self, fields: Headers, *, takes_retry: bool) -> None:
        """Take note that the client waits for a stream, and would come back by itself behind its end.

        fields: of the head with which a drain sends it away until then. takes_retry: see `StreamPlan`.
        """
        self._empty_stream = _EmptyStream(fields, takes_retry)

    def answer_with_nothing(self, status: HTTPStatus, fields: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Answer without a body. fields: those of the head besides the usual ones."""
        self.record.status = self.record.intended = status
        send_nothing(self.downstream, status, fields, self.record.request_id)

    def new_relay(
        self,
        route: Route,
        *,
        kind: MediaKind | None = None,
        plan: StreamPlan | None = None,
        end_message: EndMessage | None = None,
        responded: bool = True,
    ) -> Relay:
        """Make the relay for the response's body; process and connection know it from here on.

        kind, plan: of a stream; left out, the body is relayed as it is. responded: the upstream has answered.
        """
        now, timeouts = asyncio.get_running_loop().time(), route.timeouts
        if kind is None or plan is None:
            transfer = Transfer(timeouts, now=now)
        else:
            transfer = self.streams.new_session(plan, kind=kind, end_message=end_message, responded=responded, now=now)
        relay = Relay(transfer, self.downstream, clock=self.streams.clock())
        self.record.stats = transfer.stats
        self._relay, self._empty_stream = relay, None
        self._write_timeout = timeouts.write
        self.connection.flow = relay
        if plan is not None:
            self.record.is_declared = plan.is_declared
            self.downstream.make_live()
        relay.start()
        self.go_live(route, relay, plan, Phase.OPEN if responded else Phase.WAITING)
        return relay

    def go_live(
        self, route: Route, relay: Drainable, plan: StreamPlan | None = None, phase: Phase = Phase.OPEN
    ) -> LiveStream:
        """Add the response to those that the process drains."""
        client = self.record.client or self.record.peer
        self._live = LiveStream(route.name, client, relay, plan, phase, self.record)
        self.streams.add(self._live)
        return self._live

    def note_journal(self, journal: JournalReading) -> None:
        """Take note of how the client reads its stream."""
        self.record.journal = journal

    def respond(self, exchange: Abortable) -> None:
        """Take note that the upstream of a promised stream has answered. exchange: what brings its body."""
        self.exchange = exchange
        if self._live is not None:
            self.streams.respond(self._live)

    def note_whole(self, route: Route, size: int) -> None:
        """Take note that the response has been written as a whole, with `size` bytes of body."""
        self.record.stats = TransferStats.of_whole(size, now=asyncio.get_running_loop().time())
        self._write_timeout = route.timeouts.write
        self.note_end(CloseReason.UPSTREAM_END)

    async def wait(self) -> None:
        """Wait for the end of the response, until the client has taken its last byte."""
        relay = self._relay
        if relay is not None:
            self.note_end(await relay.ended)
            self.record.ended_at = asyncio.get_running_loop().time()
            self._release_place()
            await self._flush(relay)
        elif self.downstream.has_unsent:
            await self.downstream.wait_until_flushed(self._write_timeout)

    # How it ends.

    def note_end(self, reason: CloseReason) -> None:
        """Take note of why the response ends; the first reason counts."""
        if self.record.reason == "-":
            self.record.reason = (None if self._relay is None else self._relay.close_reason) or reason

    def refuse(self, error: SSEProxyError) -> None:
        """Answer with `error`, or break the connection if the response has begun."""
        record = self.record
        if isinstance(error, OriginError):
            record.reason = error.reason
        elif isinstance(error, Draining):
            self.note_end(CloseReason.DRAIN)
        if self.downstream.started:
            record.error = str(error)
            self.downstream.abort_at_once()
        elif self._empty_stream is not None and isinstance(error, Draining):
            # Hazard: an `EventSource` does not come back after a 503.
            record.status = record.intended = HTTPStatus.OK
            retry = self.streams.reconnect_after() if self._empty_stream.takes_retry else None
            send_away(self.downstream, self._empty_stream.fields, retry)
        else:
            record.refuse(error)
            record.status = error.status
            send_problem(self.downstream, error, record.request_id)

    async def fail(self, error: InternalError) -> None:
        """End the response after a defect of sseproxy; a stream under way gets an error event."""
        if self._relay is None:
            self.refuse(error)
            return
        self.record.error = str(error)
        self._relay.stop(CloseReason.INTERNAL_ERROR)
        self.note_end(CloseReason.INTERNAL_ERROR)
        await self._flush(self._relay)

    def end_cancelled(self) -> bool:
        """End the response of a task that was cancelled. Return False if the client has gone: the task ends then."""
        if self._stopped is _Stopped.BY_PROCESS:
            self.note_end(CloseReason.DRAIN)
            self.refuse(Draining("The proxy is shutting down.", retry_after=_RETRY_AFTER))
            return True
        self.note_end(CloseReason.CLIENT_GONE)
        if self._stopped is _Stopped.BY_TICKET and not self.downstream.started:
            self.answer_with_nothing(HTTPStatus.NO_CONTENT)
            return True
        return False

    def drain(self, spread: float) -> None:
        """Let no other request follow. A client that waits for a stream is sent away within `spread` seconds."""
        self.downstream.close_behind()
        if self._empty_stream is not None:
            asyncio.get_running_loop().call_later(self.streams.chance() * spread, self.abort)

    def abort(self) -> None:
        """Refuse the request, if there is no response yet: the process ends. A stream ends by its own deadline."""
        self._stop(_Stopped.BY_PROCESS)

    def cancel(self) -> None:
        """End the response, with its exchange: its ticket was deleted. The client is still there and gets an end."""
        if self._relay is not None:
            self._relay.stop_soon(CloseReason.STOPPED)
        else:
            self._stop(_Stopped.BY_TICKET)

    def close(self) -> None:
        """Release all that the response had. Whatever of it is not complete is broken off."""
        self.connection.flow = None
        self._task = None
        if self.exchange is not None:
            self.exchange.abort()
        if self._relay is not None:
            self._relay.stop(CloseReason.CLIENT_GONE)
        if self._live is not None:
            self.streams.remove(self._live)
        self._release_place()

    # Private.

    def _stop(self, by: _Stopped) -> None:
        if self._task is not None and not self.downstream.started:
            self._stopped = self._stopped or by
            self._task.cancel()

    async def _flush(self, relay: Relay) -> None:
        if relay.error is not None and self.record.error is None:
            self.record.error = str(relay.error)
        if relay.close_reason in (CloseReason.CLIENT_STALLED, CloseReason.BEHIND):
            self.downstream.abort_at_once()  # it has had its time
        await self.downstream.wait_until_flushed(self._write_timeout)

    def _release_place(self) -> None:
        if self._admission is not None:
            self._admission.release()
            self._admission = None
