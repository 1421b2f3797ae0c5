"""How far has a process been asked to end?"""

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Sequence


class StopRequest:
    """A request to end: asked once, the process drains; asked again, it ends at once.

    Must be made while the event loop runs.
    """

    def __init__(self) -> None:
        self._drain = asyncio.Event()
        self._at_once = asyncio.Event()

    def ask(self) -> None:
        """Ask for the next step."""
        if self._drain.is_set():
            self._at_once.set()
        self._drain.set()

    async def wait_for_drain(self) -> None:
        """Wait until the process should drain."""
        await self._drain.wait()

    async def wait_for_end(self) -> None:
        """Wait until the process should end at once."""
        await self._at_once.wait()

    @contextlib.contextmanager
    def by_signals(self, numbers: Sequence[signal.Signals]) -> Iterator[None]:
        """Let each of `numbers` ask. Behind the ``with`` block they are ignored for good.

        A late one must not turn the exit status of a process that has ended in order into a signal death.
        """
        loop = asyncio.get_running_loop()
        for number in numbers:
            loop.add_signal_handler(number, self.ask)
        try:
            yield
        finally:
            # Without the mask a signal could come between the two calls, when its default action kills the process.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
            for number in numbers:
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
