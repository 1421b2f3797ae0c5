"""Which streams does one dashboard want to see, and in which order?"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Self

from sseproxy.core.frozen import frozen
from sseproxy.engine.live import LiveStream
from sseproxy.engine.observer import silence_used

#: Characters of a filter; what is longer is cut.
MOST_TEXT = 100


class Order(StrEnum):
    """By which figure the streams of a list are sorted, the greatest first."""

    SILENCE = "silence"
    LONGEST_SILENCE = "longest_silence"
    AGE = "age"
    EVENTS = "events"
    BYTES = "bytes"
    HEARTBEATS = "heartbeats"
    LIMIT = "limit"  # how much of the silence that ends it is over


def _longest(stream: LiveStream, now: float) -> float:
    return max(stream.stats.longest_silence, now - stream.stats.last_upstream_at)


_KEYS: Mapping[Order, Callable[[LiveStream, float], float]] = {
    Order.SILENCE: lambda stream, now: now - stream.stats.last_upstream_at,
    Order.LONGEST_SILENCE: _longest,
    Order.AGE: lambda stream, now: now - stream.started_at,
    Order.EVENTS: lambda stream, _: stream.stats.events,
    Order.BYTES: lambda stream, _: stream.stats.bytes_out,
    Order.HEARTBEATS: lambda stream, _: stream.stats.heartbeats,
    Order.LIMIT: silence_used,
}


@frozen
class View:
    """What one dashboard shows of the live streams. words: in lower case; each must be in a stream's description."""

    order: Order = Order.SILENCE
    words: tuple[str, ...] = ()

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> Self:
        """Read what the page asks for: ``filter`` and ``order``. An order that does not exist is the first one."""
        wanted = query.get("order", "")
        order = Order(wanted) if wanted in set(Order) else Order.SILENCE
        return cls(order, tuple(query.get("filter", "")[:MOST_TEXT].lower().split()))

    def key(self, stream: LiveStream, now: float) -> tuple[float, int]:
        """Return by what `stream` is sorted; two streams never have the same key. now: the event loop's time."""
        return _KEYS[self.order](stream, now), -stream.id

    def shows(self, stream: LiveStream) -> bool:
        """True if the stream is one of those that are looked for."""
        if not self.words:
            return True
        dialect = "" if stream.dialect is None else stream.dialect.value
        said = f"{stream.route} {stream.client} {stream.phase} {dialect} {stream.path}".lower()
        return all(word in said for word in self.words)
