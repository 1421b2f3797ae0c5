"""Which dashboards are open, and how does each get a new snapshot every second, made once for all of them?"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping

from sseproxy.process.dashboard.view import View

#: Dashboards that one process keeps up to date.
MOST_WATCHERS = 4

#: Seconds between two snapshots.
EVERY = 1.0

#: Seconds between two snapshots at least, when a dashboard that has just been opened waits for its first one.
_AT_LEAST = 0.2

_Make = Callable[[Collection[View]], Awaitable[Mapping[View, bytes]]]


class Watcher:
    """One dashboard that is open. It sees the newest snapshot; what it was too slow for is skipped."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._snapshot: bytes | None = None
        self._changed = asyncio.Event()

    def show(self, snapshot: bytes | None) -> None:
        """Hand over a snapshot; ``None``: another dashboard takes this one's place."""
        self._snapshot = snapshot
        self._changed.set()

    async def next(self) -> bytes | None:
        """Wait for a snapshot that was not seen yet. ``None``: this dashboard has to end."""
        await self._changed.wait()
        self._changed.clear()
        return self._snapshot


class Watchers:
    """The dashboards of one process.

    make: a snapshot for each of some views. most: how many may be open; one more ends the oldest. every: seconds.
    """

    # 1. The work is done by one task, which lives as long as a dashboard is open. With none there is no work at all.
    # 2. However many dashboards are opened, one snapshot is made at a time.
    # 3. A snapshot that fails is reported, and the next one is made: a dashboard must not stay as it was for ever.

    def __init__(self, make: _Make, *, most: int = MOST_WATCHERS, every: float = EVERY) -> None:
        self._make = make
        self._most = most
        self._every = every
        self._open: list[Watcher] = []
        self._opened = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """True if no snapshot is made, nor will be until a dashboard is opened."""
        return self._task is None

    @contextlib.contextmanager
    def watching(self, view: View) -> Iterator[Watcher]:
        """Open a dashboard for as long as the block runs."""
        watcher = Watcher(view)
        self._open.append(watcher)
        if len(self._open) > self._most:
            self._open.pop(0).show(None)
        self._opened.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            yield watcher
        finally:
            if watcher in self._open:
                self._open.remove(watcher)
            if not self._open and self._task is not None:
                self._task.cancel()
                self._task = None

    def stop(self) -> None:
        """Make no more snapshots: the process ends, and with it the connections of dashboards, which come back."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._opened.clear()
            begun = loop.time()
            try:
                made = await self._make({watcher.view for watcher in self._open})
            except Exception as error:  # noqa: BLE001 - rule 3
                loop.call_exception_handler({"message": "a dashboard has no snapshot", "exception": error})
                made = {}
            for watcher in self._open:
                if (snapshot := made.get(watcher.view)) is not None:
                    watcher.show(snapshot)
            await asyncio.sleep(min(_AT_LEAST, self._every))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(begun + self._every):
                    await self._opened.wait()
