"""What do the streams of one worker look like at this moment, added up, and which of them does each dashboard show?"""

import asyncio
import heapq
import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter

from sseproxy.engine.live import LiveStream, LiveStreams
from sseproxy.engine.observer import Phase, silence_used
from sseproxy.process.dashboard.history import History, Progress
from sseproxy.process.dashboard.view import Order, View
from sseproxy.process.live_rows import row

#: The question, which is followed by the views.
OVERVIEW = "overview"

#: Rows that a dashboard shows at most.
MOST_ROWS = 50

#: Seconds of silence at which a class of streams ends and the next one begins.
SILENCES = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0)

#: Characters of a text that a client has chosen; the rest is left out.
_MOST_TEXT = 200

#: Streams that are looked at in one turn of the event loop.
_A_TURN = 200

#: Seconds for which an answer is good enough for another worker that asks the same.
_FRESH = 0.5


@dataclass(slots=True)
class RouteCount:
    """The open streams of one route. silence: the longest that lasts, in seconds."""

    progress: Progress = field(default_factory=Progress)
    phases: dict[Phase, int] = field(default_factory=lambda: dict.fromkeys(Phase, 0))
    silence: float = 0.0

    def written(self) -> list[float]:
        """Return open streams by phase, the longest silence, and what all streams of the route have brought."""
        phases, done = self.phases, self.progress
        return [
            phases[Phase.WAITING],
            phases[Phase.OPEN],
            phases[Phase.DRAINING],
            round(self.silence, 3),
            done.events,
            done.bytes,
            done.heartbeats,
        ]


@dataclass(slots=True)
class Selection:
    """What one view shows. matched: how many streams it would show; top: those that it does, with their keys."""

    view: View
    matched: int = 0
    top: list[tuple[tuple[float, int], LiveStream]] = field(default_factory=list)

    def add(self, streams: Sequence[LiveStream], now: float) -> None:
        """Keep those of `streams` that come first."""
        found = [(self.view.key(stream, now), stream) for stream in streams if self.view.shows(stream)]
        self.matched += len(found)
        self.top = heapq.nlargest(MOST_ROWS, [*self.top, *found], key=itemgetter(0))

    def rows(self, prefix: str, now: float) -> list[dict[str, object]]:
        """Return the rows of the live list, for those that have not ended meanwhile. prefix: of their ids."""
        rows: list[dict[str, object]] = []
        for _, stream in self.top:
            if stream.reason is None:
                found = row(stream, now=now)
                for name in ("path", "peer"):
                    text = str(found[name])
                    found[name] = text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "…"
                rows.append({"id": f"{prefix}-{stream.id}", **found, "limit": round(silence_used(stream, now), 4)})
        return rows


@dataclass(slots=True)
class Count:
    """All open streams at one moment. others: responses that are no event streams."""

    routes: dict[str, RouteCount]
    others: int = 0
    silences: list[int] = field(default_factory=lambda: [0] * (len(SILENCES) + 1))

    def add(self, stream: LiveStream, now: float) -> bool:
        """Count one response. Return True if it is an event stream that is open."""
        if stream.plan is None:
            self.others += stream.reason is None
            return False
        found = self.routes.get(stream.route)
        if found is None:
            found = self.routes[stream.route] = RouteCount()
        stats = stream.stats
        found.progress.add(stats)
        if stream.reason is not None:
            return False
        found.phases[stream.phase] += 1
        silence = now - stats.last_upstream_at
        found.silence = max(found.silence, silence)
        self.silences[bisect_right(SILENCES, silence)] += 1
        return True


def question(views: Sequence[View]) -> str:
    """Return what a worker is asked, on one line; what stands behind `OVERVIEW` is for `Census.answer`."""
    return f"{OVERVIEW} " + json.dumps([[view.order, *view.words] for view in views])


class Census:
    """Answers the question of a dashboard about one worker.

    prefix: of the ids of its streams, which also names the process.
    """

    # A look at 2,000 streams takes some milliseconds. It is done in turns, so that no stream waits for it, and only
    # when a dashboard asks: what is shown in rows is at most `MOST_ROWS` streams for each distinct view.
    #
    # 1. Counters do not go down: the totals of streams that have ended are copied in the moment in which the open ones
    #    are listed. One that ends while the list is worked off is counted once.
    # 2. Texts that clients choose are cut, so that the size of an answer is bounded.

    def __init__(self, streams: LiveStreams, history: History, prefix: str) -> None:
        self._streams = streams
        self._history = history
        self._prefix = prefix
        self._last: tuple[str, float, bytes] = ("", 0.0, b"")

    async def answer(self, wanted: str) -> bytes:
        """Return what `Overview` reads: JSON. wanted: as `question` has written it. Raises `ValueError`."""
        now = asyncio.get_running_loop().time()
        asked, at, known = self._last
        if asked == wanted and now - at < _FRESH:
            return known
        selections = [Selection(View(Order(order), tuple(words))) for order, *words in json.loads(wanted)]
        count = Count(
            {
                route: RouteCount(Progress(done.events, done.bytes, done.heartbeats))
                for route, done in self._history.ended_progress.items()
            }
        )
        streams = iter(self._streams)
        while batch := list(islice(streams, _A_TURN)):
            shown = [stream for stream in batch if count.add(stream, now)]
            for selection in selections:
                selection.add(shown, now)
            await asyncio.sleep(0)
        found = {
            "process": self._prefix,
            "at": now,
            "others": count.others,
            "silences": count.silences,
            "routes": {name: route.written() for name, route in count.routes.items()},
            "history": self._history.written(),
            "views": [[each.matched, each.rows(self._prefix, now)] for each in selections],
        }
        answer = json.dumps(found).encode()
        self._last = (wanted, now, answer)
        return answer
