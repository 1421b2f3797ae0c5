"""Does docs/operations.md have every metric with its labels, and every field of the live list, and no other?"""

import re
from pathlib import Path

import pytest

from sseproxy.core.stream.plan import StreamPlan
from sseproxy.engine.live import LiveStream
from sseproxy.metrics.table import METRICS, Kind, Metric
from sseproxy.process.live_rows import row
from tests.support.silent_client import session_and_relay

MANUAL = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return MANUAL.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_metric_with_its_labels_and_no_other() -> None:
    rows = re.findall(r"(?m)^\| `(sseproxy_\w+)` \| (.*?) \|", section("Metrics"))
    assert [(name, re.findall(r"`(\w+)`", labels)) for name, labels in rows] == [
        (metric.name, list(metric.labels)) for metric in METRICS
    ]


def test_queries_ask_for_metrics_that_exist() -> None:
    known = {metric.name for metric in METRICS}
    known |= {f"{metric.name}_bucket" for metric in METRICS if metric.kind is Kind.HISTOGRAM}
    assert set(re.findall(r"sseproxy_\w+", MANUAL)) <= known


async def test_every_field_of_the_list_and_no_other() -> None:
    fields = re.findall(r"(?m)^\| `(\w+)` \|", section("The live list"))
    _, relay = session_and_relay(StreamPlan(), now=0.0)
    stream = LiveStream("route", "192.0.2.1", relay, StreamPlan())
    assert fields == ["id", *row(stream, now=1.0)]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_well_named(metric: Metric) -> None:
    assert metric.name.endswith("_total") is (metric.kind is Kind.COUNTER)
    assert metric.name.endswith("_seconds") is (metric.kind is Kind.HISTOGRAM)
    assert set(metric.labels) <= {
        "route",
        "phase",
        "reason",
        "why",
        "direction",
        "code",
        "worker",
        "version",
        "python",
        "redis",
    }
