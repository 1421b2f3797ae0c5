"""When does a source read, and when does it work, if several have reasons against it?"""

from collections import deque
from collections.abc import Callable

import pytest

from sseproxy.origins.turns import SourceInTurns


class Source(SourceInTurns):
    """Has pieces, of which each is long; `during` is called with each."""

    def __init__(self, pieces: int) -> None:
        self.later: deque[Callable[[], None]] = deque()
        super().__init__(self.later.append)
        self.left = pieces
        self.done = 0
        self.reading: list[bool] = []
        self.during: Callable[[], None] = lambda: None

    def arrive(self) -> None:
        self._run()

    def end(self) -> None:
        self._end_reading()

    def abort(self) -> None:
        self.left = 0

    def _work(self) -> bool:
        if not self.left or self._silence:
            return False
        self.left -= 1
        self.done += 1
        self.during()
        return self.left > 0

    def _set_reading(self, wanted: bool) -> None:
        self.reading.append(wanted)

    def turn(self) -> None:
        self.later.popleft()()


def test_long_work_takes_a_turn_for_each_part_and_reads_behind_the_last() -> None:
    source = Source(3)
    source.arrive()
    assert (source.done, source.reading) == (1, [False])
    source.arrive()
    assert source.done == 1
    source.turn()
    assert (source.done, source.reading) == (2, [False])
    source.turn()
    assert (source.done, source.reading) == (3, [False, True])
    assert not source.later


def test_a_pause_outlives_the_turn_and_a_resume_does_not_take_it() -> None:
    source = Source(3)
    source.arrive()
    source.pause()
    source.resume()
    assert source.done == 1
    source.pause()
    source.turn()
    assert source.done == 1
    source.resume()
    source.resume()
    assert source.done == 2
    source.turn()
    assert source.done == 3
    assert source.reading == [False, True]


@pytest.mark.parametrize("calls", [["pause", "resume"], ["resume", "resume"], ["abort"]])
def test_work_does_not_start_inside_itself(calls: list[str]) -> None:
    source = Source(2)

    def during() -> None:
        for call in calls:
            getattr(source, call)()

    source.during = during
    source.arrive()
    assert source.done == 1


def test_a_source_that_has_ended_reads_and_is_left_alone() -> None:
    source = Source(1)
    source.pause()
    source.end()
    assert source.reading == [False, True]
    source.pause()
    source.resume()
    assert source.reading == [False, True]
