"""What becomes of the answer to one request along a route?"""

import asyncio
from functools import partial
from http import HTTPStatus

from sseproxy.core.http.fields import Headers, apply_rules, with_request_id
from sseproxy.core.routes import Route
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.origins.exchange import HttpExchange
from sseproxy.origins.http import HttpOrigin
from sseproxy.proxy.early import EarlyAnswer
from sseproxy.proxy.eventsource.route_ends import RouteEnds
from sseproxy.proxy.inbound import ClientRequest
from sseproxy.proxy.opening import Opening, Progress, cancel
from sseproxy.proxy.response_body import connect_body, read_kind
from sseproxy.proxy.tail import ResponseTail
from sseproxy.proxy.tunnel import run_tunnel


class Forwarding:
    """One request on its way along `route`, until its response has begun. What it makes for longer goes to `tail`.

    via: the name of this instance.
    """

    # Plan: `start` waits until the `Opening` brings the head of the response, and then does one of these:
    #
    #   the client has seen the end of this stream   204, nothing is sent                       (`RouteEnds`)
    #   before_response passes                       200 and heartbeats, see `EarlyAnswer`
    #   101                                          a `Tunnel`, which lasts until `start` returns
    #   all of the response is here                  one write, no relay
    #   anything else                                head and relay, which runs on when `start` has returned
    #
    # Invariants:
    # 1. A stream takes its place (`admit`) before its head is sent, and before the upstream works for it if its request
    #    declares it.
    # 2. The head is held until the first bytes of the body are there, if they came together.
    # 3. When `start` returns, the exchange is the tail's. When it raises, the opening has been cancelled (`cancel`).
    #
    # Hazard: a connection that was never made takes back that the request is spent, but not if the client has had an
    # error event for it: the ticket would be sent once more.

    __slots__ = ("_ends", "_inbound", "_opening", "_route", "_tail", "_wanted")

    def __init__(
        self,
        request: ClientRequest,
        route: Route,
        origin: HttpOrigin,
        tail: ResponseTail,
        *,
        ends: RouteEnds,
        via: bytes,
    ) -> None:
        inbound = request.inbound
        self._route = route
        self._inbound = inbound
        self._tail = tail
        self._ends = ends
        self._wanted = wanted = inbound.stream_request(route)
        self._opening = Opening(request, route, origin, tail, wanted=wanted, via=via)

    @property
    def is_spent(self) -> bool:
        """True if the request may have been sent, or if what the client got says so."""
        progress = self._opening.progress
        return progress is Progress.SENT or (progress is Progress.UNREACHABLE and self._tail.downstream.started)

    async def start(self) -> None:
        """Send the request, and begin the response. Raises `SSEProxyError`; then the client still has to hear of it."""
        inbound, wanted = self._inbound, self._wanted
        comes_back = b"last-event-id" in inbound.client_fields and wanted.may_come_back
        if comes_back and self._ends.has_seen(self._route, inbound, self._opening.headers):
            self._tail.answer_with_nothing(HTTPStatus.NO_CONTENT)
            return
        declares = wanted.declares
        if declares:
            self._admit()
            if wanted.reconnects and (plan := wanted.plan()).comes_back:
                fields = self._stream_fields(wanted.promised_kind.promised_head())
                self._tail.await_stream(fields, takes_retry=plan.takes_retry)
        wait = self._route.heartbeat.before_response
        if declares is False or (declares and wait is None):
            self._tail.exchange = await self._opening.open()
            await self._answer(self._tail.exchange)
            return
        opening = asyncio.create_task(self._opening.open())
        try:
            if await self._opened_within(wait, opening):
                self._tail.exchange = await opening
                await self._answer(self._tail.exchange)
            else:
                await self._answer_early(opening)
        finally:
            if self._tail.exchange is None:
                cancel(opening)

    async def _opened_within(self, seconds: float | None, opening: asyncio.Task[HttpExchange]) -> bool:
        """Return whether the upstream answers before the client must be answered: `seconds` after the request's end.

        What the end of the body declares takes its place then, whether or not the client must ever be answered.
        """
        body_ended = self._opening.body_ended
        if body_ended is not None:
            await asyncio.wait((opening, body_ended), return_when=asyncio.FIRST_COMPLETED)
            if not opening.done() and self._wanted.declares:
                self._admit()
        await asyncio.wait({opening}, timeout=seconds)
        if not opening.done() and not self._wanted.declares:
            await asyncio.wait({opening})
        return opening.done()

    async def _answer(self, exchange: HttpExchange) -> None:
        """Answer with what the upstream has answered."""
        tail, head = self._tail, exchange.head
        tail.record.intended = head.status
        if head.status == HTTPStatus.SWITCHING_PROTOCOLS:
            headers = apply_rules(head.headers, self._route.response_headers)
            await run_tunnel(exchange, headers, self._inbound.upgrade, self._route, tail)
            return
        kind, decoder = read_kind(head, self._route)
        plan, length = None, head.length
        if kind is None:
            fields = self._response_fields(head.headers)
        else:
            self._admit()
            plan, length = self._wanted.plan(), None
            fields = self._stream_fields(kind.head(head.headers, decoded=decoder is not None))
        tail.record.status = head.status
        if kind is None and (body := exchange.take_whole()) is not None:
            tail.downstream.send_whole(head.status, head.reason, fields, body, length=length, has_body=head.has_body)
            tail.note_whole(self._route, len(body))
            return
        # Held: what the upstream has sent together goes on together.
        tail.downstream.send_head(head.status, head.reason, fields, length=length, has_body=head.has_body, hold=True)
        message = self._end_message() if kind is not None and self._wanted.is_event_source else None
        relay = tail.new_relay(self._route, kind=kind, plan=plan, end_message=message)
        connect_body(relay, exchange, decoder)
        tail.downstream.release_head()

    async def _answer_early(self, opening: asyncio.Task[HttpExchange]) -> None:
        """Promise a stream to a client that has waited long enough, and follow the opening until there is one."""
        self._admit()
        plan = self._wanted.plan()
        final = partial(
            self._ends.final_message,
            self._route,
            self._inbound,
            self._opening.headers,
            id_has_event=self._wanted.drops_ids_without_data,
        )
        final_message = final if self._wanted.asks_again else None
        early = EarlyAnswer(self._wanted.promised_kind, self._route, self._tail, final_message)
        message = self._end_message() if self._wanted.is_event_source else None
        early.promise(plan, message, self._stream_fields)
        await early.follow(opening)

    # What the route says.

    def _admit(self) -> None:
        self._tail.admit(self._route)

    def _response_fields(self, headers: Headers) -> Headers:
        return self._inbound.for_caches(apply_rules(headers, self._route.response_headers), self._route)

    def _stream_fields(self, headers: Headers) -> Headers:
        """The same of a stream, whose head is made here. All other heads pass as they are."""
        return self._response_fields(with_request_id(headers, self._tail.record.request_id))

    def _end_message(self) -> EndMessage | None:
        has_event = self._wanted.drops_ids_without_data
        return self._ends.message(self._route, self._inbound, self._opening.headers, id_has_event=has_event)
