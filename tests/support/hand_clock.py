"""How does a test let time pass for something that reads no clock of its own?"""

import heapq
from collections.abc import Callable
from itertools import count


class HandTimer:
    """A call that is still to come."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class HandClock:
    """A `sseproxy.timers.Clock` whose time passes only when a test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now
        self._order = count()
        self._timers: list[tuple[float, int, HandTimer]] = []

    def time(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[[], object], /) -> HandTimer:
        timer = HandTimer(callback)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    @property
    def armed(self) -> list[float]:
        """The times of all calls that are still to come."""
        return sorted(when for when, _, timer in self._timers if timer.callback is not None)

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due is called on the way, at its time."""
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, when)
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
        self._now = end
