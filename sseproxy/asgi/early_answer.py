"""Whose client has waited long enough for the app's response, and is answered before the app responds?"""

import asyncio
from contextvars import Context, copy_context
from typing import Protocol

#: Seconds by which a timer of an event loop may be early.
_GRAIN = 0.001


class EarlyAnswerCandidate(Protocol):
    """A request without a response."""

    def come_due(self) -> None:
        """Its time has come."""


# Strategy. All requests wait equally long, so they come due in the order in which they began, and one timer of the loop
# does for all: it is armed for the oldest, and when it fires, for the oldest that is left.
#
# Rules
# 1. The timer is never cancelled, which would be dear for requests that come one at a time: it may fire for none.
# 2. Each request comes due in the context in which it began, and in a callback of its own: one that fails must not stop
#    the others.
#
# Hazard: a timer of an event loop may fire early by its resolution; `_GRAIN` keeps it from being armed twice.


class EarlyAnswerTimer:
    """The requests of one event loop that wait. seconds: for how long."""

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.seconds = seconds
        self._due: dict[EarlyAnswerCandidate, tuple[float, Context]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __contains__(self, request: EarlyAnswerCandidate) -> bool:
        """True if its time is still to come."""
        return request in self._due

    def begin(self, request: EarlyAnswerCandidate) -> None:
        """Let its time count from now."""
        due = self.loop.time() + self.seconds
        self._due[request] = due, copy_context()
        if self._timer is None:
            self._arm(due)

    def begin_again(self, request: EarlyAnswerCandidate) -> None:
        """Let its time count from now, though it has begun already."""
        entry = self._due.pop(request, None)
        if entry is None:
            self.begin(request)
        else:
            self._due[request] = self.loop.time() + self.seconds, entry[1]

    def end(self, request: EarlyAnswerCandidate) -> None:
        """Stop waiting: it has a response, or will have none. May be called again."""
        self._due.pop(request, None)

    def _arm(self, due: float) -> None:
        self._timer = self.loop.call_at(due, self.look, context=Context())

    def look(self) -> None:
        """Let those come due whose time is over: the timer has fired."""
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
            self.loop.call_soon(request.come_due, context=context)
