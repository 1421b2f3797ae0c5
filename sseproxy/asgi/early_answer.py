"""Whose client has waited long enough for the app's response? (contract S8)"""

import asyncio
from contextvars import Context, copy_context
from typing import Protocol

#: Seconds by which a timer of an event loop may be early.
_GRAIN = 0.001


class EarlyAnswerCandidate(Protocol):
    """A request without a response."""

    def come_due(self) -> None:
        """Its time has come."""


class EarlyAnswerTimer:
    """The requests of one event loop that are waiting. seconds: for how long, at most.

    All have equally long, so they come due in the order in which they came, and one timer does for all. It is never
    called off, which would be dear for requests that come one at a time: it looks, and finds nobody.
    """

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._seconds = seconds
        self._due: dict[EarlyAnswerCandidate, tuple[float, Context]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __contains__(self, request: EarlyAnswerCandidate) -> bool:
        """Whether its time is still to come."""
        return request in self._due

    def begin(self, request: EarlyAnswerCandidate) -> None:
        due = self.loop.time() + self._seconds
        self._due[request] = due, copy_context()
        if self._timer is None:
            self._arm(due)

    def begin_again(self, request: EarlyAnswerCandidate) -> None:
        """Its time counts from now."""
        entry = self._due.pop(request, None)
        if entry is None:
            self.begin(request)
        else:
            self._due[request] = self.loop.time() + self._seconds, entry[1]

    def end(self, request: EarlyAnswerCandidate) -> None:
        """It has a response, or will have none. May be called again."""
        self._due.pop(request, None)

    def _arm(self, due: float) -> None:
        self._timer = self.loop.call_at(due, self._look, context=Context())

    def _look(self) -> None:
        self._timer = None
        over = self.loop.time() + _GRAIN
        late: list[tuple[EarlyAnswerCandidate, Context]] = []
        for request, (due, context) in self._due.items():
            if due > over:
                self._arm(due)
                break
            late.append((request, context))
        for request, context in late:
            del self._due[request]
            # Not at once: one that fails must not stop the others.
            self.loop.call_soon(request.come_due, context=context)
