"""What is written to the log while Redis comes and goes, and how often?"""

import logging
from collections.abc import Callable

_log = logging.getLogger("sseproxy")

#: Seconds between two lines that say the same.
_REPEATED = 60.0


class Outage:
    """The log of one connection: a line when Redis is away, with the reason, and one when it is back.

    what: whose connection, and to which place; without secrets. now: a clock in seconds.
    """

    # 1. The first failure is written at once; a new reason too, but each reason once in an outage.
    # 2. An unchanged one is repeated each minute.
    # 3. "Back" is written only after a line that said "away": a Redis that flaps writes a pair of lines a minute.

    def __init__(self, what: str, now: Callable[[], float]) -> None:
        self._what = what
        self._now = now
        self._reasons: set[str] = set()  # of this outage, as far as written
        self._refusals: set[str] = set()
        self._written_at = float("-inf")
        self._since = 0.0
        self._failures = 0

    def failed(self, reason: str) -> None:
        """A dial failed, or a connection was lost."""
        now = self._now()
        if not self._failures:
            self._since = now
        self._failures += 1
        is_old = now - self._written_at >= _REPEATED
        if is_old or (self._reasons and reason not in self._reasons):
            self._written_at = now
            self._reasons.add(reason)
            _log.warning("%s away: %s", self._what, reason)

    def refused(self, code: str) -> None:
        """Redis refuses one thing of many, and works else."""
        if code not in self._refusals:
            self._refusals.add(code)
            _log.warning("%s: some are refused with %s", self._what, code)

    def ended(self) -> None:
        """It works again."""
        if self._reasons:
            _log.warning("%s is back after %.1f s", self._what, self._now() - self._since)
        self._reasons.clear()
        self._failures = 0
