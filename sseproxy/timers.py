"""How are ten thousand streams woken up, each at its time, at the price of one timer?"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from contextvars import Context
from typing import Protocol

#: uvloop counts whole milliseconds, and may be half of one early. Asked again for what is left, it answers at once,
#: over and over, until the half has passed: so one more is asked for.
_UVLOOP_GRAIN = 0.001

#: Calls in one turn of the event loop. What else is due waits for the next, so that bytes are moved in between.
_CALLS_PER_TURN = 64

#: Cancelled entries that are kept at least, before the heap is cleared of them.
_WORTH_CLEARING = 64


class Timer(Protocol):
    """A call to come, which can be cancelled."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """The time in seconds, and a call when it has come. An event loop is one; so are `Timers`."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer: ...


class Timers:
    """All timers of the streams of one event loop: a heap, of which the loop has the first only.

    A timer of the loop itself costs several times as much, with uvloop also to cancel. Calls never come early.
    """

    # 1. The loop's own timer is armed for the first entry, or for an earlier time: to wake up for nothing costs less
    #    than to arm it anew.
    # 2. A cancelled entry keeps its place in the heap until half of the heap is of the kind.
    # 3. A turn of the loop makes a bounded number of calls, so that ten thousand deadlines that coincide do not hold up
    #    the bytes of all streams.
    # 4. A call that raises is reported, and stops no other.

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.time = loop.time
        self._entries: list[tuple[float, int, _Entry]] = []  # compared in C, entries themselves are not
        self._numbers = itertools.count()
        self._cancelled = 0
        self._wake_up: asyncio.TimerHandle | None = None
        self._wake_up_at = 0.0
        self._grain = _UVLOOP_GRAIN if type(loop).__module__.startswith("uvloop") else 0.0

    def __len__(self) -> int:
        """How many calls are still to come."""
        return len(self._entries) - self._cancelled

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer:
        """Call `callback` at `when`, or as soon after it as there is time."""
        entry = _Entry(callback, self)
        heapq.heappush(self._entries, (when, next(self._numbers), entry))
        if self._wake_up is None or when < self._wake_up_at:
            self._arm()
        return entry

    def note_cancelled(self) -> None:
        """One entry was cancelled."""
        self._cancelled += 1
        if self._cancelled == len(self._entries) or self._cancelled > max(_WORTH_CLEARING, len(self._entries) // 2):
            self._entries = [item for item in self._entries if item[-1].callback is not None]
            heapq.heapify(self._entries)
            self._cancelled = 0
            # The loop's timer stays: to wake up for nothing costs less than to set it anew each time.

    def _arm(self) -> None:
        if self._wake_up is not None:
            self._wake_up.cancel()
            self._wake_up = None
        if self._entries:
            self._wake_up_at = self._entries[0][0]
            # In no context: the stream that happens to arm it would else lend its own to all others, for ever.
            self._wake_up = self.loop.call_at(self._wake_up_at + self._grain, self._call_due, context=Context())

    def _call_due(self) -> None:
        self._wake_up = None
        now = self.loop.time()
        calls = 0
        while self._entries and self._entries[0][0] <= now and calls < _CALLS_PER_TURN:
            callback = heapq.heappop(self._entries)[-1].take()
            if callback is None:
                self._cancelled -= 1
                continue
            calls += 1
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - one stream's defect must not stop the clock of all others
                self.loop.call_exception_handler({"message": "a timer's call failed", "exception": error})
        self._arm()


class _Entry:
    __slots__ = ("_timers", "callback")

    def __init__(self, callback: Callable[[], object], timers: Timers) -> None:
        self.callback: Callable[[], object] | None = callback
        self._timers = timers

    def take(self) -> Callable[[], object] | None:
        callback, self.callback = self.callback, None
        return callback

    def cancel(self) -> None:
        if self.take() is not None:
            self._timers.note_cancelled()
