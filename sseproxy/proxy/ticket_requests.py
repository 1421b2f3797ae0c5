"""What is one client told at the desk where requests are kept? (contract section 5)"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Protocol

from sseproxy.core.errors import Draining, ForeignOrigin, TicketNotFound
from sseproxy.core.eventsource.cors import lets_in, preflight_method
from sseproxy.core.eventsource.fetch_metadata import is_cross_origin
from sseproxy.core.eventsource.tickets import is_for_script
from sseproxy.core.http.fields import Peer
from sseproxy.core.routes import Route
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.access import AccessRecord
from sseproxy.http1.content import RequestContent
from sseproxy.http1.downstream import HttpDownstream
from sseproxy.proxy.body import BodyReader
from sseproxy.proxy.eventsource.cors_guard import is_from_foreign_page, refuse_foreign
from sseproxy.proxy.eventsource.tickets import OwnedTicket, TicketService, TicketTarget, body_limit, sent_with
from sseproxy.proxy.forward import Forwarding
from sseproxy.proxy.inbound import InboundRequest
from sseproxy.proxy.responses import send_created, send_nothing

_RETRY_AFTER = 1  # seconds: somebody else is about to take over


class CycleFactory(Protocol):
    """Makes the cycle of a request that `peer` has sent, on its route, with its body."""

    def __call__(
        self,
        inbound: InboundRequest,
        route: Route,
        content: bytes | None,
        *,
        peer: Peer,
        when_sent: Callable[[], Awaitable[None]],
    ) -> Forwarding: ...


@dataclass(slots=True, eq=False)
class TicketRequest:
    """The state of one request to the desk. content: its body. new_cycle: for the kept request of a ticket."""

    desk: TicketService
    call: TicketTarget
    inbound: InboundRequest
    content: RequestContent | None
    downstream: HttpDownstream
    record: AccessRecord
    peer: Peer
    new_cycle: CycleFactory
    _cycle: Forwarding | None = field(default=None, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _is_cut: bool = field(default=False, init=False)
    _is_withdrawn: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Serve the request. Raises `SSEProxyError`, as long as nothing was sent, and `asyncio.CancelledError`."""
        self._task = asyncio.current_task()
        try:
            await (self._keep() if self.call.id is None else self._serve_holder())
        except asyncio.CancelledError:
            if self._is_cut:
                raise Draining("The proxy is shutting down.", retry_after=_RETRY_AFTER) from None
            if self._is_withdrawn and not self.downstream.started:
                self._answer_with_nothing(HTTPStatus.NO_CONTENT)
                return
            if self.record.reason == "-":
                self.record.reason = CloseReason.CLIENT_GONE
            raise
        finally:
            self._task = None  # no way from a task to itself

    def cut(self) -> None:
        """The process ends; see `Forwarding.cut`."""
        if self._cycle is not None:
            self._cycle.cut()
        elif self._task is not None:
            self._is_cut = True
            self._task.cancel()

    def withdraw(self) -> None:
        """The ticket was deleted while it was open."""
        self._is_withdrawn = True
        if self._cycle is not None:
            self._cycle.withdraw()

    # Private.

    @property
    def _client(self) -> str:
        return self.record.client or self.record.peer

    async def _keep(self) -> None:
        route = self.desk.find_route(self.call, method=self.inbound.method, host=self.inbound.host)
        self.record.route = route.name
        if preflight_method(self.inbound.method, self.inbound.headers) is not None:
            raise ForeignOrigin("Pages of other origins may not do that: the route has no cors.")
        refuse_foreign(self.inbound, route, self.peer)
        body = None
        if self.content is not None:
            ask = self.downstream.send_continue if self.inbound.expects_continue else None
            within = route.timeouts.request_body
            body = BodyReader(self.content, limit=body_limit(route), ask=ask, peek=None, within=within)
        ticket = await self.desk.keep(self.call, self.inbound, route, body, peer=self.peer, client=self._client)
        self._note_status(HTTPStatus.CREATED)
        url = f"{self.call.path}/{ticket.id}"
        seconds = int(ticket.ttl) if ticket.ttl.is_integer() else ticket.ttl
        send_created(self.downstream, url, {"ticket": ticket.id, "url": url, "expires_in": seconds})

    async def _serve_holder(self) -> None:
        """Whoever asks has a ticket, or says so."""
        ticket = await self.desk.find(self.call, self.inbound, client=self._client)
        if not self._may_be_served(ticket.route):
            raise TicketNotFound("There is no such ticket.")
        self.record.route = ticket.route.name
        if self.inbound.method == "GET":
            await self._open(ticket)
        elif self.inbound.method == "DELETE":
            await self.desk.delete(ticket)
            self._answer_with_nothing(HTTPStatus.NO_CONTENT)
        else:  # HEAD: a look opens nothing
            opens = ticket.known.waits or ticket.known.terms.reopens
            self._answer_with_nothing(HTTPStatus.OK if opens else HTTPStatus.NO_CONTENT)

    def _may_be_served(self, route: Route) -> bool:
        """Whether the client is a script of this origin, or of one that the route lets in.

        Any other could not read the answer, but would have the ticket spent.
        """
        headers = self.inbound.headers
        if not is_for_script(headers):
            return False
        logs_in = self.inbound.is_logged_in(route)
        is_let_in = route.cors is not None and lets_in(route.cors, headers, logs_in=logs_in)
        return is_let_in or not (is_cross_origin(headers) or is_from_foreign_page(self.inbound, route, self.peer))

    async def _open(self, ticket: OwnedTicket) -> None:
        cycle = None
        try:
            kept = await self.desk.open(ticket, self)
            if self._is_withdrawn or kept is None:
                self._answer_with_nothing(HTTPStatus.NO_CONTENT)
                return
            cycle = self._cycle = self.new_cycle(
                sent_with(kept, self.inbound, ticket.route, again=not ticket.known.waits),
                ticket.route,
                kept.body,
                peer=kept.peer,
                when_sent=partial(self.desk.release, ticket, self),
            )
            # A stream may go on for hours.
            self.inbound, kept = replace(self.inbound, headers=[]), None
            await cycle.run()
        finally:
            self._cycle = None  # which leads back here
            await self.desk.end(ticket, self, spent=cycle is not None and cycle.is_spent)

    def _answer_with_nothing(self, status: HTTPStatus) -> None:
        self._note_status(status)
        send_nothing(self.downstream, status)

    def _note_status(self, status: int) -> None:
        self.record.status = self.record.intended = status
