"""What of a request happens later: in a task, or by a timer?"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any


def begin_later(work: Coroutine[Any, Any, None], context: Context | None = None) -> "asyncio.Task[None]":
    """Start `work` in a task, whose first step comes when the caller has gone on.

    Hazard: with `asyncio.eager_task_factory`, `create_task` would take it at once, in the middle of a call of the
    relay's, which must not be called back.
    """
    return asyncio.Task(work, loop=asyncio.get_running_loop(), context=context)


class DelayedCalls:
    """Timers that are cancelled together."""

    def __init__(self) -> None:
        self._timers: tuple[asyncio.TimerHandle, ...] = ()

    def call_later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call after `seconds`, in the running event loop."""
        self._timers = (*self._timers, asyncio.get_running_loop().call_later(seconds, call))

    def cancel(self) -> None:
        """Cancel all that have not been called."""
        for timer in self._timers:
            timer.cancel()
        self._timers = ()
