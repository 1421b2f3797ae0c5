"""In which words does Prometheus read the figures?"""

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from sseproxy.metrics.figures import Figures
from sseproxy.metrics.table import METRICS, Kind, Metric

if TYPE_CHECKING:
    from prometheus_client import Metric as Family


class _Collector:
    """Hands figures to the library, which counts nothing itself: its own counters are those of one process."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator["Family"]:
        for metric in METRICS:
            yield self._histogram(metric) if metric.kind is Kind.HISTOGRAM else self._plain(metric)

    def _plain(self, metric: Metric) -> "Family":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - see `exposition`

        kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
        family = kind(metric.name, metric.help, labels=metric.labels)
        for (other, labels), value in self._figures.values.items():
            if other is metric:
                family.add_metric(labels, value)
        return family

    def _histogram(self, metric: Metric) -> "Family":
        from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415 - see `exposition`

        family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        bounds = [*map(str, metric.buckets), "+Inf"]
        for (other, labels), found in self._figures.histograms.items():
            if other is metric:
                buckets = list(zip(bounds, map(float, accumulate(found.counts)), strict=True))
                family.add_metric(labels, buckets, found.sum)
        return family


def exposition(figures: Figures, accept: str) -> tuple[bytes, str]:
    """Return the page that a scraper gets, and its content type. accept: the scraper's field of that name.

    The library is imported by the first call, since nothing else needs it; call it where that may take a moment.
    """
    from prometheus_client import CollectorRegistry  # noqa: PLC0415
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(figures))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
