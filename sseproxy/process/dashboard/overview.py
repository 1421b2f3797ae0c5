"""What do all dashboards show at this moment, of all workers together?"""

import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sseproxy import __version__
from sseproxy.process.dashboard.census import MOST_ROWS, SILENCES, question
from sseproxy.process.dashboard.history import SPAN, Past, merged
from sseproxy.process.dashboard.view import View
from sseproxy.process.siblings import Siblings

#: Routes that are shown; of more, those with the most open streams.
MOST_ROUTES = 40

#: Seconds over which a rate is measured, at least where there are two looks so far apart.
_APART = 0.9

#: Seconds after which a look is too old for a rate: no dashboard was open meanwhile.
_STALE = 10.0

#: Counters of one route: events, bytes, heartbeats.
_Counters = Sequence[float]

_Answer = Mapping[str, Any]


@dataclass(slots=True)
class Pace:
    """How fast the counters of one process grow. process: its name; one that was started again has another."""

    process: str
    looks: deque[tuple[float, Mapping[str, _Counters]]] = field(default_factory=deque)

    def rates(self, now: float, counters: Mapping[str, _Counters]) -> dict[str, list[float]] | None:
        """Return the growth of each counter per second since an earlier look; ``None``: there is none."""
        if self.looks and now - self.looks[-1][0] > _STALE:
            self.looks.clear()
        while len(self.looks) > 1 and now - self.looks[1][0] >= _APART:
            self.looks.popleft()
        before = self.looks[0] if self.looks else None
        if before is None or now > self.looks[-1][0]:
            self.looks.append((now, counters))
        if before is None or before[0] >= now:
            return None
        at, old = before
        nothing = (0.0, 0.0, 0.0)
        return {
            route: [(new - was) / (now - at) for new, was in zip(counts, old.get(route, nothing), strict=True)]
            for route, counts in counters.items()
        }


@dataclass(slots=True)
class Route:
    """What is shown of one route. rates: events, bytes and heartbeats a second; ``None``: not known yet."""

    phases: list[int] = field(default_factory=lambda: [0, 0, 0])
    silence: float = 0.0
    rates: list[float] | None = None

    def add(self, written: Sequence[float], rates: Sequence[float] | None) -> None:
        """Add what one worker says of it; see `RouteCount.written`."""
        self.phases = [mine + int(other) for mine, other in zip(self.phases, written[:3], strict=True)]
        self.silence = max(self.silence, written[3])
        if rates is not None:
            self.rates = [mine + other for mine, other in zip(self.rates or [0.0] * 3, rates, strict=True)]

    def shown(self, name: str, past: Past) -> dict[str, object]:
        """Return its row in the table of routes."""
        waiting, flowing, draining = self.phases
        ended, broken, errors = past.by_route.get(name, (0, 0, 0))
        events, size, heartbeats = (None, None, None) if self.rates is None else (round(rate, 2) for rate in self.rates)
        return {
            "route": name,
            "open": waiting + flowing + draining,
            "waiting": waiting,
            "draining": draining,
            "silence": self.silence,
            "events": events,
            "bytes": size,
            "heartbeats": heartbeats,
            "ended": ended,
            "broken": broken,
            "errors": errors,
        }


class Overview:
    """Asks all workers for what the dashboards of this one show.

    clock: the event loop's, in seconds.
    """

    # 1. Rates are those of each process, added up. A worker that does not answer once, or is started again, takes its
    #    share away for that time, and never makes a rate negative, as a difference of sums would.
    # 2. What all dashboards share is made and written once; a view adds its rows.

    def __init__(self, siblings: Siblings, clock: Callable[[], float]) -> None:
        self._siblings = siblings
        self._clock = clock
        self._paces: dict[int, Pace] = {}

    async def snapshots(self, views: Collection[View]) -> dict[View, bytes]:
        """Return what each view shows now, as JSON on one line."""
        wanted = sorted(views, key=lambda view: (view.order, view.words))
        answers = await self._siblings.ask_all(question(wanted))
        known = {index: json.loads(answer) for index, answer in answers.items() if answer}
        missing = [index for index in answers if index not in known]
        shared = json.dumps(self._shared(known, missing))[:-1]
        found = {}
        for place, view in enumerate(wanted):
            selected = [answer["views"][place] for answer in known.values()]
            more = {"matched": sum(matched for matched, _ in selected), "rows": first_rows(view, selected)}
            found[view] = f"{shared}, {json.dumps(more)[1:]}".encode()
        return found

    def _shared(self, known: Mapping[int, _Answer], missing: Sequence[int]) -> dict[str, object]:
        past = merged((answer["history"] for answer in known.values()), now=self._clock())
        routes: dict[str, Route] = {name: Route() for name in past.by_route}
        for index, answer in known.items():
            pace = self._paces.get(index)
            if pace is None or pace.process != answer["process"]:
                pace = self._paces[index] = Pace(answer["process"])
            counters = {name: written[4:] for name, written in answer["routes"].items()}
            rates = pace.rates(answer["at"], counters)
            for name, written in answer["routes"].items():
                routes.setdefault(name, Route()).add(written, None if rates is None else rates[name])
        shown = [route.shown(name, past) for name, route in routes.items()]
        shown.sort(key=lambda route: (-int(str(route["open"])), str(route["route"])))
        # In the order of their names: rows that change places every second cannot be read.
        first = sorted(shown[:MOST_ROUTES], key=lambda route: str(route["route"]))
        return {
            "version": __version__,
            "workers": len(known) + len(missing),
            "missing": missing,
            "others": sum(answer["others"] for answer in known.values()),
            "silence_bounds": SILENCES,
            "silences": [sum(column) for column in zip(*(each["silences"] for each in known.values()), strict=True)],
            "span": SPAN,
            "opened": past.opened,
            "ended": past.ended,
            "routes": first,
            "more_routes": max(len(shown) - MOST_ROUTES, 0),
            "total": total(shown),
        }


def total(routes: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Return the sums over all routes, and the longest silence of all; a rate that is known nowhere is ``None``."""
    sums: dict[str, object] = {name: sum(each[name] for each in routes) for name in ("open", "waiting", "draining")}
    for name in ("events", "bytes", "heartbeats"):
        rates = [each[name] for each in routes if each[name] is not None]
        sums[name] = round(sum(rates), 2) if rates or not routes else None
    sums["silence"] = max((each["silence"] for each in routes), default=0.0)
    return sums


def first_rows(view: View, selected: Iterable[tuple[int, list[_Answer]]]) -> list[_Answer]:
    """Return the first of the rows of all workers, in the order of the view."""
    rows = [row for _, rows in selected for row in rows]
    return sorted(rows, key=lambda row: (-row[view.order.value], row["id"]))[:MOST_ROWS]
