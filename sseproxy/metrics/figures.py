"""How are figures counted, added up over workers, and carried from one process to another?"""

import json
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Self

from sseproxy.metrics.table import METRICS, Kind, Labels, Metric, Over

_BY_NAME = {metric.name: metric for metric in METRICS}


@dataclass(slots=True)
class Histogram:
    """How many values fell into each bucket, the last of which has no upper bound, and their sum."""

    counts: list[int]
    sum: float = 0.0


@dataclass(slots=True)
class Figures:
    """What was counted, by metric and the values of its labels.

    Figures of one process are added to, and copied or written out whole; `merge` makes those of all workers.
    """

    values: dict[tuple[Metric, Labels], float] = field(default_factory=dict)
    histograms: dict[tuple[Metric, Labels], Histogram] = field(default_factory=dict)

    def add(self, metric: Metric, labels: Labels = (), amount: float = 1) -> None:
        """Count `amount` for a counter or a gauge; 0 makes it known."""
        key = metric, labels
        self.values[key] = self.values.get(key, 0) + amount

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        """Count one `value` in a histogram."""
        histogram = self._histogram(metric, labels)
        histogram.counts[bisect_left(metric.buckets, value)] += 1
        histogram.sum += value

    def copy(self) -> Self:
        """Return figures that can be added to without changing these."""
        new = type(self)()
        new.merge(self)
        return new

    def merge(self, other: "Figures") -> None:
        """Add those of another worker."""
        for key, value in other.values.items():
            if key not in self.values:
                self.values[key] = value
            elif key[0].over is Over.SUM:
                self.values[key] += value
            else:
                self.values[key] = (min if key[0].over is Over.LEAST else max)(self.values[key], value)
        for key, histogram in other.histograms.items():
            mine = self._histogram(*key)
            mine.counts = [one + another for one, another in zip(mine.counts, histogram.counts, strict=True)]
            mine.sum += histogram.sum

    def without_gauges(self) -> Self:
        """Return what only grows: it holds also when the process that counted it is no more."""
        kept = {key: value for key, value in self.values.items() if key[0].kind is not Kind.GAUGE}
        return type(self)(kept, self.histograms)

    def dump(self) -> bytes:
        """Return the bytes that `load` reads."""
        values = [(metric.name, labels, value) for (metric, labels), value in self.values.items()]
        histograms = [(metric.name, labels, h.counts, h.sum) for (metric, labels), h in self.histograms.items()]
        return json.dumps([values, histograms]).encode()

    @classmethod
    def load(cls, data: bytes) -> Self:
        """Return the figures that `dump` has written. Raises `ValueError`: it has not written these bytes."""
        values, histograms = json.loads(data)
        return cls(
            {(_BY_NAME[name], tuple(labels)): value for name, labels, value in values},
            {(_BY_NAME[name], tuple(labels)): Histogram(counts, total) for name, labels, counts, total in histograms},
        )

    def _histogram(self, metric: Metric, labels: Labels) -> Histogram:
        histogram = self.histograms.get((metric, labels))
        if histogram is None:
            histogram = self.histograms[metric, labels] = Histogram([0] * (len(metric.buckets) + 1))
        return histogram
