"""What is one simulated history made of? A setting, and actions that are drawn from a seed.

An action has all its chances in itself, so that a plan from which actions were deleted is another plan.
"""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class OwnIds(StrEnum):
    """Which events the upstream names."""

    NONE = "none"
    ALL = "all"
    SPARSE = "sparse"  # now and then one
    REPEATED = "repeated"  # with the same few ids again and again


class Goes(StrEnum):
    """How an upstream goes on that is asked to go on behind an id of its own."""

    EXACTLY = "exactly"
    INCLUSIVELY = "inclusively"  # the event of that id comes again
    ANEW = "anew"  # all comes again
    NOWHERE = "nowhere"  # with what is new


@dataclass(frozen=True, slots=True)
class Setting:
    """One route, its upstream, and the process. Times in seconds."""

    is_answer: bool
    is_by_run: bool = False
    joins: bool = True
    starts_latest: bool = False
    detach: float | str = 30.0
    events: int | None = None
    bytes: int = 2**20
    age: float = 300.0
    reopen: int = 3
    own: OwnIds = OwnIds.NONE
    goes: Goes = Goes.EXACTLY
    detached: int | None = None
    per_client: int | None = None
    memory: int = 2**28
    idle: float | None = None
    chunk: int = 65_536


class Action(NamedTuple):
    """name: see `World`. one, other: which of them, how much, how long."""

    name: str
    one: int
    other: int


@dataclass(frozen=True)
class Plan:
    """A history to come."""

    setting: Setting
    actions: tuple[Action, ...]

    def __repr__(self) -> str:
        usual = Setting(self.setting.is_answer)
        fields = {name: getattr(self.setting, name) for name in Setting.__slots__}
        said = [f"{name}={_literal(value)}" for name, value in fields.items() if value != getattr(usual, name)]
        setting = ", ".join([f"is_answer={self.setting.is_answer}", *said])
        actions = "".join(f"\n        {tuple(action)}," for action in self.actions)
        return f"plan(\n    Setting({setting}),\n    [{actions}\n    ],\n)"


def plan(setting: Setting, actions: list[tuple[str, int, int]]) -> Plan:
    """Return the plan that its `repr` names."""
    return Plan(setting, tuple(Action(*action) for action in actions))


#: Each as often as it is drawn.
_ACTIONS = [
    *["emit"] * 14, *["piece"] * 3, *["turn"] * 10, *["wait"] * 8, *["ask"] * 5, *["resume"] * 8, *["return"] * 4,
    *["oldest"] * 2, *["bogus"] * 2, *["url"] * 2, *["leave"] * 5, *["pause"] * 4, *["unpause"] * 5,
    *["within"] * 4, *["finish"] * 2, *["break"] * 3, *["reply"] * 4, *["stop"] * 2, "stop other", "comment",
    "silent",
]  # fmt: skip

#: In a process that ends: what else may happen to it, at most once.
_ONCE = ["drain", "restart", "restart", *[""] * 12]


def drawn(seed: int) -> Plan:
    """Return the plan of a seed."""
    dice = random.Random(seed)
    actions = [_action(dice, dice.choice(_ACTIONS)) for _ in range(dice.randint(8, 60))]
    once = dice.choice(_ONCE)
    if once:
        actions.insert(dice.randrange(len(actions)), _action(dice, once))
    return Plan(_answer(dice) if dice.random() < 0.45 else _feed(dice), (_action(dice, "ask"), *actions))


def _action(dice: random.Random, name: str) -> Action:
    return Action(name, dice.randrange(64), dice.randrange(64))


def _answer(dice: random.Random) -> Setting:
    return Setting(
        is_answer=True,
        is_by_run=dice.random() < 0.2,
        joins=dice.random() < 0.4,
        starts_latest=dice.random() < 0.1,
        detach=dice.choice(("end", "end", "off", 5.0, 50.0)),
        bytes=dice.choice((2**20, 2**20, 500, 150)),
        age=dice.choice((300.0, 20.0)),
        own=dice.choice((OwnIds.NONE, OwnIds.NONE, *OwnIds)),
        detached=dice.choice((None, None, 1)),
        per_client=dice.choice((None, None, 1)),
        memory=_memory(dice),
        idle=dice.choice((None, 60.0)),
        chunk=dice.choice((65_536, 100)),
    )


def _feed(dice: random.Random) -> Setting:
    own = dice.choice((OwnIds.NONE, OwnIds.NONE, OwnIds.ALL, OwnIds.SPARSE))
    # What comes again can only be found out while it is kept, and if its ids are there once.
    is_surely_found = own is OwnIds.ALL
    keep_all = is_surely_found and dice.random() < 0.5
    goes = dice.choice((Goes.EXACTLY, Goes.NOWHERE))
    if is_surely_found:
        goes = dice.choice((*Goes,)) if keep_all else dice.choice((Goes.EXACTLY, Goes.INCLUSIVELY, Goes.NOWHERE))
    return Setting(
        is_answer=False,
        starts_latest=dice.random() < 0.7,
        detach=dice.choice((30.0, 30.0, "off", 5.0)),
        events=None if keep_all else dice.choice((1000, 6, 3)),
        bytes=2**20 if keep_all else dice.choice((2**20, 2**20, 400)),
        age=1e5 if keep_all else dice.choice((600.0, 600.0, 20.0)),
        reopen=dice.choice((3, 3, 1, 0)),
        own=own,
        goes=goes,
        detached=dice.choice((None, None, 1)),
        per_client=dice.choice((None, None, 1)),
        memory=2**28 if keep_all else _memory(dice),
        idle=dice.choice((None, 60.0)),
        chunk=dice.choice((65_536, 100)),
    )


def _memory(dice: random.Random) -> int:
    return dice.choice((2**28, 2**28, 2**28, 40_000, 20_000))


def _literal(value: object) -> str:
    return f"{type(value).__name__}.{value.name}" if isinstance(value, StrEnum) else repr(value)
