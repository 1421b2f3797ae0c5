"""Is a position read back as it was written, and is nothing else taken for one?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.journal.positions import (
    LONGEST,
    MOST,
    START,
    Mark,
    around,
    named_position,
    predecessor,
    read_mark,
    read_position,
    without_position,
    write_mark,
    write_position,
)

numbers = st.one_of(st.integers(0, 3), st.integers(0, MOST), st.just(MOST))
marks = st.tuples(numbers, numbers)
vectors = st.lists(marks, min_size=1, max_size=8)


@given(vectors)
def test_a_position_is_read_back(vector: list[Mark]) -> None:
    written = write_position(vector)
    assert len(written) <= LONGEST
    assert read_position(written, len(vector)) == tuple(vector)


@given(vectors, st.integers(1, 9))
def test_a_position_in_another_number_of_streams_is_none(vector: list[Mark], size: int) -> None:
    assert (read_position(write_position(vector), size) is not None) is (size == len(vector))


@given(vectors, st.data())
def test_what_is_around_a_mark_makes_the_position(vector: list[Mark], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(vector) - 1))
    before, behind = around(vector, index)
    assert before + write_mark(vector[index]) + behind == write_position(vector)


@given(st.one_of(st.binary(max_size=40), st.text("0123456789-.V +", max_size=24).map(str.encode)), st.integers(1, 3))
def test_what_is_read_is_what_would_be_written(text: bytes, size: int) -> None:
    """So that no two spellings are one position."""
    position = read_position(text, size)
    assert position is None or write_position(position) == text


HOSTILE = [
    b"", b"-", b"1", b"1-", b"-1", b"1-2-3", b"01-2", b"1-02", b"+1-2", b"1-+2", b" 1-2", b"1-2 ", b"1-2\n", b"\n1-2",
    b"1_0-2", b"0x1-2", b"1.0-2", b"1e3-2", b"18446744073709551616-0", b"0-18446744073709551616", b"9" * 30 + b"-0",
    b"1-2\0", "\u0661-2".encode(), "\uff11-2".encode(), b"V.1-2", b"$", b"*", b"oldest", b"9" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_mark_is_not_read(text: bytes) -> None:
    assert read_mark(text) is None
    assert read_position(text, 1) is None


@pytest.mark.parametrize(
    "text",
    [
        b"1-2.3-4",
        b"v.1-2.3-4",
        b"V.1-2",
        b"V.1-2.",
        b"V..1-2",
        b"V.1-2.3-4.5-6",
        b"V.1-2.x",
        b"V.1-2,3-4",
        b"V.V.1-2.3-4",
    ],
)
def test_what_is_no_vector_is_not_read(text: bytes) -> None:
    assert read_position(text, 2) is None


def test_a_position_may_not_be_longer_than_its_limit() -> None:
    assert read_position(b"V." + b".".join([b"1-1"] * 127), 127) is not None
    assert read_position(b"V." + b".".join([b"1-1"] * 128), 128) is None


@given(marks, marks)
def test_nothing_lies_between_a_mark_and_its_predecessor(mark: Mark, other: Mark) -> None:
    before = predecessor(mark)
    assert before < mark or mark == START
    assert not before < other < mark


@pytest.mark.parametrize(
    ("fields", "query", "expected"),
    [
        ([(b"Last-Event-ID", b"1-2")], b"", b"1-2"),
        ([(b"LAST-event-id", b"1-2")], b"last-event-id=3-4", b"1-2"),
        ([(b"Last-Event-ID", b"")], b"last-event-id=3-4", b"3-4"),
        ([], b"last-event-id=3-4", b"3-4"),
        ([], b"a=1&lastEventId=3-4&b", b"3-4"),
        ([], b"last_event_id=3-4", b"3-4"),
        ([], b"last%2Devent%2did=3%2D4", b"3-4"),
        ([], b"last-event-id=V.1-2%2E3-4", b"V.1-2.3-4"),
        ([], b"last-event-id=a+b%", b"a b%"),
        ([], b"last-event-id=&lastEventId=3-4", b"3-4"),
        ([], b"last-event-id=", None),
        ([], b"last-event-id", None),
        ([], b"Last-Event-Id=3-4&lasteventid=1&x=last-event-id", None),
        ([(b"X", b"1")], b"", None),
    ],
)
def test_where_a_request_names_its_position(
    fields: list[tuple[bytes, bytes]], query: bytes, expected: bytes | None
) -> None:
    assert named_position(fields, query) == expected


@pytest.mark.parametrize(
    ("query", "rest"),
    [
        (b"", b""),
        (b"last-event-id=1-2", b""),
        (b"a=%41&last-event-id=1-2&b=+&lastEventId&last_event_id=&&c", b"a=%41&b=+&&c"),
        (b"last%2devent-id=1", b""),
        (b"x=last-event-id", b"x=last-event-id"),
    ],
)
def test_a_position_is_taken_off_the_query(query: bytes, rest: bytes) -> None:
    assert without_position(query) == rest
    assert named_position([], rest) is None


def test_only_some_positions_are_taken_off_the_query() -> None:
    query = b"a=3-4&last-event-id=1-2&lastEventId=3%2d4&last_event_id&b"
    assert without_position(query, lambda value: value == b"3-4") == b"a=3-4&last-event-id=1-2&last_event_id&b"
    assert without_position(query, lambda value: not value) == b"a=3-4&last-event-id=1-2&lastEventId=3%2d4&b"
