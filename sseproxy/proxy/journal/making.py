"""How does a request make the run that it reads?"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from sseproxy.origins.http import HttpExchange
from sseproxy.proxy.forward import Forwarding
from sseproxy.proxy.journal.client import RunClient
from sseproxy.proxy.journal.reading import Reading
from sseproxy.proxy.journal.upstream import RunUpstream
from sseproxy.proxy.opening import cancel
from sseproxy.proxy.refusal import first_of
from sseproxy.runs.desk import Desk
from sseproxy.runs.findings import Ask, How, Join, Open
from sseproxy.runs.live_run import LiveRun
from sseproxy.runs.terms import Opened


class RunMaking:
    """A request for which there is no run yet. What it makes for longer goes to the tail of its response.

    finding: what the desk has found. plainly: serves the request as on a route without a journal.
    """

    # A request that declares a stream makes its run before the upstream is asked, so that others can join and stop it,
    # and its client may leave. Where only the body can tell, the request is on its way meanwhile. Any other makes a run
    # when the upstream has answered with a stream.
    #
    # Invariants:
    # 1. What asks the upstream belongs to the run once that has begun, before that to this request.
    # 2. Where there is no room for a run, the request is served as on a route without a journal.
    #
    # Hazard: two requests that open one feed in the same moment. The one that comes second gets the run of the first
    # from `Desk.create`, and joins.

    __slots__ = ("_ask", "_client", "_desk", "_finding", "_plainly", "_reading", "_upstream")

    def __init__(
        self,
        ask: Ask,
        finding: Open,
        client: RunClient,
        upstream: RunUpstream,
        plainly: Forwarding,
        *,
        desk: Desk,
    ) -> None:
        self._ask = ask
        self._finding = finding
        self._client = client
        self._upstream = upstream
        self._plainly = plainly
        self._desk = desk
        self._reading = Reading(client, desk)

    async def run(self) -> None:
        """Ask the upstream, and begin the response. Raises `SSEProxyError`."""
        client, upstream = self._client, self._upstream
        if client.wanted.declares:
            client.tail.admit(client.route)
            run = await self._desk.create(self._ask)
            if run is None:
                await self._plainly.start()
            else:
                await self._read(run, upstream.open)
            return
        task = asyncio.create_task(upstream.send())
        is_taken = False
        try:
            await first_of(task, upstream.body_ended)
            if not client.wanted.declares or task.done():
                client.tail.exchange = exchange = await task
                is_taken = True
                await self._answer(exchange)
                return
            client.tail.admit(client.route)
            run = await self._desk.create(self._ask)
            is_taken = run is None or not run.is_begun
            if not is_taken:
                cancel(task)  # another request came first
            if run is None:
                await self._plainly.follow(task)
            else:
                await self._read(run, lambda _: upstream.opened_by(task), discard=lambda: cancel(task))
        finally:
            if not is_taken:
                cancel(task)

    async def _answer(self, exchange: HttpExchange) -> None:
        """Answer a request that has not asked for a stream with what has come."""
        client, upstream = self._client, self._upstream
        opened = upstream.opened(exchange)
        run = None if opened.head is None else await self._desk.create(self._ask)
        if run is None:
            await client.answering.answer(exchange)
        elif run.is_begun:
            exchange.abort()
            await self._join(run)
        else:
            attendance = run.attend()
            run.adopt(client.wanted.plan(), opened, upstream.open)
            join = Join(run, run.first_mark, self._finding.missing, How.NEW)
            await self._reading.serve(join, attendance, opener=upstream)

    async def _read(
        self,
        run: LiveRun,
        ask_upstream: Callable[[bytes | None], Awaitable[Opened]],
        *,
        discard: Callable[[], None] = lambda: None,
    ) -> None:
        """Read the run that was made for this request, or the one that another request has made meanwhile."""
        if run.is_begun:
            await self._join(run)
            return
        attendance, upstream = run.attend(), self._upstream
        plan = self._client.wanted.plan()
        run.begin(plan, ask_upstream, may_detach=lambda: upstream.has_whole_request, discard=discard)
        join = Join(run, run.first_mark, self._finding.missing, How.NEW)
        await self._reading.serve(join, attendance, opener=upstream)

    async def _join(self, run: LiveRun) -> None:
        # By what the client has named: an id of the upstream, too, which it has been asked behind in vain.
        finding = self._desk.look(run, self._client.position)
        if isinstance(finding, Join):
            missing, attendance = self._finding.missing or finding.missing, run.attend()
            run.wake(self._client.wanted.plan(), self._upstream.open_again)
            await self._reading.serve(replace(finding, missing=missing), attendance)
        else:
            self._reading.answer_without(finding)
