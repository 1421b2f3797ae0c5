"""What happens to one request, from its head to the last byte of its response?"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from sseproxy.core.errors import (
    ConnectError,
    Draining,
    InternalError,
    OriginError,
    OutOfDescriptors,
    SSEProxyError,
    UpstreamBroken,
)
from sseproxy.core.frames import release_frames
from sseproxy.core.http.fields import Headers, apply_rules
from sseproxy.core.routes import Route
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.kinds import EVENT_STREAM, MediaKind
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.request import StreamRequest
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.transfer import CloseReason, Transfer, TransferStats
from sseproxy.engine.access import AccessRecord
from sseproxy.engine.admissions import Admission, Admissions
from sseproxy.engine.live import Drainable, LiveStream, LiveStreams
from sseproxy.engine.observer import Phase
from sseproxy.engine.relay import Relay
from sseproxy.http1.downstream import HttpDownstream
from sseproxy.http1.messages import OriginRequest, ResponseHead
from sseproxy.http1.server import DownstreamConnection
from sseproxy.logs import LOGGER
from sseproxy.origins.http import HttpExchange, HttpOrigin
from sseproxy.proxy.body import Body, request_body
from sseproxy.proxy.early import EarlyAnswer
from sseproxy.proxy.eventsource.end_signer import EndSigner
from sseproxy.proxy.inbound import FORGOTTEN, InboundRequest
from sseproxy.proxy.refusal import first_of
from sseproxy.proxy.response_body import let_flow, read_kind
from sseproxy.proxy.responses import send_nothing, send_problem
from sseproxy.proxy.tunnel import Tunnel
from sseproxy.timers import Clock

_log = logging.getLogger(LOGGER)

_DRAIN_RETRY_AFTER = 1  # seconds: somebody else is about to take over


@dataclass(slots=True, eq=False)
class Forwarding:
    """The state of one request. Everything that it starts, it ends.

    when_sent: awaited once the upstream has answered. is_spent: it may have been sent, or what the client got says so.
    """

    route: Route
    origin: HttpOrigin
    inbound: InboundRequest
    request: StreamRequest
    upstream_headers: Headers
    body: Body | None
    connection: DownstreamConnection
    downstream: HttpDownstream
    streams: LiveStreams
    clock: Clock
    admissions: Admissions
    record: AccessRecord
    ends: EndSigner
    when_sent: Callable[[], Awaitable[None]] | None = None
    is_spent: bool = field(default=False, init=False)
    _exchange: HttpExchange | None = field(default=None, init=False)
    _opening: asyncio.Task[HttpExchange] | None = field(default=None, init=False)
    _live: LiveStream | None = field(default=None, init=False)
    _body: Relay | None = field(default=None, init=False)
    _admission: Admission | None = field(default=None, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _is_cut: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Serve the request. Raises only `asyncio.CancelledError`: so the connection says that the client has gone."""
        self._task = asyncio.current_task()
        try:
            relay = await self._serve()
            if relay is not None:
                if isinstance(relay.transfer, StreamSession):
                    self._forget_request()
                if self.when_sent is not None:
                    await self.when_sent()
                self._note_end(await relay.ended)
                self.record.ended_at = asyncio.get_running_loop().time()
                self._release_place()
                await self._finish(relay)
        except SSEProxyError as error:
            self._refuse(error)
            release_frames(error)
        except asyncio.CancelledError as error:
            if not self._is_cut:
                self._note_end(CloseReason.CLIENT_GONE)
                raise
            self._note_end(CloseReason.DRAIN)
            self._refuse(Draining("The proxy is shutting down.", retry_after=_DRAIN_RETRY_AFTER))
            release_frames(error)
        except Exception as error:  # noqa: BLE001 - a defect must not leave the client waiting
            _log.exception("unexpected error while serving %s", self.record.path)
            await self._end_broken(InternalError("An internal error occurred.", cause=repr(error)))
            release_frames(error)
        finally:
            self._let_go()

    def cut(self) -> None:
        """The process ends: a request that has no response yet is refused. Streams know by their own deadline."""
        if self._live is None and self._task is not None and not self.downstream.started:
            self._is_cut = True
            self._task.cancel()

    def withdraw(self) -> None:
        """Nobody wants the response any more, although the client still listens: end it, the upstream included.

        If there is no response yet, `run` raises `asyncio.CancelledError`, and the client still has to be answered.
        """
        if self._body is not None:
            self._body.stop_soon(CloseReason.STOPPED)
        elif self._task is not None and not self.downstream.started:
            self._task.cancel()

    # The way of a request.

    async def _serve(self) -> Relay | None:
        """Do all that comes before the last wait, that for the end of the response: a stream keeps only what it needs.

        Returns the relay that has to be waited for, if there is one.
        """
        if self.request.may_come_back and self.ends.has_seen(self.route, self.inbound, self.upstream_headers):
            self.record.status = self.record.intended = HTTPStatus.NO_CONTENT
            send_nothing(self.downstream, HTTPStatus.NO_CONTENT)
            return None
        declares = self.request.declares
        if declares:
            self._admit()
        wait = self.route.heartbeat.before_response
        if declares is False or (declares and wait is None):
            self._exchange = await self._open()
        else:
            self._opening = asyncio.create_task(self._open())
            if not await self._opened_within(wait, self._opening):
                return await self._answer_early(self._opening)
            self._exchange = await self._opening
        return await self._answer(self._exchange)

    async def _open(self) -> HttpExchange:
        """Send the request and wait for the head of its response."""
        body = None
        if self.body is not None:
            # The client has as long as the upstream would have for its answer.
            limit, within = self.route.limits.request_body, self.route.timeouts.response
            body = await request_body(self.body, self.inbound.body_length, limit=limit, within=within)
        target = self.route.upstream_target(self.inbound.target)
        request = OriginRequest(self.inbound.method, target, self.upstream_headers, body)
        self.is_spent = True
        try:
            return await self.origin.open(request, self.route.timeouts)
        except (ConnectError, OutOfDescriptors):
            self.is_spent = self.downstream.started
            raise
        except asyncio.CancelledError as error:
            release_frames(error)  # a task of its own may keep it
            raise

    async def _opened_within(self, seconds: float | None, opening: asyncio.Task[HttpExchange]) -> bool:
        """Whether the upstream answers before the client must be, which is so long after the request's end (S8).

        What the end of the body declares takes its place then, whether or not the client must ever be answered.
        """
        if self.body is not None:
            await first_of(opening, self.body.ended)
            if not opening.done() and self.request.declares:
                self._admit()
        await asyncio.wait({opening}, timeout=seconds)
        if not opening.done() and not self.request.declares:
            await asyncio.wait({opening})
        return opening.done()

    async def _answer(self, exchange: HttpExchange) -> Relay | None:
        """Answer with what the upstream has answered."""
        head = exchange.head
        self.record.intended = head.status
        if head.status == HTTPStatus.SWITCHING_PROTOCOLS:
            await self._tunnel(exchange, head)
            return None
        kind, decoder = read_kind(head, self.route)
        headers = head.headers
        if kind is not None:
            self._admit()
            headers = kind.head(headers, decoded=decoder is not None)
        elif (body := exchange.take_whole()) is not None:
            await self._answer_at_once(head, body)
            return None
        self._send_head(head, headers, is_stream=kind is not None)
        relay = self._new_relay(kind)
        let_flow(relay, exchange, decoder)
        self.downstream.release_head()
        return relay

    async def _answer_at_once(self, head: ResponseHead, body: bytes) -> None:
        """All of the response has come in one read, so there is nothing to relay."""
        self.record.stats = TransferStats.of_whole(len(body), now=asyncio.get_running_loop().time())
        self.record.status = head.status
        fields = self._as_the_route_wants(head.headers)
        self.downstream.send_whole(head.status, head.reason, fields, body, length=head.length, has_body=head.has_body)
        if self.when_sent is not None:
            await self.when_sent()
        self._note_end(CloseReason.UPSTREAM_END)
        if self.downstream.has_unsent:
            await self.downstream.wait_until_flushed(self.route.timeouts.write)

    def _send_head(self, head: ResponseHead, headers: Headers, *, is_stream: bool) -> None:
        self.downstream.send_head(
            head.status,
            head.reason,
            self._as_the_route_wants(headers),
            length=None if is_stream else head.length,
            has_body=head.has_body,
            hold=True,  # what the upstream has sent together goes on together
        )
        self.record.status = head.status

    def _as_the_route_wants(self, headers: Headers) -> Headers:
        fields = apply_rules(headers, self.route.response_headers)
        return self.inbound.for_caches(fields, self.route)

    # Bodies.

    @property
    def _client(self) -> str:
        return self.record.client or self.record.peer

    def _admit(self) -> None:
        """Take a place among the event streams, once."""
        if self._admission is None:
            self._admission = self.admissions.admit(self.route, self._client)

    def _new_relay(self, kind: MediaKind | None, *, responded: bool = True) -> Relay:
        """Make the relay for a stream of `kind`, or for any other body; process and connection know it from here on."""
        now = asyncio.get_running_loop().time()
        timeouts = self.route.timeouts
        plan = None if kind is None else self.request.plan()
        if kind is None or plan is None:
            transfer = Transfer(timeouts, now=now)
        else:
            message = self._end_message() if self.request.is_event_source else None
            transfer = self.streams.new_session(plan, kind=kind, end_message=message, responded=responded, now=now)
        relay = Relay(transfer, self.downstream, clock=self.clock)
        self.record.stats = transfer.stats
        self._body = relay
        self.connection.flow = relay
        if plan is not None:
            self.downstream.make_live()
        relay.start()
        self._go_live(relay, plan, Phase.OPEN if responded else Phase.WAITING)
        return relay

    def _go_live(self, relay: Drainable, plan: StreamPlan | None, phase: Phase = Phase.OPEN) -> None:
        self._live = LiveStream(self.route.name, self._client, relay, plan, phase)
        self.streams.add(self._live)

    def _end_message(self) -> EndMessage | None:
        has_event = self.request.drops_ids_without_data
        return self.ends.farewell(self.route, self.inbound, self.upstream_headers, id_has_event=has_event)

    async def _finish(self, relay: Relay) -> None:
        """The relay has ended: so does the response."""
        if relay.error is not None and self.record.error is None:
            self.record.error = str(relay.error)
        if relay.transfer.close_reason is CloseReason.CLIENT_STALLED:
            self.downstream.cut()  # it has had its time
        await self.downstream.wait_until_flushed(self.route.timeouts.write)

    def _forget_request(self) -> None:
        """What was asked has been asked."""
        self.inbound = FORGOTTEN
        self.request.forget()
        self.upstream_headers = []
        self.body = None
        if self._exchange is not None:
            self._opening = None

    # Before the response (S8).

    async def _answer_early(self, opening: asyncio.Task[HttpExchange]) -> Relay:
        """The client has waited long enough: promise it a stream, and keep it company until there is one."""
        self._admit()
        headers = self._as_the_route_wants(EVENT_STREAM.promised_head())
        self.downstream.send_head(200, b"OK", headers, length=None, has_body=True)
        self.record.status = 200
        relay = self._new_relay(EVENT_STREAM, responded=False)
        relay.transfer.stats.last_upstream_at = self.record.started_at  # the silence has begun with the request
        # A route with `end` gives answers, but a browser comes back for them all the same.
        is_feed = self._live is not None and self._live.comes_back
        returns = is_feed or (self.route.end is not None and self.request.reconnects)
        early = EarlyAnswer(self.route, relay, self.record, self._farewell_for_good if returns else None)
        await first_of(opening, relay.ended)
        if relay.ended.done():
            opening.cancel()  # now: the client may be given time to read its last words
            return relay
        try:
            self._exchange = await opening
            if self._live is not None:
                self.streams.respond(self._live)
        except SSEProxyError as error:
            early.fail(error)
            release_frames(error)
        else:
            await early.join(self._exchange)
        return relay

    def _farewell_for_good(self) -> EndMessage:
        has_event = self.request.drops_ids_without_data
        return self.ends.farewell_for_good(self.route, self.inbound, self.upstream_headers, id_has_event=has_event)

    # Other ends.

    async def _tunnel(self, exchange: HttpExchange, head: ResponseHead) -> None:
        if self.inbound.upgrade is None or exchange.is_sending:
            when = "unasked" if self.inbound.upgrade is None else "before it had the request"
            raise UpstreamBroken(f"The upstream switched protocols {when}.", proxy_status="http_upgrade_failed")
        tunnel = Tunnel(self.connection, exchange, idle=self.route.timeouts.idle_of(is_answer=False))
        try:
            upgrade = [(b"Connection", b"upgrade"), (b"Upgrade", head.upgraded_to or self.inbound.upgrade)]
            headers = apply_rules(head.headers, self.route.response_headers)
            self.downstream.send_tunnel_head(head.status, head.reason, headers + upgrade)
            self.record.status = head.status
            self.record.stats = tunnel.stats
            tunnel.start()
            self._go_live(tunnel, None)
            self._note_end(await tunnel.ended)
            await self.downstream.wait_until_flushed(self.route.timeouts.write)
        finally:
            tunnel.close()
            self.downstream.broken = True

    def _refuse(self, error: SSEProxyError) -> None:
        """Answer with an error of ours, or break the connection if an answer has already begun."""
        self.record.error = str(error)
        if isinstance(error, OriginError):
            self.record.reason = error.reason
        if self.downstream.started:
            self.downstream.cut()
        else:
            self.record.status = self.record.intended = error.status
            send_problem(self.downstream, error)

    async def _end_broken(self, error: InternalError) -> None:
        """End the response after a defect of sseproxy; a stream under way gets an error event."""
        if self._body is None:
            self._refuse(error)
            return
        self.record.error = str(error)
        self._body.stop(CloseReason.INTERNAL_ERROR)
        self._note_end(CloseReason.INTERNAL_ERROR)
        await self._finish(self._body)

    def _note_end(self, reason: CloseReason) -> None:
        """The first reason is the one that counts."""
        if self.record.reason == "-":
            ended = self._body.transfer.close_reason if self._body is not None else None
            self.record.reason = ended or reason

    def _let_go(self) -> None:
        self.connection.flow = None
        opening, self._opening, self._task = self._opening, None, None  # no way from a task to itself
        if opening is not None and not opening.done():
            opening.cancel()
        if opening is not None and self._exchange is None:
            opening.add_done_callback(_abort_late)
        if self._exchange is not None:
            self._exchange.abort()
        if self._body is not None:
            self._body.stop(CloseReason.CLIENT_GONE)
        if self._live is not None:
            self.streams.remove(self._live)
        self._release_place()

    def _release_place(self) -> None:
        if self._admission is not None:
            self._admission.release()
            self._admission = None


def _abort_late(opening: asyncio.Task[HttpExchange]) -> None:
    """The upstream answered in the very moment in which nobody wanted it any more."""
    if not opening.cancelled():
        try:
            opening.result().abort()
        except Exception as error:  # noqa: BLE001 - the request has ended: the error has no reader
            release_frames(error)
