"""Is a class that `frozen` makes what `dataclass(frozen=True, slots=True)` would make of it?"""

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Any

import pytest

from sseproxy.core.frozen import frozen


@frozen
class Ours:
    """A value."""

    name: str
    size: int = 1
    secret: str = field(default="", repr=False)
    note: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Theirs:
    """The same, as Python makes it."""

    name: str
    size: int = 1
    secret: str = field(default="", repr=False)
    note: str = field(default="", compare=False)


@frozen
class One:
    """A value of one field."""

    name: str


@frozen
class Nothing:
    """A value without fields."""


@pytest.mark.parametrize("change", [{}, {"name": "b"}, {"size": 2}, {"secret": "s"}, {"note": "n"}])
def test_what_is_equal_there_is_equal_here(change: dict[str, Any]) -> None:
    ours, theirs = replace(Ours("a"), **change), replace(Theirs("a"), **change)
    assert (ours == Ours("a")) is (theirs == Theirs("a"))
    assert (hash(ours) == hash(Ours("a"))) is (theirs == Theirs("a"))


def test_values_of_two_classes_are_not_equal() -> None:
    others: list[object] = ["a", ("a",), Nothing(), One("b")]
    assert One("a") not in others
    assert Nothing() in others
    assert len({One("a"), One("a"), One("b"), Nothing(), Nothing()}) == 3


def test_a_secret_is_not_shown() -> None:
    assert repr(Ours("a", secret="s")) == "Ours(name='a', size=1, note='')"
    assert repr(Theirs("a")).removeprefix("Theirs") == repr(Ours("a")).removeprefix("Ours")
    assert repr(Nothing()) == "Nothing()"


def test_it_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Ours("a").name = "b"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del One("a").name


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_it_can_be_copied_and_pickled(again: Callable[[object], object]) -> None:
    assert again(Ours("a", 3, "s", "n")) == Ours("a", 3, "s", "n")
    assert again(Nothing()) == Nothing()


def test_it_is_a_dataclass() -> None:
    assert [each.name for each in fields(Ours)] == ["name", "size", "secret", "note"]
    assert not hasattr(One("a"), "__dict__")
    match Ours("a", 2):
        case Ours(name, size):
            assert (name, size) == ("a", 2)
