"""How is the upstream of a run asked, the first time and again?"""

import asyncio
from collections.abc import Awaitable, Callable

from sseproxy.core.http.fields import Headers, without
from sseproxy.core.journal.run import RunHead
from sseproxy.core.limits import REFUSAL_TIME
from sseproxy.core.routes import Route
from sseproxy.core.stream.kinds import EVENT_STREAM
from sseproxy.engine.relay import Relay
from sseproxy.origins.codings import Decoder
from sseproxy.origins.http import HttpExchange
from sseproxy.proxy.opening import Opening, Progress, cancel
from sseproxy.proxy.refusal import Beginning, first_of
from sseproxy.proxy.response_body import connect_body, read_kind
from sseproxy.runs.terms import Opened, ResponseCopy

#: Fields that belong to one response, and not to the run (J7).
OF_ONE_RESPONSE = frozenset((b"set-cookie", b"date"))


class RunUpstream:
    """The upstream of one run. first_fields: of the head, as the client gets them whose request has opened the run."""

    __slots__ = ("_opening", "_route", "first_fields")

    def __init__(self, opening: Opening, route: Route) -> None:
        self._opening = opening
        self._route = route
        self.first_fields: Headers | None = None

    @property
    def body_ended(self) -> "asyncio.Future[None]":
        """Done when nothing more of the request's body comes."""
        ended = self._opening.body_ended
        if ended is None:
            ended = asyncio.get_running_loop().create_future()
            ended.set_result(None)
        return ended

    @property
    def has_whole_request(self) -> bool:
        """True if nothing of the request is still to come from its client."""
        ended = self._opening.body_ended
        return ended is None or ended.done()

    async def send(self) -> HttpExchange:
        """Send the request, for what belongs to no run yet. Raises `SSEProxyError`."""
        return await self._opening.open()

    async def open(self, last_own_id: bytes | None) -> Opened:
        """Ask the upstream. last_own_id: behind which it should go on. Raises `SSEProxyError`.

        Where the client was that has opened the run matters the first time only.
        """
        if last_own_id is not None or self._opening.progress is not Progress.NOT_SENT:
            self._opening = self._opening.again(last_own_id)
        return self.opened(await self._opening.open())

    async def open_again(self, last_own_id: bytes | None) -> Opened:
        """The same for a feed that has slept: where this client is says nothing about where the feed is."""
        self._opening = self._opening.again(last_own_id)
        return self.opened(await self._opening.open())

    async def opened_by(self, task: "asyncio.Task[HttpExchange]") -> Opened:
        """Wait for the answer to a request that was sent already. Raises `SSEProxyError`."""
        try:
            return self.opened(await task)
        except asyncio.CancelledError:
            cancel(task)  # it may have the exchange already
            raise

    def opened(self, exchange: HttpExchange) -> Opened:
        """Return what an answer is to a run."""
        head = exchange.head
        kind, decoder = read_kind(head, self._route)
        run_head = None
        if kind is EVENT_STREAM and 200 <= head.status < 300:
            is_decoded = decoder is not None
            self.first_fields = _unstored(kind.head(head.headers, decoded=is_decoded))
            run_head = RunHead(head.status, head.reason, without(self.first_fields, OF_ONE_RESPONSE))
        return Opened(exchange, run_head, _connect(exchange, decoder), _copy(exchange))


def _unstored(fields: Headers) -> Headers:
    """Let no cache keep what one client may read, and another may not."""
    return [*without(fields, {b"cache-control"}), (b"Cache-Control", b"no-store, no-transform")]


def _connect(exchange: HttpExchange, decoder: Decoder | None) -> Callable[[Relay], None]:
    return lambda relay: connect_body(relay, exchange, decoder)


def _copy(exchange: HttpExchange) -> Callable[[], Awaitable[ResponseCopy]]:
    async def copy() -> ResponseCopy:
        head, beginning = exchange.head, Beginning(exchange)
        exchange.attach(beginning)
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await first_of(beginning.ended, waiting, within=REFUSAL_TIME)
        return ResponseCopy(head.status, head.reason, head.headers, beginning.raw, beginning.is_whole)

    return copy
