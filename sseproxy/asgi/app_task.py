"""How is an app stopped whose stream has ended, and was it stopped by us alone?"""

import asyncio


class AppTask:
    """The task that an app runs in; None: it cannot be stopped. is_through: the app has returned, or raised."""

    def __init__(self, task: "asyncio.Task[None] | None") -> None:
        self._task = task
        self._is_cancelled = False
        self._is_cancelled_by_others = False  # as well
        self.is_through = False

    @property
    def is_stopped(self) -> bool:
        """True if the app was cancelled here."""
        return self._is_cancelled

    def cancel(self) -> None:
        """Once, and only while the app runs."""
        if self._task is not None and not self.is_through and not self._is_cancelled:
            self._is_cancelled = True
            self._task.cancel()

    def let_go(self) -> None:
        """The app is through, and the task belongs to the server again. Our own cancellation leaves no trace."""
        if self._is_cancelled and self._task is not None:
            self._is_cancelled_by_others = self._task.uncancel() > 0
        self._task = None

    def was_stopped(self, error: BaseException | None) -> bool:
        """Whether what the app has raised is our cancellation, and nobody else's. After `let_go`."""
        by_us = self._is_cancelled and not self._is_cancelled_by_others
        return by_us and isinstance(error, asyncio.CancelledError)
