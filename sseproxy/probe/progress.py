"""What does the user see while the probe waits?"""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import TextIO

_EVERY = 0.5
_CLEAR = "\r\x1b[K"


class ProgressLine:
    """One line on a terminal, written anew twice a second. total: seconds that it may take."""

    def __init__(self, out: TextIO, total: float) -> None:
        self._out = out
        self._total = total
        self._began = self._heard = time.monotonic()

    def hear(self, marks: int) -> None:
        """Take note that something has come. marks: events and heartbeats of that stream so far."""
        self._heard = time.monotonic()

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the line as long as the block runs, and leave nothing of it behind."""
        task = asyncio.ensure_future(self._run())
        try:
            yield
        finally:
            task.cancel()
            self._out.write(_CLEAR)
            self._out.flush()

    async def _run(self) -> None:
        while True:
            now = time.monotonic()
            passed, silent = now - self._began, now - self._heard
            self._out.write(f"{_CLEAR}{passed:.0f} s of at most {self._total:.0f} s, silent for {silent:.0f} s")
            self._out.flush()
            await asyncio.sleep(_EVERY)
