"""How do readers that lag behind share the event loop, and the store? In turns, and a few at a time."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable

from sseproxy.core.frames import release_frames
from sseproxy.core.journal.positions import Mark
from sseproxy.journal.history import History, Page

#: What a store is asked for at once.
_EVENTS_OF_A_PAGE = 128


class Asking:
    """A page that a reader waits for. `done` gets the page, or why there is none."""

    __slots__ = ("_cancel", "after", "done", "history", "task")

    def __init__(
        self,
        history: History,
        after: Mark,
        done: Callable[[Page | Exception], None],
        cancel: Callable[["Asking"], None],
    ) -> None:
        self.history = history
        self.after = after
        self.done = done
        self.task: asyncio.Task[None] | None = None
        self._cancel = cancel

    def cancel(self) -> None:
        """The reader no longer waits. Calling it again is allowed."""
        self._cancel(self)


class CatchingUp:
    """The work of all readers of a process that are not live.

    steps: calls in one turn of the loop. pages: requests to a store at the same time.
    """

    # 1. A turn of the loop makes a bounded number of steps, so that live readers, accepts and heartbeats have turns too
    #    while thousands of readers come back at once.
    # 2. A page that is asked for stays in `_asking` until it has a task. Its task calls `done` or is cancelled.

    def __init__(self, loop: asyncio.AbstractEventLoop, *, steps: int = 16, pages: int = 16) -> None:
        self._loop = loop
        self._most_steps = steps
        self._most_pages = pages
        self._steps: deque[Callable[[], None]] = deque()
        self._asking: OrderedDict[Asking, None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many steps and pages are still to come."""
        return len(self._steps) + len(self._asking) + len(self._tasks)

    def soon(self, step: Callable[[], None]) -> None:
        """Call `step` in one of the next turns of the loop, in the order in which it was asked for."""
        self._steps.append(step)
        if len(self._steps) == 1:
            self._loop.call_soon(self._take_steps)

    def ask(self, history: History, after: Mark, done: Callable[[Page | Exception], None]) -> Asking:
        """Ask `history` for what is behind `after`, as soon as it is this reader's turn."""
        asking = Asking(history, after, done, self._cancel)
        self._asking[asking] = None
        self._start_pages()
        return asking

    def _take_steps(self) -> None:
        for _ in range(min(self._most_steps, len(self._steps))):
            # It stays the first one meanwhile, so that what it asks for needs no further call of the loop.
            step = self._steps[0]
            try:
                step()
            except Exception as error:  # noqa: BLE001 - one reader's defect must not stop all others
                self._loop.call_exception_handler({"message": "a reader's step failed", "exception": error})
                release_frames(error)
            self._steps.popleft()
        if self._steps:
            self._loop.call_soon(self._take_steps)

    def _start_pages(self) -> None:
        while self._asking and len(self._tasks) < self._most_pages:
            asking, _ = self._asking.popitem(last=False)
            asking.task = self._loop.create_task(self._fetch(asking))
            self._tasks.add(asking.task)
            asking.task.add_done_callback(self._fetched)

    async def _fetch(self, asking: Asking) -> None:
        try:
            page = await asking.history.page(asking.after, _EVENTS_OF_A_PAGE)
        except Exception as error:  # noqa: BLE001 - the reader decides what it makes of it
            asking.done(error)
            release_frames(error)
        else:
            asking.done(page)

    def _fetched(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "a reader's page failed", "exception": error})
            release_frames(error)
        self._start_pages()

    def _cancel(self, asking: Asking) -> None:
        self._asking.pop(asking, None)
        # The task keeps the error that cancels it, and with it the frame in which it waits, which leads back here.
        task, asking.task = asking.task, None
        if task is not None:
            task.cancel()
