"""Does each client of the journal get what it should, whatever happens, in whatever order?

    python -m tests.sim.simulate --histories 100000 --seed 7

Seeded histories of a whole room on a virtual clock. One that breaks a rule is made as small as it can be, and printed
as a test case.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.sim.aftermath import Allowance
from tests.sim.checker import check
from tests.sim.history import Event
from tests.sim.plans import Plan, drawn
from tests.sim.world import World
from tests.support.virtual_clock import VirtualLoop


@dataclass(frozen=True, slots=True)
class Outcome:
    """wrong: in words; empty: nothing."""

    wrong: list[str]
    history: list[Event]


def run(plan: Plan) -> Outcome:
    """Play a plan to its end, and judge it."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_run(plan))


async def _run(plan: Plan) -> Outcome:
    world = World(plan)
    wrong: list[str] = []
    try:
        await world.play()
    except Exception as error:  # noqa: BLE001 - a client that is given something it must not get, or a loop that stands still
        wrong.append(f"{type(error).__name__}: {error}")
    wrong += [f"a defect: {defect!r}" for defect in world.defects]
    setting = plan.setting
    never = float("inf")
    allowance = Allowance(idle=setting.idle or never, stall=never, memory=setting.memory + 8 * setting.bytes)
    return Outcome(wrong + check(world.history, allowance), world.history)


def shrunk(plan: Plan, is_wrong: Callable[[Plan], bool]) -> Plan:
    """Return the plan without actions that `is_wrong` does not need."""
    size = len(plan.actions) // 2
    while size:
        at = 0
        while at < len(plan.actions):
            smaller = replace(plan, actions=plan.actions[:at] + plan.actions[at + size :])
            if is_wrong(smaller):
                plan = smaller
            else:
                at += size
        size //= 2
    return plan


def counterexample(histories: int, first: int = 0) -> str | None:
    """Return the first history that breaks a rule, as text; ``None``: there is none among so many."""
    for seed in range(first, first + histories):
        wrong = run(drawn(seed)).wrong
        if wrong:
            return described(seed, drawn(seed))
    return None


def described(seed: int, plan: Plan) -> str:
    """Return what is wrong with a plan, and the smallest plan that has it, too."""
    rules = {fault.split()[0] for fault in run(plan).wrong}
    smallest = shrunk(plan, lambda smaller: bool(rules & {fault.split()[0] for fault in run(smaller).wrong}))
    return "\n".join([f"seed {seed}:", *run(smallest).wrong, repr(smallest)])


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--histories", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first history")
    parser.add_argument("--all", action="store_true", help="go on behind a fault")
    options = parser.parse_args()
    began, faults = time.process_time(), 0
    for seed in range(options.seed, options.seed + options.histories):
        plan = drawn(seed)
        if run(plan).wrong:
            faults += 1
            print(described(seed, plan), flush=True)
            if not options.all:
                break
    seconds = time.process_time() - began
    print(f"{options.histories} histories from seed {options.seed}, {faults} wrong, {seconds:.0f} s of CPU")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
