"""How is a class of values made that never change, without making each start wait for it?

`dataclass(frozen=True, slots=True)` writes six functions for each class, and Python compiles them at every start: with
more than a hundred such classes, a quarter of it. Three of the six do the same in all classes, so they are here, once.
"""

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[_T]) -> type[_T]:
    """Make `cls` a frozen dataclass with slots, which is equal, hashed and shown by its fields.

    What `field` says of ``compare`` and ``repr`` holds. A class that every request hashes is better made by `dataclass`
    itself, whose functions are faster.
    """
    made: Any = dataclass(frozen=True, slots=True, eq=False, repr=False)(cls)
    made.__eq__, made.__hash__, made.__repr__ = _equals, _hash, _show
    compared = [each.name for each in fields(made) if each.compare]
    made.__compared__ = attrgetter(*compared) if compared else type
    found: type[_T] = made
    return found


def _equals(self: Any, other: Any) -> Any:
    return self.__compared__(self) == self.__compared__(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(self.__compared__(self))


def _show(self: Any) -> str:
    shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{type(self).__qualname__}({shown})"
