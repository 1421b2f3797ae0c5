"""How is a request to the ticket service answered? (docs/eventsource.md)"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Protocol

from sseproxy.core.errors import TicketNotFound
from sseproxy.core.eventsource.cors import lets_in
from sseproxy.core.eventsource.fetch_metadata import is_cross_origin
from sseproxy.core.eventsource.ticket_ids import is_for_script
from sseproxy.core.routes import Route
from sseproxy.http1.content import RequestContent
from sseproxy.proxy.body import BodyReader
from sseproxy.proxy.eventsource.cors_guard import is_from_foreign_page
from sseproxy.proxy.eventsource.ticket_paths import TicketTarget
from sseproxy.proxy.eventsource.tickets import OwnedTicket, TicketService, body_limit, sent_with
from sseproxy.proxy.inbound import ClientRequest
from sseproxy.proxy.responses import send_created
from sseproxy.proxy.tail import ResponseTail


class Forwarded(Protocol):
    """A request on its way to its upstream (`Forwarding`), or to Redis."""

    @property
    def is_spent(self) -> bool:
        """True if it may have been sent."""

    async def start(self) -> None: ...


#: Makes what forwards a request along a route, if the request may go on. Raises `SSEProxyError`.
NewForwarding = Callable[[ClientRequest, Route, ResponseTail], Awaitable[Forwarded]]


async def keep_request(
    service: TicketService, target: TicketTarget, request: ClientRequest, route: Route, tail: ResponseTail
) -> None:
    """Keep a request, and answer with the URL of its ticket. Raises `SSEProxyError`."""
    body, inbound = None, request.inbound
    if isinstance(request.content, RequestContent):
        ask = tail.downstream.send_continue if inbound.expects_continue else None
        within = route.timeouts.request_body
        body = BodyReader(request.content, limit=body_limit(route), ask=ask, peek=None, within=within)
    ticket = await service.keep(target, request, route, body)
    tail.record.status = tail.record.intended = HTTPStatus.CREATED
    url = f"{target.path}/{ticket.id}"
    seconds = int(ticket.ttl) if ticket.ttl.is_integer() else ticket.ttl
    value = {"ticket": ticket.id, "url": url, "expires_in": seconds}
    send_created(tail.downstream, url, value, tail.record.request_id)


async def use_ticket(
    service: TicketService,
    target: TicketTarget,
    request: ClientRequest,
    tail: ResponseTail,
    forward: NewForwarding,
) -> None:
    """Do what a client wants of a ticket. Raises `TicketNotFound`, and `SSEProxyError` as long as nothing was sent."""
    ticket = await service.find(target, request)
    if not _may_use(ticket.route, request):
        raise TicketNotFound("There is no such ticket.")
    tail.record.route, tail.record.upstream = ticket.route.name, ticket.route.leads_to
    method = request.inbound.method
    if method == "GET":
        opening = TicketOpening(service, ticket, tail)
        pending = opening.run(request, forward)
        del request  # a stream may go on for hours
        await pending
    elif method == "DELETE":
        await service.delete(ticket)
        tail.answer_with_nothing(HTTPStatus.NO_CONTENT)
    else:  # HEAD: a look opens nothing
        opens = ticket.known.waits or ticket.known.terms.reopens
        tail.answer_with_nothing(HTTPStatus.OK if opens else HTTPStatus.NO_CONTENT)


class _Stage(Enum):
    OPENING = "the store is asked for the request"
    SENT = "the request is on its way, or the response"
    DELETED = "the ticket was deleted"


@dataclass(slots=True, eq=False)
class TicketOpening:
    """A ticket that a client has open, from the question to the store to the end of the response."""

    service: TicketService
    ticket: OwnedTicket
    tail: ResponseTail
    _stage: _Stage = field(default=_Stage.OPENING, init=False)

    async def run(self, request: ClientRequest, forward: NewForwarding) -> None:
        """Send the kept request, if it may be sent, and wait for the end of its response."""
        service, ticket, tail = self.service, self.ticket, self.tail
        spent = False
        try:
            kept = await service.open(ticket, self)
            if self._stage is _Stage.DELETED or kept is None:
                tail.answer_with_nothing(HTTPStatus.NO_CONTENT)
                return
            self._stage = _Stage.SENT
            treatment = tail.downstream.treatment.of_opened_ticket(ticket.route.cors, request.inbound.headers)
            tail.downstream.treatment = treatment
            inbound = sent_with(kept, request.inbound, ticket.route, again=not ticket.known.waits)
            forwarded = await forward(ClientRequest(inbound, kept.body, kept.peer, request.client), ticket.route, tail)
            del request, kept, inbound  # a stream may go on for hours
            try:
                await forwarded.start()
            finally:
                spent = forwarded.is_spent
                del forwarded
            if spent:
                await service.release(ticket, self)
            await tail.wait()
        finally:
            await service.end(ticket, self, spent=spent)

    def cancel(self) -> None:
        """Stop what the ticket has brought about: it was deleted. While the store is asked, only take note of it."""
        if self._stage is _Stage.SENT:
            self.tail.cancel()
        self._stage = _Stage.DELETED


def _may_use(route: Route, request: ClientRequest) -> bool:
    """Return whether the client is a script of this origin, or of one that the route lets in.

    Any other could not read the answer, but would have the ticket spent.
    """
    headers = request.inbound.headers
    if not is_for_script(headers):
        return False
    logs_in = request.inbound.is_logged_in(route)
    is_let_in = route.cors is not None and lets_in(route.cors, headers, logs_in=logs_in)
    return is_let_in or not (is_cross_origin(headers) or is_from_foreign_page(request, route))
