"""Do tables and plots show what was measured?"""

import math
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import report
from benchmarks.measure import HERE
from benchmarks.plot import Axis, draw
from benchmarks.results import Results, Taken, ratios, spread
from benchmarks.scenarios import DENSE, SCENARIOS
from benchmarks.targets import TARGETS


@pytest.fixture
def results() -> Results:
    """A machine that is twice as slow in its second round, and half as fast again in its third."""
    rounds: list[Taken] = [
        {
            "dense": {
                "nginx": {"cpu_us": 40.0 * slow, "p50_us": 100.0},
                "sseproxy": {"cpu_us": 50.0 * slow + off, "p50_us": 110.0},
                "direct": {"cpu_us": 0.0, "p50_us": 60.0},
            }
        }
        for slow, off in ((1, 0), (2, 4), (1.5, -3))
    ]
    return Results(
        machine={"processor": "some", "cores": "2", "memory": "1 GiB", "kernel": "Linux", "somaxconn": "4096"},
        versions={"nginx": "1.22.1"},
        absent={"caddy": "caddy"},
        settings={"rounds": 3, "curve_rounds": 1, "seconds": 1},
        date="2026-01-01",
        rounds=rounds,
        curves=[{"streams 10": {"nginx": {"cpu_us": 30.0}, "sseproxy": {"cpu_us": 45.0}}}],
    )


def test_a_ratio_is_taken_within_a_round(results: Results) -> None:
    found = ratios(results.rounds, DENSE, "sseproxy", "cpu_us")
    assert found is not None
    assert [round(value, 3) for value in (found.median, found.low, found.high)] == [1.25, 1.2, 1.3]


def test_nothing_has_no_spread() -> None:
    assert spread([None, None]) is None


def test_a_peer_that_failed_is_in_no_median_and_its_reason_is_said(results: Results) -> None:
    results.rounds[1]["dense"]["sseproxy"] = "it fell over"
    found = ratios(results.rounds, DENSE, "sseproxy", "cpu_us")
    assert found is not None
    assert (round(found.low, 2), round(found.high, 2)) == (1.2, 1.25)
    assert "sseproxy failed in 1 of 3 rounds: it fell over.\n" in report.table(results, DENSE)


def test_streams_that_were_refused_are_said(results: Results) -> None:
    figures = results.rounds[2]["dense"]["nginx"]
    assert isinstance(figures, dict)
    figures["not_opened"] = 5.0
    said = "nginx did not open up to 5 of the streams; the figures are of the others.\n"
    assert said in report.table(results, DENSE)


def test_figures_survive_the_disk(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path / "new" / "figures.json")
    assert Results.load(tmp_path / "new" / "figures.json") == results


def test_the_page_has_targets_tables_and_plots(results: Results, tmp_path: Path) -> None:
    (tmp_path / "README.template").write_text((HERE / "README.template").read_text())
    report.write(results, tmp_path)
    page = (tmp_path / "README.md").read_text()
    plain = page.replace("×", "x").replace("–", "-")  # noqa: RUF001
    assert "| CPU per event, 200 x 50/s | at most 1.2 x nginx | 72 µs | 1.25 (1.2-1.3) | **no** |" in plain
    assert "| added latency p50 at 10,000 events/s | at most 1.5 x nginx | 50 µs | 1.25 (1.25-1.25) | yes |" in plain
    assert "Not installed, therefore not in the tables: Caddy." in page
    assert "| 10 | 30 | 45 | 1.5 (1.5-1.5) |" in plain
    assert [plot.name for plot in (tmp_path / "plots").iterdir()] == ["streams.svg"]


def test_every_target_is_of_a_figure_that_is_shown() -> None:
    shown = {(scenario.name, figure.key) for scenario in SCENARIOS for figure in scenario.figures}
    assert {(target.scenario, target.figure) for target in TARGETS} <= shown


def test_a_plot_is_an_image_with_a_line_for_each_series() -> None:
    image = draw("a < b", "streams", "µs", {"one": [(10, 40), (1000, 30)], "two & three": [(10, 80), (1000, 300)]})
    root = ET.fromstring(image)
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len((line.get("points") or "").split()) for line in lines] == [2, 2]


@pytest.mark.parametrize("values", [[1.0], [0.003, 7.0], [16, 65536], [99, 101]])
def test_an_axis_holds_all_its_values_and_has_ticks(values: list[float]) -> None:
    axis = Axis(values, 0, 100)
    assert all(0 <= axis(value) <= 100 for value in values)
    assert 1 <= len(axis.ticks) <= 10
    assert all(math.isfinite(axis(tick)) for tick in axis.ticks)
