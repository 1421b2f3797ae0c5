"""How is a request served whose route has a journal: does it read a run that is there, or open one?"""

import asyncio
from dataclasses import replace
from functools import partial

from sseproxy.core.errors import BadRequest
from sseproxy.core.journal.positions import named_position
from sseproxy.core.journal.run import RunPhase
from sseproxy.core.routes import Route
from sseproxy.http1.content import RequestContent
from sseproxy.origins.http import HttpOrigin
from sseproxy.proxy.answering import Answering
from sseproxy.proxy.eventsource.route_ends import RouteEnds
from sseproxy.proxy.forward import Forwarding
from sseproxy.proxy.inbound import ClientRequest
from sseproxy.proxy.journal.reading import Reading
from sseproxy.proxy.journal.request_parts import Identified, Identities, for_upstream
from sseproxy.proxy.journal.upstream import RunUpstream
from sseproxy.proxy.opening import Opening, cancel
from sseproxy.proxy.tail import ResponseTail
from sseproxy.runs.desk import Ask, Complete, Desk, Gone, How, Join, Open
from sseproxy.runs.live_run import Belonging, LiveRun, Opened

_POSITION = b"last-event-id"


class Journalled:
    """One request on its way along `route`, until its response has begun. What it makes for longer goes to `tail`.

    desk: has the runs. identities: say whose run it is. via: the name of this instance.
    """

    # Plan: `start` finds out which run the request names (`Identities`, `Desk.find`), and then does one of these:
    #
    #   its route goes by parts that it lacks    relayed without a journal (answer), refused (feed)
    #   the client has seen the end              204
    #   a run is there                           it is read from where the client is; the request ends here
    #   a position is unknown                    410, or a feed with a gap
    #   nothing is there                         the upstream is asked, and what it answers becomes a run
    #
    # A request that declares a stream makes its run before the upstream is asked, so that others can join and stop it,
    # and the client may leave. Any other makes one when the upstream has answered with a stream.
    #
    # Invariants:
    # 1. A request that resumes never reaches the upstream, nor does its body.
    # 2. The opening belongs to the run once that has begun, before that to this request.
    # 3. Where there is no room for a run, the request is relayed as on any other route.
    #
    # Hazard: two requests that open one feed in the same moment. The one that comes second gets the run of the first
    # from `Desk.create`, and joins.

    __slots__ = ("_desk", "_ends", "_identities", "_origin", "_request", "_route", "_tail", "_via", "is_spent")

    def __init__(
        self,
        request: ClientRequest,
        route: Route,
        origin: HttpOrigin,
        tail: ResponseTail,
        *,
        desk: Desk,
        identities: Identities,
        ends: RouteEnds,
        via: bytes,
    ) -> None:
        self._request = request
        self._route = route
        self._origin = origin
        self._tail = tail
        self._desk = desk
        self._identities = identities
        self._ends = ends
        self._via = via
        self.is_spent = True

    async def start(self) -> None:
        """Begin the response. Raises `SSEProxyError`; then the client still has to hear of it."""
        request, route, tail = self._request, self._route, self._tail
        policy = route.journal
        assert policy is not None
        method = request.inbound.method
        if method == "HEAD" or (not policy.is_answer and method != "GET"):
            await self._relay(request)
            return
        identified = await self._identities.identify(request, route, tail)
        request = identified.request
        if identified.belongs is None:
            if not policy.is_answer:
                raise BadRequest("The request lacks what says which stream it reads, or who reads it.")
            await self._relay(request)
            return
        inbound = request.inbound
        named = [(_POSITION, value) for value in inbound.client_fields.get(_POSITION, ())]
        position = named_position(named, inbound.client_query.encode())
        finding = await self._desk.find(Ask(identified.belongs, position))
        await _Serving(self, identified, position).serve(finding)

    async def _relay(self, request: ClientRequest) -> None:
        """Serve the request as on a route without a journal."""
        await Forwarding(request, self._route, self._origin, self._tail, ends=self._ends, via=self._via).start()
