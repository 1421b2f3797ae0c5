"""How does one request reach its upstream, and what becomes of the answer?"""

import asyncio
from http import HTTPStatus

from sseproxy.core.routes import Route
from sseproxy.core.stream.request import StreamRequest
from sseproxy.origins.http import HttpExchange
from sseproxy.proxy.answering import Answering
from sseproxy.proxy.eventsource.route_ends import RouteEnds
from sseproxy.proxy.inbound import InboundRequest
from sseproxy.proxy.opening import Opening, Progress, cancel
from sseproxy.proxy.tail import ResponseTail


class Forwarding:
    """One request on its way along `route`, until its response has begun. What it makes for longer goes to `tail`.

    wanted: what it asks for. opening: sends it.
    """

    # Plan: `start` waits until the `Opening` brings the head of the response, and then does one of these:
    #
    #   the client has seen the end of this stream   204, nothing is sent                       (`RouteEnds`)
    #   before_response passes                       200 and heartbeats, see `EarlyAnswer`
    #   heartbeat.json passes, no stream is declared  200 and white space, likewise
    #   101                                          a `Tunnel`, which lasts until `start` returns
    #   all of the response is here                  one write, no relay                        (`Answering`)
    #   anything else                                head and relay, which runs on when `start` has returned
    #
    # Invariants:
    # 1. A stream takes its place (`admit`) before the upstream works for it if its request declares it.
    # 2. When `start` returns, the exchange is the tail's. When it raises, the opening has been cancelled (`cancel`).
    #
    # Hazard: a connection that was never made takes back that the request is spent, but not if the client has had an
    # error event for it: the ticket would be sent once more.

    __slots__ = ("_ends", "_inbound", "_opening", "_route", "_tail", "_wanted")

    def __init__(
        self,
        inbound: InboundRequest,
        route: Route,
        tail: ResponseTail,
        wanted: StreamRequest,
        opening: Opening,
        *,
        ends: RouteEnds,
    ) -> None:
        self._route = route
        self._inbound = inbound
        self._tail = tail
        self._ends = ends
        self._wanted = wanted
        self._opening = opening

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
            self._tail.admit(self._route)
            if wanted.reconnects:
                self._answering().await_stream()
        heartbeat = self._route.heartbeat
        if declares is None:
            may_be_late = True  # the rest of the body decides
        elif declares:
            may_be_late = heartbeat.before_response is not None
        else:
            may_be_late = heartbeat.json is not None and wanted.early_after is not None
        if not may_be_late:
            self._tail.exchange = await self._opening.open()
            await self._answering().answer(self._tail.exchange)
            return
        await self.follow(asyncio.create_task(self._opening.open()))

    async def follow(self, opening: asyncio.Task[HttpExchange]) -> None:
        """Begin the response to a request that was sent already. The task is not this caller's any more."""
        try:
            if await self._opened_in_time(opening):
                self._tail.exchange = exchange = await opening
                await self._answering().answer(exchange)
            elif self._wanted.declares:
                await self._answering().promise().follow(opening)
            else:
                await self._answering().promise_json().follow(opening)
        finally:
            if self._tail.exchange is None:
                cancel(opening)

    async def _opened_in_time(self, opening: asyncio.Task[HttpExchange]) -> bool:
        """Return whether the upstream answers before the client must be answered.

        What the end of the body declares takes its place then, whether or not the client must ever be answered.
        """
        body_ended = self._opening.body_ended
        if body_ended is not None:
            await asyncio.wait((opening, body_ended), return_when=asyncio.FIRST_COMPLETED)
            if not opening.done() and self._wanted.declares:
                self._tail.admit(self._route)
        await asyncio.wait({opening}, timeout=self._wanted.early_after)
        return opening.done()

    def _answering(self) -> Answering:
        headers = self._opening.headers
        return Answering(
            self._inbound, self._route, self._tail, self._wanted, ends=self._ends, upstream_headers=headers
        )
