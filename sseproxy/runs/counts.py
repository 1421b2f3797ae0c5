"""What is counted when something happens to a run, and who hears that one is over?"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from sseproxy.core.journal.gap import GapReason
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.run_record import RunRecord
from sseproxy.runs.findings import How
from sseproxy.runs.live_run import LiveRun


class Without(StrEnum):
    """Why a request of a route with a journal is served without one."""

    IDENTITY = "identity"  # it lacks a part of its key or login
    MEMORY = "memory"  # there is no room for another run
    DRAINING = "draining"


@dataclass(slots=True)
class RunCounts:
    """What has happened so far, by route; gaps by reason, of all clients. on_end: hears of each run that is over."""

    ended: Counter[tuple[str, CloseReason]] = field(default_factory=Counter)
    attached: Counter[tuple[str, How]] = field(default_factory=Counter)
    gaps: Counter[GapReason] = field(default_factory=Counter)
    unjournalled: Counter[tuple[str, Without]] = field(default_factory=Counter)
    on_end: Callable[[RunRecord], None] = lambda _: None

    def note_end(self, run: LiveRun, reason: CloseReason) -> None:
        """Count a run that is over, and let the log have its line."""
        self.ended[run.belongs.route, reason] += 1
        self.on_end(run.record(reason))
