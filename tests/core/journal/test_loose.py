"""Is what is loose as good as a block, wherever it is looked at?"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.journal.cutter import Cut
from sseproxy.core.journal.intake import Intake
from sseproxy.core.journal.loose import LOOSE_BYTES, LOOSE_PIECES, Loose
from sseproxy.core.journal.positions import Mark
from sseproxy.core.journal.run import RunState
from sseproxy.core.journal.window import Block, Entry, Window
from sseproxy.core.journal.window_policy import WindowLimits
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import CloseReason

ID_LINE = b"id: r.%d-%d\n"


def event(number: int) -> bytes:
    return b"data: %d\n\n" % number


def opened(mark: Mark = (1, 0), *, until: float = inf) -> Loose:
    loose = Loose()
    loose.open(mark, until=until)
    return loose


def events_of(entries: Sequence[Entry]) -> list[tuple[Mark, bytes]]:
    return [pair for entry in entries if isinstance(entry, Block) for pair in entry.events()]


class Heard:
    """A reader that keeps what it gets."""

    def __init__(self) -> None:
        self.pieces: list[tuple[bytes, int, float]] = []
        self.failures: list[Exception] = []

    def receive(self, text: bytes, count: int, now: float) -> None:
        self.pieces.append((text, count, now))


def window_with(loose: Loose) -> Window:
    window = Window((1, 0))
    window.loose = loose
    return window


def test_a_window_has_what_is_loose_at_each_look() -> None:
    for look in ("top", "end", "after", "events_with", "aged", "append", "settle", "tighten"):
        window = window_with(opened())
        assert window.loose is not None
        window.loose.add(event(1), 1, 5.0)
        window.loose.add(event(2) + event(3), 2, 6.0)
        if look == "top":
            assert window.top == (1, 3)
        elif look == "end":
            assert window.end.mark == (1, 3)
        elif look == "after":
            assert window.after((1, 0)) == [Block((1, 3), 3, event(1) + event(2) + event(3))]
        elif look == "events_with":
            assert window.events_with((1, 2))[1] == ((1, 2), event(2))
        elif look == "aged":
            assert window.aged(now=7.0) == [(Block((1, 3), 3, event(1) + event(2) + event(3)), 1.0)]
        elif look == "append":
            window.append(Block((1, 4), 1, event(4)), now=7.0)
            assert [entry.last for entry in window.after((1, 0)) or ()] == [(1, 3), (1, 4)]
        else:
            getattr(window, look)()
            assert (window.events, window.bytes) == (3, len(event(1)) * 3)


def test_nothing_is_loose_behind_tighten() -> None:
    loose = opened()
    window = window_with(loose)
    loose.add(event(1), 1, 0.0)
    window.tighten()
    assert not loose.is_open
    assert window.loose is None
    assert window.top == (1, 1)


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=60), st.booleans())
def test_marks_and_ids_are_those_of_blocks(pieces: list[tuple[int, bool]], has_ids: bool) -> None:
    """As if each piece had become a block at once, whenever the window is looked at."""
    loose, plain, heard, number = opened(), Window((1, 0)), Heard(), 0
    window = window_with(loose)
    loose.hand_to(heard.receive, heard.failures.append, ID_LINE if has_ids else b"")
    expected = []
    for count, is_looked_at in pieces:
        text = b"".join(event(number + index + 1) for index in range(count))
        if loose.add(text, count, float(number)):
            number += count
            plain.append(Block((1, number), count, text), now=0.0)
            expected.append(ID_LINE % (1, number) + text if has_ids else text)
        if is_looked_at:
            assert window.top == plain.top
    assert [text for text, _, _ in heard.pieces] == expected
    assert (loose.events, loose.bytes) == (number, plain.bytes)
    found, wanted = window.after((1, 0)), plain.after((1, 0))
    assert found is not None
    assert wanted is not None
    assert events_of(found) == events_of(wanted)


def test_what_is_loose_is_little() -> None:
    loose, size = opened(), 0
    for number in range(1, LOOSE_PIECES + 10):
        text = b"data: " + b"x" * max(LOOSE_BYTES // number - 8, 1) + b"\n\n"
        size += len(text) if loose.add(text, 1, 0.0) else 0
    assert len(loose.texts) == LOOSE_PIECES
    assert size < 5 * LOOSE_BYTES
    assert not opened().add(b"data: " + b"x" * LOOSE_BYTES + b"\n\n", 1, 0.0)


def test_several_events_at_once_get_no_ids_here() -> None:
    loose, heard = opened(), Heard()
    loose.hand_to(heard.receive, heard.failures.append, ID_LINE)
    assert not loose.add(event(1) + event(2), 2, 0.0)
    assert loose.events == 0
    assert heard.pieces == []


def test_it_ends_with_its_time() -> None:
    loose = opened(until=10.0)
    assert loose.add(event(1), 1, 10.0)
    assert not loose.add(event(2), 1, 10.1)


def test_a_defect_of_the_reader_is_its_own() -> None:
    loose, heard = opened(), Heard()

    def defective(text: bytes, count: int, now: float) -> None:
        raise RuntimeError("a defect")

    loose.hand_to(defective, heard.failures.append, b"")
    assert loose.add(event(1), 1, 0.0)
    assert [str(error) for error in heard.failures] == ["a defect"]
    assert window_with(loose).top == (1, 1)


def test_a_reader_that_leaves_has_had_the_event() -> None:
    loose = opened()
    tops = []

    def leaving(text: bytes, count: int, now: float) -> None:
        tops.append(window.top)
        loose.close()

    window = window_with(loose)
    loose.hand_to(leaving, print, b"")
    loose.add(event(1), 1, 0.0)
    assert tops == [(1, 1)]
    assert not loose.is_open


def test_the_number_of_a_run_counts_what_is_loose() -> None:
    state = RunState(b"run", window_with(opened()))
    assert state.window.loose is not None
    state.window.loose.add(event(1), 1, 0.0)
    assert state.seq == 1
    (block,) = state.take(Cut(1, event(2)))
    assert block.last == (1, 2)
    assert state.reaches((1, 2))
    assert not state.reaches((1, 3))


# The intake.


class Room:
    """An intake, with what it takes by the long way."""

    def __init__(self, plan: StreamPlan) -> None:
        self.loose = Loose()
        self.taken: list[Cut] = []
        self.intake = Intake(plan, self._take, self.loose, now=0.0)

    def _take(self, cut: Cut, now: float) -> None:
        self.taken.append(cut)

    def receive(self, *pieces: bytes, now: float = 0.0) -> None:
        for piece in pieces:
            self.intake.receive_data(piece, now=now)

    @property
    def loose_ones(self) -> list[bytes]:
        return self.loose.texts


PLAN = StreamPlan(is_answer=True)


def _room(plan: StreamPlan = PLAN) -> Room:
    room = Room(plan)
    room.receive(event(1))
    room.loose.open((1, 1), until=inf)
    return room


@given(
    st.lists(st.sampled_from((b"data: 1\n\n", b"data: 2\r\n\r\n", b"event: e\ndata: 3\n\n", b": c\n\n", b"x\n\n"))),
    st.lists(st.integers(1, 200), max_size=8),
)
def test_the_same_events_come_however_they_are_cut(events: list[bytes], cuts: list[int]) -> None:
    text = b"".join(events)
    edges = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    room = _room()
    room.receive(*(text[start:end] for start, end in pairwise(edges)))
    canonical = [event.replace(b"\r\n", b"\n") for event in events if b"data" in event]
    assert sum(cut.count for cut in room.taken) + room.loose.events == 1 + len(canonical)
    assert event(1) + b"".join(canonical) == b"".join(cut.text for cut in room.taken) + b"".join(room.loose_ones)


def test_what_has_an_id_is_never_loose() -> None:
    room = _room()
    room.receive(b"id: 7\n" + event(2))
    assert room.loose_ones == []
    assert room.taken[-1].ids == ((0, b"7"),)


def test_nothing_goes_past_the_limit_of_an_event() -> None:
    room = _room(replace(PLAN, limits=LimitPolicy(event=100)))
    room.receive(b"data: " + b"x" * 200 + b"\n\n")
    assert room.loose_ones == []
    assert room.intake.close_reason is CloseReason.UPSTREAM_ERROR


def test_the_end_of_a_connection_ends_what_is_loose() -> None:
    room = _room()
    room.intake.receive_eof(now=1.0)
    assert not room.loose.is_open


def test_what_is_loose_is_a_sign_of_life() -> None:
    room = _room(replace(PLAN, timeouts=TimeoutPolicy(idle=10.0, max_duration=None)))
    room.receive(event(2), now=8.0)
    assert room.loose_ones == [event(2)]
    assert room.intake.next_deadline() == 18.0
    room.intake.pause_writing(unsent=0, now=9.0)
    room.intake.resume_writing(now=12.0)
    assert room.intake.next_deadline() == 21.0


def test_the_last_event_ends_the_answer_although_it_was_loose() -> None:
    room = _room(replace(PLAN, dialect=Dialect.OPENAI_CHAT))
    room.receive(event(2), b"data: [DONE]\n\n", now=3.0)
    assert room.loose_ones[-1] == b"data: [DONE]\n\n"
    deadline = room.intake.next_deadline()
    assert deadline is not None
    room.intake.handle_timeout(now=deadline)
    assert room.intake.close_reason is CloseReason.UPSTREAM_END
    assert room.intake.clean


def test_a_terminal_event_counts_only_while_it_is_the_newest() -> None:
    room = _room(replace(PLAN, dialect=Dialect.OPENAI_CHAT))
    room.receive(b"data: [DONE]\n\n", b"id: 3\n" + event(3), now=3.0)
    room.intake.handle_timeout(now=8.1)
    assert room.intake.close_reason is None


@pytest.mark.parametrize("kept", [3, 10**6])
def test_what_was_loose_is_trimmed_as_all_else(kept: int) -> None:
    window = window_with(opened())
    assert window.loose is not None
    for number in range(1, 6):
        window.loose.add(event(number), 1, 0.0)
        assert window.top == (1, number)
    window.trim(WindowLimits(events=kept), now=0.0, upto=window.top)
    assert window.events == min(kept, 5)
