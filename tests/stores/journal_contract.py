"""What every store of runs has to do: a set of cases, and a model with which it is compared at random.

A store is tested by a subclass of `JournalContract` that says how it is opened.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.positions import Mark
from sseproxy.core.journal.run import RunEnd
from sseproxy.core.journal.window import Block, Break, Entry, Window
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.stores.journal import JournalStore, Outcome, RunTerms
from tests.stores.journal_model import ModelJournalStore
from tests.support.patience import LIMIT
from tests.support.settled import eventually

T = TypeVar("T")

STORED, FENCED, GONE = Outcome.STORED, Outcome.FENCED, Outcome.GONE
FEED = RunTerms(b"scope", is_answer=False, age=60.0)
ANSWER = RunTerms(b"scope", is_answer=True, age=60.0)
HOLE = Missing(GapReason.UPSTREAM)


@dataclass(frozen=True, slots=True)
class Stand:
    """One store, as two processes see it; for a store in one process `here` is `there`.

    limit: seconds within which what one does has reached the other; 0: before the call returns.
    """

    here: JournalStore
    there: JournalStore
    limit: float = LIMIT

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let what is under way arrive."""
        await eventually(condition, limit=self.limit)

    async def arrived(self, window: Window, top: Mark) -> None:
        """Return when `window` has come to `top`."""
        await self.until(lambda: window.top >= top)


Opening = Callable[[], AbstractAsyncContextManager[Stand]]


@dataclass(eq=False)
class Listener:
    """A follower that writes down what it hears."""

    window: Window | None = None
    heard: list[object] = field(default_factory=list)

    def grow(self) -> None:
        self.heard.append(seen(self.window) if self.window is not None else None)

    def finish(self, end: RunEnd) -> None:
        self.heard.append(end)

    def forget(self) -> None:
        self.heard.append("forgotten")


def block(last: Mark, count: int = 1, word: str = "x") -> Block:
    """Events that say which they are."""
    first = last[1] - count + 1
    return Block(last, count, b"".join(b"data: %d %b\n\n" % (first + at, word.encode()) for at in range(count)))


def end_at(mark: Mark, reason: CloseReason = CloseReason.UPSTREAM_END) -> RunEnd:
    return RunEnd(mark, reason, is_clean=reason is CloseReason.UPSTREAM_END)


def seen(window: Window) -> list[Entry]:
    """All that a window has."""
    found = window.after(window.base)
    assert found is not None
    return found


async def appended(store: JournalStore, run: bytes, entry: Entry, token: int | None = None) -> Outcome:
    """Append, and wait for what becomes of it; check that the store says it once."""
    outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    store.append(run, entry.last[0] if token is None else token, entry, outcome.set_result, now=0.0)
    return await outcome


class JournalContract:
    """All cases. A subclass has to say how the store is opened."""

    def opening(self) -> AbstractAsyncContextManager[Stand]:
        raise NotImplementedError

    @pytest.fixture
    async def stand(self) -> AsyncGenerator[Stand, None]:
        async with self.opening() as stand:
            yield stand

    # Writing.

    async def test_a_new_run_is_empty(self, stand: Stand) -> None:
        window = await stand.here.create(b"1", FEED)
        assert (window.base, window.top) == ((1, 0), (1, 0))
        assert seen(window) == []

    async def test_a_name_is_given_once(self, stand: Stand) -> None:
        await stand.here.create(b"1", FEED)
        with pytest.raises(ValueError, match="name"):
            await stand.there.create(b"1", ANSWER)

    async def test_what_is_appended_is_seen_in_order_and_once(self, stand: Stand) -> None:
        window = await stand.here.create(b"1", FEED)
        there = Listener()
        there.window = await stand.there.follow(b"1", there)
        entries: list[Entry] = [block((1, 1)), block((1, 4), 3), Break((1, 5), (1, 4), HOLE), block((1, 7), 2)]
        for entry in entries:
            assert await appended(stand.here, b"1", entry) is STORED
        assert seen(window) == entries
        assert there.window is not None
        await stand.until(lambda: there.window is not None and there.window.top == (1, 7))
        assert seen(there.window) == entries
        late = Listener()
        late.window = await stand.there.follow(b"1", late)
        assert late.window is not None
        assert seen(late.window) == entries

    async def test_a_follower_hears_when_the_window_has_grown(self, stand: Stand) -> None:
        await stand.here.create(b"1", FEED)
        there = Listener()
        there.window = await stand.there.follow(b"1", there)
        await appended(stand.here, b"1", block((1, 1)))
        await appended(stand.here, b"1", block((1, 2)))
        await stand.until(lambda: len(there.heard) > 0 and there.heard[-1] == [block((1, 1)), block((1, 2))])
        stand.there.unfollow(b"1", there)
        stand.there.unfollow(b"1", there)
        stand.there.unfollow(b"2", there)
        heard = len(there.heard)
        await appended(stand.here, b"1", block((1, 3)))
        await stand.here.close(b"1", 1, end_at((1, 4)))
        stand.here.forget(b"1")
        assert len(there.heard) == heard

    async def test_an_entry_is_in_the_window_before_its_writer_hears_of_it(self, stand: Stand) -> None:
        window = await stand.here.create(b"1", FEED)
        tops: list[tuple[Outcome, Mark]] = []
        for seq in range(1, 4):
            stand.here.append(b"1", 1, block((1, seq)), lambda outcome: tops.append((outcome, window.top)), now=0.0)
        await stand.until(lambda: len(tops) == 3)
        assert [outcome for outcome, _ in tops] == [STORED] * 3
        assert all(top >= (1, seq) for seq, (_, top) in enumerate(tops, 1))

    async def test_writers_hear_in_the_order_of_their_appends(self, stand: Stand) -> None:
        await stand.here.create(b"1", FEED)
        heard: list[tuple[int, Outcome]] = []

        def append(number: int, mark: Mark) -> None:
            stand.here.append(b"1", mark[0], block(mark), lambda outcome: heard.append((number, outcome)), now=0.0)

        for number, mark in enumerate([(1, 1), (1, 2), (1, 2), (1, 9), (2, 3), (1, 3)]):
            append(number, mark)
        await stand.until(lambda: len(heard) == 6)
        await appended(stand.here, b"1", block((1, 4)))
        assert heard == list(enumerate([STORED, STORED, STORED, FENCED, FENCED, STORED]))

    async def test_a_writer_may_append_when_it_hears(self, stand: Stand) -> None:
        window = await stand.here.create(b"1", FEED)
        heard: list[Outcome] = []

        def go_on(outcome: Outcome) -> None:
            heard.append(outcome)
            if len(heard) < 5:
                stand.here.append(b"1", 1, block((1, len(heard) + 1)), go_on, now=0.0)

        stand.here.append(b"1", 1, block((1, 1)), go_on, now=0.0)
        await stand.until(lambda: len(heard) == 5)
        assert heard == [STORED] * 5
        assert seen(window) == [block((1, seq)) for seq in range(1, 6)]

    @pytest.mark.parametrize(
        ("entry", "token"),
        [
            pytest.param(block((1, 4)), 1, id="one is missing before it"),
            pytest.param(block((1, 5), 2), 1, id="one is missing before a block"),
            pytest.param(block((1, 3), 2), 1, id="it begins within another"),
            pytest.param(block((2, 3)), 2, id="a token that was never given"),
            pytest.param(block((0, 3)), 0, id="a token before the first"),
            pytest.param(block((2, 3)), 1, id="a mark with another token"),
            pytest.param(block((1, 3)), 2, id="a token with another mark"),
            pytest.param(Break((1, 4), (1, 2), HOLE), 1, id="a gap that is too long"),
        ],
    )
    async def test_what_is_not_next_is_refused(self, stand: Stand, entry: Entry, token: int) -> None:
        window = await stand.here.create(b"1", FEED)
        await appended(stand.here, b"1", block((1, 2), 2))
        assert await appended(stand.here, b"1", entry, token) is FENCED
        assert seen(window) == [block((1, 2), 2)]
        assert await appended(stand.here, b"1", block((1, 3))) is STORED

    async def test_to_repeat_an_append_is_harmless(self, stand: Stand) -> None:
        window = await stand.here.create(b"1", FEED)
        entries: list[Entry] = [block((1, 1)), block((1, 3), 2), Break((1, 4), (1, 3), HOLE)]
        for entry in entries:
            assert await appended(stand.here, b"1", entry) is STORED
            for earlier in entries[: entries.index(entry) + 1]:
                assert await appended(stand.here, b"1", earlier) is STORED
        assert seen(window) == entries

    async def test_runs_do_not_know_each_other(self, stand: Stand) -> None:
        first, second = await stand.here.create(b"1", FEED), await stand.here.create(b"2", FEED)
        await appended(stand.here, b"1", block((1, 1)))
        await stand.here.claim(b"1", 1)
        assert await appended(stand.here, b"2", block((1, 1))) is STORED
        await stand.here.close(b"2", 1, end_at((1, 2)))
        assert await appended(stand.here, b"1", block((2, 2))) is STORED
        assert seen(first) == [block((1, 1)), block((2, 2))]
        assert seen(second) == [block((1, 1))]

    # Another writer.

    async def test_an_older_writer_is_refused_for_ever(self, stand: Stand) -> None:
        window = await stand.here.create(b"1", FEED)
        await appended(stand.here, b"1", block((1, 1)))
        assert await stand.there.claim(b"1", 1) == 2
        assert await appended(stand.here, b"1", block((1, 2))) is FENCED
        assert await appended(stand.here, b"1", block((1, 1))) is FENCED
        assert await stand.here.close(b"1", 1, end_at((1, 2))) is FENCED
        assert await appended(stand.there, b"1", block((2, 2))) is STORED
        assert await appended(stand.here, b"1", block((1, 3))) is FENCED
        assert await appended(stand.here, b"1", block((1, 2))) is FENCED
        await stand.until(lambda: window.top == (2, 2))
        assert seen(window) == [block((1, 1)), block((2, 2))]

    async def test_numbers_go_on_over_tokens(self, stand: Stand) -> None:
        await stand.here.create(b"1", FEED)
        await appended(stand.here, b"1", block((1, 3), 3))
        assert await stand.here.claim(b"1", 1) == 2
        assert await appended(stand.here, b"1", block((2, 1))) is FENCED
        assert await appended(stand.here, b"1", block((2, 3), 3)) is FENCED
        assert await appended(stand.here, b"1", block((2, 5), 2)) is STORED
        assert await appended(stand.here, b"1", block((2, 5), 2)) is STORED

    async def test_a_gap_says_where_the_writer_before_had_come_to(self, stand: Stand) -> None:
        window = await stand.here.create(b"1", FEED)
        await appended(stand.here, b"1", block((1, 3), 3))
        await stand.here.claim(b"1", 1)
        hole = Break((2, 4), (1, 3), HOLE)
        assert await appended(stand.here, b"1", hole) is STORED
        assert seen(window) == [block((1, 3), 3), hole]

    async def test_one_claim_wins(self, stand: Stand) -> None:
        await stand.here.create(b"1", FEED)
        claims = [store.claim(b"1", 1) for store in (stand.here, stand.there) * 5]
        assert sorted(await asyncio.gather(*claims), key=str) == [2] + [None] * 9
        assert await stand.here.claim(b"1", 1) is None
        assert await stand.here.claim(b"1", 3) is None
        assert await stand.there.claim(b"1", 2) == 3

    async def test_an_answer_is_not_claimed(self, stand: Stand) -> None:
        await stand.here.create(b"1", ANSWER)
        assert await stand.there.claim(b"1", 1) is None
        assert await appended(stand.here, b"1", block((1, 1))) is STORED

    # The end.

    @pytest.mark.parametrize("terms", [FEED, ANSWER], ids=["feed", "answer"])
    async def test_nothing_is_behind_the_end(self, stand: Stand, terms: RunTerms) -> None:
        window = await stand.here.create(b"1", terms)
        await appended(stand.here, b"1", block((1, 1)))
        assert await stand.here.close(b"1", 1, end_at((1, 2))) is STORED
        for mark in [(1, 2), (1, 3), (2, 2), (2, 3), (3, 3), (1, 1)]:
            assert await appended(stand.here, b"1", block(mark)) is FENCED
        for token in range(4):
            assert await stand.there.claim(b"1", token) is None
        assert seen(window) == [block((1, 1))]

    async def test_the_first_end_counts(self, stand: Stand) -> None:
        await stand.here.create(b"1", ANSWER)
        assert await stand.here.close(b"1", 1, end_at((1, 1), CloseReason.STOPPED)) is STORED
        assert await stand.here.close(b"1", 1, end_at((1, 1))) is FENCED
        assert await stand.here.close(b"1", 2, end_at((2, 1))) is FENCED
        assert await stand.here.close(b"1", 2, end_at((2, 2))) is FENCED
        late = Listener()
        await stand.there.follow(b"1", late)
        assert late.heard == [end_at((1, 1), CloseReason.STOPPED)]

    async def test_to_repeat_an_end_is_harmless(self, stand: Stand) -> None:
        await stand.here.create(b"1", ANSWER)
        listener = Listener()
        await stand.there.follow(b"1", listener)
        for _ in range(3):
            assert await stand.here.close(b"1", 1, end_at((1, 1))) is STORED
        await stand.until(lambda: len(listener.heard) > 0)
        assert listener.heard == [end_at((1, 1))]

    async def test_one_end_wins(self, stand: Stand) -> None:
        await stand.here.create(b"1", ANSWER)
        reasons = [CloseReason.STOPPED, CloseReason.UPSTREAM_END, CloseReason.IDLE_TIMEOUT]
        closes = [stand.there.close(b"1", 1, end_at((1, 1), reason)) for reason in reasons]
        outcomes = await asyncio.gather(*closes)
        assert sorted(outcome.name for outcome in outcomes) == ["FENCED", "FENCED", "STORED"]

    @pytest.mark.parametrize("mark", [(1, 1), (1, 3), (2, 2), (0, 2)])
    async def test_an_end_that_is_not_next_is_refused(self, stand: Stand, mark: Mark) -> None:
        await stand.here.create(b"1", FEED)
        await appended(stand.here, b"1", block((1, 1)))
        assert await stand.here.close(b"1", 1, end_at(mark)) is FENCED
        assert await stand.here.close(b"1", 2, end_at((1, 2))) is FENCED
        assert await appended(stand.here, b"1", block((1, 2))) is STORED

    async def test_a_follower_hears_the_end_behind_all_events(self, stand: Stand) -> None:
        await stand.here.create(b"1", ANSWER)
        there = Listener()
        there.window = await stand.there.follow(b"1", there)
        await appended(stand.here, b"1", block((1, 1)))
        await stand.here.close(b"1", 1, end_at((1, 2)))
        await stand.until(lambda: len(there.heard) > 1)
        assert there.heard[-2:] == [[block((1, 1))], end_at((1, 2))]

    # The newest run of a stream.

    async def test_the_newest_run_of_a_stream_is_found(self, stand: Stand) -> None:
        assert await stand.here.find(b"scope") is None
        await stand.here.create(b"1", FEED)
        assert await stand.here.find(b"scope") is None
        assert await stand.here.point(b"scope", b"1", None) == b"1"
        assert await stand.there.find(b"scope") == b"1"
        assert await stand.there.find(b"another") is None

    async def test_one_of_two_runs_becomes_the_newest(self, stand: Stand) -> None:
        runs = [b"%d" % number for number in range(6)]
        for run in runs:
            await stand.here.create(run, FEED)
        stores = (stand.here, stand.there) * 3
        points = [store.point(b"scope", run, None) for store, run in zip(stores, runs, strict=True)]
        newest = await asyncio.gather(*points)
        assert len(set(newest)) == 1
        assert await stand.there.find(b"scope") == newest[0]
        assert await stand.here.point(b"scope", b"0", b"none such") == newest[0]
        assert await stand.here.point(b"scope", b"0", None) == newest[0]

    async def test_a_newer_run_takes_the_place_of_an_older(self, stand: Stand) -> None:
        await stand.here.create(b"1", ANSWER)
        await stand.here.create(b"2", ANSWER)
        await stand.here.point(b"scope", b"1", None)
        assert await stand.there.point(b"scope", b"2", b"1") == b"2"
        assert await stand.here.point(b"scope", b"2", b"1") == b"2"
        stand.here.forget(b"1")
        assert await stand.here.find(b"scope") == b"2"

    async def test_a_run_that_is_not_kept_does_not_become_the_newest(self, stand: Stand) -> None:
        assert await stand.here.point(b"scope", b"1", None) is None
        await stand.here.create(b"1", FEED)
        await stand.here.point(b"scope", b"1", None)
        assert await stand.here.point(b"scope", b"2", b"1") == b"1"
        assert await stand.here.find(b"scope") == b"1"

    # Forgetting.

    async def test_a_forgotten_run_is_as_one_that_never_was(self, stand: Stand) -> None:
        await stand.here.create(b"1", FEED)
        await stand.here.point(b"scope", b"1", None)
        await appended(stand.here, b"1", block((1, 1)))
        listener = Listener()
        await stand.here.follow(b"1", listener)
        stand.here.forget(b"1")
        stand.here.forget(b"1")
        await stand.until(lambda: bool(listener.heard))
        assert listener.heard == ["forgotten"]
        assert await stand.here.find(b"scope") is None
        assert await appended(stand.here, b"1", block((1, 2))) is GONE
        assert await stand.here.close(b"1", 1, end_at((1, 2))) is GONE
        assert await stand.here.claim(b"1", 1) is None
        assert await stand.here.follow(b"1", listener) is None
        assert seen(await stand.here.create(b"1", FEED)) == []
        assert await appended(stand.here, b"1", block((1, 1))) is STORED

    def test_a_store_does_what_the_model_does(self) -> None:
        compare(self.opening)


def compare(opening: Opening, *, examples: int = 60, phases: Sequence[Phase] = tuple(Phase)) -> None:
    """Raise if a store and the model ever differ, in what they say or in what they have."""

    class Comparison(JournalMachine):
        def open(self) -> AbstractAsyncContextManager[Stand]:
            return opening()

    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Comparison,
        settings=settings(max_examples=examples, stateful_step_count=40, phases=phases, suppress_health_check=checks),
    )


names = st.sampled_from([b"1", b"1", b"1", b"2", b"2", b"3"])
tokens = st.integers(0, 3)
reasons = st.sampled_from([CloseReason.UPSTREAM_END, CloseReason.STOPPED])
scopes = {b"1": b"a", b"2": b"a", b"3": b"b"}


class JournalMachine(RuleBasedStateMachine):
    """Whatever several writers do, late ones among them: the store and the model say the same, and have the same."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.opened = self.open()
        self.stand = self._run(_entered(self.opened))
        self.model = ModelJournalStore()
        self.windows: dict[bytes, tuple[Window, Window]] = {}
        self.followers: dict[bytes, tuple[Listener, Listener]] = {}
        self.left: list[tuple[Listener, int]] = []
        self.tried: list[tuple[bytes, Entry]] = []

    def open(self) -> AbstractAsyncContextManager[Stand]:
        raise NotImplementedError

    def teardown(self) -> None:
        self._run(_left(self.opened))
        self.loop.close()

    @rule(run=names, is_answer=st.sampled_from([False, False, True]))
    def create(self, run: bytes, is_answer: bool) -> None:
        terms = RunTerms(scopes[run], is_answer, 60.0)
        if run not in self.windows:
            self.windows[run] = (self._run(self.stand.here.create(run, terms)), at_once(self.model.create(run, terms)))
        self.check(run)

    @rule(run=names, count=st.integers(1, 3))
    def append_next(self, run: bytes, count: int) -> None:
        token, seq = self.model.token(run), self._top(run)[1]
        self._try(run, block((token, seq + count), count, f"token {token}"))

    @rule(run=names)
    def append_gap(self, run: bytes) -> None:
        top = self._top(run)
        self._try(run, Break((self.model.token(run), top[1] + 1), top, HOLE))

    @rule(run=names, token=tokens, behind=st.integers(-2, 2), count=st.integers(1, 3))
    def append_whatever(self, run: bytes, token: int, behind: int, count: int) -> None:
        seq = max(self._top(run)[1] + behind, 0)
        self._try(run, block((token, seq + count), count, f"token {token}"))

    @precondition(lambda self: self.tried)
    @rule(back=st.integers(1, 4))
    def append_again(self, back: int) -> None:
        self._try(*self.tried[-min(back, len(self.tried))])

    @rule(run=names, behind=st.sampled_from([1, 1, 1, 0, 2]), is_current=st.booleans(), token=tokens, reason=reasons)
    def close(self, run: bytes, behind: int, is_current: bool, token: int, reason: CloseReason) -> None:
        if is_current:
            token = self.model.token(run)
        end = end_at((token, self._top(run)[1] + behind), reason)
        for _ in range(2):
            expected = at_once(self.model.close(run, token, end))
            assert self._run(self.stand.here.close(run, token, end)) is expected
        self.check(run)

    @rule(run=names, is_current=st.booleans(), token=tokens)
    def claim(self, run: bytes, is_current: bool, token: int) -> None:
        if is_current:
            token = self.model.token(run)
        assert self._run(self.stand.there.claim(run, token)) == at_once(self.model.claim(run, token))
        self.check(run)

    @rule(run=names, is_expected=st.booleans(), expected=st.one_of(st.none(), names))
    def point(self, run: bytes, is_expected: bool, expected: bytes | None) -> None:
        scope = scopes[run]
        if is_expected:
            expected = at_once(self.model.find(scope))
        found = self._run(self.stand.here.point(scope, run, expected))
        assert found == at_once(self.model.point(scope, run, expected))
        self.check(run)

    @rule(run=names)
    def follow(self, run: bytes) -> None:
        if run in self.windows and run not in self.followers:
            ours, model = self.followers[run] = (Listener(), Listener())
            ours.window = self._run(self.stand.there.follow(run, ours))
            model.window = at_once(self.model.follow(run, model))
        self.check(run)

    @rule(run=names)
    def unfollow(self, run: bytes) -> None:
        both = self.followers.pop(run, None)
        if both is not None:
            self.stand.there.unfollow(run, both[0])
            self.left.append((both[0], len(both[0].heard)))
        self.check(run)

    @rule(run=names)
    def replace(self, run: bytes) -> None:
        """Make a run the newest of its stream, and forget the one that was."""
        before = at_once(self.model.find(scopes[run]))
        self.point(run, is_expected=True, expected=None)
        if before is not None and before != run:
            self.forget(before)

    @rule(run=names)
    def forget(self, run: bytes) -> None:
        self.stand.here.forget(run)
        self.model.forget(run)
        self.windows.pop(run, None)
        both = self.followers.pop(run, None)
        if both is not None:
            assert both[0].heard[-1] == "forgotten"
            assert both[0].heard.count("forgotten") == 1
        self.check(run)

    def check(self, run: bytes) -> None:
        """Raise if what is kept of `run` differs."""
        for scope in (b"a", b"b"):
            assert self._run(self.stand.there.find(scope)) == at_once(self.model.find(scope))
        assert all(len(listener.heard) == heard for listener, heard in self.left)
        if run in self.windows:
            self._compare(*self.windows[run])
        if run in self.followers:
            ours, model = self.followers[run]
            assert ours.window is not None
            assert model.window is not None
            self._compare(ours.window, model.window)
            for kind in (RunEnd, list):
                heard, expected = ([word for word in each.heard if isinstance(word, kind)] for each in (ours, model))
                assert heard[-1:] == expected[-1:]
                assert kind is list or len(heard) == len(expected)

    def _compare(self, ours: Window, model: Window) -> None:
        if ours.top < model.top:
            self._run(self.stand.arrived(ours, model.top))
        assert seen(ours) == seen(model)

    def _try(self, run: bytes, entry: Entry) -> None:
        self.tried.append((run, entry))
        expected: list[Outcome] = []
        outcome = self._run(self._appended(run, entry))
        self.model.append(run, entry.last[0], entry, expected.append, now=0.0)
        assert [outcome] == expected
        self.check(run)

    def _top(self, run: bytes) -> Mark:
        return self.windows[run][1].top if run in self.windows else (1, 0)

    async def _appended(self, run: bytes, entry: Entry) -> Outcome:
        """Append, and check that the entry is in the window before the writer hears that it is stored."""
        window = self.windows[run][0] if run in self.windows else None
        heard: list[Outcome] = []

        def done(outcome: Outcome) -> None:
            heard.append(outcome)
            assert outcome is not STORED or (window is not None and window.top >= entry.last)

        self.stand.here.append(run, entry.last[0], entry, done, now=0.0)
        await self.stand.until(lambda: bool(heard))
        await asyncio.sleep(0)
        assert len(heard) == 1
        return heard[0]

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that does not wait, as those of the model."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits")


async def _entered(context: AbstractAsyncContextManager[Stand]) -> Stand:
    return await context.__aenter__()


async def _left(context: AbstractAsyncContextManager[Stand]) -> None:
    await context.__aexit__(None, None, None)
