"""Is there a journal in this process, what is seen of its runs, and how does it begin and end?"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sseproxy.core.journal.rules import JournalPolicy
from sseproxy.core.routes import Route
from sseproxy.core.store import StorePolicy
from sseproxy.engine.live import LiveStreams
from sseproxy.metrics.figures import Figures

if TYPE_CHECKING:
    from sseproxy.proxy.journal.service import JournalService
    from sseproxy.runs.live_run import LiveRun
    from sseproxy.runs.restart import RunFile


class ProcessJournal:
    """The journal of one process, from the first configuration that has a route with one on.

    policy: of the store. service: what serves such routes, once there was one.
    """

    def __init__(self, policy: StorePolicy = StorePolicy()) -> None:  # noqa: B008 - frozen
        self.service: JournalService | None = None
        self._policy = policy
        self._names: list[str] = []
        self._known: dict[tuple[str, JournalPolicy], Route] = {}
        self._file: RunFile | None = None

    def of(self, routes: Sequence[Route], streams: LiveStreams) -> "JournalService | None":
        """Return what serves `routes`, if one of them has a journal, or one had before a reload."""
        self._names = [route.name for route in routes if route.journal is not None]
        if self.service is None and self._names:
            # A process without such routes does not wait for these modules at its start.
            from sseproxy.proxy.journal.service import JournalService  # noqa: PLC0415
            from sseproxy.runs.restart import RunFile  # noqa: PLC0415

            self._file = RunFile(self._policy, routes)
            self.service = JournalService(self._policy, streams, self._file.secret)
            self._file.restore(self.service.desk, routes)
        if self.service is not None:
            self.service.retired = self.retired(routes)
        return self.service

    def retired(self, routes: Sequence[Route]) -> tuple[Route, ...]:
        """Return the routes that are not among `routes`, or have another journal there, and of which runs are kept.

        Each is as it last was. The URLs of these runs lead to them until the last of them is forgotten.
        """
        if self.service is None:
            return ()
        # Many runs share few policies, and to compare policies costs more than to compare what they are.
        alive = {id(run.belongs.policy): (run.belongs.route, run.belongs.policy) for run in self.service.desk}
        kept = set(alive.values())
        current = {(each.name, each.journal): each for each in routes if each.journal is not None}
        self._known = {key: route for key, route in self._known.items() if key in kept or key in current}
        self._known |= current
        return tuple(route for key, route in self._known.items() if key not in current)

    # What an operator sees.

    async def figures(self) -> Figures:
        """Return what was counted about runs; see `run_figures`."""
        if self.service is None:
            return Figures()
        from sseproxy.runs.figures import run_figures  # noqa: PLC0415 - as above

        return await run_figures(self.service.desk, self._names)

    def runs(self) -> "Iterator[tuple[LiveRun, float | None]]":
        """Iterate over all runs, each with the time since which it has gone on without a reader."""
        if self.service is not None:
            detached = self.service.desk.detached
            for run in self.service.desk:
                yield run, detached.since(run)

    def kill(self, number: int) -> bool:
        """End a run for an operator. Return False if it is not under way."""
        return self.service is not None and self.service.desk.kill(number)

    # The end.

    def drain(self) -> None:
        """Begin no further run."""
        if self.service is not None:
            self.service.desk.drain()

    async def wait_until_kept(self) -> None:
        """Wait for the answers under way, also those that no client reads, if the next process gets them."""
        if self.service is not None and self._policy.file is not None:
            await self.service.desk.wait_for_answers()

    def abort(self) -> None:
        """Break off all answers under way."""
        if self.service is not None:
            self.service.desk.abort()

    async def close(self) -> None:
        """End all runs, leave them to the next process, and close their store."""
        self.abort()
        if self.service is not None and self._file is not None:
            await self._file.write(self.service.desk)
            await self.service.desk.close()
