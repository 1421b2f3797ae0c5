"""What do all routes with a journal share in one process, and what outlives their requests?"""

from collections.abc import Sequence

from sseproxy.core.routes import Route
from sseproxy.core.store import StorePolicy
from sseproxy.core.stream.request import StreamRequest
from sseproxy.engine.live import LiveStreams
from sseproxy.proxy.eventsource.route_ends import RouteEnds
from sseproxy.proxy.inbound import ClientRequest
from sseproxy.proxy.journal.identify import Identifier
from sseproxy.proxy.journal.journalled import Journalled
from sseproxy.proxy.journal.run_requests import RunRequest
from sseproxy.proxy.opening import Opening
from sseproxy.proxy.run_paths import RunTarget
from sseproxy.proxy.tail import ResponseTail
from sseproxy.runs.budget import RunBudget
from sseproxy.runs.desk import Desk
from sseproxy.stores.open import open_journal


class JournalService:
    """The runs of one process. Must be made while the event loop runs. secret: of the digests of who asks for what.

    retired: routes that are gone, or have another journal now, and of which runs are kept.
    """

    def __init__(self, policy: StorePolicy, streams: LiveStreams, secret: bytes) -> None:
        budget = RunBudget(policy.memory)
        self.desk = Desk(open_journal(policy), budget, clock=streams.clock(), chance=streams.chance)
        observers = streams.observers
        self.desk.stats.on_end = lambda run: observers.notify(lambda observer: observer.run_ended(run))
        self.retired: Sequence[Route] = ()
        self.identifier = Identifier(secret)

    def serve(
        self,
        request: ClientRequest,
        route: Route,
        tail: ResponseTail,
        wanted: StreamRequest,
        opening: Opening,
        *,
        ends: RouteEnds,
    ) -> Journalled:
        """Return what serves a request along a route with a journal."""
        return Journalled(request, route, tail, wanted, opening, desk=self.desk, identifier=self.identifier, ends=ends)

    async def use(
        self, target: RunTarget, ends: RouteEnds, request: ClientRequest, route: Route, tail: ResponseTail
    ) -> None:
        """Read or stop the run that a request names by its URL. Raises `SSEProxyError` until the response begins."""
        serving = RunRequest(request, route, tail, target, desk=self.desk, identifier=self.identifier, ends=ends)
        del request
        await serving.start()
        del serving  # a stream may go on for hours
        await tail.wait()
