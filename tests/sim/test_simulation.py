"""Does each client of the journal get what it should, whatever happens? Many small histories, each from a seed.

SIM_HISTORIES=100000 SIM_SEED=5000000 python -m pytest tests/sim/test_simulation.py
"""

import os
from collections import Counter

import pytest

from tests.sim import plans
from tests.sim.history import Gap, Head
from tests.sim.plans import Plan, Setting, drawn, plan
from tests.sim.simulate import counterexample, run, shrunk

HISTORIES = int(os.environ.get("SIM_HISTORIES", "10000"))
SEED = int(os.environ.get("SIM_SEED", "0"))
#: So that they can be spread over processes.
PARTS = 10


@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_breaks_a_rule(part: int) -> None:
    size = HISTORIES // PARTS
    found = counterexample(size, SEED + part * size)
    assert found is None, found


def test_a_seed_has_one_history() -> None:
    assert [run(drawn(seed)).history for seed in range(20)] == [run(drawn(seed)).history for seed in range(20)]


def test_a_plan_can_be_pasted() -> None:
    for seed in range(50):
        assert eval(repr(drawn(seed)), dict(vars(plans))) == drawn(seed)


def test_a_plan_is_made_as_small_as_it_can_be() -> None:
    long = drawn(3)
    assert len(long.actions) > 10

    def has_two_emits(smaller: Plan) -> bool:
        return sum(action.name == "emit" for action in smaller.actions) >= 2

    assert [action.name for action in shrunk(long, has_two_emits).actions] == ["emit", "emit"]


#: What the simulation has found in the room, and what it was.
FOUND = {
    "an end within the call in which a reader becomes live": plan(
        Setting(is_answer=True, joins=False, detach=50.0, bytes=150, age=20.0),
        [
            ("ask", 47, 38), ("wait", 23, 32), ("silent", 31, 15), ("resume", 19, 34), ("resume", 54, 27),
            ("emit", 10, 36), ("emit", 6, 45), ("emit", 32, 40), ("turn", 37, 39), ("finish", 62, 21),
        ],
    ),
    "a feed is forgotten that was woken while an old reader was there": plan(
        Setting(is_answer=False, starts_latest=True, detach="off", events=6, age=20.0, reopen=0),
        [
            ("ask", 36, 63), ("resume", 11, 55), ("oldest", 2, 52), ("ask", 33, 18), ("turn", 11, 25),
            ("leave", 6, 55), ("ask", 33, 14), ("break", 33, 43), ("wait", 42, 8), ("emit", 59, 9),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_is_cured(name: str) -> None:
    assert run(FOUND[name]).wrong == []


def test_much_happens_in_them() -> None:
    """A simulation in which nothing happens finds nothing wrong."""
    seen: Counter[str] = Counter()
    for seed in range(300):
        for event in run(drawn(seed)).history:
            seen[type(event).__name__] += 1
            if isinstance(event, Gap):
                seen[event.reason] += 1
            if isinstance(event, Head):
                seen[str(event.status)] += 1
    assert seen["Got"] > 2000
    assert {name for name, count in seen.items() if count > 4} >= {
        *("Emitted", "Finished", "Aborted", "Refused", "Given", "Failed", "Ended", "Left", "Paused", "Stopped"),
        *("Lost", "trimmed", "unknown", "upstream", "200", "204", "410"),
    }  # fmt: skip
