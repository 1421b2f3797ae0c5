"""Which runs go on without a reader, and which of them is the first to go if there are too many?"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING

from sseproxy.core.limits import LimitPolicy

if TYPE_CHECKING:
    from sseproxy.runs.live_run import LiveRun


class Detached:
    """The runs of a process that go on without a reader."""

    # Each run is in two rows, that of its route and that of its owner there; in each the one is first that has waited
    # longest. A row is dropped with its last run.

    def __init__(self) -> None:
        self._rows: dict[Hashable, OrderedDict[LiveRun, None]] = {}

    def __len__(self) -> int:
        """How many there are."""
        return sum(len(row) for key, row in self._rows.items() if isinstance(key, str))

    def add(self, run: "LiveRun", limits: LimitPolicy) -> None:
        """Add a run; the one that has waited longest is dropped if there are too many of its route, or its owner."""
        route, owner = run.belongs.route, (run.belongs.route, run.belongs.owner)
        for key, most in ((owner, limits.detached_per_client), (route, limits.detached)):
            row = self._rows.setdefault(key, OrderedDict())
            row[run] = None
            if most is not None and len(row) > most:
                next(iter(row)).drop()

    def discard(self, run: "LiveRun") -> None:
        """Take out a run that has a reader, or is over."""
        for key in (run.belongs.route, (run.belongs.route, run.belongs.owner)):
            row = self._rows.get(key)
            if row is not None and run in row:
                del row[run]
                if not row:
                    del self._rows[key]
