"""Does docs/operations.md have every metric, every field of the live list and of the log, and no other?"""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sseproxy.core.journal.run import RunPhase
from sseproxy.core.stream.plan import StreamKind, StreamPlan
from sseproxy.core.stream.transfer import TransferStats
from sseproxy.engine.live import LiveStream
from sseproxy.engine.observer import AccessRecord, JournalReading
from sseproxy.engine.tracing import attributes_of
from sseproxy.metrics.table import METRICS, Kind, Metric
from sseproxy.process.live_rows import row, run_row
from tests.support.silent_client import session_and_relay

#: Of a client that has got the events 1 to 57.
_PLACE = SimpleNamespace(reached=(1, 57))

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


def fields_of(title: str) -> list[str]:
    return re.findall(r"(?m)^\| `(\w+)` \|", section(title).partition("\n### ")[0])


def full_record() -> AccessRecord:
    """Everything that can be known of a request."""
    stats = TransferStats.of_whole(9, now=2.0)
    stats.skipped("mid_line")
    return AccessRecord(
        "10.0.0.7",
        "GET",
        "/a",
        1.0,
        "id-1",
        client="192.0.2.1",
        host="a.test",
        route="r",
        upstream="127.0.0.1:9000",
        status=200,
        intended=502,
        error="it broke",
        is_declared=True,
        journal=JournalReading(SimpleNamespace(gaps=0), resumes=False, place=_PLACE, run=17),
        stats=stats,
        trace=SimpleNamespace(id="0" * 32, fields=[]),
    )


def test_every_field_of_the_log_in_its_order_and_no_other() -> None:
    assert fields_of("The log") == list(full_record().fields())


def test_the_line_of_a_begin_has_the_first_fields() -> None:
    begun = {**full_record().beginning(), **full_record().names()}
    known = list(full_record().fields())
    assert set(begun) == set(known[: known.index("seconds")]) - {"reason"}


def test_both_examples_of_a_line_say_the_same_in_the_forms_of_the_program() -> None:
    text, data = re.findall(r"(?ms)^```(?:json)?\n(.*?)\n```", section("The log"))[:2]
    entry = json.loads(data)
    pairs = dict(pair.split("=", 1) for pair in text.partition("sseproxy.access ")[2].split(" "))
    assert list(entry)[:3] == ["time", "level", "logger"]
    assert pairs == {name: str(value) for name, value in list(entry.items())[3:]}
    known = list(full_record().fields())
    assert list(pairs) == [name for name in known if name in pairs]


def test_spans_have_the_names_of_the_log() -> None:
    names = set(attributes_of(full_record()))
    own = {name.removeprefix("sseproxy.") for name in names if name.startswith("sseproxy.")}
    assert own <= set(fields_of("The log"))
    manual = section("The log").partition("### Traces")[2]
    assert {name for name in names if not name.startswith("sseproxy.")} <= set(re.findall(r"`([a-z_.]+)`", manual))


async def test_every_field_of_the_list_and_no_other() -> None:
    streams, _, runs = section("The live list").partition("\n`runs` has ")
    fields, of_runs = (re.findall(r"(?m)^\| `(\w+)` \|", part) for part in (streams, runs))
    _, relay = session_and_relay(StreamPlan(), now=0.0)
    stream = LiveStream("route", "192.0.2.1", relay, StreamPlan())
    assert fields == ["id", *row(stream, now=1.0)]
    run: Any = SimpleNamespace(
        producer=SimpleNamespace(
            traffic=SimpleNamespace(last_upstream_at=None, events=0, bytes=0), plan=StreamPlan(), is_busy=True
        ),
        belongs=SimpleNamespace(route="r", policy=SimpleNamespace(kind=StreamKind.ANSWER)),
        state=SimpleNamespace(phase=RunPhase.OPENING, end=None, window=SimpleNamespace(bytes=0)),
        attended=1,
        started_at=0.0,
    )
    assert of_runs == ["id", *run_row(run, unread_since=None, now=1.0)]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_well_named(metric: Metric) -> None:
    assert metric.name.endswith("_total") is (metric.kind is Kind.COUNTER)
    assert metric.name.endswith("_seconds") is (metric.kind is Kind.HISTOGRAM)
    assert set(metric.labels) <= {
        "route",
        "phase",
        "state",
        "how",
        "reason",
        "why",
        "direction",
        "code",
        "worker",
        "version",
        "python",
        "redis",
    }
