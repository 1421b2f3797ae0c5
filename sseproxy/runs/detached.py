"""Which runs go on without a reader, and which of them is the first to go if there are too many?"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

from sseproxy.core.limits import LimitPolicy

if TYPE_CHECKING:
    from sseproxy.runs.live_run import LiveRun


class Detached:
    """The runs of a process that go on without a reader. Times are the event loop's, in seconds."""

    # Each run is in two rows, that of its route and that of its owner there; in each the one is first that has waited
    # longest. A row is dropped with its last run. Each run is there with the time since which it has no reader.

    def __init__(self) -> None:
        self._rows: dict[Hashable, OrderedDict[LiveRun, float]] = {}
        self._seconds: dict[str, float] = {}

    def __len__(self) -> int:
        """How many there are."""
        return sum(len(row) for key, row in self._rows.items() if isinstance(key, str))

    def add(self, run: "LiveRun", limits: LimitPolicy, *, now: float) -> None:
        """Add a run; the one that has waited longest is dropped if there are too many of its route, or its owner."""
        route, owner = run.belongs.route, (run.belongs.route, run.belongs.owner)
        for key, most in ((owner, limits.detached_per_client), (route, limits.detached)):
            row = self._rows.setdefault(key, OrderedDict())
            row[run] = now
            if most is not None and len(row) > most:
                next(iter(row)).drop()

    def discard(self, run: "LiveRun", *, now: float) -> float:
        """Take out a run that has a reader, or is over. Return for how many seconds it was here."""
        since = now
        for key in (run.belongs.route, (run.belongs.route, run.belongs.owner)):
            row = self._rows.get(key)
            if row is not None and run in row:
                since = row.pop(run)
                if not row:
                    del self._rows[key]
        route = run.belongs.route
        self._seconds[route] = self._seconds.get(route, 0.0) + now - since
        return now - since

    def since(self, run: "LiveRun") -> float | None:
        """Return since when a run goes on without a reader; ``None`` if it has one, or is over."""
        row = self._rows.get(run.belongs.route)
        return None if row is None else row.get(run)

    def seconds(self, *, now: float) -> Mapping[str, float]:
        """Return for how many seconds runs have gone on without a reader so far, by route."""
        found = dict(self._seconds)
        for key, row in self._rows.items():
            if isinstance(key, str):
                found[key] = found.get(key, 0.0) + sum(now - since for since in row.values())
        return found
