"""How is an app stopped whose stream has ended, and was it stopped by the middleware alone?"""

import asyncio
from enum import Enum, auto

from sseproxy.asgi.later import DelayedCalls
from sseproxy.asgi.receive_channel import ReceiveChannel

#: Seconds that an app gets to end its stream by itself once it has received `http.disconnect`.
_GRACE = 0.5

#: Seconds that it gets for what it does without sending anything: background tasks, dependencies that clean up.
_CLEAN_UP = 30.0


class AppState(Enum):
    """How far the stopping of an app is."""

    RUNNING = auto()
    OVERDUE = auto()  # it has received `http.disconnect`, and had time to end its stream
    CANCELLED = auto()


# Strategy. What an app does at the moment decides how it is stopped:
#
# - It waits in `receive`: the wait ends with `http.disconnect`, and the app ends by itself.
# - It does anything else: its task is cancelled.
#
# Rules
# 1. The task is cancelled at most once, and never after the app has returned.
# 2. An app that has received `http.disconnect` may go on without sending: background tasks of Starlette, dependencies
#    of FastAPI with `yield`. It is cancelled after `_CLEAN_UP`.
# 3. An app that still sends `_GRACE` after its `http.disconnect` is cancelled in that call.
# 4. A cancellation of the middleware's leaves no trace in the task: it is undone by `Task.uncancel`, and its
#    `CancelledError` goes no further.
#
# Hazards
# - Django works in tasks that go on when the app is cancelled, and end when `receive` returns: hence the two ways.
# - The server cancels the app too (a forced shutdown): then the `CancelledError` is the server's, and has to reach it.
# - `asyncio.timeout` in a server counts cancellations of its task: one that was not undone would look like its own.


class AppTask:
    """The task in which an app runs. task: ``None`` if it cannot be cancelled. channel: the app's `receive`.

    is_finished: the app has returned, or raised.
    """

    def __init__(self, task: "asyncio.Task[None] | None", channel: ReceiveChannel) -> None:
        self._task = task
        self._channel = channel
        self._calls = DelayedCalls()
        self._state = AppState.RUNNING
        self._other_cancellations = 0
        self.is_finished = False

    @property
    def is_cancelled(self) -> bool:
        """True if the middleware has cancelled the app."""
        return self._state is AppState.CANCELLED

    def stop(self) -> None:
        """Deliver `http.disconnect` to an app that waits for it; cancel any other."""
        if self._channel.disconnect():
            self.expect_end()
        else:
            self.cancel()

    def expect_end(self) -> None:
        """Give an app that has heard of the end the time of rules 2 and 3."""
        self._calls.call_later(_GRACE, self._note_overdue)
        self._calls.call_later(_CLEAN_UP, self.cancel)

    def _note_overdue(self) -> None:
        if self._state is AppState.RUNNING:
            self._state = AppState.OVERDUE

    def note_late_send(self) -> None:
        """The app sends although its stream has ended (rule 3)."""
        if self._state is AppState.OVERDUE:
            self.cancel()

    def cancel(self) -> None:
        """Cancel the task (rule 1)."""
        if self._task is not None and not self.is_finished and self._state is not AppState.CANCELLED:
            self._state = AppState.CANCELLED
            self._task.cancel()

    def finish(self) -> None:
        """The app has returned, or raised."""
        self.is_finished = True

    def close(self) -> None:
        """Return the task to the server, and undo the cancellation (rule 4)."""
        self._calls.cancel()
        if self.is_cancelled and self._task is not None:
            self._other_cancellations = self._task.uncancel()
        self._task = None

    def was_stopped(self, error: BaseException | None) -> bool:
        """True if `error`, which the app has raised, is the middleware's cancellation alone. Ask after `close`."""
        return self.is_cancelled and not self._other_cancellations and isinstance(error, asyncio.CancelledError)
