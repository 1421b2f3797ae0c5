"""What is counted about the runs of a process? docs/operations.md has it in words."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from itertools import product

from sseproxy.core.journal.gap import GapReason
from sseproxy.core.journal.run import RunPhase
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.metrics import table
from sseproxy.metrics.figures import Figures
from sseproxy.metrics.table import Metric
from sseproxy.runs.counts import Without
from sseproxy.runs.desk import Desk
from sseproxy.runs.findings import How

#: Runs that are looked at in one turn of the event loop.
_A_TURN = 500

#: What may happen on a route. A run that is refused is dropped in the same call, so that state is never seen.
_LABELS: Mapping[Metric, Iterable[Enum]] = {
    table.JOURNAL_RUNS: [phase for phase in RunPhase if phase is not RunPhase.REFUSED],
    table.JOURNAL_RUNS_ENDED: CloseReason,
    table.JOURNAL_ATTACHED: How,
    table.JOURNAL_UNJOURNALLED: Without,
}


async def run_figures(desk: Desk, routes: Collection[str]) -> Figures:
    """Return all that was counted, in several turns of the event loop if there are many runs.

    routes: names of those with a journal. All that may happen on them is there from the start, with 0.
    """
    kept: Counter[tuple[str, RunPhase]] = Counter()
    for number, run in enumerate(desk, 1):
        kept[run.belongs.route, run.state.phase] += 1
        if number % _A_TURN == 0:
            await asyncio.sleep(0)
    found, stats = Figures(), desk.stats
    found.add(table.JOURNAL_BYTES, (), desk.budget.total)
    found.add(table.JOURNAL_BYTES_LIMIT, (), desk.budget.most)
    for gap in GapReason:
        found.add(table.JOURNAL_GAPS, (gap.value,), stats.gaps[gap])
    for metric, values in _LABELS.items():
        for route, value in product(routes, values):
            found.add(metric, (route, value.value), 0)
    for metric, counts in (
        (table.JOURNAL_RUNS, kept),
        (table.JOURNAL_RUNS_ENDED, stats.ended),
        (table.JOURNAL_ATTACHED, stats.attached),
        (table.JOURNAL_UNJOURNALLED, stats.unjournalled),
    ):
        for (route, label), number in counts.items():
            found.add(metric, (route, label.value), number)
    seconds = desk.detached.seconds(now=desk.loop.time())
    for route in {*routes, *seconds}:
        found.add(table.JOURNAL_DETACHED_SECONDS, (route,), seconds.get(route, 0.0))
    return found
