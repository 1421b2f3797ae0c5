"""How does the cost of an event grow with the number of streams, the size of events and their rate?"""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.peers import descriptors
from benchmarks.scenarios import Streams

#: Who takes part in every round.
COMPARED = ("nginx", "sseproxy")

#: Whose curves are drawn.
CURVE_PEERS = ("nginx", "sseproxy", "haproxy", "caddy", "ordinary")


@dataclass(frozen=True, slots=True)
class Curve:
    """work: what is done at each place of the horizontal axis."""

    name: str
    title: str
    axis: str
    work: tuple[tuple[float, Streams], ...]

    def points(self) -> Iterator[tuple[float, Streams]]:
        """Those that this machine has descriptors for."""
        for x, streams in self.work:
            if streams.count * 2 + 500 <= descriptors():
                yield x, streams


CURVES = (
    Curve(
        "streams",
        "4,000 events/s of 128 B over more and more streams",
        "streams",
        tuple((count, Streams(count, 4000 / count)) for count in (10, 50, 200, 1000, 3000, 8000)),
    ),
    Curve(
        "sizes",
        "50 streams × 20 events/s of larger and larger events",
        "bytes of an event",
        tuple((size, Streams(50, 20, size)) for size in (16, 128, 1024, 4096, 16384, 65536)),
    ),
    Curve(
        "rates",
        "20 streams of 128 B events that come faster and faster",
        "events/s of a stream",
        tuple((rate, Streams(20, rate)) for rate in (1, 5, 20, 100, 300, 1000)),
    ),
)
