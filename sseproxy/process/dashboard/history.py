"""What has happened in the last minutes: how many streams have opened and ended, and for which reasons?"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sseproxy.core.stream.transfer import TransferStats
from sseproxy.engine.observer import AccessRecord, ObservedStream, Observer

#: Seconds that one bucket covers, and how many buckets are kept.
SPAN, KEPT = 5.0, 60

#: Stands for a reason: the request was answered with a status of 500 or more.
SERVER_ERROR = "5xx"

#: Reasons that belong to everyday life. All others are worth a look.
ORDERLY = frozenset(("upstream_end", "client_gone", "drain", "stopped"))

#: A bucket as it goes from one worker to another: its number, the streams opened, and (route, reason, ends).
Written = tuple[int, int, list[tuple[str, str, int]]]


@dataclass(slots=True)
class Bucket:
    """What happened in one span. number: of the span, counted from the zero of the clock."""

    number: int
    opened: int = 0
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(slots=True)
class Progress:
    """What streams have brought so far."""

    events: int = 0
    bytes: int = 0
    heartbeats: int = 0

    def add(self, stats: TransferStats) -> None:
        """Add what one stream has brought."""
        self.events += stats.events
        self.bytes += stats.bytes_out
        self.heartbeats += stats.heartbeats


class History(Observer):
    """Counts openings and ends while they happen, in a ring of buckets.

    routes: their names, which are there from the beginning. clock: the same for all workers, in seconds; a monotonic
    clock counts from the start of the machine.
    """

    # A person opens the dashboard after the trouble has begun, so its beginning has to be there already. This costs a
    # stream two additions in its whole life, and an event nothing. The memory is bounded: `KEPT` buckets, in each at
    # most one number for each route and reason.
    #
    # 1. A bucket is made by the first thing that happens in its span, so that a quiet process does nothing.
    # 2. The numbers of buckets mean the same in all workers: their rings are added up by number.
    # 3. `ended_progress` never goes down, and has the streams that are in `LiveStreams` no more: with those that are
    #    still there it makes counters.

    def __init__(self, routes: Iterable[str] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: deque[Bucket] = deque(maxlen=KEPT)
        self.ended_progress: dict[str, Progress] = {}
        self.show(routes)

    def show(self, routes: Iterable[str]) -> None:
        """Have figures of these routes, too, also before they have a stream. Those of others stay."""
        for route in routes:
            self.ended_progress.setdefault(route, Progress())

    def opened(self, stream: ObservedStream) -> None:
        if stream.dialect is not None:
            self._bucket().opened += 1

    def ended(self, stream: ObservedStream) -> None:
        if stream.dialect is not None and stream.reason is not None:
            self.ended_progress.setdefault(stream.route, Progress()).add(stream.stats)
            self._bucket().ended[stream.route, stream.reason.value] += 1

    def answered(self, record: AccessRecord) -> None:
        if record.status is not None and record.status >= 500:
            self._bucket().ended[record.route, SERVER_ERROR] += 1

    def written(self) -> list[Written]:
        """Return the buckets that are young enough, for `merged`."""
        oldest = int(self._clock() / SPAN) - KEPT
        return [
            (bucket.number, bucket.opened, [(*key, count) for key, count in bucket.ended.items()])
            for bucket in self._buckets
            if bucket.number > oldest
        ]

    def _bucket(self) -> Bucket:
        number = int(self._clock() / SPAN)
        if not self._buckets or self._buckets[-1].number != number:
            self._buckets.append(Bucket(number))
        return self._buckets[-1]


@dataclass(slots=True)
class Past:
    """The last `KEPT` spans of all workers, the oldest first.

    ended: by reason, in each span. by_route: all ends of a route, those that are not `ORDERLY`, and server errors.
    """

    opened: list[int] = field(default_factory=lambda: [0] * KEPT)
    ended: dict[str, list[int]] = field(default_factory=dict)
    by_route: dict[str, list[int]] = field(default_factory=dict)


def merged(histories: Iterable[Iterable[Written]], *, now: float) -> Past:
    """Return what all workers have seen. now: of their clock."""
    past, first = Past(), int(now / SPAN) - KEPT + 1
    for history in histories:
        for number, opened, ends in history:
            place = number - first
            if not 0 <= place < KEPT:
                continue
            past.opened[place] += opened
            for route, reason, count in ends:
                past.ended.setdefault(reason, [0] * KEPT)[place] += count
                sums = past.by_route.setdefault(route, [0, 0, 0])
                if reason == SERVER_ERROR:
                    sums[2] += count
                else:
                    sums[0] += count
                    sums[1] += 0 if reason in ORDERLY else count
    return past
