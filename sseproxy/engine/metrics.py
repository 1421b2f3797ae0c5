"""What is counted about requests and streams?"""

import asyncio
from collections.abc import Iterable
from http import HTTPStatus

from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.observer import AccessRecord, ObservedStream, Observer, Phase, silence_used
from sseproxy.metrics import table
from sseproxy.metrics.figures import Figures

#: Open streams that are looked at in one turn of the event loop.
_A_TURN = 200

_CODES = frozenset(map(int, HTTPStatus))


class StreamMetrics(Observer):
    """Counts requests, and event streams when they end; those under way are added at each scrape.

    open_streams: all that are on their way. routes: their names; no label has any other that a client could choose.
    They may be replaced.
    """

    # 1. An event costs nothing here: the session counts it in `TransferStats`, whether metrics are on or not.
    # 2. A counter never goes down. A stream is in `open_streams` until the very call that adds it to the totals, and
    #    what `figures` adds up was taken in one moment: the totals, and a list of those open then. One that ends while
    #    the list is worked off is counted once, since its stats stay what they are.

    def __init__(self, open_streams: Iterable[ObservedStream], routes: Iterable[str]) -> None:
        self._open = open_streams
        self.routes = tuple(routes)
        self._totals = Figures()

    def opened(self, stream: ObservedStream) -> None:
        if stream.dialect is not None and stream.is_declared is False:
            self._totals.add(table.UNDECLARED_STREAMS, (stream.route,))

    def ended(self, stream: ObservedStream) -> None:
        if stream.dialect is None or stream.reason is None:
            return
        totals, stats, route = self._totals, stream.stats, (stream.route,)
        _add_progress(totals, stream)
        totals.add(table.STREAMS, (stream.route, stream.reason.value))
        closed_at = stats.last_upstream_at if stats.closed_at is None else stats.closed_at
        totals.observe(table.STREAM_SECONDS, route, closed_at - stream.started_at)
        totals.observe(table.LONGEST_SILENCE_SECONDS, route, stats.longest_silence)

    def answered(self, record: AccessRecord) -> None:
        self._totals.add(table.REQUESTS, (record.route, _code(record.status)))
        if record.status is not None and record.intended not in (None, record.status):
            self._totals.add(table.INTENDED_STATUS, (record.route, _code(record.intended)))

    async def figures(self) -> Figures:
        """Return all that was counted until this call, in several turns of the event loop if there are many streams."""
        found, streams = self._totals.copy(), list(self._open)
        now, used = asyncio.get_running_loop().time(), dict.fromkeys(self.routes, 0.0)
        for route in self.routes:
            for phase in (Phase.WAITING, Phase.OPEN, Phase.DRAINING):
                found.add(table.STREAMS_OPEN, (route, phase.value), 0)
            # The first of its kind would be no increase to Prometheus, if nothing had been there before.
            for reason in CloseReason:
                found.add(table.STREAMS, (route, reason.value), 0)
        for number, stream in enumerate(streams, 1):
            if stream.dialect is not None:
                _add_progress(found, stream)
                if stream.reason is None:
                    found.add(table.STREAMS_OPEN, (stream.route, stream.phase.value))
                    used[stream.route] = max(used.get(stream.route, 0.0), silence_used(stream, now))
            if number % _A_TURN == 0:
                await asyncio.sleep(0)
        for route, share in used.items():
            found.add(table.SILENCE_USED, (route,), share)
        return found


def _add_progress(figures: Figures, stream: ObservedStream) -> None:
    """Add what has happened so far on one stream."""
    stats, name = stream.stats, stream.route
    figures.add(table.EVENTS, (name,), stats.events)
    figures.add(table.BYTES, (name, "in"), stats.bytes_in)
    figures.add(table.BYTES, (name, "out"), stats.bytes_out)
    early = stats.heartbeats_before_response
    figures.add(table.HEARTBEATS, (name, Phase.WAITING.value), early)
    figures.add(table.HEARTBEATS, (name, Phase.OPEN.value), stats.heartbeats - early)
    for why, count in stats.heartbeats_skipped.items():
        figures.add(table.HEARTBEATS_SKIPPED, (name, why), count)
    if stats.first_byte_at is not None:
        figures.observe(table.FIRST_BYTE_SECONDS, (name,), stats.first_byte_at - stream.started_at)


def _code(status: int | None) -> str:
    """Return the label of a status. An upstream may invent statuses: those have their class."""
    if status is None:
        return "none"
    return str(status) if status in _CODES else f"{status // 100}xx"
