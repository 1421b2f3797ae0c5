"""How is a ticket made on a route with a journal, where a ticket is a run? (docs/eventsource.md)"""

from dataclasses import replace

from sseproxy.core.errors import BadRequest, StoreFull
from sseproxy.core.http.paths import normalized
from sseproxy.core.routes import Route, split_target
from sseproxy.proxy.eventsource.route_ends import RouteEnds
from sseproxy.proxy.inbound import ClientRequest
from sseproxy.proxy.journal.client import RunClient
from sseproxy.proxy.journal.identify import position_of, unidentified
from sseproxy.proxy.journal.refused import answer_refused, position_gone
from sseproxy.proxy.journal.service import JournalService
from sseproxy.proxy.journal.upstream import RunUpstream
from sseproxy.proxy.opening import Opening
from sseproxy.proxy.responses import send_created
from sseproxy.proxy.tail import ResponseTail
from sseproxy.runs.findings import Ask, Gone, Open

_RETRY_AFTER = 1  # seconds


def without_ticket_path(request: ClientRequest, target: str) -> ClientRequest:
    """Return the request as it goes upstream. target: what is behind the path of tickets."""
    path = normalized(split_target(target)[0])
    return replace(request, inbound=replace(request.inbound, target=target, path=path))


class TicketRun:
    """A request that makes a ticket on a route with a journal, until it is answered.

    What it asks for is sent at once, and its run waits for a reader. Nothing of the request is kept.
    """

    # Invariants:
    # 1. The client gets 201 and the URL of the run once the upstream has answered with a stream; anything else that the
    #    upstream says is the answer, and no run is left.
    # 2. The request is served with a journal or not at all: without one there would be nothing that its URL could name.
    # 3. The run waits for its first reader as long as a ticket would, also where no run goes on without a reader.

    __slots__ = ("_ends", "_opening", "_request", "_route", "_service", "_tail")

    def __init__(
        self,
        service: JournalService,
        request: ClientRequest,
        route: Route,
        tail: ResponseTail,
        opening: Opening,
        *,
        ends: RouteEnds,
    ) -> None:
        self._service = service
        self._request = request
        self._route = route
        self._tail = tail
        self._opening = opening
        self._ends = ends

    async def start(self) -> None:
        """Send what is asked for, and answer. Raises `SSEProxyError`."""
        route, tail, opening, inbound = self._route, self._tail, self._opening, self._request.inbound
        policy, tickets, desk = route.journal, route.tickets, self._service.desk
        assert policy is not None
        assert tickets is not None
        if inbound.method == "HEAD" or (not policy.is_answer and inbound.method != "GET"):
            raise BadRequest("Only requests whose response is kept can be tickets of this route.")
        identified = await self._service.identifier.identify(self._request, route, opening)
        if identified.belongs is None:
            raise unidentified()
        wanted, upstream = inbound.stream_request(route), RunUpstream(opening, route)
        ask = Ask(identified.belongs, position_of(inbound))
        finding = await desk.find(ask)
        if isinstance(finding, Gone):
            raise position_gone()
        run = await desk.create(ask) if isinstance(finding, Open) else finding.run
        if run is None:
            raise StoreFull("There is no room for another run.", retry_after=_RETRY_AFTER)
        tail.exchange = attendance = run.attend()
        is_first = not run.is_begun
        if not is_first:
            self._request.drop_body()
            run.wake(wanted.plan(), upstream.open_again)
        else:
            run.grace = tickets.ttl
            run.begin(wanted.plan(), upstream.open, may_detach=lambda: upstream.has_whole_request)
        await run.opened
        if run.state.head is None:
            headers, key = opening.headers, identified.key
            client = RunClient.of(
                inbound, route, tail, wanted=wanted, ends=self._ends, upstream_headers=headers, key=key
            )
            await answer_refused(run, client, is_first=is_first)
            return
        attendance.abort()
        value = identified.key if policy.resume.is_by_key else run.name
        url = policy.resume.url(value or run.name).decode()
        tail.record.status = tail.record.intended = 201
        send_created(tail.downstream, url, {"ticket": run.name.decode(), "url": url}, tail.record.request_id)
