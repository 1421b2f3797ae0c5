"""How do hours pass in a test within milliseconds, on an event loop that is otherwise asyncio's own?"""

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

from tests.support.patience import LIMIT

#: Real seconds of silence on all sockets after which it counts as settled that nothing is under way.
_SETTLED = 0.01


#: Turns of a loop in which no time passes, and seconds that pass, after which it is taken to run in circles.
_TURNS = 100_000
_SECONDS = 1e6

_START = 1000.0


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting, lets the clock jump; but first everything that is under way on a socket has to arrive."""

    def __init__(self, settled: float) -> None:
        super().__init__()
        self.now = _START
        self._settled = settled
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            self._turns += 1
            assert self._turns < _TURNS, "something goes round and round"
            return ready
        if timeout is None:
            ready = super().select(LIMIT)
            assert ready, "nothing is left that could ever happen"
            return ready
        only_the_loop_itself = len(self.get_map()) == 1
        if not only_the_loop_itself:
            ready = super().select(self._settled)
        if not ready:
            self._turns = 0
            self.now += timeout
            assert self.now < _START + _SECONDS, "something goes on for ever"
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when there is nothing left to do, and then at once to the next timer.

    settled: real seconds of silence on all sockets that say so.
    """

    def __init__(self, settled: float = _SETTLED) -> None:
        self._selector_with_clock = _JumpingSelector(settled)
        super().__init__(self._selector_with_clock)

    def time(self) -> float:
        return self._selector_with_clock.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as it is called
        """Threads end in real time: since Python 3.12 there is a limit to it, which would be over at once."""
        await super().shutdown_default_executor()

    def armed(self) -> list[asyncio.TimerHandle]:
        """Timers that will still fire."""
        scheduled: list[asyncio.TimerHandle] = vars(self)["_scheduled"]
        return [timer for timer in scheduled if not timer.cancelled()]


def now() -> float:
    """Seconds on the running loop's clock."""
    return asyncio.get_running_loop().time()


async def passing(seconds: float) -> None:
    """Let time pass, on the running loop's clock."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    timer = loop.call_later(seconds, _set, done)
    try:
        await done
    finally:
        timer.cancel()


async def until(condition: Callable[[], object], *, limit: float = 60.0) -> None:
    """Wait for a condition, for `limit` seconds of the running loop's clock at most."""
    end = now() + limit
    while not condition():
        assert now() < end, "it did not come about"
        await passing(0.001)


def _set(done: asyncio.Future[Any]) -> None:
    if not done.done():
        done.set_result(None)
