"""In which words does Prometheus read the figures?"""

from collections import defaultdict
from collections.abc import Iterator
from enum import Enum
from itertools import accumulate
from typing import TYPE_CHECKING

from sseproxy.metrics.figures import Figures, Histogram
from sseproxy.metrics.table import METRICS, Kind, Labels, Metric

if TYPE_CHECKING:
    from prometheus_client import Metric as Family


class Form(Enum):
    """A format of the page. The value is what asks for it in ``Accept``."""

    TEXT = ""
    OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class _Collector:
    """Hands figures to the library, which counts nothing itself: its own counters are those of one process."""

    def __init__(self, figures: Figures) -> None:
        self._values: dict[Metric, list[tuple[Labels, float]]] = defaultdict(list)
        for (metric, labels), value in figures.values.items():
            self._values[metric].append((labels, value))
        self._histograms: dict[Metric, list[tuple[Labels, Histogram]]] = defaultdict(list)
        for (metric, labels), found in figures.histograms.items():
            self._histograms[metric].append((labels, found))

    def collect(self) -> Iterator["Family"]:
        for metric in METRICS:
            yield self._histogram(metric) if metric.kind is Kind.HISTOGRAM else self._plain(metric)

    def _plain(self, metric: Metric) -> "Family":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - see `exposition`

        kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
        family = kind(metric.name, metric.help, labels=metric.labels)
        for labels, value in self._values[metric]:
            family.add_metric(labels, value)
        return family

    def _histogram(self, metric: Metric) -> "Family":
        from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415 - see `exposition`

        family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        bounds = [*map(str, metric.buckets), "+Inf"]
        for labels, found in self._histograms[metric]:
            buckets = list(zip(bounds, map(float, accumulate(found.counts)), strict=True))
            family.add_metric(labels, buckets, found.sum)
        return family


def wanted_form(accept: str) -> Form:
    """Return the format that a scraper wants, as the library would choose it. accept: the scraper's field."""
    for accepted in accept.split(","):
        kind, *parameters = (part.strip() for part in accepted.split(";"))
        if kind == "application/openmetrics-text" and "version=0.0.1" not in parameters:
            return Form.OPENMETRICS
    return Form.TEXT


def exposition(figures: Figures, form: Form) -> tuple[bytes, str]:
    """Return the page that a scraper gets, and its content type.

    The library is imported by the first call, since nothing else needs it; call it where that may take a moment.
    """
    from prometheus_client import CollectorRegistry  # noqa: PLC0415
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(figures))
    encode, content_type = choose_encoder(form.value)
    return encode(registry), content_type
