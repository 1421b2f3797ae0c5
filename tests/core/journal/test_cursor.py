"""Does a reader get exactly what is behind its mark, in chunks of any size, as its client can read it?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.journal.cursor import PLAIN, Flavour, following
from sseproxy.core.journal.gap import GapPolicy, GapReason, Missing
from sseproxy.core.journal.positions import Mark, around, write_mark, write_position
from sseproxy.core.journal.window import Block, Break, Entry, Spot, Window
from sseproxy.core.journal.window_policy import WindowLimits
from tests.support.whatwg import Event, parse

IDS = Flavour()
#: Canonical events, and what a client makes of each; ``None``: it dispatches nothing.
SHAPES = [
    (b"data: a\n\n", ("message", "a")),
    (b"data\n\n", ("message", "")),
    (b"event: x\ndata: a\ndata:\ndata:  b\n\n", ("x", "a\n\n b")),
    (b"retry: 5\n\n", None),
    (b"data: \xc3\xa4%d\nevent: %b\n\n", ("%b", "ä%d")),
    (b"idle: 1\ndata: id: 7\n\n", ("message", "id: 7")),
]
blocks = st.lists(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=4), max_size=12)


def filled(blocks: list[list[tuple[bytes, tuple[str, str] | None]]]) -> tuple[Window, list[tuple[Mark, Event | None]]]:
    window, events = Window((1, 5)), []
    for block in blocks:
        first = window.top[1] + 1
        for index, (_, seen) in enumerate(block):
            mark = (1, first + index)
            events.append((mark, None if seen is None else Event(*seen, write_mark(mark).decode())))
        window.append(Block((1, first + len(block) - 1), len(block), b"".join(text for text, _ in block)), now=0.0)
    return window, events


@given(
    blocks,
    st.integers(5, 40),
    st.integers(1, 60),
    st.binary(max_size=5).filter(lambda prefix: not set(prefix) & {0, 10, 13}),
)
def test_chunks_of_any_size_make_the_same_events(
    blocks: list[list[tuple[bytes, tuple[str, str] | None]]], seq: int, most: int, prefix: bytes
) -> None:
    window, events = filled(blocks)
    flavour = Flavour(prefix=b"R%d." + prefix)
    spot, out, plain = Spot(0, min((1, seq), window.top)), b"", b""
    begin = spot.mark
    while True:
        step = following(window, spot, upto=window.top, most=most)
        assert step is not None
        out += flavour.write(step.entries).text
        plain += PLAIN.write(step.entries).text
        if step.to == spot:
            break
        assert spot.mark < step.to.mark <= window.top
        spot = step.to
    behind = [(mark, event) for mark, event in events if mark > begin]
    name = flavour.prefix.decode("utf-8", "replace")
    expected = [event for _, event in behind if event is not None]
    assert parse(out).events == [Event(event.type, event.data, name + event.last_event_id) for event in expected]
    assert parse(plain).events == [Event(event.type, event.data, "") for event in expected]
    assert parse(out).last_event_id == (name + write_mark(behind[-1][0]).decode() if behind else "")


@given(blocks, st.integers(5, 40), st.integers(0, 12), st.integers(1, 60))
def test_a_reader_stops_where_it_shall(
    blocks: list[list[tuple[bytes, tuple[str, str] | None]]], seq: int, stop: int, most: int
) -> None:
    window, _ = filled(blocks)
    ends = [(1, 5), *(entry.last for entry in window.after((1, 5)) or ())]
    upto = ends[min(stop, len(ends) - 1)]
    spot = Spot(0, min((1, seq), upto))
    for _ in range(100):
        step = following(window, spot, upto=upto, most=most)
        assert step is not None
        if step.to == spot:
            break
        spot = step.to
    assert spot.mark == upto


def test_where_nothing_was_the_reader_goes_on() -> None:
    window = Window((1, 0))
    window.break_in((7, 0), None, now=0.0)
    assert following(window, Spot(0, (1, 0)), upto=window.top, most=9) == ([], Spot(0, (7, 0)))


def test_a_reader_that_fell_out_is_not_given_the_rest() -> None:
    window = Window()
    for number in (1, 2, 3):
        window.append(Block((0, number), 1, b"data\n\n"), now=0.0)
    window.trim(WindowLimits(events=1), now=0.0, upto=window.top)
    assert following(window, Spot(0, (0, 1)), upto=window.top, most=9) is None
    assert following(window, Spot(0, (0, 2)), upto=window.top, most=9) is not None


def test_a_reader_of_an_earlier_epoch_hears_of_it_once() -> None:
    window = Window((5, 0))
    spot = window.end
    window.break_in((2, 0), Missing(GapReason.STORE, 3), now=0.0)
    window.append(Block((2, 1), 1, b"data: 1\n\n"), now=0.0)
    step = following(window, spot, upto=window.top, most=9)
    assert step is not None
    assert step.entries == (Break((2, 0), (5, 0), Missing(GapReason.STORE, 3)),)
    assert step.to == (1, (2, 0))
    assert step.has_gap
    step = following(window, step.to, upto=window.top, most=9)
    assert step is not None
    assert not step.has_gap


def test_a_silent_new_epoch_is_no_gap() -> None:
    window = Window((5, 0))
    spot = window.end
    window.break_in((2, 0), None, now=0.0)
    assert following(window, spot, upto=window.top, most=9) == ((), Spot(1, (2, 0)))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8), st.data())
def test_a_vector_is_written_around_each_event(marks: list[Mark], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(marks) - 1))
    major, minor = marks[index]
    entries: list[Entry] = [
        Block((major, minor + 2), 2, b"data: 1\n\ndata: 2\n\n"),
        Break((major, minor + 7), (major, minor + 2), Missing(GapReason.TRIMMED, 5)),
    ]
    written = Flavour(gap=GapPolicy("lost")).write(entries, *around(marks, index))

    def at(seq: int) -> str:
        return write_position([*marks[:index], (major, minor + seq), *marks[index + 1 :]]).decode()

    gap = f'{{"reason": "trimmed", "from": "{at(2)}", "lost": 5}}'
    events = [Event("message", "1", at(1)), Event("message", "2", at(2)), Event("lost", gap, at(7))]
    assert parse(written.text).events == events
    assert (written.gaps, written.is_cut) == (1, False)


@pytest.mark.parametrize("front", [0, 1, 2])
def test_a_client_without_ids_is_cut_off_where_something_is_missing(front: int) -> None:
    entries: list[Entry] = [Block((0, number), 1, b"data: %d\n\n" % number) for number in (1, 2)]
    entries.insert(front, Break((0, 9), (0, 0), Missing(GapReason.TRIMMED)))
    written = PLAIN.write(entries)
    assert [event.data for event in parse(written.text).events] == ["1", "2"][:front]
    assert (written.gaps, written.is_cut) == (0, True)
    assert IDS.write(entries).is_cut is False
