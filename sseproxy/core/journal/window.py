"""Which events of one stream are kept in memory, and which of them are behind a mark?"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from math import inf
from operator import attrgetter
from typing import Final, NamedTuple, TypeAlias

from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.loose import Loose
from sseproxy.core.journal.positions import START, Mark
from sseproxy.core.journal.window_policy import WindowLimits, WindowPolicy
from sseproxy.core.limits import KIB, MIB

#: What ends each event of a block.
_BOUNDARY: Final = b"\n\n"

#: Empty slots at the front of the list that are put up with, at least.
_WORTH_CLEARING: Final = 64

#: What an entry takes beside its text, about.
_BYTES_PER_ENTRY: Final = 200

#: So many entries are packed at once, into blocks of so many bytes, and of so small a part of what is kept.
_WORTH_PACKING: Final = 32
_PACKED: Final = 8 * KIB
_PART: Final = 16


class Block(NamedTuple):
    """One or more whole events that came together.

    last: the mark of the last one; the marks of those before it differ from it in their second number, by one each.
    text: canonical: the fields as they came, LF, one blank line behind each event, no id of sseproxy.
    is_named: the upstream has ids of its own, so no event of the block gets one of sseproxy.
    """

    last: Mark
    count: int  # type: ignore[assignment]  # and no method of tuples
    text: bytes
    is_named: bool = False

    def behind(self, mark: Mark) -> "Block":
        """Return the events behind `mark`, which is before `last`: all of them, unless the block holds `mark`."""
        left = self.last[1] - mark[1]
        if mark[0] != self.last[0] or left >= self.count:
            return self
        return self._replace(count=left, text=_BOUNDARY.join(self.text.split(_BOUNDARY)[self.count - left :]))

    def events(self) -> list[tuple[Mark, bytes]]:
        """Return each event with its mark."""
        major, minor = self.last
        if self.count == 1:
            return [(self.last, self.text)]
        texts = self.text.split(_BOUNDARY)[:-1]
        return [((major, minor - self.count + 1 + index), text + _BOUNDARY) for index, text in enumerate(texts)]


@dataclass(frozen=True, slots=True)
class Break:
    """A stretch that is missing: behind `first`, up to `last`. A window keeps it among its blocks, in its place."""

    last: Mark
    first: Mark
    missing: Missing
    count: int = 1
    text: bytes = b""

    def behind(self, mark: Mark) -> "Break":
        """Return what is missing behind `mark`."""
        return self if mark == self.first else Break(self.last, mark, replace(self.missing, lost=None))


Entry: TypeAlias = Block | Break


#: Redis streams: marks are ids of entries, and a `History` is behind them.
STREAM = WindowPolicy(
    tail=WindowLimits(events=100, bytes=64 * KIB),
    most=WindowLimits(events=1000, bytes=MIB),
    least=WindowLimits(events=1),
)

#: Redis channels: marks are (0, n), dropped once all readers have passed.
CHANNEL = WindowPolicy(
    tail=WindowLimits(events=0), most=WindowLimits(bytes=MIB), least=WindowLimits(events=0), is_counted=True
)


class Spot(NamedTuple):
    """Where a reader is. epoch: that of the window when `mark` was valid."""

    epoch: int
    mark: Mark


class _Restart(NamedTuple):
    """The beginning of an epoch. end: of the one before it. missing: for a reader who was there."""

    end: Spot
    base: Mark
    missing: Missing | None


class Window:
    """The end of one stream: nothing is missing behind `base` up to `top`, but what a `Break` says.

    epoch: grows when the stream begins anew; a mark of an earlier epoch says nothing.
    bytes, events: what is kept; a `Break` counts as an event without bytes. size: the memory that it takes, about.
    broken: the end of the last `Break` that was dropped: how much is missing before it cannot be known.
    loose: the newest events, if they may come that way; they belong to the window as all others do. Only their number
    is missing in `bytes`, `events` and `size` until `settle`, which each other method calls.
    """

    # A list whose front is cleared now and then, and not a deque, in whose middle a search is slow.
    #
    # 1. Marks grow from entry to entry. What begins anew with smaller ones is another epoch.
    # 2. `base` is the mark behind which the first entry is; it moves only by whole entries.
    # 3. Dropped entries leave their slot at once, so that their bytes are free; the slots are removed when half of the
    #    list is of the kind.
    # 4. `_unpacked` and what follows it was never packed. Packing changes no mark, and no event.

    __slots__ = (
        "_first",
        "_kept",
        "_restart",
        "_times",
        "_top",
        "_unpacked",
        "base",
        "broken",
        "bytes",
        "epoch",
        "events",
        "loose",
        "size",
    )

    def __init__(self, base: Mark = START, broken: Mark = START) -> None:
        self.base = self._top = base
        self.broken = broken
        self.loose: Loose | None = None
        self.epoch = 0
        self.bytes = self.events = self.size = 0
        self._kept: list[Entry] = []
        self._times: list[float] = []
        self._first = self._unpacked = 0  # `_unpacked`: the first that was never packed
        self._restart = _Restart(Spot(-1, START), base, None)

    @property
    def top(self) -> Mark:
        """The mark of the last entry."""
        if self.loose is not None:
            self.settle()
        return self._top

    @property
    def end(self) -> Spot:
        """The spot of a reader that has everything."""
        return Spot(self.epoch, self.top)

    def settle(self) -> None:
        """Make a block of what is loose."""
        loose = self.loose
        if loose is not None and loose.texts:
            self._keep(Block(*loose.take()), loose.at)

    def tighten(self) -> None:
        """From now on nothing is loose."""
        self.settle()
        loose, self.loose = self.loose, None
        if loose is not None:
            loose.close()

    def append(self, block: Block, *, now: float) -> None:
        """Keep `block`, whose first mark is behind `top`. Nothing is trimmed by it."""
        if self.loose is not None:
            self.settle()
        self._keep(block, now)

    def _keep(self, block: Block, now: float) -> None:
        self._kept.append(block)
        self._times.append(now)
        last, count, text, _ = block
        size = len(text)
        self._top = last
        self.bytes += size
        self.size += size + _BYTES_PER_ENTRY
        self.events += count

    def break_in(self, base: Mark, missing: Missing | None, *, now: float) -> None:
        """Go on at `base`, with nothing known between `top` and it.

        missing: what readers hear who had everything up to `top`; ``None``: they have missed nothing.
        A `base` before `top` begins another epoch: what was kept is dropped, and readers who had not read it all hear
        of a gap of its reason. Where `base` is `top`, nothing fits in between, and nothing happens.
        """
        top = self.top
        if base < top:
            self._begin_epoch(base, missing)
        elif missing is not None and base > top:
            self._kept.append(Break(base, top, missing))
            self._times.append(now)
            self._top = base
            self.size += _BYTES_PER_ENTRY
            self.events += 1
        else:
            self._top = base

    def restart(self, base: Mark) -> None:
        """Begin at `base` as if new; for a window in which no reader is yet."""
        self._begin_epoch(base, None)

    def after(self, mark: Mark, *, most: float = inf) -> list[Entry] | None:
        """Return what is behind `mark`, oldest first; ``None`` if `mark` is before `base`.

        Of a block that holds `mark`, the rest. most: no further entry once there are so many bytes.
        """
        if mark < self.base:
            return None
        self.settle()
        kept = self._kept
        index = bisect_right(kept, mark, lo=self._first, key=_LAST)
        if index == len(kept):
            return []
        first = kept[index].behind(mark)
        found, size = [first], len(first.text)
        for later in range(index + 1, len(kept)):
            if size >= most:
                break
            found.append(kept[later])
            size += len(kept[later].text)
        return found

    def events_with(self, mark: Mark) -> list[tuple[Mark, bytes]]:
        """Return the event at `mark`, and those that came together with it, each with its mark; none if it is gone."""
        self.settle()
        index = bisect_left(self._kept, mark, lo=self._first, key=_LAST)
        entry = self._kept[index] if index < len(self._kept) else None
        return entry.events() if isinstance(entry, Block) and mark > self.base else []

    def is_within(self, limits: WindowLimits, *, now: float) -> bool:
        """True if what is kept is within `limits`."""
        self.settle()
        if self.bytes > limits.bytes or self.events > limits.events:  # and not `has_room`: this is asked for each event
            return False
        return limits.age == inf or self._first == len(self._kept) or now - self._times[self._first] <= limits.age

    def has_room(self, limits: WindowLimits, *, part: float = 1.0) -> bool:
        """True if what is kept is within this part of `limits`, whatever its age."""
        self.settle()
        return self.bytes <= limits.bytes * part and self.events <= limits.events * part

    def aged(self, *, now: float) -> list[tuple[Entry, float]]:
        """Return each entry that is kept, oldest first, with the seconds since it came."""
        self.settle()
        ages = (now - time for time in self._times[self._first :])
        return list(zip(self._kept[self._first :], ages, strict=True))

    def lost(self, mark: Mark) -> int | None:
        """Return how many events were dropped between `mark` and `base`, where marks count them; ``None``: unknown."""
        return self.base[1] - mark[1] if mark >= self.broken else None

    def missed(self, spot: Spot) -> tuple[Mark, Missing | None]:
        """Return where a reader of an earlier epoch goes on, and what it has missed.

        Where the stream was seen to its end before it began anew, only who had not read it all has missed anything.
        """
        end, base, missing = self._restart
        if spot == end:
            return base, missing
        return base, Missing(GapReason.UNKNOWN if missing is None else missing.reason)

    def trim(self, limits: WindowLimits, *, now: float, upto: Mark) -> None:
        """Drop the oldest entries until what is kept is within `limits`, but nothing behind `upto`.

        A block is never cut. The last entry stays, unless `limits` has no room for any event.
        """
        self.settle()
        kept, times = self._kept, self._times
        first, end = self._first, len(kept) - (limits.events > 0)
        while first < end and kept[first].last <= upto:
            is_within = self.events <= limits.events and self.bytes <= limits.bytes
            if is_within and now - times[first] <= limits.age:
                break
            entry = kept[first]
            self.base = entry.last
            if not entry.text:
                self.broken = entry.last
            self.bytes -= len(entry.text)
            self.size -= len(entry.text) + _BYTES_PER_ENTRY
            self.events -= entry.count
            kept[first] = _DROPPED
            first += 1
        self._first = first
        if first == len(kept) or first > max(_WORTH_CLEARING, len(kept) // 2):
            del kept[:first], times[:first]
            self._unpacked = max(self._unpacked - first, 0)
            self._first = 0

    def pack(self, limits: WindowLimits, *, upto: Mark, least: int = _WORTH_PACKING) -> None:
        """Join small blocks up to `upto`, the end of an entry, once there are at least so many.

        For windows whose marks count events. Each block takes memory, and time of the garbage collector. What is joined
        is dropped at once later, so it is a small part of `limits`.
        """
        self.settle()
        kept, times = self._kept, self._times
        start = max(self._unpacked, self._first)
        if len(kept) - start < least:
            return
        end = bisect_right(kept, upto, lo=start, key=_LAST)
        packed, came = _packed(kept[start:end], times[start:end], limits)
        self.size -= (end - start - len(packed)) * _BYTES_PER_ENTRY
        kept[start:end], times[start:end] = packed, came
        self._unpacked = start + len(packed)

    def _begin_epoch(self, base: Mark, missing: Missing | None) -> None:
        self._restart = _Restart(self.end, base, missing)
        self.epoch += 1
        self.base = self._top = base
        self.bytes = self.events = self.size = self._first = self._unpacked = 0
        self.broken = START
        self._kept.clear()
        self._times.clear()


def _packed(entries: list[Entry], times: list[float], limits: WindowLimits) -> tuple[list[Entry], list[float]]:
    """Return `entries` with those joined that are small, come one right after another, and at nearly the same time."""
    size = len(entries)
    if size < 2:
        return entries, times
    blocks = [entry for entry in entries if isinstance(entry, Block)]
    if len(blocks) == size and times[-1] - times[0] <= limits.age / _PART:
        _, counts, texts, _ = zip(*blocks, strict=True)
        first, last, count, text = blocks[0], blocks[-1], sum(counts), b"".join(texts)
        # Marks grow, so there is no hole if they do by as many as there are events; and what is named stays so.
        is_whole = first.last[0] == last.last[0] and last.last[1] - first.last[1] == count - first.count
        is_small = len(text) <= min(_PACKED, limits.bytes / _PART) and count <= limits.events / _PART
        if is_whole and is_small and first.is_named is last.is_named:
            return [Block(last.last, count, text, last.is_named)], times[-1:]
    half = size // 2
    older, newer = _packed(entries[:half], times[:half], limits), _packed(entries[half:], times[half:], limits)
    return older[0] + newer[0], older[1] + newer[1]


_DROPPED: Final = Block(START, 0, b"")
_LAST: Final = attrgetter("last")
