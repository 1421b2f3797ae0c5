"""What do requests do while an upstream takes no connections? (`timeouts.connect_retry`)"""

import asyncio
import logging
import random
from collections.abc import Callable

from sseproxy.core.errors import Draining
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.origins.faults import is_away
from sseproxy.origins.pools import Lease, Pool

_log = logging.getLogger(__name__)

#: Seconds before the first further try; each later pause is longer by `_GROWTH`, up to the limit.
_FIRST_PAUSE = 0.05
_GROWTH = 1.6
_LONGEST_PAUSE = 1.0

#: Requests that go on in a second once the upstream is back. A service that has just started has a short queue.
_A_SECOND = 3000.0

#: Seconds after which a request that was refused for want of time may be sent again, to another process.
_RETRY_AFTER = 1


class Outages:
    """The times in which one upstream takes no connections. Must be made while the event loop runs.

    pool: of that upstream; place: where it is, for the log. chance: gives numbers from 0 to 1, so that pauses differ.
    """

    # Plan: a request tries for itself. If it fails because the upstream is away, one task searches for the upstream on
    # behalf of all who wait: a thousand requests cost no more tries than one. When the task has found the upstream it
    # ends, and all who waited try again. Its connection is left in the pool for the first of them.
    #
    # Invariants:
    # 1. Nothing of a request has been sent when it is tried again, so its method does not matter.
    # 2. A request that has waited until its deadline tries once more, and then raises what it finds.
    # 3. `_search` is a task that still searches, or None. It ends with the last request that waits for it.
    # 4. After `drain` no request waits.
    # 5. `_away_since` is set from the first failure until a request has a connection: the log has a pair of lines for
    #    each outage, however many requests and searches it takes.
    #
    # Hazards:
    # - ten thousand requests that go on at once: they go on at `_A_SECOND`, each at a moment of its own;
    # - an upstream that is back and refuses again: those who waited wait anew, and start the next search;
    # - a failure that is none of these (TLS, no descriptors): the search ends, and each request finds out for itself.

    def __init__(self, pool: Pool, place: str, *, chance: Callable[[], float] = random.random) -> None:
        self._pool = pool
        self._place = place
        self._chance = chance
        self._time = asyncio.get_running_loop().time
        self._search: asyncio.Task[float] | None = None
        self._waiting = 0
        self._away_since: float | None = None
        self._is_draining = False

    async def connect(self, timeouts: TimeoutPolicy, *, anew: bool) -> Lease:
        """Lend a connection, as `Pool.connect` does, within `timeouts.connect_retry` and one try more.

        Raises what that raises, and `Draining` in place of waiting.
        """
        deadline = self._time() + (timeouts.connect_retry or 0.0)
        while True:
            try:
                async with asyncio.timeout(timeouts.connect):
                    lease = await self._pool.connect(anew=anew)
            except OSError as error:
                if not is_away(error):
                    raise
                if self._away_since is None:
                    self._away_since = self._time()
                    _log.warning("%s takes no connections, trying again: %s", self._place, error)
                if self._time() >= deadline:
                    raise
                cause = str(error)
            else:
                if self._away_since is not None:
                    _log.warning("%s takes connections after %.1f s", self._place, self._time() - self._away_since)
                    self._away_since = None
                return lease
            await self._wait(deadline, timeouts.connect)
            if self._is_draining:
                raise Draining("The proxy is shutting down.", retry_after=_RETRY_AFTER, cause=cause)

    def drain(self) -> None:
        """Let all who wait raise `Draining`, from now on at once: another process may reach the upstream."""
        self._is_draining = True
        if self._search is not None:
            self._search.cancel()

    async def _wait(self, deadline: float, connect: float | None) -> None:
        """Wait until the upstream may be back, until `deadline` at most. connect: seconds for one try."""
        if self._is_draining:
            return
        if self._search is None:
            self._search = asyncio.get_running_loop().create_task(self._find(connect))
        search = self._search
        self._waiting += 1
        try:
            await asyncio.wait((search,), timeout=deadline - self._time())
            if search.done() and not search.cancelled():
                await asyncio.sleep(self._chance() * search.result())
        finally:
            self._waiting -= 1
            if not self._waiting and self._search is not None:
                self._search.cancel()
                self._search = None

    async def _find(self, connect: float | None) -> float:
        """Try again and again. Return the seconds over which those who wait should go on."""
        pause = _FIRST_PAUSE
        while True:
            await asyncio.sleep(pause * (0.5 + self._chance() / 2))
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)
            try:
                async with asyncio.timeout(connect):
                    lease = await self._pool.connect(anew=True)
            except OSError as error:
                if is_away(error):
                    continue
            else:
                lease.release()
            self._search = None
            return self._waiting / _A_SECOND
