"""Does each alert fire when it should, and only then, and do alerts and panels ask for what sseproxy counts?"""

import copy
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from sseproxy.core.journal.gap import GapReason
from sseproxy.core.stream.heartbeat import why_skipped
from sseproxy.core.stream.scanner import Position
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.observer import Phase
from sseproxy.runs.counts import Without
from tests.deploy.promql import TARGET_LABELS, grouped, selectors, series
from tests.support.programs import require
from tests.support.watch_files import ALERTS, DASHBOARD, PANELS, QUERIES, RULES

MANUAL = (Path(__file__).parents[2] / "docs/alerts.md").read_text(encoding="utf-8")
EXPRESSIONS = [(rule["alert"], rule["expr"]) for rule in RULES] + QUERIES

#: The values of labels that are the same for every configuration.
VALUES = {
    "reason": {*CloseReason, *GapReason},
    "phase": set(Phase),
    "why": {
        why_skipped(position, is_blocked=blocked, is_over=over)
        for position in Position
        for blocked in (False, True)
        for over in (False, True)
    }
    | set(Without),
}


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run([require("promtool"), *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- what they ask for


@pytest.mark.parametrize(("place", "expression"), EXPRESSIONS, ids=[f"{place}: {text}" for place, text in EXPRESSIONS])
def test_it_asks_for_metrics_labels_and_values_that_exist(place: str, expression: str) -> None:
    known, asked = series(), selectors(expression)
    assert asked, place
    for selector in asked:
        assert selector.name in known
        assert {label for label, _ in selector.matchers} <= known[selector.name]
        for label, value in selector.values():
            if label == "code":
                assert any(re.fullmatch(value, str(int(status))) for status in HTTPStatus)
            elif label in VALUES:
                assert value in VALUES[label]
    common = set.intersection(*(set(known[selector.name]) for selector in asked))
    assert grouped(expression) <= common | {label for selector in asked for label in known[selector.name]}


def test_metrics_that_nothing_asks_for_are_few() -> None:
    asked = {selector.name for _, expression in QUERIES for selector in selectors(expression)}
    left = {name for name in series() if not name.endswith(("_count", "_sum")) and name not in asked}
    assert len(left - {"up"}) <= 3, left


def test_the_suite_bites() -> None:
    wrong = 'sum by (route) (rate(sseproxy_stream_total{reason="idle"}[5m]))'
    (selector,) = selectors(wrong)
    assert selector.name not in series()
    assert set(selector.values()) == {("reason", "idle")}
    assert "idle" not in VALUES["reason"]
    assert grouped(wrong) == {"route"}


# ---- the files


def test_promtool_takes_the_rules() -> None:
    promtool("check", "rules", ALERTS)


def test_promtool_takes_the_job_as_it_is() -> None:
    promtool("check", "config", ALERTS.parent / "prometheus.yml")


def test_promtool_takes_the_job_of_kubernetes(tmp_path: Path) -> None:
    """Debian's Prometheus is built without the discovery of Kubernetes, so that job is looked at without it."""
    config = yaml.safe_load((ALERTS.parent / "kubernetes.yml").read_text(encoding="utf-8"))
    (pods,) = config["scrape_configs"]
    assert pods.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    (tmp_path / "alerts.yml").symlink_to(ALERTS)
    promtool("check", "config", tmp_path / "prometheus.yml")


def test_promtool_takes_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    names = {f"panel:{number}": expression for number, (_, expression) in enumerate(QUERIES)}
    rules = [{"record": name, "expr": text.replace("$__rate_interval", "1m")} for name, text in names.items()]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "rules.yml")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_happened_and_where_its_cure_is(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    url, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert url == "https://github.com/sseproxy/sseproxy/blob/main/docs/alerts.md"
    assert anchor == rule["alert"].lower()


def test_the_manual_has_all_alerts_in_their_order_and_no_other() -> None:
    assert re.findall(r"(?m)^## (.*)$", MANUAL) == [rule["alert"] for rule in RULES]


def left_out(written: object, read: object, place: str = "dashboard") -> Iterator[str]:
    """Where `written` says something that `read` does not."""
    if isinstance(written, dict) and isinstance(read, dict):
        for key, value in written.items():
            yield from left_out(value, read.get(key), f"{place}.{key}")
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for number, (one, other) in enumerate(zip(written, read, strict=True)):
            yield from left_out(one, other, f"{place}[{number}]")
    elif written != read:
        yield place


def as_grafana_reads(dashboard: dict[str, Any]) -> Any:
    """What is left of a dashboard in Grafana's own types: what they do not have is gone."""
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))


def test_grafana_has_each_key_of_the_dashboard() -> None:
    assert list(left_out(DASHBOARD, as_grafana_reads(DASHBOARD))) == []


def test_a_key_that_grafana_does_not_have_is_found() -> None:
    wrong = copy.deepcopy(DASHBOARD)
    wrong["panels"][1]["fieldConfig"]["defaults"]["units"] = "s"
    assert list(left_out(wrong, as_grafana_reads(wrong))) == ["dashboard.panels[1].fieldConfig.defaults.units"]


def test_the_dashboard_is_whole() -> None:
    """Ids are unique, no panel lies on another one, and each says what it shows."""
    assert DASHBOARD["schemaVersion"] >= 41
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (column, line)
            for column in range(place["x"], place["x"] + place["w"])
            for line in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert [panel["title"] for panel in PANELS if not panel["description"]] == []
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}


def test_the_variables_of_the_dashboard_ask_for_what_exists() -> None:
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance", "route"]
    for name in ("job", "instance", "route"):
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", variables[name]["query"]["query"])
        assert found is not None
        (selector,) = selectors(found[1])
        assert {name, *(label for label, _ in selector.matchers)} <= series()[selector.name] | TARGET_LABELS
        assert found[2] == name
    used = {name for _, text in QUERIES for name in re.findall(r"\$(\w+)", text)}
    assert used == {"job", "instance", "route", "__rate_interval"}


# ---- when they fire


@dataclass(frozen=True, slots=True)
class Case:
    """A sample a minute (promtool's notation) with which an alert fires `after` that time, and not a minute before.

    labels: of the series, and then of what fires. quiet: with these it never fires.
    """

    alert: str
    after: int
    fires: dict[str, str]
    quiet: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)


HOURS = "x200"
CASES = [
    Case("SseproxyDown", 2, {"up": "0" + HOURS}, {"up": "1" + HOURS}),
    Case(
        "SseproxyWorkerDown",
        2,
        {'sseproxy_worker_up{worker="1"}': "0" + HOURS},
        {'sseproxy_worker_up{worker="1"}': "1 0 1 1 0 1 0 1" + HOURS},
        {"worker": "1"},
    ),
    Case(
        "SseproxyConnectionsNearLimit",
        5,
        {"sseproxy_connections": "810" + HOURS, "sseproxy_connections_limit": "1000" + HOURS},
        {"sseproxy_connections": "790" + HOURS, "sseproxy_connections_limit": "1000" + HOURS},
    ),
    Case(
        "SseproxyDefect",
        3,
        {'sseproxy_streams_total{route="r",reason="internal_error"}': "0 0 0 1x200"},
        {'sseproxy_streams_total{route="r",reason="upstream_error"}': "0+9" + HOURS},
        {"route": "r"},
    ),
    Case(
        "SseproxyStreamsEndBadly",
        6,
        {
            'sseproxy_streams_total{route="r",reason="idle_timeout"}': "0+5" + HOURS,
            'sseproxy_streams_total{route="r",reason="upstream_end"}': "0+50" + HOURS,
        },
        {
            'sseproxy_streams_total{route="r",reason="idle_timeout"}': "0+2" + HOURS,
            'sseproxy_streams_total{route="r",reason="upstream_end"}': "0+50" + HOURS,
            'sseproxy_streams_total{route="r",reason="client_gone"}': "0+50" + HOURS,
            'sseproxy_streams_total{route="few",reason="connect_error"}': "0 0 0 1" + HOURS,
        },
        {"route": "r", "reason": "idle_timeout"},
    ),
    Case(
        "SseproxySilenceNearTimeout",
        1,
        {'sseproxy_silence_used_ratio{route="r"}': "0.85+0.01x200"},
        {'sseproxy_silence_used_ratio{route="r"}': "0.7 0.9 0.1" + HOURS},
        {"route": "r"},
    ),
    Case(
        "SseproxyRequestsFail",
        6,
        {
            'sseproxy_requests_total{route="r",code="502"}': "0+5" + HOURS,
            'sseproxy_requests_total{route="r",code="200"}': "0+50" + HOURS,
        },
        {
            'sseproxy_requests_total{route="r",code="404"}': "0+50" + HOURS,
            'sseproxy_requests_total{route="r",code="502"}': "0+1" + HOURS,
        },
        {"route": "r"},
    ),
    Case(
        "SseproxyErrorsBehindEarlyAnswers",
        6,
        {
            'sseproxy_intended_status_total{route="r",code="429"}': "0+5" + HOURS,
            'sseproxy_requests_total{route="r",code="200"}': "0+50" + HOURS,
        },
        {
            'sseproxy_intended_status_total{route="r",code="204"}': "0+50" + HOURS,
            'sseproxy_requests_total{route="r",code="200"}': "0+50" + HOURS,
        },
        {"route": "r"},
    ),
    Case(
        "SseproxyHeartbeatsSkipped",
        11,
        {
            'sseproxy_heartbeats_skipped_total{route="r",why="mid_line"}': "0+5" + HOURS,
            'sseproxy_heartbeats_total{route="r",phase="open"}': "0+10" + HOURS,
        },
        {
            'sseproxy_heartbeats_skipped_total{route="r",why="at_end"}': "0+50" + HOURS,
            'sseproxy_heartbeats_skipped_total{route="r",why="mid_line"}': "0+1" + HOURS,
            'sseproxy_heartbeats_total{route="r",phase="open"}': "0+10" + HOURS,
        },
        {"route": "r", "why": "mid_line"},
    ),
    Case(
        "SseproxyUndeclaredStreams",
        61,
        {
            'sseproxy_undeclared_streams_total{route="r"}': "0+6" + HOURS,
            'sseproxy_stream_seconds_count{route="r"}': "0+10" + HOURS,
        },
        {
            'sseproxy_undeclared_streams_total{route="r"}': "0+4" + HOURS,
            'sseproxy_stream_seconds_count{route="r"}': "0+10" + HOURS,
        },
        {"route": "r"},
    ),
    Case(
        "SseproxyRedisDown",
        2,
        {'sseproxy_redis_up{redis="redis"}': "0" + HOURS},
        {'sseproxy_redis_up{redis="redis"}': "1 0 1 1 0 1" + HOURS},
        {"redis": "redis"},
    ),
    Case(
        "SseproxyMessagesLost",
        3,
        {'sseproxy_redis_gaps_total{redis="redis",reason="trimmed"}': "0 0 0 2" + HOURS},
        {'sseproxy_redis_gaps_total{redis="redis",reason="trimmed"}': "2" + HOURS},
        {"redis": "redis", "reason": "trimmed"},
    ),
    Case(
        "SseproxyMessagesUnreadable",
        3,
        {'sseproxy_redis_unreadable_total{redis="redis"}': "0 0 0 1" + HOURS},
        {'sseproxy_redis_unreadable_total{redis="redis"}': "1" + HOURS},
        {"redis": "redis"},
    ),
    Case(
        "SseproxyRedisNotificationsOff",
        16,
        {
            'sseproxy_redis_bells_missed_total{redis="redis"}': "0+6" + HOURS,
            'sseproxy_redis_entries_total{redis="redis"}': "0+10" + HOURS,
        },
        {
            'sseproxy_redis_bells_missed_total{redis="redis"}': "0+4" + HOURS,
            'sseproxy_redis_entries_total{redis="redis"}': "0+10" + HOURS,
        },
        {"redis": "redis"},
    ),
    Case(
        "SseproxyRunsWithoutJournal",
        3,
        {'sseproxy_journal_unjournalled_total{route="r",why="memory"}': "0 0 0 1" + HOURS},
        {
            'sseproxy_journal_unjournalled_total{route="r",why="identity"}': "0+5" + HOURS,
            'sseproxy_journal_unjournalled_total{route="r",why="draining"}': "0+5" + HOURS,
            'sseproxy_journal_unjournalled_total{route="r",why="memory"}': "4" + HOURS,
        },
        {"route": "r"},
    ),
]


def test_each_alert_has_a_case() -> None:
    assert [case.alert for case in CASES] == [rule["alert"] for rule in RULES]


def with_target(series: str) -> str:
    """The series, as Prometheus keeps it."""
    name, _, labels = series.partition("{")
    return f'{name}{{job="sseproxy",instance="i",{labels or "}"}'


def watched(values: dict[str, str], case: Case, firing: dict[int, list[str]]) -> dict[str, Any]:
    """A test of promtool: with these samples, what fires at which minute."""
    return {
        "interval": "1m",
        "input_series": [{"series": with_target(name), "values": text} for name, text in values.items()],
        "promql_expr_test": [
            {
                "expr": f"count by (alertname, {', '.join(case.labels) or 'job'})"
                f' (ALERTS{{alertname="{case.alert}",alertstate="firing"}})',
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": labels, "value": 1} for labels in found],
            }
            for minute, found in firing.items()
        ],
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_when_it_should_and_only_then(case: Case, tmp_path: Path) -> None:
    named = {"alertname": case.alert, **(case.labels or {"job": "sseproxy"})}
    fired = "{" + ", ".join(f'{name}="{value}"' for name, value in named.items()) + "}"
    tests = [
        watched(case.fires, case, {case.after - 1: [], case.after: [fired]}),
        watched(case.quiet, case, {minute: [] for minute in (1, 2, 4, 8, 16, 32, 64, 128, 190)}),
    ]
    file = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(file))
    promtool("test", "rules", tmp_path / "test.yml")
