"""Is a start measured for both programs, and is one that takes too long reported?"""

import pytest

from benchmarks.startup import measure, report


def test_both_are_started() -> None:
    times = measure(rounds=1)
    assert list(times) == ["--version", "serve"]
    assert all(len(taken) == 1 and taken[0] > 0 for both in times.values() for taken in both)


@pytest.mark.parametrize(("ours", "code"), [([0.1, 0.2, 9.0], 0), ([0.1, 0.21, 0.3], 1)])
def test_the_median_decides(ours: list[float], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert report({"serve": (ours, [0.1, 0.1, 0.1])}) == code
    assert "| `serve` | 2" in capsys.readouterr().out
