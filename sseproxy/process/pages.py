"""What do the pages of the admin listener say about all workers together?"""

import asyncio
import functools
import json
import logging
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Generic, TypeVar

from sseproxy.logs import LOGGER
from sseproxy.metrics import table
from sseproxy.metrics.exposition import Form, exposition, wanted_form
from sseproxy.metrics.figures import Figures
from sseproxy.process.knowledge import FIGURES, KILL, KILLED, RUNS, STREAMS, kept_figures, kind_of
from sseproxy.process.siblings import Place, Siblings

_log = logging.getLogger(LOGGER)

#: Characters of an id of a stream; what is longer is none.
_MOST_ID = 40

_T = TypeVar("_T")


class Killing(Enum):
    """What became of the wish to end a stream or a run."""

    DONE = "it has ended"
    UNKNOWN = "no such stream is open, and no such run under way"
    NO_ANSWER = "its worker does not answer"


class SharedWork(Generic[_T]):
    """Something that is made anew for those who want it, once for all who ask at the same time."""

    # However many scrapers there are, one page is made at a time. Who asks while one is being made gets the next one,
    # so that no page is older than the question.

    def __init__(self, make: Callable[[], Awaitable[_T]]) -> None:
        self._make = make
        self._running: asyncio.Task[_T] | None = None
        self._next: asyncio.Task[_T] | None = None

    async def get(self) -> _T:
        """Return what was made since this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._run(self._running))
        # Who leaves must not take the work away from the others.
        return await asyncio.shield(self._next)

    async def _run(self, before: "asyncio.Task[_T] | None") -> _T:
        if before is not None:
            await asyncio.wait({before})
        self._running, self._next = self._next, None
        return await self._make()


class Pages:
    """What an operator asks of whichever worker takes the connection: the answer is about all of them."""

    def __init__(self, place: Place, siblings: Siblings) -> None:
        self._place = place
        self._siblings = siblings
        self._figures = SharedWork(self._all_figures)
        self._metrics = {form: SharedWork(functools.partial(self._write, form)) for form in Form}
        self._streams = SharedWork(self._all_streams)

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return the page for Prometheus, and its content type. accept: the field of that name."""
        return await self._metrics[wanted_form(accept)].get()

    async def streams(self) -> bytes:
        """Return the list of all live streams, and of all runs, as JSON."""
        return await self._streams.get()

    async def kill(self, name: str) -> Killing:
        """End the stream, or the run, with the id `name`."""
        index = name.partition("-")[0]
        is_id = len(name) < _MOST_ID and index.isascii() and index.isdigit()
        if not is_id or int(index) >= self._place.count:
            return Killing.UNKNOWN
        answer = await self._siblings.ask(int(index), f"{KILL} {name}")
        if answer is None:
            return Killing.NO_ANSWER
        if answer != KILLED:
            return Killing.UNKNOWN
        _log.warning("an operator has ended the %s %s", kind_of(name), name)
        return Killing.DONE

    async def _write(self, form: Form) -> tuple[bytes, str]:
        figures = await self._figures.get()
        # In a thread: the first call imports the library, and a page of many routes takes some milliseconds.
        return await asyncio.to_thread(exposition, figures, form)

    async def _all_figures(self) -> Figures:
        found = Figures()
        for index, answer in (await self._siblings.ask_all(FIGURES)).items():
            found.merge(kept_figures(self._place, index) if answer is None else Figures.load(answer))
            found.add(table.WORKER_UP, (str(index),), answer is not None)
        return found

    async def _all_streams(self) -> bytes:
        missing: set[int] = set()
        lists = []
        for question in (STREAMS, RUNS):
            answers = await self._siblings.ask_all(question)
            missing.update(index for index, answer in answers.items() if answer is None)
            lists.append(b",\n".join(answer for answer in answers.values() if answer))
        said = json.dumps(sorted(missing)).encode()
        return b'{"missing_workers": %s, "streams": [\n%s\n], "runs": [\n%s\n]}\n' % (said, *lists)
