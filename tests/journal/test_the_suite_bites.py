"""Would the checkers notice? The journal is broken in one way at a time, and they must find it out."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sseproxy.core.journal.cursor import Flavour, Step, Written
from sseproxy.core.journal.gap import Missing
from sseproxy.core.journal.positions import Mark
from sseproxy.core.journal.window import Block, Break, Entry, Spot, Window
from sseproxy.core.journal.window_policy import WindowLimits
from sseproxy.journal.fanout import Fanout
from sseproxy.journal.history import Page
from sseproxy.journal.members import OUT, Member
from sseproxy.journal.place import Place, Standing
from sseproxy.journal.reader import Reader
from tests.journal.test_readers import counterexample


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule and how to break it."""

    rule: str
    owner: Any
    name: str
    instead: object


# The window.

_trim = Window.trim


def _trim_one_too_many(self: Window, limits: WindowLimits, *, now: float, upto: Mark) -> None:
    base = self.base
    _trim(self, limits, now=now, upto=upto)
    if self.base != base and self._first < len(self._kept) - 1:
        self._first += 1


def _trim_without_a_base(self: Window, limits: WindowLimits, *, now: float, upto: Mark) -> None:
    base = self.base
    _trim(self, limits, now=now, upto=upto)
    self.base = base


def _after(compare: Callable[[Mark, Mark], bool], bisect: Callable[..., int]) -> Callable[..., list[Entry] | None]:
    def after(self: Window, mark: Mark, *, most: float = 0) -> list[Entry] | None:
        if compare(mark, self.base):
            return None
        kept = self._kept
        index = bisect(kept, mark, lo=self._first, key=lambda entry: entry.last)
        if index == len(kept):
            return []
        return [kept[index].behind(mark) if kept[index].last != mark else kept[index]]

    return after


def _whole_block(self: Block, mark: Mark) -> Block:
    return self


def _one_less(self: Block, mark: Mark) -> Block:
    left = self.last[1] - mark[1]
    if mark[0] != self.last[0] or left > self.count or left < 2:
        return self
    return Block(self.last, left - 1, b"\n\n".join(self.text.split(b"\n\n")[self.count - left + 1 :]))


_break_in = Window.break_in


def _break_in_silently(self: Window, base: Mark, missing: Missing | None, *, now: float) -> None:
    _break_in(self, base, None, now=now)


# The fan-out.


def _enter_later(self: Fanout, member: Member) -> bool:
    """As if there were an await between the end of the replay and the list of the live ones."""
    if member.spot != self._at:
        return False
    self._behind.discard(member)

    def enter() -> None:
        if member.slot == OUT and getattr(member, "standing", None) is Standing.LIVE:
            member.slot = len(self._live)
            self._live.append(member)

    self._loop.call_soon(enter)
    return True


def _enter_anyway(self: Fanout, member: Member) -> bool:
    self._behind.discard(member)
    member.slot = len(self._live)
    self._live.append(member)
    return True


def _give_while_iterating(self: Fanout, left: int) -> int:
    """The list is changed while it is iterated."""
    step, at = self._pass, self._at
    assert step is not None
    self._live, self._todo = self._todo + self._live, []
    for member in self._live:
        member.spot = at
        try:
            member.take(step)
        except Exception as error:  # noqa: BLE001 - as it is there
            member.fail(error)
    return left


def _give_and_stop_at_a_defect(self: Fanout, left: int) -> int:
    step, at = self._pass, self._at
    assert step is not None
    while self._todo:
        member = self._todo.pop()
        member.spot = at
        try:
            member.take(step)
        except Exception as error:  # noqa: BLE001 - as it is there
            member.fail(error)
            self._todo.clear()
            return left
        if member.slot != OUT:
            member.slot = len(self._live)
            self._live.append(member)
    return left


def _swap_without_a_slot(self: Fanout, member: Member) -> None:
    slot, member.slot = member.slot, OUT
    if slot >= 0:
        row = self._live if slot < len(self._live) and self._live[slot] is member else self._todo
        last = row.pop()
        if last is not member:
            row[slot] = last


def _take_out_of_live(self: Fanout, member: Member) -> None:
    """A member that waits for its turn in a pass is not found."""
    slot, member.slot = member.slot, OUT
    if 0 <= slot < len(self._live):
        last = self._live.pop()
        if last is not member:
            self._live[slot] = last
            last.slot = slot


def _ahead_or_there(self: Fanout, spot: Spot) -> bool:
    return spot >= self._at


def _never_ahead(self: Fanout, spot: Spot) -> bool:
    return False


# The place.


def _gap_without_moving(self: Place, step: Step) -> None:
    """A gap is told, and told again."""
    if not (step.has_gap and self.standing is Standing.LAGGING and not hasattr(step, "told")):
        self.spot = step.to
    self._reader.hand_out(self, step.entries)
    self.spot = step.to if not step.has_gap else self.spot


def _gap_to_the_latest(self: Place, page: Page) -> None:
    if page.missing is not None:
        end = self.fanout.window.top
        page = Page((), end, end, page.missing)
    _turn(self, page)


_turn = vars(Place)["_turn"]
_next_step: Callable[[Place], Step | None] = vars(Place)["_next_step"]


def _gap_goes_on_at_latest(self: Place) -> Step | None:
    step = _next_step(self)
    if step is not None and step.has_gap and isinstance(gap := step.entries[0], Break):
        end = self.fanout.window.end
        return Step((Break(end.mark, gap.first, gap.missing),), end)
    return step


def _silent_gap(self: Place, page: Page) -> None:
    _turn(self, Page(page.blocks, page.start, page.end))


def _enter_with_a_page(self: Place) -> bool:
    if self.standing is Standing.LAGGING and self.fanout.enter(self):
        self.standing = Standing.LIVE
    return self.standing is Standing.LIVE


def _page_again(self: Place) -> Step:
    step = _from_page(self)
    return step if self._page else Step(step.entries, self.spot)


_from_page: Callable[[Place], Step] = vars(Place)["_from_page"]


def _wait_unconfirmed(self: Place) -> None:
    """Who is ahead of the window is believed, and waits."""
    self.standing = Standing.AHEAD
    self.fanout.wait(self)


def _never_again(self: Place) -> None:
    self.standing = Standing.ASKING


# The reader.


def _pause_in_words(self: Reader) -> None:
    """What is live goes on."""


def _write_as_if_alone(self: Flavour, entries: Any, before: bytes = b"", behind: bytes = b"") -> Written:
    return _write(self, entries)


_write = Flavour.write

BREAKS = [
    Broken("trimmed by one too many", Window, "trim", _trim_one_too_many),
    Broken("the base does not move", Window, "trim", _trim_without_a_base),
    Broken(
        "a gap at the base: > for >=",
        Window,
        "after",
        _after(lambda mark, base: mark <= base, bisect_right),
    ),
    Broken(
        "an event twice: >= for >",
        Window,
        "after",
        _after(lambda mark, base: mark < base, bisect_left),
    ),
    Broken("a block from its beginning", Block, "behind", _whole_block),
    Broken("a block from one event later", Block, "behind", _one_less),
    Broken("a gap is not told", Window, "break_in", _break_in_silently),
    Broken("an await between replay and live", Fanout, "enter", _enter_later),
    Broken("live wherever it is", Fanout, "enter", _enter_anyway),
    Broken("the list is changed while iterated", Fanout, "_give", _give_while_iterating),
    Broken("a defect stops the pass", Fanout, "_give", _give_and_stop_at_a_defect),
    Broken("swapped without its new slot", Fanout, "_take_out", _swap_without_a_slot),
    Broken("out of the wrong list", Fanout, "_take_out", _take_out_of_live),
    Broken("ahead: >= for >", Fanout, "is_ahead", _ahead_or_there),
    Broken("never ahead", Fanout, "is_ahead", _never_ahead),
    Broken("a gap is told twice", Place, "take", _gap_without_moving),
    Broken("a gap goes on at the latest", Place, "_turn", _gap_to_the_latest),
    Broken("a gap of a window goes on at the latest", Place, "_next_step", _gap_goes_on_at_latest),
    Broken("what the history lacks is not told", Place, "_turn", _silent_gap),
    Broken("live with a page in hand", Place, "enter", _enter_with_a_page),
    Broken("a page twice", Place, "_from_page", _page_again),
    Broken("a position ahead is believed", Place, "_ask", _wait_unconfirmed),
    Broken("a store that was away is not asked again", Place, "_ask_later", _never_again),
    Broken("a paused reader stays live", Reader, "pause", _pause_in_words),
    Broken("one mark instead of all", Flavour, "write", _write_as_if_alone),
]


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.rule)
def test_a_broken_rule_is_noticed(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hasattr(broken.owner, broken.name), f"{broken.owner} has no {broken.name} any more: this breaks nothing"
    monkeypatch.setattr(broken.owner, broken.name, broken.instead)
    assert counterexample(3000)


def test_nothing_is_found_where_nothing_is_broken() -> None:
    assert counterexample(100) is None
