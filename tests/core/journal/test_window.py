"""Does a window keep what it should, and does it know what it has not? Compared with a list."""

from dataclasses import dataclass, field
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.positions import START, Mark
from sseproxy.core.journal.window import Block, Break, Entry, Spot, Window
from sseproxy.core.journal.window_policy import WindowLimits

MISSING = Missing(GapReason.STORE, 4)


def event(mark: Mark, size: int = 0) -> bytes:
    return b"data: %d-%d%b\n\n" % (*mark, b"x" * size)


def block(last: Mark, count: int = 1, size: int = 0) -> Block:
    return Block(last, count, b"".join(event((last[0], last[1] - back), size) for back in reversed(range(count))))


@dataclass
class Oracle:
    """All there ever was, as a list: (first mark or None for a gap, last mark, time)."""

    base: Mark
    entries: list[tuple[Entry, float]] = field(default_factory=list)

    @property
    def top(self) -> Mark:
        return self.entries[-1][0].last if self.entries else self.base

    def trim(self, limits: WindowLimits, now: float, upto: Mark) -> None:
        """The longest end that is within the limits, or the last entry; and what is behind `upto`."""
        start = len(self.entries)
        while start > 0 and self.is_within(start - 1, limits, now):
            start -= 1
        if limits.events > 0:
            start = min(start, max(len(self.entries) - 1, 0))
        while start > 0 and self.entries[start - 1][0].last > upto:
            start -= 1
        if start:
            self.base = self.entries[start - 1][0].last
            del self.entries[:start]

    def is_within(self, start: int, limits: WindowLimits, now: float) -> bool:
        kept = self.entries[start:]
        return (
            sum(entry.count for entry, _ in kept) <= limits.events
            and sum(len(entry.text) for entry, _ in kept) <= limits.bytes
            and now - kept[0][1] <= limits.age
        )

    def after(self, mark: Mark) -> list[tuple[Mark, bytes]] | None:
        """Each event behind `mark`; a gap as its end and no text."""
        if mark < self.base:
            return None
        found = []
        for entry, _ in self.entries:
            if isinstance(entry, Break):
                found += [(entry.last, b"")] if entry.last > mark else []
            else:
                found += [(at, text) for at, text in entry.events() if at > mark]
        return found


def flat(entries: list[Entry] | None) -> list[tuple[Mark, bytes]] | None:
    if entries is None:
        return None
    return [at for entry in entries for at in ([(entry.last, b"")] if isinstance(entry, Break) else entry.events())]


limits = st.builds(
    WindowLimits,
    events=st.sampled_from([0, 1, 2, 5, inf]),
    bytes=st.sampled_from([0, 20, 60, inf]),
    age=st.sampled_from([0, 2, 5, inf]),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2), st.integers(1, 4), st.integers(0, 30)),
        st.tuples(st.just("break"), st.integers(0, 3), st.sampled_from([MISSING, None])),
        st.tuples(st.just("trim"), limits, st.integers(0, 12)),
    ),
    max_size=90,
)


@given(st.sampled_from([START, (3, 0), (3, 7)]), steps, st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30))))
def test_a_window_is_the_end_of_a_list(base: Mark, steps: list[tuple[object, ...]], marks: list[Mark]) -> None:
    window, oracle = Window(base), Oracle(base)
    seen = [base]
    for now, step in enumerate(steps):
        match step:
            case "append", int(jump), int(count), int(size):
                last = (window.top[0] + jump, (0 if jump else window.top[1]) + count)
                window.append(block(last, count, size), now=now)
                oracle.entries.append((block(last, count, size), now))
            case "break", int(jump), missing:
                last = (window.top[0], window.top[1] + jump)
                if missing is not None and jump:
                    oracle.entries.append((Break(last, window.top, MISSING), now))
                elif not oracle.entries:
                    seen.append(last)
                if missing is None and jump:
                    continue  # a stretch in which nothing was: only the top tells, see below
                window.break_in(last, MISSING if missing else None, now=now)
            case "trim", WindowLimits() as most, int(back):
                upto = seen[-min(back + 1, len(seen))]
                window.trim(most, now=now, upto=upto)
                oracle.trim(most, now, upto)
        seen.append(window.top)
        assert (window.base, window.top) == (oracle.base, oracle.top)
        assert window.bytes == sum(len(entry.text) for entry, _ in oracle.entries)
        assert window.events == sum(entry.count for entry, _ in oracle.entries)
    for mark in {*seen, *marks}:
        assert flat(window.after(mark)) == oracle.after(mark)


@given(st.lists(st.integers(1, 5), max_size=20), st.integers(0, 60), st.integers(0, 100))
def test_a_part_is_the_beginning_and_large_enough(counts: list[int], mark: int, most: int) -> None:
    window = Window()
    for count in counts:
        window.append(block((0, window.top[1] + count), count), now=0.0)
    whole, part = window.after((0, mark)), window.after((0, mark), most=most)
    assert whole is not None
    assert part is not None
    assert part == whole[: len(part)]
    sizes = [len(entry.text) for entry in part]
    assert len(part) == len(whole) or sum(sizes) >= most
    assert sum(sizes[:-1]) < most or len(part) <= 1


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(0, 1), st.integers(1, 3), st.booleans()),
            st.tuples(st.just("break"), st.integers(1, 2)),
            st.tuples(st.just("pack"), st.integers(0, 6)),
        ),
        max_size=80,
    )
)
def test_packing_changes_no_mark_and_no_event(steps: list[tuple[object, ...]]) -> None:
    window, plain, marks = Window(), Window(), [START]
    is_named = False
    for now, step in enumerate(steps):
        match step:
            case "append", int(jump), int(count), bool(has_id):
                is_named |= has_id
                last = (window.top[0] + jump, (0 if jump else window.top[1]) + count)
                for each in (window, plain):
                    each.append(Block(last, count, block(last, count).text, is_named), now=now)
            case "break", int(jump):
                last = (window.top[0], window.top[1] + jump)
                for each in (window, plain):
                    each.break_in(last, MISSING, now=now)
            case "pack", int(back):
                window.pack(WindowLimits(), upto=marks[-min(back + 1, len(marks))], least=2)
        marks.append(window.top)
        assert (window.base, window.top, window.bytes) == (plain.base, plain.top, plain.bytes)
        assert window.events == plain.events
    for mark in marks:
        assert named(window.after(mark)) == named(plain.after(mark))


def named(entries: list[Entry] | None) -> list[tuple[Mark, bytes, bool]]:
    """Return each event, a gap as its end and no text, and whether it has an id of the upstream."""
    assert entries is not None
    return [
        (mark, text, isinstance(entry, Block) and entry.is_named)
        for entry in entries
        for mark, text in flat([entry]) or ()
    ]


def test_what_is_packed_takes_less_and_is_a_small_part_of_what_is_kept() -> None:
    window, limits = Window(), WindowLimits(events=320, age=160.0)
    for number in range(1, 201):
        window.append(block((1, number)), now=number)
        window.pack(limits, upto=window.top)
    kept = window.aged(now=200.0)
    counts = [entry.count for entry, _ in kept]
    assert sum(counts) == window.events == 200
    assert max(counts) == 8  # half of 16, a part of 20 events that came within 10 s
    assert window.size < window.bytes + 200 * 200 // 2
    window.trim(WindowLimits(events=0), now=0.0, upto=window.top)
    assert window.size == 0


def test_nothing_is_packed_behind_the_place_of_readers() -> None:
    window = Window()
    for number in range(1, 65):
        window.append(block((1, number)), now=0.0)
    window.pack(WindowLimits(), upto=(1, 40))
    assert [entry.last for entry, _ in window.aged(now=0.0) if entry.last >= (1, 40)] == [
        (1, number) for number in range(40, 65)
    ]


def test_a_stretch_without_events_is_no_gap() -> None:
    window = Window((1, 0))
    window.append(block((1, 1)), now=0.0)
    window.break_in((5, 0), None, now=0.0)
    assert window.after((1, 1)) == []
    window.append(block((5, 1)), now=0.0)
    assert flat(window.after((1, 1))) == [((5, 1), event((5, 1)))]


def test_a_gap_is_told_from_where_a_reader_is() -> None:
    """One that came from another process may know a part of what is missing here."""
    window = Window((1, 0))
    window.break_in((5, 0), MISSING, now=0.0)
    assert window.after((1, 0)) == [Break((5, 0), (1, 0), MISSING)]
    assert window.after((3, 3)) == [Break((5, 0), (3, 3), Missing(GapReason.STORE))]
    assert window.after((5, 0)) == []


def test_another_epoch_begins_with_nothing() -> None:
    window = Window((5, 0))
    window.append(block((5, 3), 3), now=0.0)
    end = window.end
    window.break_in((2, 0), MISSING, now=0.0)
    assert (window.epoch, window.base, window.top, window.bytes, window.events) == (1, (2, 0), (2, 0), 0, 0)
    assert window.missed(end) == ((2, 0), MISSING)
    assert window.missed(Spot(0, (5, 1))) == ((2, 0), Missing(GapReason.STORE))
    window.restart((1, 0))
    assert window.missed(Spot(1, (2, 0))) == ((1, 0), None)
    assert window.missed(end) == ((1, 0), Missing(GapReason.UNKNOWN))
    assert window.after((1, 0)) == []


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_dropped_takes_no_memory(count: int) -> None:
    """10^5 blocks pass in well under a second, and the list stays short."""
    window = Window()
    for number in range(100_000):
        window.append(block((number + 1, count), count), now=0.0)
        window.trim(WindowLimits(events=10), now=0.0, upto=window.top)
        assert window.events <= max(10, count)
    assert len(window.after(window.base) or ()) == 10 // count


def test_what_was_dropped_is_counted_unless_there_was_a_gap_in_it() -> None:
    window = Window()
    window.append(block((1, 2), 2), now=0.0)
    window.break_in((1, 3), MISSING, now=0.0)
    window.append(block((1, 5), 2), now=0.0)
    window.append(block((1, 6)), now=0.0)
    window.trim(WindowLimits(events=1), now=0.0, upto=window.top)
    assert window.base == (1, 5)
    assert window.lost((1, 3)) == 2
    assert window.lost((1, 2)) is None
    assert window.lost((1, 0)) is None


def test_a_gap_that_is_kept_does_not_matter_for_what_was_dropped() -> None:
    window = Window()
    window.append(block((1, 2), 2), now=0.0)
    window.break_in((1, 3), MISSING, now=0.0)
    window.append(block((1, 4)), now=0.0)
    window.trim(WindowLimits(events=2), now=0.0, upto=window.top)
    assert window.base == (1, 2)
    assert window.lost((1, 0)) == 2
