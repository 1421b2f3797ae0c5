"""Which metrics are there, with which labels, and what do they say? docs/operations.md is this table in words."""

from dataclasses import dataclass
from enum import StrEnum

Labels = tuple[str, ...]


class Kind(StrEnum):
    """What Prometheus calls the type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Over(StrEnum):
    """What a figure of several workers is."""

    SUM = "sum"
    LEAST = "least"
    MOST = "most"


@dataclass(frozen=True, slots=True, eq=False)  # one object each, and a cheap key
class Metric:
    """One metric. labels: their names; what a client chooses is never one. buckets: upper bounds of a histogram.

    over: how workers are added up; counters and histograms are always sums.
    """

    name: str
    kind: Kind
    help: str
    labels: Labels = ()
    buckets: tuple[float, ...] = ()
    over: Over = Over.SUM


_MINUTE, _HOUR = 60.0, 3600.0
_TO_MINUTES = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE)
_TO_HOURS = (1.0, 5.0, 15.0, 30.0, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE, _HOUR, 4 * _HOUR)
_TO_A_DAY = (*_TO_HOURS, 8 * _HOUR, 24 * _HOUR)

_ROUTE = ("route",)


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"sseproxy_{name}_total", Kind.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: str, over: Over = Over.SUM) -> Metric:
    return Metric(f"sseproxy_{name}", Kind.GAUGE, text, labels, over=over)


def _seconds(name: str, text: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(f"sseproxy_{name}_seconds", Kind.HISTOGRAM, text, _ROUTE, buckets)


STREAMS_OPEN = _gauge("streams_open", "Event streams that are open now.", "route", "phase")
SILENCE_USED = _gauge(
    "silence_used_ratio",
    "The silence of an open event stream as a share of the timeout that ends it, of the stream that is closest to it.",
    "route",
    over=Over.MOST,
)
STREAMS = _counter("streams", "Event streams that have ended.", "route", "reason")
STREAM_SECONDS = _seconds("stream", "From a request to the end of its event stream.", _TO_A_DAY)
FIRST_BYTE_SECONDS = _seconds("first_byte", "From a request to the first byte of its event stream.", _TO_MINUTES)
LONGEST_SILENCE_SECONDS = _seconds(
    "longest_silence", "The longest time that the upstream of an event stream, now ended, was silent.", _TO_HOURS
)
HEARTBEATS = _counter("heartbeats", "Heartbeats that were sent.", "route", "phase")
HEARTBEATS_SKIPPED = _counter("heartbeats_skipped", "Heartbeats that were due and were not sent.", "route", "why")
EVENTS = _counter("events", "Events of upstreams that were sent to clients.", "route")
BYTES = _counter("bytes", "Bytes of event streams.", "route", "direction")
REQUESTS = _counter("requests", "Requests that were answered, event streams or not.", "route", "code")
INTENDED_STATUS = _counter(
    "intended_status", "Early answers whose true status was another than the one that was sent.", "route", "code"
)
UNDECLARED_STREAMS = _counter("undeclared_streams", "Event streams that their request had not asked for.", "route")
CONNECTIONS = _gauge("connections", "Clients that are connected.")
CONNECTIONS_LIMIT = _gauge("connections_limit", "Clients that may be connected.")
WORKER_UP = _gauge("worker_up", "Whether a worker process has answered this scrape.", "worker")
BUILD_INFO = _gauge("build_info", "Always 1.", "version", "python", over=Over.MOST)

REDIS_UP = _gauge("redis_up", "Whether Redis can be reached, from each worker.", "redis", over=Over.LEAST)
REDIS_MESSAGES = _counter("redis_messages", "Messages that were read from channels.", "redis")
REDIS_ENTRIES = _counter("redis_entries", "Entries that were read from streams.", "redis")
REDIS_DELIVERIES = _counter("redis_deliveries", "Live events, counted for each of their readers.", "redis")
REDIS_UNREADABLE = _counter("redis_unreadable", "Messages and entries that were skipped as unreadable.", "redis")
REDIS_DUPLICATES = _counter("redis_duplicates", "Entries that were skipped: their own id had been seen.", "redis")
REDIS_BELLS_MISSED = _counter("redis_bells_missed", "Reads that found what nothing had announced.", "redis")
REDIS_RECONNECTS = _counter("redis_reconnects", "New connections after a lost one.", "redis")
REDIS_GAPS = _counter("redis_gaps", "Gap events: readers for which events were missing.", "redis", "reason")

JOURNAL_RUNS = _gauge("journal_runs", "Runs that are kept.", "route", "state")
JOURNAL_RUNS_ENDED = _counter("journal_runs", "Runs that are over.", "route", "reason")
JOURNAL_ATTACHED = _counter("journal_attached", "Clients that began to read a run.", "route", "how")
JOURNAL_BYTES = _gauge("journal_bytes", "Memory that all runs take.")
JOURNAL_BYTES_LIMIT = _gauge("journal_bytes_limit", "Memory that all runs may take.")
JOURNAL_DETACHED_SECONDS = _counter("journal_detached_seconds", "For how long runs went on without a reader.", "route")
JOURNAL_GAPS = _counter("journal_gaps", "Clients for which events of a run were missing.", "reason")
JOURNAL_UNJOURNALLED = _counter(
    "journal_unjournalled", "Requests of a route with a journal that were served without one.", "route", "why"
)

#: All of them, in the order in which they are written.
METRICS = (
    STREAMS_OPEN,
    SILENCE_USED,
    STREAMS,
    STREAM_SECONDS,
    FIRST_BYTE_SECONDS,
    LONGEST_SILENCE_SECONDS,
    HEARTBEATS,
    HEARTBEATS_SKIPPED,
    EVENTS,
    BYTES,
    REQUESTS,
    INTENDED_STATUS,
    UNDECLARED_STREAMS,
    CONNECTIONS,
    CONNECTIONS_LIMIT,
    WORKER_UP,
    BUILD_INFO,
    REDIS_UP,
    REDIS_MESSAGES,
    REDIS_ENTRIES,
    REDIS_DELIVERIES,
    REDIS_UNREADABLE,
    REDIS_DUPLICATES,
    REDIS_BELLS_MISSED,
    REDIS_RECONNECTS,
    REDIS_GAPS,
    JOURNAL_RUNS,
    JOURNAL_RUNS_ENDED,
    JOURNAL_ATTACHED,
    JOURNAL_BYTES,
    JOURNAL_BYTES_LIMIT,
    JOURNAL_DETACHED_SECONDS,
    JOURNAL_GAPS,
    JOURNAL_UNJOURNALLED,
)
