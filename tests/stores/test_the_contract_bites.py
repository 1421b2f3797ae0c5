"""Would the contract notice? A store of runs is broken in one way at a time, and it must find it out."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import Phase

from sseproxy.core.journal.run import RunEnd
from sseproxy.core.journal.window import Block, Break, Entry, Window
from sseproxy.stores.journal import Follower, Outcome, RunTerms
from tests.stores.journal_contract import Stand, compare
from tests.stores.journal_model import ModelJournalStore

Done = Callable[[Outcome], None]


class Broken(ModelJournalStore):
    """The model, with parts of `append` that can be broken."""

    def append(self, run: bytes, token: int, entry: Entry, done: Done, *, now: float) -> None:
        if run not in self.runs:
            done(Outcome.GONE)
            return
        outcome, is_new = self.decide(run, token, entry)
        self.tell(run, entry, done, outcome, is_new=is_new)

    def decide(self, run: bytes, token: int, entry: Entry) -> tuple[Outcome, bool]:
        kept, size = self.runs[run], len(self.runs[run].log)
        before = (token, entry.last[1] - entry.count)
        outcome = kept.add(entry.last, before, entry.count) if entry.last[0] == token else Outcome.FENCED
        return outcome, len(kept.log) > size

    def tell(self, run: bytes, entry: Entry, done: Done, outcome: Outcome, *, is_new: bool) -> None:
        if is_new:
            self.keep(self.runs[run].window, entry)
        done(outcome)
        for follower in self.runs[run].followers[:] if is_new else ():
            follower.grow()

    def keep(self, window: Window, entry: Entry) -> None:
        if isinstance(entry, Break):
            window.break_in(entry.last, entry.missing, now=0.0)
        else:
            window.append(entry, now=0.0)


class FenceRemoved(Broken):
    def decide(self, run: bytes, token: int, entry: Entry) -> tuple[Outcome, bool]:
        last = (self.token(run), entry.last[1])
        return super().decide(run, last[0], Block(last, entry.count, entry.text))


class PredecessorNotCompared(Broken):
    def decide(self, run: bytes, token: int, entry: Entry) -> tuple[Outcome, bool]:
        kept = self.runs[run]
        if entry.last <= kept.top or entry.last[0] != token or token != kept.top[0]:
            return super().decide(run, token, entry)
        return kept.add(entry.last, kept.top, entry.count), True


class RetryIsANewEntry(Broken):
    def decide(self, run: bytes, token: int, entry: Entry) -> tuple[Outcome, bool]:
        outcome, is_new = super().decide(run, token, entry)
        return outcome, is_new or outcome is Outcome.STORED


class RetryIsRefused(Broken):
    def decide(self, run: bytes, token: int, entry: Entry) -> tuple[Outcome, bool]:
        outcome, is_new = super().decide(run, token, entry)
        return (outcome if is_new else Outcome.FENCED), is_new


class ToldBeforeItIsThere(Broken):
    def tell(self, run: bytes, entry: Entry, done: Done, outcome: Outcome, *, is_new: bool) -> None:
        done(outcome)
        super().tell(run, entry, lambda _: None, outcome, is_new=is_new)


class ToldTwice(Broken):
    def tell(self, run: bytes, entry: Entry, done: Done, outcome: Outcome, *, is_new: bool) -> None:
        super().tell(run, entry, done, outcome, is_new=is_new)
        done(outcome)


class FollowersNotCalled(Broken):
    def tell(self, run: bytes, entry: Entry, done: Done, outcome: Outcome, *, is_new: bool) -> None:
        if is_new:
            self.keep(self.runs[run].window, entry)
        done(outcome)


class GapsNotKept(Broken):
    def keep(self, window: Window, entry: Entry) -> None:
        if isinstance(entry, Break):
            window.break_in(entry.last, None, now=0.0)
        else:
            super().keep(window, entry)


class EndRaisesNoToken(Broken):
    """The end is heard, but is no entry."""

    async def close(self, run: bytes, token: int, end: RunEnd) -> Outcome:
        kept = self.runs.get(run)
        before = None if kept is None else kept.log[:]
        outcome = await super().close(run, token, end)
        if kept is not None and before is not None and outcome is Outcome.STORED:
            kept.log[:] = before
        return outcome


class LastEndCounts(Broken):
    async def close(self, run: bytes, token: int, end: RunEnd) -> Outcome:
        kept = self.runs.get(run)
        if kept is not None and isinstance(kept.log[-1][1], RunEnd):
            kept.log.pop()
        return await super().close(run, token, end)


class EndNotCompared(Broken):
    async def close(self, run: bytes, token: int, end: RunEnd) -> Outcome:
        kept = self.runs.get(run)
        if kept is not None and not isinstance(kept.log[-1][1], RunEnd):
            token = kept.top[0]
            end = replace(end, mark=(token, kept.top[1] + 1))
        return await super().close(run, token, end)


class LateFollowersMissTheEnd(Broken):
    async def follow(self, run: bytes, follower: Follower) -> Window | None:
        if run in self.runs:
            self.runs[run].followers.append(follower)
            return self.runs[run].window
        return None


class ClaimNotCompared(Broken):
    async def claim(self, run: bytes, expected: int) -> int | None:
        return await super().claim(run, self.token(run))


class ClaimOfAnAnswer(Broken):
    async def create(self, run: bytes, terms: RunTerms) -> Window:
        return await super().create(run, replace(terms, is_answer=False))


class ClaimStartsAnew(Broken):
    """The numbers of a new writer begin at 1, as if it had no predecessor."""

    async def claim(self, run: bytes, expected: int) -> int | None:
        token = await super().claim(run, expected)
        if token is not None:
            self.runs[run].log[-1] = ((token, 0), "claimed")
        return token


class PointerNotCompared(Broken):
    async def point(self, scope: bytes, run: bytes, expected: bytes | None) -> bytes | None:
        return await super().point(scope, run, self.newest.get(scope))


class PointerToWhatIsNotKept(Broken):
    async def point(self, scope: bytes, run: bytes, expected: bytes | None) -> bytes | None:
        if self.newest.get(scope) == expected:
            self.newest[scope] = run
        return self.newest.get(scope)


class PointerOutlivesItsRun(Broken):
    def forget(self, run: bytes) -> None:
        before = dict(self.newest)
        super().forget(run)
        self.newest = before


class PointerOfANewerRunGoes(Broken):
    def forget(self, run: bytes) -> None:
        kept = self.runs.get(run)
        super().forget(run)
        if kept is not None:
            self.newest.pop(kept.terms.scope, None)


class FollowersNotToldThatItIsForgotten(Broken):
    def forget(self, run: bytes) -> None:
        if run in self.runs:
            self.runs[run].followers.clear()
        super().forget(run)


class StillCalledAfterLeaving(Broken):
    def unfollow(self, run: bytes, follower: Follower) -> None:
        pass


@pytest.mark.parametrize("store", Broken.__subclasses__(), ids=lambda store: store.__name__)
def test_the_contract_notices(store: type[Broken]) -> None:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[Stand, None]:
        broken = store()
        yield Stand(broken, broken, limit=0)

    def opening() -> AbstractAsyncContextManager[Stand]:
        return opened()

    with pytest.raises(BaseException) as caught:
        compare(opening, examples=2000, phases=[Phase.generate])  # a counterexample is enough, the smallest takes long
    assert contains_failure(caught.value), caught.value


def contains_failure(error: BaseException) -> bool:
    """True if `error` is one that a case raises, or a group of such."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(contains_failure, error.exceptions))
    return isinstance(error, (AssertionError, TimeoutError, IndexError))


def test_without_a_break_there_is_nothing_to_notice() -> None:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[Stand, None]:
        whole = Broken()
        yield Stand(whole, whole, limit=0)

    compare(opened, examples=60)
