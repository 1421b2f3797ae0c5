"""Does every kind of measurement give its figures, and say why if it cannot?"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from benchmarks.measure import Failed, free_port
from benchmarks.peers import ALL, Peer, Running
from benchmarks.run import take
from benchmarks.scenarios import SCENARIOS, Newcomers, Scenario, Silent, Stand, Streams, body, requests
from tests.support.programs import require

WORKS = (Streams(4, 20), Streams(2, "max"), Silent(4), Newcomers(2, 1), requests, body)


@pytest.fixture
def stand(load: Path) -> Stand:
    return Stand(load, seconds=0.2, idle=0.2, warmup=0.4, body=1 << 16)


@pytest.mark.parametrize("name", ["direct", "nginx", "sseproxy", "ordinary", "nginx, 2 workers", "sseproxy, 2 workers"])
def test_a_proxy_is_measured(stand: Stand, name: str) -> None:
    if name.startswith("nginx"):
        require("nginx")
    for work in WORKS:
        figures = work(stand, ALL[name])
        assert set(shown_of(work)) <= set(figures)


def shown_of(work: object) -> list[str]:
    """What the tables show of such a work."""
    same = [one for one in SCENARIOS if one.measure == work or type(one.measure) is type(work) is not type(requests)]
    return [
        figure.key for one in same for figure in one.figures if figure.key != "kept_up" and "added" not in figure.key
    ]


def test_what_cannot_be_measured_is_said_and_stops_nothing(stand: Stand) -> None:
    @contextlib.contextmanager
    def refuse(_: Path, __: int, ___: Mapping[str, str]) -> Iterator[Running]:
        raise Failed("it does not start")
        yield Running(free_port(), ())

    scenario = Scenario("any", "any", Streams(1, 1), (), ("nginx",))
    with pytest.raises(Failed, match="does not start"):
        scenario.measure(stand, Peer("refuses", refuse))
    broken = Scenario("any", "any", lambda *_: scenario.measure(stand, Peer("refuses", refuse)), ())
    assert take(broken, "nginx", stand) == "it does not start"
