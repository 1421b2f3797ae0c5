"""What is counted about the runs of a process? docs/operations.md has it in words."""

import asyncio
from collections import Counter
from collections.abc import Iterable

from sseproxy.core.journal.gap import GapReason
from sseproxy.core.journal.run import RunPhase
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.metrics import table
from sseproxy.metrics.figures import Figures
from sseproxy.runs.desk import Desk, Without
from sseproxy.runs.findings import How

#: Runs that are looked at in one turn of the event loop.
_A_TURN = 500

#: Phases in which a run can be seen: one that is refused is dropped in the same call.
STATES = (RunPhase.OPENING, RunPhase.OPEN, RunPhase.REOPENING, RunPhase.ASLEEP, RunPhase.ENDED)


async def run_figures(desk: Desk, routes: Iterable[str]) -> Figures:
    """Return all that was counted until this call, in several turns of the event loop if there are many runs.

    routes: names of those with a journal. All that may happen on them is there from the start, with 0.
    """
    found, stats = Figures(), desk.stats
    found.add(table.JOURNAL_BYTES, (), desk.budget.total)
    found.add(table.JOURNAL_BYTES_LIMIT, (), desk.budget.most)
    for gap in GapReason:
        found.add(table.JOURNAL_GAPS, (gap.value,), stats.gaps[gap])
    for route in routes:
        found.add(table.JOURNAL_DETACHED_SECONDS, (route,), 0)
        for state in STATES:
            found.add(table.JOURNAL_RUNS, (route, state.value), 0)
        for reason in CloseReason:
            found.add(table.JOURNAL_RUNS_ENDED, (route, reason.value), 0)
        for how in How:
            found.add(table.JOURNAL_ATTACHED, (route, how.value), 0)
        for why in Without:
            found.add(table.JOURNAL_UNJOURNALLED, (route, why.value), 0)
    for (route, reason), number in stats.ended.items():
        found.add(table.JOURNAL_RUNS_ENDED, (route, reason.value), number)
    for (route, how), number in stats.attached.items():
        found.add(table.JOURNAL_ATTACHED, (route, how.value), number)
    for (route, why), number in stats.unjournalled.items():
        found.add(table.JOURNAL_UNJOURNALLED, (route, why.value), number)
    for route, seconds in desk.detached.seconds(now=desk.loop.time()).items():
        found.add(table.JOURNAL_DETACHED_SECONDS, (route,), seconds)
    kept: Counter[tuple[str, RunPhase]] = Counter()
    for number, run in enumerate(desk, 1):
        kept[run.belongs.route, run.state.phase] += 1
        if number % _A_TURN == 0:
            await asyncio.sleep(0)
    for (route, state), amount in kept.items():
        found.add(table.JOURNAL_RUNS, (route, state.value), amount)
    return found
