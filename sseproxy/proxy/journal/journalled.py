"""How is a request served whose route has a journal: does it read a run that is there, or open one?"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from sseproxy.core.errors import BadRequest, PositionGone
from sseproxy.core.journal.run import RunPhase
from sseproxy.core.routes import Route
from sseproxy.core.stream.request import StreamRequest
from sseproxy.http1.content import RequestContent
from sseproxy.origins.exchange import HttpExchange
from sseproxy.proxy.answering import Answering
from sseproxy.proxy.eventsource.route_ends import RouteEnds
from sseproxy.proxy.forward import Forwarding
from sseproxy.proxy.inbound import ClientRequest
from sseproxy.proxy.journal.identify import Identifier, position_of
from sseproxy.proxy.journal.reading import Reading
from sseproxy.proxy.journal.upstream import RunUpstream
from sseproxy.proxy.opening import Opening, cancel
from sseproxy.proxy.refusal import first_of
from sseproxy.proxy.tail import ResponseTail
from sseproxy.runs.desk import Ask, Complete, Desk, Gone, How, Join, Open
from sseproxy.runs.live_run import LiveRun
from sseproxy.runs.terms import Opened


class Journalled:
    """One request on its way along `route`, until its response has begun. What it makes for longer goes to `tail`.

    is_spent: the request may have been sent.
    """

    # Plan: `start` finds out which run the request names, and then does one of these:
    #
    #   the request lacks parts of key or login  relayed without a journal (answer), refused (feed)
    #   the client has seen the end              204                                       (`RouteEnds`)
    #   a run is there                           it is read from where the client is; the request ends here
    #   what it names is gone                    410, or a feed with a gap
    #   nothing is there                         the upstream is asked, and what it answers becomes a run
    #
    # A request that declares a stream makes its run before the upstream is asked, so that others can join and stop it,
    # and its client may leave. Any other makes one when the upstream has answered with a stream.
    #
    # Invariants:
    # 1. A request that resumes never reaches the upstream, nor does its body.
    # 2. The opening is a task of this request until a run has it; then a client that leaves only ends its attendance.
    # 3. Where there is no room for a run, the request is relayed as on any other route.
    #
    # Hazard: two requests that open one feed in the same moment. The one that comes second gets the run of the first
    # from `Desk.create`, and joins.

    __slots__ = (
        "_answering",
        "_desk",
        "_ends",
        "_identifier",
        "_opening",
        "_reading",
        "_request",
        "_route",
        "_tail",
        "_upstream",
        "_wanted",
        "is_spent",
    )

    def __init__(
        self,
        request: ClientRequest,
        route: Route,
        tail: ResponseTail,
        wanted: StreamRequest,
        opening: Opening,
        *,
        desk: Desk,
        identifier: Identifier,
        ends: RouteEnds,
    ) -> None:
        self._request = request
        self._route = route
        self._tail = tail
        self._wanted = wanted
        self._opening = opening
        self._desk = desk
        self._identifier = identifier
        self._ends = ends
        self.is_spent = True

    async def start(self) -> None:
        """Begin the response. Raises `SSEProxyError`; then the client still has to hear of it."""
        request, route, wanted = self._request, self._route, self._wanted
        policy, inbound = route.journal, request.inbound
        assert policy is not None
        if inbound.method == "HEAD" or (not policy.is_answer and inbound.method != "GET"):
            await self._relay()
            return
        comes_back = b"last-event-id" in inbound.client_fields and wanted.may_come_back
        if comes_back and self._ends.has_seen(route, inbound, self._opening.headers):
            self._tail.answer_with_nothing(HTTPStatus.NO_CONTENT)
            return
        identified = await self._identifier.identify(request, route, self._opening)
        if identified.belongs is not None:
            await self._serve(Ask(identified.belongs, position_of(inbound)), identified.key)
        elif policy.is_answer:
            self._desk.note_unjournalled(route.name, "identity")
            await self._relay()
        else:
            raise BadRequest("The request lacks what says which stream it reads, or who reads it.")

    async def _serve(self, ask: Ask, key: bytes | None) -> None:
        """Read the run that is there, or open one."""
        inbound, route, tail, wanted = self._request.inbound, self._route, self._tail, self._wanted
        headers = self._opening.headers
        self._answering = Answering(inbound, route, tail, wanted, ends=self._ends, upstream_headers=headers)
        self._upstream = RunUpstream(self._opening, route)
        self._reading = Reading(
            inbound, route, tail, wanted, self._answering, desk=self._desk, position=ask.position, key=key
        )
        finding = await self._desk.find(ask)
        if isinstance(finding, Open):
            await self._open(ask, finding)
            return
        if isinstance(self._request.content, RequestContent):
            self._request.content.drop()
        match finding:
            case Join(run=run):
                attendance = run.attend()
                if run.state.phase is RunPhase.ASLEEP:
                    run.wake(wanted.plan(), self._upstream.open)
                await self._reading.serve(finding, attendance)
            case Complete():
                self._reading.answer_complete(finding)
            case Gone():
                raise PositionGone("What the request names, or the beginning of it, is no longer kept.")

    async def _open(self, ask: Ask, finding: Open) -> None:
        """Ask the upstream, and begin the response."""
        upstream, wanted = self._upstream, self._wanted
        if wanted.declares:
            self._tail.admit(self._route)
            run = await self._desk.create(ask)
            if run is None:
                await self._relay()
            else:
                await self._read(run, finding, upstream.open)
            return
        task = asyncio.create_task(self._opening.open())
        owner: object = self
        try:
            await first_of(task, upstream.body_ended)
            if not wanted.declares or task.done():
                await self._answer(ask, finding, await task)
                return
            self._tail.admit(self._route)
            run = await self._desk.create(ask)
            if run is None:
                await Forwarding(
                    self._request.inbound, self._route, self._tail, wanted, self._opening, ends=self._ends
                ).follow(task)
                return
            owner = run
            await self._read(run, finding, lambda _: upstream.opened_by(task))
        finally:
            if owner is self and not isinstance(self._tail.exchange, HttpExchange):
                cancel(task)

    async def _answer(self, ask: Ask, finding: Open, exchange: HttpExchange) -> None:
        """Answer a request that has not asked for a stream with what has come."""
        self._tail.exchange = exchange
        opened = self._upstream.opened(exchange)
        run = None if opened.head is None else await self._desk.create(ask)
        if run is None:
            await self._answering.answer(exchange)
            return
        attendance = run.attend()
        if run.is_begun:  # another request came first
            exchange.abort()
            await self._reading.serve(Join(run, run.state.window.top), attendance)
            return
        run.adopt(self._wanted.plan(), opened, self._upstream.open)
        join = Join(run, run.first_mark, finding.missing, How.NEW)
        await self._reading.serve(join, attendance, opener=self._upstream)

    async def _read(
        self, run: LiveRun, finding: Open, ask_upstream: Callable[[bytes | None], Awaitable[Opened]]
    ) -> None:
        """Read the run that was made for this request, or the one that another request has made meanwhile."""
        attendance, upstream = run.attend(), self._upstream
        if run.is_begun:
            await self._reading.serve(Join(run, run.state.window.top, finding.missing), attendance)
            return
        run.begin(self._wanted.plan(), ask_upstream, may_detach=lambda: upstream.has_whole_request)
        join = Join(run, run.first_mark, finding.missing, How.NEW)
        await self._reading.serve(join, attendance, opener=upstream)

    async def _relay(self) -> None:
        """Serve the request as on a route without a journal."""
        inbound, wanted = self._request.inbound, self._wanted
        await Forwarding(inbound, self._route, self._tail, wanted, self._opening, ends=self._ends).start()
