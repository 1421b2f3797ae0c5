"""How long does the end of a stream wait for a client that does not take it?"""

import asyncio
from collections.abc import Awaitable

#: Seconds for a stream that has no timeout of its own for it, and for an end that comes at the last moment.
_AT_MOST = 30.0
_AT_LEAST = 0.5


class FinalFlush:
    """The last words of one stream. was_cut: they did not all go out. write: in seconds, of a client that stalls."""

    def __init__(self, write: float | None) -> None:
        self._write = _AT_MOST if write is None else write
        self._deadline: float | None = None
        self._limits: set[asyncio.Timeout] = set()
        self.was_cut = False

    async def bid(self, flush: Awaitable[None], *, clean: bool) -> None:
        """Wait for `flush`, while there is time. Raises what it raises."""
        limit = asyncio.timeout_at(self._end(clean=clean))
        try:
            async with limit:
                self._limits.add(limit)
                await flush
        except TimeoutError:
            if not limit.expired():
                raise
            self.was_cut = True
        finally:
            self._limits.discard(limit)

    def hurry(self, deadline: float | None) -> None:
        """Everything has to be over by `deadline`, on the event loop's clock."""
        self._deadline = deadline
        for limit in self._limits:
            end, now = limit.when(), self._end(clean=True)
            if end is not None and now < end and not limit.expired():
                limit.reschedule(now)

    def _end(self, *, clean: bool) -> float:
        """What should look complete has a moment for it, also if it comes late."""
        now = asyncio.get_running_loop().time()
        end = now + self._write
        if self._deadline is None:
            return end
        return min(end, max(self._deadline, now + _AT_LEAST) if clean else self._deadline)
