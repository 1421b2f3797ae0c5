"""Is an event that is too large found in time, and does nothing else cost memory or time?"""

import time
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sseproxy.core.journal.cutter import Cutter, EventTooLarge
from tests.support.cut_streams import BOM, LIMIT, blocks_of, cut_streams, text_of
from tests.support.traced import traced


@dataclass
class Outcome:
    """What a cutter with a limit makes of a stream."""

    text: bytes = b""
    is_too_large: bool = False


def outcome(pieces: list[bytes], limit: int) -> Outcome:
    cutter, found = Cutter(limit), Outcome()
    try:
        for piece in pieces:
            cut = cutter.feed(piece)
            found.text += b"" if cut is None else cut.text
    except EventTooLarge as error:
        found.text += b"" if error.before is None else error.before.text
        found.is_too_large = True
    return found


@given(cut_streams(), st.integers(len(BOM), 40))
@example([b"data: 1\n\n", b"data: 78\n\n"], 10)
@example([b"data: 1\n\n", b"data: 789\n\n"], 10)
@example([b"data: 1\n\n", b"data: 2\n\ndata: 789\n\ndata: 3\n\n"], 10)
@example([b"data: 1\n\n", b"id: 2\ndata\n\nid: 45\ndata\n\n"], 12)
@example([b"data: 1\n\n", b"data: 2\n\ndata: 789abcdef"], 10)
@example([b"data: 78\n", b"\n"], 10)
@example([b"data: 789\n", b"\n"], 10)
@example([b"data: 78\n: c\n\n"], 10)
@example([b"data: 789\n: c\n\n"], 10)
@example([b"\n", b"data: 78\n", b"\n"], 10)
@example([b": comment comment\n", b"\n", b"data: 78\n", b": comment comment", b"\n\n"], 10)
def test_the_first_event_that_is_too_large_ends_it_whatever_the_cut(pieces: list[bytes], limit: int) -> None:
    """All events in front of it are there. Of an incomplete one, what is there counts, and the blank line to come."""
    stream = b"".join(pieces)
    blocks = blocks_of(stream)
    first = next((index for index, block in enumerate(blocks) if len(block) + 1 > limit), None)
    expected = text_of([stream]) if first is None else text_of([b"".join(block + b"\n" for block in blocks[:first])])
    found = outcome(pieces, limit)
    assert (found.is_too_large, found.text) == (first is not None, expected)


@pytest.mark.parametrize("piece", [b"x", b"xy", b"x" * 4096, b"data: x\n"], ids=["a byte", "two", "4 KiB", "lines"])
def test_an_endless_event_is_given_up_at_the_limit(piece: bytes) -> None:
    limit = 64 * 1024
    cutter = Cutter(limit)
    cutter.feed(b"data: ")
    for _ in range((limit - len(b"data: ") - 1) // len(piece)):
        assert cutter.feed(piece) is None
    with pytest.raises(EventTooLarge, match="65536 bytes") as raised:
        cutter.feed(piece)
    assert raised.value.before is None


@pytest.mark.parametrize(
    "piece",
    [b": ping\n", b": ping\n\n", b"\n", b"\r", b"event: x\n\n", b"data: x\n: c\n\n", b":" * 999, b": x\r\n: y\r\n"],
)
def test_what_is_no_event_takes_no_memory(piece: bytes) -> None:
    limit = 4096

    def prepare() -> Cutter:
        cutter = Cutter(limit)
        cutter.feed(b"data: x\n\n:")
        return cutter

    def feed(cutter: Cutter) -> None:
        for _ in range(10 * limit // len(piece)):
            cutter.feed(piece)

    size, _ = traced(prepare, feed)
    assert size < limit


def test_an_event_in_small_pieces_takes_no_more_memory_than_its_bytes() -> None:
    size = 256 * 1024

    def prepare() -> Cutter:
        cutter = Cutter(LIMIT)
        cutter.feed(b"data: ")
        return cutter

    def feed(cutter: Cutter) -> None:
        for at in range(size // 2):
            cutter.feed(b"%02d" % (at % 100))

    _, peak = traced(prepare, feed)
    assert peak < 2 * size


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"data: ", b"x" * 16),
        (b"data: x\n", b"data: 3456789ab\n"),
        (b"data: x\n", b": 3456789abcde\r\n"),
        (b": x", b"3456789abcdefghi"),
        (b"id: 1\n", b"id: 3456789abcd\n"),
        (b"id: 1\n", b"id: a\n\0\0\0\0:\nid: "),
        (b"\r", b"x\n\r\n\n\r\r\ny: z\r\r"),
    ],
)
def test_the_cost_grows_with_the_bytes_and_not_with_their_square(begin: bytes, piece: bytes) -> None:
    """In CPU time, which other processes do not add to: 16 times the bytes, far below 256 times the time."""

    def seconds(times: int) -> float:
        best = float("inf")
        for _ in range(3):
            cutter = Cutter(LIMIT)
            cutter.feed(begin)
            began = time.thread_time()
            for _ in range(times):
                cutter.feed(piece)
            cutter.feed(b"\n\n")
            best = min(best, time.thread_time() - began)
        return best

    assert seconds(32 * 1024) < 16 * 4 * seconds(2 * 1024)


@pytest.mark.parametrize(
    "stream", [b"event: x\n", b"id: x\n", b"retry: 1\n", b"data: x\n", b"id: x\ndata: y\n\n: c\n\n"]
)
def test_a_piece_that_is_plain_but_for_its_end_costs_no_square(stream: bytes) -> None:
    def seconds(times: int) -> float:
        cutter = Cutter(LIMIT)
        cutter.feed(b"data: first\n\n")
        began = time.thread_time()
        cutter.feed(stream * times + b"x\n\n")
        return time.thread_time() - began

    few, many = (min(seconds(times) for _ in range(5)) for times in (2_000, 32_000))
    assert many < 16 * 4 * few
