"""Is every ticket asked for that cannot be had, and are times told apart that differ?"""

import pytest

from benchmarks.guessing import KINDS, auc, comparisons, main, measure, report


def test_it_asks_a_real_sseproxy_for_each_kind() -> None:
    times = measure(rounds=3, tickets=2)
    assert {name: len(taken) for name, taken in times.items()} == {kind.name: 3 for kind in KINDS}
    assert min(min(taken) for taken in times.values()) > 0


def test_every_kind_has_a_base_that_shows_the_same_cookie_or_is_one() -> None:
    known = {kind.name: kind for kind in KINDS}
    bases = {kind.base for kind in KINDS if kind.base is not None}
    assert {known[base].base for base in bases} == {None}
    assert {kind.name for kind in KINDS if kind.base is None} == bases


@pytest.mark.parametrize(
    ("values", "base", "share"),
    [([1, 2, 3], [1, 2, 3], 0.5), ([4, 5], [1, 2, 3], 1.0), ([0], [1, 2], 0.0), ([2, 2], [1, 2, 3, 4], 0.375)],
)
def test_how_probable_it_is_that_one_takes_longer(values: list[float], base: list[float], share: float) -> None:
    assert auc(values, base) == share


def test_what_takes_longer_is_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    times = {kind.name: [100.0 + number % 7 for number in range(1000)] for kind in KINDS}
    assert report(times) == 0
    assert [one.differs for one in comparisons(times)] == [False] * 5 + [True]
    times["expired"] = [taken + 0.5 for taken in times["expired"]]
    assert [one.name for one in comparisons(times)[:-1] if one.differs] == ["expired"]
    assert report(times) == 1
    assert capsys.readouterr().out.count("**differs**") == 3


def test_what_is_no_sseproxy_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.guessing._FILE", "routes: []\n")
    assert main(["--rounds", "1", "--tickets", "1"]) == 2
    assert capsys.readouterr().err.startswith("bench-guessing: ")
