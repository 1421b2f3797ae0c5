"""How much memory do all runs of a process take, and which of them is the first to go when it is too much?"""

import heapq
from collections import OrderedDict
from itertools import count
from math import inf
from typing import Final, Protocol

from sseproxy.journal.budget import Shrinking

#: What a run takes beside its window, about: its state, its head, its fan-out.
BYTES_PER_RUN: Final = 6 * 1024

#: A window is large that has more than one part of all memory, out of so many.
_LARGE: Final = 256

#: A window with so many bytes is not halved.
_SMALL: Final = 4 * 1024


class Holder(Protocol):
    """A run, as its budget sees it."""

    @property
    def is_answer(self) -> bool:
        """True if its window must not lose anything while it is under way."""

    @property
    def is_spare(self) -> bool:
        """True if nothing comes, and no client reads it: it has ended or sleeps."""

    def halve(self) -> None:
        """Keep half of the window, and note how much that is."""

    def forget(self) -> None:
        """Drop the run, and `Share.close`."""


class Share:
    """What one run takes of a `RunBudget`; the budget of its window. size: bytes of the window."""

    __slots__ = ("_budget", "holder", "size")

    def __init__(self, budget: "RunBudget", holder: Holder) -> None:
        self._budget: RunBudget | None = budget
        self.holder = holder
        self.size = 0

    def note(self, _: Shrinking, size: int) -> None:
        """The window has `size` bytes now."""
        budget = self._budget
        if budget is None:
            return  # readers of a run that is forgotten still read it to its end
        total = budget.total = budget.total + size - self.size
        self.size = size
        if total > budget.line:
            budget.reclaim()

    @property
    def is_short(self) -> bool:
        """True if all runs have more than they may have, so that none should grow."""
        return self._budget is not None and self._budget.is_short

    def end(self) -> None:
        """The run has ended: from now on it may be forgotten while it is spare. May forget it at once."""
        if self._budget is not None:
            self._budget.set_aside(self, has_ended=True)

    def sleep(self) -> None:
        """The feed sleeps: it may be forgotten while it is spare, once nothing else helps. May forget it at once."""
        if self._budget is not None:
            self._budget.set_aside(self, has_ended=False)

    def wake(self) -> None:
        """The feed goes on."""
        if self._budget is not None:
            self._budget.take_back(self)

    def close(self) -> None:
        """The run takes nothing any more. Calling it again changes nothing."""
        budget, self._budget = self._budget, None
        if budget is not None:
            budget.remove(self)
            del self.holder  # which leads back here


class RunBudget:
    """The bytes of all runs of a process. memory, most: that they may have; total: that they have.

    line: a share that brings `total` above it has to call `reclaim`.
    """

    # Beyond `memory` what costs the fewest clients anything goes first:
    #
    #   1. runs that have ended, in the order in which they did;
    #   2. half of each window of a feed that is large, the largest first, until an eighth of all memory is free;
    #   3. feeds that sleep, in the order in which they fell asleep;
    #   4. half of the windows that are not so large, too;
    #   5. half of each window of an answer that is under way, the largest first: what goes is its beginning, which no
    #      client that reads it still has to get (`Share.is_short`);
    #   6. then there is no room for new runs.
    #
    # A million small feeds, which clients open and leave, so cost the others their windows last.
    #
    # Invariants
    #   1. `total` is the sum of all shares: of each the size of its window, and `BYTES_PER_RUN`.
    #   2. As long as `total` is not above `line`, a note is a few additions. Where reclaiming frees too little, `line`
    #      is a sixteenth above `total`: to try again at each event would take all the time there is.
    #   3. A run of `_ended` or `_asleep` that has a reader is left there, behind all others, and looked at again.
    #
    # Hazards: each window that is halved notes it, and each run that is forgotten closes its share, while `reclaim`
    # goes over them; a run that is forgotten in the call in which it ends.

    def __init__(self, memory: int) -> None:
        self.total = 0
        self.line: float = memory
        self.most = memory
        self._runs = 0
        self._feeds: set[Share] = set()
        self._answers: set[Share] = set()
        self._ended: OrderedDict[Share, None] = OrderedDict()
        self._asleep: OrderedDict[Share, None] = OrderedDict()

    def __len__(self) -> int:
        """How many runs have a share."""
        return self._runs

    @property
    def is_short(self) -> bool:
        """True if `total` is above `memory`."""
        return self.total > self.most

    def share(self, holder: Holder) -> Share:
        """Return the share of a new run. The caller must `close` it later."""
        share = Share(self, holder)
        self._runs += 1
        (self._answers if holder.is_answer else self._feeds).add(share)
        self.total += BYTES_PER_RUN
        if self.total > self.line:
            self.reclaim()
        return share

    def has_room(self) -> bool:
        """Return whether there is room for a new run; for its sake runs are forgotten, but no window is halved."""
        if self.total + BYTES_PER_RUN <= self.most:
            return True
        goal = self.most - BYTES_PER_RUN
        self._forget(self._ended, goal)
        self._forget(self._asleep, goal)
        return self.total <= goal

    def reclaim(self) -> None:
        """Bring `total` to `memory`, as far as that is possible."""
        self.line = inf
        try:
            self._forget(self._ended, self.most)
            if self.total > self.most:
                self._halve(self._feeds, self.most // _LARGE, self.most - self.most // 8)
            # Some more than has to be, so that windows are not looked through again at the very next event.
            if self.total > self.most:
                self._forget(self._asleep, self.most - self.most // 64)
            if self.total > self.most:
                self._halve(self._feeds, _SMALL, self.most - self.most // 8)
            if self.total > self.most:
                self._halve(self._answers, _SMALL, self.most)
        finally:
            is_enough = self.total <= self.most
            self.line = self.most if is_enough else self.total + self.most // 16

    # The shares' side.

    def set_aside(self, share: Share, *, has_ended: bool) -> None:
        """Count `share` among those that may be forgotten."""
        self.take_back(share)
        (self._ended if has_ended else self._asleep)[share] = None
        if self.total > self.most:
            self.reclaim()

    def take_back(self, share: Share) -> None:
        """Count `share` no longer among those that may be forgotten."""
        self._ended.pop(share, None)
        self._asleep.pop(share, None)

    def remove(self, share: Share) -> None:
        """Count `share` no longer."""
        self.take_back(share)
        self._feeds.discard(share)
        self._answers.discard(share)
        self._runs -= 1
        self.total -= share.size + BYTES_PER_RUN

    # Private.

    def _forget(self, row: OrderedDict[Share, None], goal: int) -> None:
        """Forget runs until `total` is `goal`, or none is spare; first what has been in `row` for the longest."""
        for _ in range(len(row)):
            if self.total <= goal or not row:
                break
            share = next(iter(row))
            row.move_to_end(share)
            if share.holder.is_spare:
                share.holder.forget()

    def _halve(self, shares: set[Share], least: int, goal: int) -> None:
        """Halve the windows that have more than `least` bytes, the largest first, until `total` is `goal`."""
        number = count()
        largest = [(-share.size, next(number), share) for share in shares if share.size > least]
        heapq.heapify(largest)
        while largest and self.total > goal:
            before, _, share = heapq.heappop(largest)
            share.holder.halve()
            if least < share.size < -before:
                heapq.heappush(largest, (-share.size, next(number), share))
