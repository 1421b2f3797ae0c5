"""What does one worker tell about its own streams and figures?"""

import asyncio
import contextlib
import json
import platform
import secrets
from collections.abc import Callable
from pathlib import Path

from sseproxy import __version__
from sseproxy.engine.live import LiveStreams
from sseproxy.engine.metrics import StreamMetrics
from sseproxy.metrics import table
from sseproxy.metrics.figures import Figures
from sseproxy.process.dashboard.census import Census
from sseproxy.process.dashboard.history import History
from sseproxy.process.live_rows import row, run_row
from sseproxy.process.siblings import Place
from sseproxy.proxy.process_journal import ProcessJournal

#: Questions, beside that of a dashboard; the last one is followed by an id.
FIGURES, STREAMS, RUNS, KILL = "figures", "streams", "runs", "kill"

#: What is in front of the number of a run in its id; that of a stream has nothing there.
_RUN = "run"

#: What `KILL` is answered with if there was such a stream, or run.
KILLED = b"killed"

#: Rows of the list that are written in one turn of the event loop.
_A_TURN = 100


class Knowledge:
    """Figures, streams and runs of this worker, as bytes: for itself, or for another that is asked about all.

    history: of `streams`. add_more: adds to the figures what is counted elsewhere.
    """

    # The figures are kept in a file each time that they are asked for, where there are other workers. Without it every
    # sum would fall when a worker is stuck or dies, and a counter that falls is taken for one that has begun anew: its
    # whole value would count as a rate.
    #
    # 1. No figure that was given out is lost: a worker that takes the place of one that died begins with its figures.
    # 2. What only holds now (gauges) is never kept.

    def __init__(
        self,
        streams: LiveStreams,
        journal: ProcessJournal,
        metrics: StreamMetrics,
        history: History,
        place: Place,
        *,
        add_more: Callable[[Figures], None],
    ) -> None:
        self._streams = streams
        self._journal = journal
        self._metrics = metrics
        self._place = place
        self._add_more = add_more
        # An id from a list that is out of date must not name a stream of the process that came after.
        self._prefix = f"{place.index}-{secrets.token_hex(2)}"
        self._census = Census(streams, history, self._prefix)
        self._before = Figures() if place.folder is None else kept_figures(place, place.index)

    async def answer(self, question: str) -> bytes:
        """Return the answer to one of the questions above; nothing to any other."""
        word, _, more = question.partition(" ")
        match word:
            case "figures":
                return await self._tell_figures()
            case "streams":
                return await self._tell_streams()
            case "runs":
                return await self._tell_runs()
            case "overview":
                return await self._census.answer(more)
            case "kill":
                return self._kill(more)
        return b""

    async def _tell_figures(self) -> bytes:
        found = await self._metrics.figures()
        found.merge(await self._journal.figures())
        found.merge(self._before)
        self._add_more(found)
        found.add(table.BUILD_INFO, (__version__, platform.python_version()))
        if self._place.folder is not None:
            path = self._place.file(self._place.index, "figures")
            with contextlib.suppress(OSError):  # a full disk: the figures of today are worth more than those kept
                await asyncio.to_thread(_keep, path, found.without_gauges().dump())
        return found.dump()

    async def _tell_streams(self) -> bytes:
        """Return the rows of the list, separated by commas."""
        now = asyncio.get_running_loop().time()
        rows: list[str] = []
        for number, stream in enumerate(self._streams, 1):
            if stream.reason is None:
                rows.append(json.dumps({"id": f"{self._prefix}-{stream.id}", **row(stream, now=now)}))
            if number % _A_TURN == 0:
                await asyncio.sleep(0)
        return ",\n".join(rows).encode()

    async def _tell_runs(self) -> bytes:
        """The same of all runs that are kept."""
        now = asyncio.get_running_loop().time()
        rows: list[str] = []
        for number, (run, unread_since) in enumerate(self._journal.runs(), 1):
            found = run_row(run, unread_since=unread_since, now=now)
            rows.append(json.dumps({"id": f"{self._prefix}-{_RUN}{run.number}", **found}))
            if number % _A_TURN == 0:
                await asyncio.sleep(0)
        return ",\n".join(rows).encode()

    def _kill(self, name: str) -> bytes:
        prefix, _, number = name.rpartition("-")
        kill = self._journal.kill if number.startswith(_RUN) else self._streams.kill
        number = number.removeprefix(_RUN)
        is_known = prefix == self._prefix and number.isascii() and number.isdigit()
        return KILLED if is_known and kill(int(number)) else b""


def kind_of(name: str) -> str:
    """Return what an id is one of, in a word."""
    return "run" if name.rpartition("-")[2].startswith(_RUN) else "stream"


def kept_figures(place: Place, index: int) -> Figures:
    """Return what the worker `index` had counted when it was last asked. The place must have a folder."""
    try:
        return Figures.load(place.file(index, "figures").read_bytes())
    except (OSError, ValueError):
        return Figures()


def _keep(path: Path, data: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)
