"""Is what a dashboard costs measured on real streams, and is one that costs too much reported?"""

from pathlib import Path

import pytest

from benchmarks.dashboard import Round, measure, report


def test_it_is_measured_with_and_without_a_dashboard(load: Path) -> None:
    [found] = measure(load, streams=20, rounds=1, seconds=2.5, target="/events")
    assert found.snapshots >= 1
    assert found.size > 20 * 100, "the rows are in it"
    assert found.without >= 0
    assert found.with_it > 0


@pytest.mark.parametrize(("costs", "code"), [([0.01, 0.02, 0.9], 0), ([0.01, 0.06, 0.07], 1)])
def test_the_median_decides(costs: list[float], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert report([Round(0.3, 0.3 + cost, 3, 1000.0) for cost in costs], 2000) == code
    assert "2,000 streams" in capsys.readouterr().out
