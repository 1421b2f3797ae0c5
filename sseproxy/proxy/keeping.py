"""What becomes of a request that is sent for a ticket: is it kept, or begun as a run?"""

from typing import TYPE_CHECKING

from sseproxy.core.routes import Route
from sseproxy.proxy.eventsource.route_ends import RouteEnds
from sseproxy.proxy.eventsource.ticket_paths import TicketTarget
from sseproxy.proxy.eventsource.tickets import TicketService
from sseproxy.proxy.inbound import ClientRequest
from sseproxy.proxy.opening import Opening
from sseproxy.proxy.origins import Origins
from sseproxy.proxy.tail import ResponseTail

if TYPE_CHECKING:
    from sseproxy.proxy.journal.service import JournalService


class Keeping:
    """Keeps requests for later. instance: the name of this proxy."""

    def __init__(
        self,
        tickets: TicketService,
        journal: "JournalService | None",
        origins: Origins,
        ends: RouteEnds,
        *,
        instance: bytes,
    ) -> None:
        self._tickets = tickets
        self._journal = journal
        self._origins = origins
        self._ends = ends
        self._instance = instance

    async def keep(self, target: TicketTarget, request: ClientRequest, route: Route, tail: ResponseTail) -> None:
        """Keep a request, or begin its run if `route` has a journal, and answer with a URL. Raises `SSEProxyError`."""
        if route.journal is None:
            from sseproxy.proxy.eventsource.ticket_requests import keep_request  # noqa: PLC0415 - few routes keep any

            await keep_request(self._tickets, target, request, route, tail)
            return
        from sseproxy.proxy.journal.ticket_runs import TicketRun, without_ticket_path  # noqa: PLC0415 - likewise

        assert self._journal is not None
        assert route.upstream is not None
        request = without_ticket_path(request, target.target)
        origin, wanted = self._origins.upstreams[route.upstream], request.inbound.stream_request(route)
        opening = Opening(request, route, origin, tail, wanted=wanted, via=self._instance)
        await TicketRun(self._journal, request, route, tail, opening, ends=self._ends).start()
        await tail.wait()
