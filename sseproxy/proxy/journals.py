"""Is there a journal in this process, and how does it begin and end?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sseproxy.core.routes import Route
from sseproxy.core.store import StorePolicy
from sseproxy.engine.live import LiveStreams

if TYPE_CHECKING:
    from sseproxy.proxy.journal.service import JournalService


class Journals:
    """The journal of one process, from the first configuration that has a route with one on.

    policy: of the store. service: what serves such routes, once there was one.
    """

    def __init__(self, policy: StorePolicy = StorePolicy()) -> None:  # noqa: B008 - frozen
        self.service: JournalService | None = None
        self._policy = policy

    def of(self, routes: Sequence[Route], streams: LiveStreams) -> "JournalService | None":
        """Return what serves `routes`, if one of them has a journal, or one had before a reload."""
        if self.service is None and any(route.journal is not None for route in routes):
            # A process without such routes does not wait for these modules at its start.
            from sseproxy.proxy.journal.service import JournalService  # noqa: PLC0415

            self.service = JournalService(self._policy, streams)
        return self.service

    def drain(self) -> None:
        """Begin no further run."""
        if self.service is not None:
            self.service.desk.drain()

    async def close(self) -> None:
        """End all runs, and close their store."""
        if self.service is not None:
            await self.service.desk.close()
