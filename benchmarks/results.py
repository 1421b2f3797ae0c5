"""What was measured, how is it kept while more is being measured, and what are its medians and ratios?"""

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.scenarios import Figure, Scenario

#: Of one round, for each scenario (or curve) and each peer. A peer that could not be measured has a text instead.
Taken = dict[str, dict[str, dict[str, float] | str]]


@dataclass(slots=True)
class Results:
    """rounds: of the table. curves: their rounds; the scenario's name is "streams 200"."""

    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    settings: dict[str, float] = field(default_factory=dict)
    date: str = ""
    commit: str = ""
    rounds: list[Taken] = field(default_factory=list)
    curves: list[Taken] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.write_text(json.dumps(asdict(self), indent=1))
        new.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Results":
        return cls(**json.loads(path.read_text()))


def values(rounds: Iterable[Taken], scenario: str, peer: str, key: str) -> list[float | None]:
    """A figure of a peer, for each round; None where it was not taken.

    A key that begins with "added_" stands for what is left without that of the row `direct` in the same round.
    """
    plain = key.removeprefix("added_")
    if plain == key:
        return [_value(one, scenario, peer, key) for one in rounds]
    pairs = [(_value(one, scenario, peer, plain), _value(one, scenario, "direct", plain)) for one in rounds]
    return [a - b if a is not None and b is not None else None for a, b in pairs]


def _value(taken: Taken, scenario: str, peer: str, key: str) -> float | None:
    figures = taken.get(scenario, {}).get(peer, "")
    return None if isinstance(figures, str) else figures.get(key)


def failures(rounds: Iterable[Taken], scenario: str, peer: str) -> list[str]:
    """Why it could not be measured, for each round in which that was so."""
    found = (one.get(scenario, {}).get(peer) for one in rounds)
    return [text for text in found if isinstance(text, str)]


@dataclass(frozen=True, slots=True)
class Spread:
    median: float
    low: float
    high: float


def spread(found: Iterable[float | None]) -> Spread | None:
    """None: nothing was found."""
    known = [value for value in found if value is not None]
    return Spread(statistics.median(known), min(known), max(known)) if known else None


def ratios(rounds: Iterable[Taken], scenario: Scenario, peer: str, key: str) -> Spread | None:
    """To the base in the same round. None: there is no base, or nothing to compare."""
    base = scenario.base_of(peer)
    if base == peer:
        return None
    rounds = list(rounds)
    ours, theirs = values(rounds, scenario.name, peer, key), values(rounds, scenario.name, base, key)
    pairs = zip(ours, theirs, strict=True)
    # What a busy machine makes negative compares to nothing.
    return spread(a / b if a is not None and b is not None and b > 0 else None for a, b in pairs)


def medians(rounds: Iterable[Taken], scenario: Scenario, figure: Figure) -> Mapping[str, float]:
    """Of each peer that could be measured, as it is shown."""
    rounds = list(rounds)
    found = {peer: spread(values(rounds, scenario.name, peer, figure.key)) for peer in scenario.peers}
    return {peer: one.median * figure.factor for peer, one in found.items() if one is not None}
