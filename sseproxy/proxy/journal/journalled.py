"""How is a request served whose route has a journal: does it read a run that is there, or open one?"""

from http import HTTPStatus

from sseproxy.core.routes import Route
from sseproxy.core.stream.request import StreamRequest
from sseproxy.proxy.eventsource.route_ends import RouteEnds
from sseproxy.proxy.forward import Forwarding
from sseproxy.proxy.inbound import ClientRequest
from sseproxy.proxy.journal.client import RunClient
from sseproxy.proxy.journal.identify import Identifier, position_of, unidentified
from sseproxy.proxy.journal.making import RunMaking
from sseproxy.proxy.journal.reading import Reading
from sseproxy.proxy.journal.upstream import RunUpstream
from sseproxy.proxy.opening import Opening
from sseproxy.proxy.tail import ResponseTail
from sseproxy.runs.desk import Desk
from sseproxy.runs.findings import Ask, Join, Open


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
    # Invariants:
    # 1. A request that resumes never reaches the upstream, nor does its body.
    # 2. A request that lacks what a run needs is served as on a route without a journal, or refused; never in between.

    __slots__ = (
        "_desk",
        "_ends",
        "_identifier",
        "_opening",
        "_request",
        "_route",
        "_tail",
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
        # A body is no part of a feed's key; a preflight and a handshake want anything but a stream.
        is_plain_get = inbound.method == "GET" and (not inbound.has_body or inbound.body_length == 0)
        is_kept = is_plain_get or (policy.is_answer and inbound.method != "HEAD")
        is_preflight = inbound.method == "OPTIONS" and b"access-control-request-method" in inbound.fields
        if not is_kept or is_preflight or inbound.upgrade is not None or wanted.may_declare_records:
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
            self._desk.note_unidentified(route.name)
            await self._relay()
        else:
            raise unidentified()

    async def _serve(self, ask: Ask, key: bytes | None) -> None:
        """Read the run that is there, or open one."""
        inbound, route, tail, wanted = self._request.inbound, self._route, self._tail, self._wanted
        headers = self._opening.headers
        client = RunClient.of(inbound, route, tail, wanted=wanted, ends=self._ends, upstream_headers=headers, key=key)
        reading, upstream = Reading(client, self._desk), RunUpstream(self._opening, route)
        finding = await self._desk.find(ask)
        if isinstance(finding, Open):
            plainly = Forwarding(inbound, route, tail, wanted, self._opening, ends=self._ends)
            await RunMaking(ask, finding, client, upstream, plainly, desk=self._desk).run()
            return
        self._request.drop_body()
        if isinstance(finding, Join):
            attendance = finding.run.attend()
            finding.run.wake(wanted.plan(), upstream.open_again)
            await reading.serve(finding, attendance)
        else:
            reading.answer_without(finding)

    async def _relay(self) -> None:
        """Serve the request as on a route without a journal."""
        inbound, wanted = self._request.inbound, self._wanted
        await Forwarding(inbound, self._route, self._tail, wanted, self._opening, ends=self._ends).start()
