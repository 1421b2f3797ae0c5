"""Which run is this request's: a new one, one that is under way, or one that is over?"""

import asyncio
import itertools
import random
import secrets
from collections.abc import Callable, Coroutine, Iterator
from hmac import compare_digest
from typing import Any

from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.identity import ANSWER_BYTES, FEED_BYTES, read_run_position, run_name
from sseproxy.core.journal.positions import OLDEST, Mark
from sseproxy.core.journal.run import RunState
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.journal.catching_up import CatchingUp
from sseproxy.runs.budget import RunBudget
from sseproxy.runs.counts import RunCounts, Without
from sseproxy.runs.detached import Detached
from sseproxy.runs.findings import Ask, Complete, Finding, Gone, How, Join, Open
from sseproxy.runs.live_run import LiveRun
from sseproxy.runs.terms import Belonging
from sseproxy.stores.journal import JournalStore, RunTerms
from sseproxy.timers import Clock, Timer


class Desk:
    """All runs of a process.

    store: where they are kept. budget: of their memory. clock: of long waits. catching_up: the turns of their readers.
    chance: numbers from 0 to 1, for delays. randomness: so many bytes, for names. stats: what has happened.
    """

    # Plan: `find` looks, and changes nothing; `create` makes the run that a request needs. Runs are found by name; the
    # newest of a stream by its scope, which is a digest of the route, the login and the key. A run of another scope is
    # as one that does not exist, by the same steps.
    #
    # Invariants:
    # 1. A run is in `_runs` from `create` until it is refused, or forgotten: `keep.age` after it has ended or
    #    fallen asleep, or earlier if memory is short. Its memory counts for as long as a client reads it.
    # 2. `detached` has exactly the runs without a reader that go on; `_expiries` those that will be forgotten.
    #
    # Hazard: two requests that open one stream in the same moment. The pointer of the store decides which run is the
    # newest; on a route that joins, the second request gets that one.

    def __init__(
        self,
        store: JournalStore,
        budget: RunBudget,
        *,
        clock: Clock | None = None,
        catching_up: CatchingUp | None = None,
        chance: Callable[[], float] = random.random,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock: Clock = self.loop if clock is None else clock
        self.store = store
        self.budget = budget
        self.catching_up = catching_up or CatchingUp(self.loop)
        self.chance = chance
        self.is_draining = False
        self.stats = RunCounts()
        self._randomness = randomness
        self._runs: dict[bytes, LiveRun] = {}
        self.detached = Detached()
        self._numbers = itertools.count(1)
        self._answers: set[LiveRun] = set()
        self._when_answered: asyncio.Event | None = None
        self._expiries: dict[LiveRun, Timer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many runs are known."""
        return len(self._runs)

    def __iter__(self) -> Iterator[LiveRun]:
        """Iterate over those that are known now."""
        return iter(tuple(self._runs.values()))

    # What a request wants.

    async def find(self, ask: Ask) -> Finding:
        """Return what is there for a request."""
        belongs, position = ask.belongs, ask.position
        newest = None if belongs.policy.is_by_run else await self.newest(belongs.scope)
        if position is None:
            return self._by_key(belongs, newest)
        if position == OLDEST:
            if newest is None:
                return Open()
            newest.fanout.tidy()  # what is too old by now would else be a gap
            return self._from(newest, newest.state.window.base)
        read = read_run_position(position)
        if read is None:
            return self._by_own_id(position, newest)
        name, mark = read
        run = self.named(name, scope=belongs.scope)
        if run is not None and run.state.reaches(mark):
            return self._from(run, mark, How.RESUMED)
        if belongs.policy.is_answer:
            return Gone()
        return self._with_gap(newest)

    def named(self, name: bytes, *, scope: bytes = b"", login: bytes = b"") -> LiveRun | None:
        """Return a run by its name, if it is of the same `scope`, or, where that is left out, of the same `login`."""
        run = self._runs.get(name)
        if run is None:
            return None
        shown, wanted = (scope, run.belongs.scope) if scope else (login, run.belongs.login)
        return run if compare_digest(shown, wanted) else None

    async def newest(self, scope: bytes) -> LiveRun | None:
        """Return the newest run of a stream."""
        name = await self.store.find(scope)
        return None if name is None else self._runs.get(name)

    def look(self, run: LiveRun, position: bytes | None) -> Join | Complete | Gone:
        """Return what is left of a run for a client that has asked for it by its URL."""
        state, policy = run.state, run.belongs.policy
        read = None if position is None else read_run_position(position)
        if read is not None and read[0] == run.name and run.state.reaches(read[1]):
            return self._from(run, read[1], How.RESUMED)
        if position not in (None, OLDEST):
            mark = state.place_of(position or b"")
            if mark is not None:
                return self._from(run, mark, How.RESUMED)
            return Gone() if policy.is_answer else Join(run, state.window.base, Missing(GapReason.UNKNOWN))
        if policy.starts_latest and position is None:
            return self._from(run, state.window.top)
        return self._from_beginning(run)

    # What becomes of runs.

    async def create(self, ask: Ask) -> LiveRun | None:
        """Make a run for a request that `find` has nothing for, and keep it as the newest of its stream.

        Return the one that is the newest instead if another request came first, and this one would join it; and
        ``None`` if there is no room: then the request is served without a journal. The caller attends it and begins it.
        """
        belongs = ask.belongs
        policy = belongs.policy
        old = None if policy.is_by_run else await self.newest(belongs.scope)
        may_join = policy.joins and (ask.position is None or not policy.is_answer)
        if old is not None and may_join and old.state.is_under_way:
            return old  # another request has come first, while this one was on its way
        if self.is_draining or not self.budget.has_room():
            self.note_unjournalled(belongs.route, Without.DRAINING if self.is_draining else Without.MEMORY)
            return None
        # Asked for behind `has_room`, which may have forgotten the one before.
        before = None if policy.is_by_run else await self.store.find(belongs.scope)
        name = run_name(self._randomness(ANSWER_BYTES if policy.is_answer else FEED_BYTES))
        window = await self.store.create(name, RunTerms(belongs.scope, policy.is_answer, policy.keep.age))
        if not policy.is_by_run:
            now_newest = await self.store.point(belongs.scope, name, before)
            if now_newest is not None and now_newest != name and policy.joins:
                self.store.forget(name)
                return self._runs.get(now_newest)
        run = self._runs[name] = LiveRun(RunState(name, window), belongs, self, next(self._numbers))
        if run.is_answer:
            self._answers.add(run)
        if old is not None and old.is_answer:
            old.supersede()
        return run

    def restore(self, state: RunState, belongs: Belonging, *, rested: float) -> None:
        """Keep a run of the process before, which the store has. rested: seconds since it ended, or fell asleep."""
        run = self._runs[state.name] = LiveRun(state, belongs, self, next(self._numbers))
        run.restore(rested_at=self.loop.time() - rested)
        self._rest(run)
        if run.is_asleep:
            run.share.sleep()
        else:
            run.share.end()

    def note_unjournalled(self, route: str, why: Without) -> None:
        """Count a request that is relayed without a journal."""
        self.stats.unjournalled[route, why] += 1

    def note_unidentified(self, route: str) -> None:
        """Count a request that lacks a part of its key or login."""
        self.note_unjournalled(route, Without.IDENTITY)

    def note_reader(self, run: LiveRun, join: Join) -> None:
        """Count a client that reads `run` from now on."""
        self.stats.attached[run.belongs.route, join.how] += 1

    def kill(self, number: int) -> bool:
        """End a run: an operator wants it. Return False if it is not under way."""
        for run in self:
            if run.number == number and run.state.is_under_way:
                run.stop(CloseReason.KILLED)
                if not run.is_answer:
                    self.forget(run)  # its readers come back, and have to find another one instead of its end
                return True
        return False

    def drain(self) -> None:
        """Begin no run. A feed without a reader sleeps at once."""
        self.is_draining = True
        for run in self:
            if not run.is_answer and not run.attended and run.state.is_under_way:
                run.drop()

    async def wait_for_answers(self) -> None:
        """Wait until no answer is under way."""
        while self._answers:
            self._when_answered = asyncio.Event()
            await self._when_answered.wait()

    def abort(self) -> None:
        """Break off all answers that are under way, and let all feeds sleep."""
        for run in self:
            run.shut()

    async def close(self) -> None:
        """End all that is under way, and release everything."""
        self.abort()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for run in self:  # else the timers by which runs are forgotten would keep all of this
            self.forget(run)
        await self.store.shut()

    # The runs' side (`Host`).

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def attended(self, run: LiveRun) -> None:
        self._note_attended(run)
        if run.state.is_under_way:
            self._cancel_expiry(run)
            run.share.wake()

    def left(self, run: LiveRun) -> None:
        self.detached.add(run, run.belongs.limits, now=self.loop.time())

    def slept(self, run: LiveRun) -> None:
        self._rest(run)
        run.share.sleep()

    def emptied(self, run: LiveRun) -> None:
        if not run.attended and self._runs.get(run.name) is not run:
            run.fanout.close()
            run.share.close()

    def ended(self, run: LiveRun) -> None:
        self._answers.discard(run)
        if not self._answers and self._when_answered is not None:
            self._when_answered.set()
        end = run.state.end
        if end is None:
            self._note_attended(run)
            self.forget(run)
            return
        self._rest(run)
        self.stats.note_end(run, end.reason)
        run.share.end()

    def forget(self, run: LiveRun) -> None:
        """Drop a run that is over, or sleeps."""
        self._cancel_expiry(run)
        if self._runs.get(run.name) is run:
            del self._runs[run.name]
            if run.is_asleep:
                self.stats.note_end(run, CloseReason.DRAIN if self.is_draining else CloseReason.ABANDONED)
            self.store.forget(run.name)
            run.producer.close()
            self.emptied(run)

    # Private.

    def _by_key(self, belongs: Belonging, newest: LiveRun | None) -> Finding:
        policy = belongs.policy
        if newest is None or not newest.state.is_under_way or not policy.joins:
            return Open()
        if policy.starts_latest:
            return self._from(newest, newest.state.window.top)
        return self._from_beginning(newest)

    def _by_own_id(self, position: bytes, newest: LiveRun | None) -> Finding:
        """Return what is there for a client that has named no position of a run: perhaps an id of the upstream.

        An upstream that is asked gets it as it came (`core/journal/passing`).
        """
        if newest is None:
            return Open()
        mark = newest.state.place_of(position)
        if mark is not None:
            return self._from(newest, mark, How.RESUMED)
        if newest.is_answer or not newest.state.is_under_way:
            return Open()
        return self._with_gap(newest)

    def _with_gap(self, newest: LiveRun | None) -> Finding:
        missing = Missing(GapReason.UNKNOWN)
        if newest is None or not newest.state.is_under_way:
            return Open(missing=missing)
        newest.fanout.tidy()
        return Join(newest, newest.state.window.base, missing)

    def _from_beginning(self, run: LiveRun) -> Join | Complete | Gone:
        run.fanout.tidy()
        base = run.state.window.base
        if run.is_answer and base != run.first_mark:
            return Gone()
        return self._from(run, base)

    def _from(self, run: LiveRun, mark: Mark, how: How = How.JOINED) -> Join | Complete | Gone:
        """Return what is behind `mark`, which is no later than the end."""
        run.fanout.tidy()
        state, base = run.state, run.state.window.base
        if (end := state.end) is not None:
            lacks_nothing = end.is_clean and mark == state.window.top and how is How.RESUMED
            if lacks_nothing or mark == end.mark:
                return Complete(run)
        if mark < base:
            return Join(run, base, Missing(GapReason.TRIMMED, state.window.lost(mark)), how)
        return Join(run, mark, None, how)

    def _rest(self, run: LiveRun) -> None:
        """Nothing comes any more, for now or for ever: keep what there is as long as the route says."""
        self._note_attended(run)
        self._cancel_expiry(run)
        assert run.rested_at is not None
        at = run.rested_at + run.belongs.policy.keep.age
        self._expiries[run] = self.clock.call_at(at, lambda: self.forget(run))

    def _cancel_expiry(self, run: LiveRun) -> None:
        timer = self._expiries.pop(run, None)
        if timer is not None:
            timer.cancel()

    def _note_attended(self, run: LiveRun) -> None:
        """A run has a reader, sleeps or is over: it no longer counts among those that go on without one."""
        run.unread += self.detached.discard(run, now=self.loop.time())
