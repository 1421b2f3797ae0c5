"""Does a process stay within its memory, and is what runs have taken free again, however many keys clients bring?"""

import asyncio
import gc
import tracemalloc

from sseproxy.core.journal.cutter import Cut
from sseproxy.core.journal.rules import JournalPolicy
from sseproxy.core.journal.run import RunHead
from sseproxy.core.limits import LimitPolicy
from sseproxy.runs.budget import BYTES_PER_RUN, RunBudget
from sseproxy.runs.desk import Desk
from sseproxy.runs.findings import Ask
from sseproxy.runs.live_run import LiveRun
from sseproxy.runs.terms import Belonging
from sseproxy.stores.journal import Outcome
from sseproxy.stores.journal_memory import MemoryJournalStore
from sseproxy.timers import Timers
from tests.support.journal_policies import answer, feed

MIB = 1024 * 1024
HEAD = [(b"Content-Type", b"text/event-stream"), (b"Cache-Control", b"no-store"), (b"X-Request-Id", b"0123456789")]


class Stand:
    """A desk, and clients that all bring a key of their own."""

    def __init__(self, memory: int) -> None:
        self.store = MemoryJournalStore()
        self.budget = RunBudget(memory)
        self.desk = Desk(self.store, self.budget, clock=Timers(asyncio.get_running_loop()))
        self.keys = 0

    async def run(self, policy: JournalPolicy, events: int = 3) -> LiveRun | None:
        """Make a run of a new key, and have its upstream send some events."""
        self.keys += 1
        scope, login, owner = (b"%s %d" % (what, self.keys) for what in (b"scope", b"login", b"owner"))
        run = await self.desk.create(Ask(Belonging("r", policy, LimitPolicy(), scope, login, owner)))
        if run is not None:
            run.state.opened(RunHead(200, b"OK", [(name, bytes(value)) for name, value in HEAD]))
            for number in range(events):
                self.send(run, b"data: %d of %d\n\n" % (number, self.keys))
        return run

    def send(self, run: LiveRun, event: bytes) -> None:
        outcomes: list[Outcome] = []
        for block in run.state.take(Cut(1, event)):
            self.store.append(run.name, run.state.token, block, outcomes.append, now=self.desk.loop.time())
        run.fanout.publish()
        assert outcomes == [Outcome.STORED]


async def test_many_keys_take_no_more_than_they_may_and_give_it_back() -> None:
    """What is counted is what the interpreter says, and no more than may be."""
    stand = Stand(4 * MIB)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run = None
        policies = answer(login="cookie:s", key="url"), feed(login="cookie:s")
        for number in range(4000):
            run = await stand.run(policies[number % 2])
            assert run is not None
            run.drop()
            await asyncio.sleep(0)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
        assert len(stand.desk) == len(stand.store) == len(stand.budget) < 4 * MIB // BYTES_PER_RUN
        assert stand.budget.total <= 4 * MIB
        assert 2 * MIB < taken < 4.5 * MIB
        for run in stand.desk:
            stand.desk.forget(run)
        run = None
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < MIB // 2  # tables that have grown
    finally:
        tracemalloc.stop()
    assert (len(stand.store), len(stand.budget), stand.budget.total) == (0, 0, 0)


async def test_when_answers_under_way_take_all_there_is_no_room_for_new_runs() -> None:
    stand = Stand(MIB)
    policy = answer(login="cookie:s", key="url")
    runs = []
    while (run := await stand.run(policy, events=0)) is not None:
        stand.send(run, b"data: " + b"x" * 100_000 + b"\n\n")
        runs.append(run)
    assert 8 <= len(runs) <= 11
    assert [run.state.window.events for run in runs] == [1] * len(runs)
    assert stand.desk.stats.unjournalled == {("r", "memory"): 1}
    runs[0].stop()
    assert await stand.run(policy) is not None


async def test_a_feed_that_is_read_is_not_forgotten() -> None:
    stand = Stand(MIB)
    read = await stand.run(feed(login="cookie:s"))
    assert read is not None
    attendance = read.attend()
    for _ in range(1000):
        run = await stand.run(feed(login="cookie:s"))
        assert run is not None
        run.drop()
    assert read in list(stand.desk)
    assert read.state.window.events == 3
    attendance.abort()
    read.drop()
    for _ in range(1000):
        run = await stand.run(feed(login="cookie:s"))
        assert run is not None
        run.drop()
    assert read not in list(stand.desk)
