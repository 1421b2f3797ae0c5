"""What is done about what a request wants, and may it be done at all?"""

from collections.abc import Coroutine, Sequence
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from sseproxy.core.errors import StoreAway
from sseproxy.core.routes import Route
from sseproxy.proxy.eventsource.route_ends import RouteEnds
from sseproxy.proxy.eventsource.tickets import TicketService
from sseproxy.proxy.forward import Forwarding
from sseproxy.proxy.inbound import ClientRequest
from sseproxy.proxy.keeping import Keeping
from sseproxy.proxy.opening import Opening
from sseproxy.proxy.origins import Origins
from sseproxy.proxy.resolve import Forward, KeepTicket, Refuse, Reply, Resolution, UseRun, UseTicket
from sseproxy.proxy.subscribe import Subscribing
from sseproxy.proxy.tail import ResponseTail

if TYPE_CHECKING:
    from sseproxy.proxy.authorize import Authorizer
    from sseproxy.proxy.journal.service import JournalService

Work = Coroutine[None, None, None]

#: Seconds after which a client may ask again whose route has gone meanwhile.
_RETRY_AFTER = 1


class Serve(Protocol):
    """What is done with a request of a route. Raises `SSEProxyError`."""

    def __call__(self, request: ClientRequest, route: Route, tail: ResponseTail, /) -> Work: ...


class Starting(Protocol):
    """A request on its way, until its response has begun. is_spent: it may have been sent."""

    @property
    def is_spent(self) -> bool: ...

    async def start(self) -> None:
        """Begin the response. Raises `SSEProxyError`; then the client still has to hear of it."""


class Dispatcher:
    """Hands each request to what serves it, once the route lets it in.

    origins: where the routes lead. end_key, instance: see `ProxyApp`. journal: there where a route has one.
    """

    # All ways from a request to what it brings about lead through here, and each asks the route's `authorize` first: a
    # forwarded request and the making of a ticket in `_authorized`, the opening of a ticket in `_forward_kept`, when
    # the kept request and with it the credentials are known. To look at a ticket or to delete it brings about nothing.

    _authorizer: "Authorizer | None" = None

    def __init__(
        self,
        routes: Sequence[Route],
        origins: Origins,
        tickets: TicketService,
        *,
        end_key: bytes,
        instance: bytes,
        journal: "JournalService | None" = None,
    ) -> None:
        self._journal = journal
        self._origins = origins
        self._ends = RouteEnds(end_key)
        self._instance = instance
        self._tickets = tickets
        self._keeping = Keeping(tickets, journal, origins, self._ends, instance=instance)
        retired = (*tickets.paths.retired, *(() if journal is None else journal.retired))
        if any(route.authorize is not None for route in (*routes, *retired)):
            from sseproxy.proxy.authorize import Authorizer  # noqa: PLC0415 - only where a route asks a service

            self._authorizer = Authorizer(routes, origins.authorizers, instance=instance)

    @property
    def authorizer(self) -> "Authorizer":
        """What asks the services. There is one wherever a route has `authorize`."""
        assert self._authorizer is not None
        return self._authorizer

    def begin(self, resolution: Resolution, tail: ResponseTail) -> Work | None:
        """Answer a request at once, or return what serves it."""
        match resolution:
            case Forward(request=request, route=route):
                if route.authorize is None:
                    return self._serve(request, route, tail)
                return self._authorized(self._serve, request, route, tail, request.inbound.target)
            case KeepTicket(request=request, route=route, target=target):
                keep = partial(self._keeping.keep, target)
                if route.authorize is None:
                    return keep(request, route, tail)
                return self._authorized(keep, request, route, tail, target.target)
            case UseTicket(request=request, target=target):
                from sseproxy.proxy.eventsource.ticket_requests import use_ticket  # noqa: PLC0415 - likewise

                return use_ticket(self._tickets, target, request, tail, self._forward_kept)
            case UseRun(request=request, route=route, target=named):
                assert self._journal is not None
                use = partial(self._journal.use, named, self._ends)
                if route.authorize is None:
                    return use(request, route, tail)
                return self._authorized(use, request, route, tail, request.inbound.target)
            case Reply(fields=fields):
                tail.answer_with_nothing(HTTPStatus.NO_CONTENT, fields)
            case Refuse(error=error):
                tail.refuse(error)
        return None

    async def _authorized(
        self, serve: Serve, request: ClientRequest, route: Route, tail: ResponseTail, target: str
    ) -> None:
        work = serve(await self.authorizer.let_in(request, route, target), route, tail)
        del request  # a stream may go on for hours
        await work

    async def _forward_kept(self, request: ClientRequest, route: Route, tail: ResponseTail) -> Starting:
        if route.authorize is not None:
            request = await self.authorizer.let_in(request, route, request.inbound.target)
        return self._new(request, route, tail)

    async def _serve(self, request: ClientRequest, route: Route, tail: ResponseTail) -> None:
        forwarding = self._new(request, route, tail)
        del request
        await forwarding.start()
        del forwarding  # a stream may go on for hours
        await tail.wait()

    def _new(self, request: ClientRequest, route: Route, tail: ResponseTail) -> Starting:
        """Make what serves a request: an upstream, or Redis."""
        if route.redis is not None:
            redis = self._origins.redis[route.redis.url]
            if redis.is_closed:  # the request has waited for `authorize`, while a reload took its route away
                raise StoreAway("This route has gone.", retry_after=_RETRY_AFTER)
            return Subscribing(request, route, redis, tail)
        assert route.upstream is not None
        origin, inbound = self._origins.upstreams[route.upstream], request.inbound
        wanted = inbound.stream_request(route)
        opening = Opening(request, route, origin, tail, wanted=wanted, via=self._instance)
        if route.journal is None:
            return Forwarding(inbound, route, tail, wanted, opening, ends=self._ends)
        assert self._journal is not None
        return self._journal.serve(request, route, tail, wanted, opening, ends=self._ends)
