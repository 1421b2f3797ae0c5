"""What happens when all runs together take too much memory?"""

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sseproxy.runs.budget import BYTES_PER_RUN, RunBudget, Share

KIB = 1024
MIB = 1024 * 1024


@dataclass(eq=False, slots=True)
class Run:
    """A run that is nothing but sizes. calls: those of the budget, in order, of all runs that share the list."""

    budget: RunBudget
    name: str
    is_answer: bool
    calls: list[tuple[str, str]] = field(default_factory=list)
    is_over: bool = False
    attended: int = 0
    least: int = 0
    gives_way: bool = False  # an answer of which no reader still has to get the beginning
    share: Share = field(init=False)

    def __post_init__(self) -> None:
        self.share = self.budget.share(self)

    @property
    def is_spare(self) -> bool:
        return self.is_over and not self.attended

    def note(self, size: int) -> None:
        self.share.note(self, size)

    def shrink(self) -> None:
        raise AssertionError("it is halved, or forgotten")

    def halve(self) -> None:
        if self.is_answer and not self.gives_way:
            return
        self.calls.append(("halve", self.name))
        self.note(max(self.share.size // 2, self.least))

    def forget(self) -> None:
        assert self.is_spare
        self.calls.append(("forget", self.name))
        self.share.close()

    def end(self) -> None:
        self.is_over = True
        self.share.end()

    def sleep(self) -> None:
        self.is_over = True
        self.share.sleep()

    def wake(self) -> None:
        self.is_over = False
        self.share.wake()


class Room:
    """Runs of one budget, which note what it does to them."""

    def __init__(self, memory: int = MIB) -> None:
        self.budget = RunBudget(memory)
        self.calls: list[tuple[str, str]] = []

    def answer(self, name: str, size: int = 0) -> Run:
        return self._made(Run(self.budget, name, is_answer=True, calls=self.calls), size)

    def feed(self, name: str, size: int = 0) -> Run:
        return self._made(Run(self.budget, name, is_answer=False, calls=self.calls), size)

    def _made(self, run: Run, size: int) -> Run:
        run.note(size)
        return run


def test_what_all_runs_take_is_counted() -> None:
    room = Room()
    first, second = room.answer("a", 1000), room.feed("b", 500)
    first.note(3000)
    assert (len(room.budget), room.budget.total) == (2, 3500 + 2 * BYTES_PER_RUN)
    second.share.close()
    second.share.close()
    assert (len(room.budget), room.budget.total) == (1, 3000 + BYTES_PER_RUN)
    first.share.close()
    assert (len(room.budget), room.budget.total) == (0, 0)
    assert room.calls == []


def test_a_share_that_is_closed_counts_nothing_any_more() -> None:
    """A client may still read the window of a run that is forgotten."""
    room = Room()
    run = room.feed("a", 1000)
    run.share.close()
    run.note(5000)
    run.share.end()
    run.share.sleep()
    run.share.wake()
    assert room.budget.total == 0


# The order.


def test_what_ended_first_is_forgotten_first() -> None:
    room = Room()
    runs = [room.answer(name, 200 * KIB) for name in "abcd"]
    for name in "cabd":
        runs["abcd".index(name)].end()
    room.answer("e", 300 * KIB)
    assert room.calls == [("forget", "c")]
    room.answer("f", 400 * KIB)
    assert room.calls == [("forget", "c"), ("forget", "a"), ("forget", "b")]


def test_ended_runs_are_forgotten_before_a_feed_is_halved() -> None:
    room = Room()
    room.feed("feed", 600 * KIB)
    room.answer("small", 20 * KIB).end()
    room.answer("new", 430 * KIB)
    assert room.calls[0] == ("forget", "small")
    assert set(room.calls[1:]) == {("halve", "feed")}


def test_the_largest_windows_are_halved_first() -> None:
    room = Room()
    room.feed("small", 100 * KIB)
    room.feed("large", 500 * KIB)
    room.feed("middle", 310 * KIB)
    room.feed("new", 150 * KIB)
    assert room.calls == [("halve", "large")]
    room.answer("answer", 450 * KIB)
    assert [name for _, name in room.calls] == ["large", "middle", "large", "middle", "new"]
    assert room.budget.total <= MIB * 7 // 8


def test_feeds_are_halved_before_one_that_sleeps_is_forgotten() -> None:
    room = Room()
    asleep = room.feed("asleep", 2 * KIB)
    asleep.sleep()
    room.feed("feed", 600 * KIB)
    room.answer("answer", 900 * KIB)
    assert set(room.calls) == {("halve", "feed")}
    room.answer("answer too", 120 * KIB)
    assert room.calls[-1] == ("forget", "asleep")


def test_what_fell_asleep_first_is_forgotten_first() -> None:
    room = Room()
    first, second = room.feed("first"), room.feed("second")
    second.sleep()
    first.sleep()
    room.answer("answer", MIB - 4 * BYTES_PER_RUN)
    room.answer("more", 100 * KIB)
    assert room.calls == [("forget", "second"), ("forget", "first")]


def test_a_feed_that_was_woken_is_not_forgotten() -> None:
    room = Room()
    feed = room.feed("feed", KIB)
    feed.sleep()
    feed.wake()
    room.answer("answer", 2 * MIB)
    assert room.calls == []


def test_an_answer_that_is_read_from_its_beginning_loses_nothing() -> None:
    room = Room()
    for number in range(10):
        room.answer(f"{number}", MIB)
    assert room.calls == []
    assert not room.budget.has_room()


def test_answers_lose_their_beginnings_last() -> None:
    room = Room()
    first, second, feed = room.answer("small", 300 * KIB), room.answer("large"), room.feed("feed", 100 * KIB)
    first.gives_way = second.gives_way = True
    second.note(900 * KIB)
    halved = [name for call, name in room.calls if call == "halve"]
    assert halved.index("feed") < halved.index("large")
    assert "small" not in halved
    assert not room.budget.is_short
    assert feed.share.size < 8 * KIB


def test_a_run_with_readers_is_forgotten_when_they_have_gone() -> None:
    """What its readers still get would not be free. Nor does it keep the ones behind it."""
    room = Room()
    read, spare = room.answer("read", 400 * KIB), room.answer("spare", 400 * KIB)
    read.attended = 1
    read.end()
    spare.end()
    new = room.answer("new", 400 * KIB)
    assert room.calls == [("forget", "spare")]
    new.note(700 * KIB)
    assert room.calls == [("forget", "spare")]
    assert not room.budget.has_room()
    read.attended = 0
    assert room.budget.has_room()
    assert room.calls == [("forget", "spare"), ("forget", "read")]


def test_a_run_may_be_forgotten_in_the_call_in_which_it_ends() -> None:
    room = Room()
    room.answer("large", 2 * MIB)
    run = room.answer("run", KIB)
    run.end()
    assert room.calls == [("forget", "run")]
    feed = room.feed("feed", KIB)
    feed.sleep()
    assert room.calls[1:] == [("forget", "feed")]


# Room for new ones.


def test_there_is_room_while_a_run_fits() -> None:
    room = Room(10 * BYTES_PER_RUN)
    for number in range(10):
        assert room.budget.has_room()
        room.answer(f"{number}")
    assert not room.budget.has_room()


def test_room_is_made_of_runs_that_are_over() -> None:
    room = Room(10 * BYTES_PER_RUN)
    runs = [room.answer(f"{number}") for number in range(8)] + [room.feed("8"), room.feed("9")]
    assert not room.budget.has_room()
    runs[9].sleep()
    assert room.budget.has_room()
    room.answer("10")
    runs[8].sleep()
    runs[3].end()
    assert room.budget.has_room()
    assert room.calls == [("forget", "9"), ("forget", "3")]


# How much work it is.


def test_while_there_is_room_nothing_is_looked_at() -> None:
    room = Room()
    run = room.feed("a")
    for number in range(1000):
        run.note(number)
    assert room.calls == []


def test_windows_that_cannot_be_halved_are_not_tried_again_at_each_event() -> None:
    room = Room()
    feeds = [room.feed(f"{number}", 50 * KIB) for number in range(10)]
    for feed in feeds:
        feed.least = 50 * KIB
    answer = room.answer("answer", 2 * MIB)
    tries = len(room.calls)
    assert tries
    for size in range(2 * MIB, 2 * MIB + 50 * KIB, 100):
        answer.note(size)
    assert len(room.calls) == tries
    answer.note(3 * MIB)
    assert len(room.calls) == 2 * tries


def test_small_windows_are_left_alone() -> None:
    room = Room()
    for number in range(100):
        room.feed(f"{number}", 4 * KIB)
    room.answer("answer", MIB)
    assert room.calls == []


def test_a_million_keys_take_no_more_than_they_may() -> None:
    """Each client brings a new key, as an attacker would; all of them end or fall asleep."""
    memory = 8 * MIB
    room = Room(memory)
    room.calls = Forgetful()
    most = 0
    for number in range(1_000_000):
        assert room.budget.has_room()
        run = room.feed("", 700) if number % 3 else room.answer("", 700)
        run.note(900)
        (run.sleep if number % 2 and not run.is_answer else run.end)()
        most = max(most, room.budget.total)
    assert most <= memory + BYTES_PER_RUN + 900
    assert len(room.budget) <= memory // BYTES_PER_RUN


def test_feeds_that_come_and_go_do_not_cost_the_others_their_windows() -> None:
    room = Room(8 * MIB)
    large, small = room.feed("large", MIB), room.feed("small", 30 * KIB)
    for _ in range(20_000):
        assert room.budget.has_room()
        room.feed("", 700).sleep()
    assert large.share.size > 16 * KIB
    assert small.share.size > 15 * KIB
    assert room.budget.total <= 8 * MIB + BYTES_PER_RUN


def test_small_windows_are_halved_when_nothing_sleeps_any_more() -> None:
    room = Room(8 * MIB)
    feed = room.feed("feed", 30 * KIB)
    room.feed("asleep", 5 * KIB).sleep()
    room.answer("answer", 8 * MIB)
    assert room.calls[0] == ("forget", "asleep")
    assert feed.share.size <= 4 * KIB


class Forgetful(list[tuple[str, str]]):
    """A list that keeps nothing."""

    def append(self, _: tuple[str, str]) -> None:
        pass


indexes = st.integers(0, 12)
sizes = st.integers(0, 400 * KIB)


class RunsOfABudget(RuleBasedStateMachine):
    """Whatever runs do, their total is right, and what may be freed is."""

    def __init__(self) -> None:
        super().__init__()
        self.room = Room()
        self.runs = [self.room.feed("first")]

    def some(self, index: int) -> Run:
        if not self.runs:
            self.make(0, is_answer=False)
        return self.runs[index % len(self.runs)]

    @rule(size=sizes, is_answer=st.booleans())
    def make(self, size: int, is_answer: bool) -> None:
        make = self.room.answer if is_answer else self.room.feed
        self.runs.append(make(f"{len(self.runs)} of {len(self.room.calls)}", size))

    @rule(index=indexes, size=sizes)
    def note(self, index: int, size: int) -> None:
        run = self.some(index)
        if not run.is_over:
            run.note(size)

    @rule(index=indexes)
    def end(self, index: int) -> None:
        run = self.some(index)
        if not run.is_over:
            run.end()

    @rule(index=indexes)
    def sleep(self, index: int) -> None:
        run = self.some(index)
        if not run.is_over and not run.is_answer:
            run.sleep()

    @rule(index=indexes)
    def wake(self, index: int) -> None:
        run = self.some(index)
        if run.is_over and not run.is_answer:
            run.wake()

    @rule(index=indexes, change=st.sampled_from([1, -1]))
    def read(self, index: int, change: int) -> None:
        run = self.some(index)
        run.attended = max(0, run.attended + change)

    @rule(index=indexes)
    def close(self, index: int) -> None:
        run = self.some(index)
        run.share.close()
        self.runs.remove(run)

    @rule()
    def ask(self) -> None:
        has_room = self.room.budget.has_room()
        assert has_room == (self.room.budget.total + BYTES_PER_RUN <= MIB)
        assert has_room or not any(run.is_spare for run in self.kept())

    def kept(self) -> list[Run]:
        gone = {name for call, name in self.room.calls if call == "forget"}
        self.runs = [run for run in self.runs if run.name not in gone]
        return self.runs

    @invariant()
    def is_counted(self) -> None:
        runs, budget = self.kept(), self.room.budget
        assert len(budget) == len(runs)
        assert budget.total == sum(run.share.size + BYTES_PER_RUN for run in runs)
        assert budget.total <= budget.line


TestRunsOfABudget = RunsOfABudget.TestCase


def test_the_largest_is_halved_however_many_there_are() -> None:
    room = Room(64 * MIB)
    feeds = [room.feed(f"{number}", 8 * KIB + number) for number in range(2000)]
    room.answer("answer", 64 * MIB - 2000 * BYTES_PER_RUN - 17 * MIB)
    halved = [int(name) for call, name in room.calls if call == "halve"]
    assert all(before > after for before, after in pairwise(halved[: len(feeds)]))
