"""How does a client come to its run? What the proxy does with a request on a route with a journal, without HTTP."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count

from sseproxy.core.journal.cursor import Flavour
from sseproxy.core.journal.gap import GapReason
from sseproxy.core.journal.identity import Identities, is_ours
from sseproxy.core.journal.policy import Start
from sseproxy.core.journal.rules import Again, Detach, JournalPolicy, Keep, Part, PartKind, ResumePath
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.stream.plan import StreamKind, StreamPlan
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.journal.catching_up import CatchingUp
from sseproxy.runs.budget import RunBudget
from sseproxy.runs.desk import Desk
from sseproxy.runs.findings import Ask, Complete, Gone, Join, Open
from sseproxy.runs.joining import join as join_run
from sseproxy.runs.live_run import LiveRun
from sseproxy.runs.terms import Belonging, Opened
from sseproxy.stores.journal_memory import MemoryJournalStore
from tests.sim import history
from tests.sim.client import Client
from tests.sim.plans import Setting
from tests.sim.upstream import FakeExchange, Log, Service, Source


class Budget(RunBudget):
    """Says when memory was short, and something may be gone."""

    def __init__(self, memory: int, on_short: Callable[[], None]) -> None:
        super().__init__(memory)
        self.peak = 0
        self._on_short = on_short

    def has_room(self) -> bool:
        before = self.total
        has_room = super().has_room()
        if self.total < before or not has_room:
            self._on_short()
        return has_room

    def reclaim(self) -> None:
        self.peak = max(self.peak, self.total)
        self._on_short()
        super().reclaim()


def policy_of(setting: Setting) -> JournalPolicy:
    """Return what the route says of its journal."""
    part = PartKind.RUN if setting.is_by_run else PartKind.URL
    return JournalPolicy(
        kind=StreamKind.ANSWER if setting.is_answer else StreamKind.FEED,
        key=(Part(part),),
        login=(Part(PartKind.COOKIE, "session"),),
        again=Again.JOIN if setting.joins else Again.NEW,
        start=Start.LATEST if setting.starts_latest else Start.OLDEST,
        detach=Detach(setting.detach) if isinstance(setting.detach, str) else setting.detach,
        keep=Keep(setting.events, setting.bytes, setting.age),
        resume=ResumePath("/_runs/route/"),
        reopen=setting.reopen,
    )


class Room:
    """One process with one route. sources: what its runs are made of, and those of the process `before`."""

    def __init__(self, setting: Setting, service: Service, log: Log, before: "Room | None" = None) -> None:
        loop = asyncio.get_running_loop()
        self.setting, self.service, self.log = setting, service, log
        self.budget = Budget(setting.memory, lambda: log(history.Lost(at=loop.time())))
        self.store = MemoryJournalStore()
        self.desk = Desk(
            self.store,
            self.budget,
            catching_up=CatchingUp(loop, steps=8),
            chance=lambda: 0.5,
            randomness=self._name,
        )
        self.sources: dict[LiveRun, Source] = {} if before is None else before.sources
        self.names: Iterator[int] = count(1) if before is None else before.names
        self.gaps: Counter[GapReason] = Counter()
        self._identities = Identities(b"a secret")
        idle = TimeoutPolicy(idle=setting.idle)
        self._plan = StreamPlan(timeouts=idle, is_answer=setting.is_answer)
        self._policy = policy_of(setting)
        self._limits = LimitPolicy(detached=setting.detached, detached_per_client=setting.per_client)

    def belonging(self, key: str, login: str) -> Belonging:
        policy, identities, who = self._policy, self._identities, (login.encode(),)
        scope = identities.scope("route", policy, who, () if policy.is_by_run else (key.encode(),))
        reader = identities.login("route", policy, who)
        return Belonging("route", policy, self._limits, scope, reader, reader)

    async def serve(self, client: Client, source: Callable[[], Source], *, may_detach: bool) -> None:
        """Serve one request, until its body flows. source: returns what the upstream sends if it is asked."""
        position = client.position.encode() or None
        belongs = self.belonging(client.key, client.login)
        named, client.run = client.run, None
        finding = self.desk.look(named, position) if named is not None else await self.desk.find(Ask(belongs, position))
        match finding:
            case Gone():
                client.answered(410)
            case Complete(run):
                self._complete(client, run)
            case Join():
                await self._join(client, finding, source)
            case Open():
                await self._open(client, finding, Ask(belongs, position), source, may_detach=may_detach)

    def _complete(self, client: Client, run: LiveRun) -> None:
        assert run.state.end is not None
        if client.is_browser:
            client.answered(204)
        elif not run.state.end.is_clean:
            client.answered(410)
        else:
            client.answered(200, self.sources[run].name)
            client.run = run
            client.run_ended()

    async def _open(
        self, client: Client, finding: Open, ask: Ask, source: Callable[[], Source], *, may_detach: bool
    ) -> None:
        position = "" if is_ours(client.position.encode()) else client.position
        ask_upstream = partial(self._ask, source, client.number, position)
        opened = None if client.declares else await ask_upstream(None)
        if opened is not None and opened.head is None:
            client.answered(opened.exchange.head.status)
            return
        run = await self.desk.create(ask)
        if opened is not None and (run is None or run.is_begun):
            opened.exchange.abort()
        if run is None:
            client.leave()  # it would be relayed without a journal
        elif run.is_begun:
            joined = self.desk.look(run, None)
            if isinstance(joined, Join):
                await self._join(client, replace(joined, missing=finding.missing or joined.missing), source)
            else:
                client.answered(410)
        else:
            self.sources[run] = source()
            client.attendance = run.attend()
            if opened is None:
                run.begin(self._plan, ask_upstream, may_detach=lambda: may_detach)
            else:
                run.adopt(self._plan, opened, ask_upstream)
            await self._read(client, Join(run, run.first_mark, finding.missing))

    async def _ask(self, source: Callable[[], Source], request: int, position: str, own_id: bytes | None) -> Opened:
        return await self.service.open(source(), request, own_id, position)

    async def _join(self, client: Client, join: Join, source: Callable[[], Source]) -> None:
        client.came_late = join.run.state.end is not None
        client.attendance = join.run.attend()
        join.run.wake(self._plan, partial(self._ask, source, client.number, ""))
        await self._read(client, join)

    async def _read(self, client: Client, join: Join) -> None:
        client.run = run = join.run
        if join.missing is not None and not client.takes_ids:
            client.answered(410)
            return
        await asyncio.shield(run.opened)
        if run.state.head is None:
            refused = run.take_refused()
            client.answered(refused.head.status if isinstance(refused, FakeExchange) else 502)
            return
        client.answered(200, self.sources[run].name)
        flavour = Flavour(has_ids=client.takes_ids, prefix=run.state.prefix)
        has_primer = client.takes_ids and client.is_browser and not run.state.is_named
        named, on_end = client.position.encode(), client.run_ended
        reader, _ = join_run(client, join, flavour, named=named, has_primer=has_primer, on_end=on_end, counts=self.gaps)
        client.read(reader)

    def _name(self, size: int) -> bytes:
        return next(self.names).to_bytes(size, "big")
