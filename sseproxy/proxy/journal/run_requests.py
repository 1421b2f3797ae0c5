"""How is a request answered that names a run by its URL: to read it, or to stop it? (docs/journal.md)"""

from http import HTTPStatus

from sseproxy.core.errors import MethodRefused, RunNotFound
from sseproxy.core.eventsource.ticket_ids import is_for_script
from sseproxy.core.journal.rules import Ended
from sseproxy.core.routes import READING, Route
from sseproxy.proxy.eventsource.cors_guard import refuse_foreign
from sseproxy.proxy.eventsource.route_ends import RouteEnds
from sseproxy.proxy.inbound import ClientRequest
from sseproxy.proxy.journal.client import RunClient
from sseproxy.proxy.journal.identify import Identifier
from sseproxy.proxy.journal.reading import Reading
from sseproxy.proxy.run_paths import RunTarget, Want
from sseproxy.proxy.tail import ResponseTail
from sseproxy.runs.desk import Desk
from sseproxy.runs.findings import Join
from sseproxy.runs.live_run import LiveRun


class RunRequest:
    """One request for the URL of a run of `route`, until its response has begun. What lasts longer goes to `tail`."""

    # Plan: the run is looked up with the login of the request, so that the run of another login is as one that is not
    # there. Then it is read as by any other client, or stopped.
    #
    # Invariants:
    # 1. Nothing of the request reaches the upstream. Whether it may be made at all is what `authorize` says.
    # 2. To stop is 204, whether there was anything to stop or not.
    #
    # Hazard: a feed that sleeps has no request with which its upstream could be asked. It is woken by its own URL.

    __slots__ = ("_desk", "_ends", "_identifier", "_request", "_route", "_tail", "_target")

    def __init__(
        self,
        request: ClientRequest,
        route: Route,
        tail: ResponseTail,
        target: RunTarget,
        *,
        desk: Desk,
        identifier: Identifier,
        ends: RouteEnds,
    ) -> None:
        self._request = request
        self._route = route
        self._tail = tail
        self._target = target
        self._desk = desk
        self._identifier = identifier
        self._ends = ends

    async def start(self) -> None:
        """Begin the response. Raises `SSEProxyError`; then the client still has to hear of it."""
        self._request.drop_body()
        run = await self._find()
        if self._target.want is Want.STOP:
            self._stop(run)
        elif run is None or run.is_asleep:
            self._answer_nothing()
        else:
            await self._read(run)

    async def _find(self) -> LiveRun | None:
        target = self._target
        key = target.value if target.is_by_key else None
        for route in (self._route, *target.others):
            belongs = self._identifier.of_path(self._request, route, key)
            if belongs is None:
                continue
            if target.is_by_key:
                run = await self._desk.newest(belongs.scope)
            else:
                run = self._desk.named(target.value, login=belongs.login)
            if run is not None and run.is_answer == belongs.policy.is_answer:
                self._route = route
                return run
        return None

    def _stop(self, run: LiveRun | None) -> None:
        policy = self._route.journal
        assert policy is not None
        if not is_for_script(self._request.inbound.headers):
            raise RunNotFound("There is no such run.")
        refuse_foreign(self._request, self._route)
        if not policy.is_answer:
            raise MethodRefused("No client can stop a feed.", allowed=READING)
        if run is not None:
            run.stop()
        self._tail.answer_with_nothing(HTTPStatus.NO_CONTENT)

    def _answer_nothing(self) -> None:
        if not self._target.is_by_key:
            raise RunNotFound("There is no such run.")
        self._tail.answer_with_nothing(HTTPStatus.NO_CONTENT)

    async def _read(self, run: LiveRun) -> None:
        route, tail, inbound = self._route, self._tail, self._request.inbound
        policy = route.journal
        assert policy is not None
        if policy.resume.ended is Ended.NOTHING and not run.state.is_under_way:
            tail.answer_with_nothing(HTTPStatus.NO_CONTENT)
            return
        if inbound.method == "HEAD":
            tail.answer_with_nothing(HTTPStatus.OK)
            return
        key = self._target.value if self._target.is_by_key else None
        wanted, headers = inbound.stream_request(route), inbound.headers
        if wanted.may_come_back and self._ends.has_seen(route, inbound, headers):
            tail.answer_with_nothing(HTTPStatus.NO_CONTENT)
            return
        client = RunClient.of(inbound, route, tail, wanted=wanted, ends=self._ends, upstream_headers=headers, key=key)
        reading = Reading(client, self._desk)
        finding = self._desk.look(run, client.position)
        if isinstance(finding, Join):
            await reading.serve(finding, run.attend())
        else:
            reading.answer_without(finding)
