"""What does a request ask the desk, and what may there be for it?"""

from dataclasses import dataclass
from enum import StrEnum

from sseproxy.core.journal.gap import Missing
from sseproxy.core.journal.positions import Mark
from sseproxy.runs.live_run import LiveRun
from sseproxy.runs.terms import Belonging


class How(StrEnum):
    """How a client has come to its run."""

    NEW = "new"
    JOINED = "joined"
    RESUMED = "resumed"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, as far as it decides which run is its own. position: what the client has named, as it came."""

    belongs: Belonging
    position: bytes | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """Read `run` from behind `mark`. missing: what the client hears first."""

    run: LiveRun
    mark: Mark
    missing: Missing | None = None
    how: How = How.JOINED


@dataclass(frozen=True, slots=True)
class Complete:
    """The client has all of `run`, which has ended."""

    run: LiveRun


@dataclass(frozen=True, slots=True)
class Open:
    """There is no run to join, so the upstream is asked.

    missing: what the client hears first; it has named a position of a run that is unknown.
    """

    missing: Missing | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """What the client has named, or the beginning of what it wants, is no longer there."""


Finding = Join | Complete | Open | Gone
