"""Does a client see in what was cut what it would have seen in the stream, however the bytes came?"""

import re
import time
import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sseproxy.core.journal.cutter import Cut, Cutter, EventTooLarge
from sseproxy.core.stream.event_reader import EventReader
from sseproxy.core.stream.scanner import Position, Scanner
from tests.support.whatwg import parse

BOM = b"\xef\xbb\xbf"
LIMIT = 1024 * 1024

LINES = (
    b"data: x", b"data: x", b"data:y", b"data", b"data:", b"data:  z", b": c", b":", b"id: 7", b"id:8", b"id", b"id:",
    b"id:  s", b"id: 9\0", b"id: \xff", b"retry: 10", b"retry: x", b"retry", b"event: e", b"event", b"event:",
    b"unknown: f", b"unknown", b"xdata", b"data : s", b" data: s", b"idle: 1", BOM, BOM + b"data: b", BOM + BOM,
    b"\xef\xbb", b"\0", "data: \u2028é\x85\v\f".encode(), b"data: : \x1e id: 3",
)  # fmt: skip
ENDS = (b"\n", b"\n", b"\n\n", b"\n\n", b"\r", b"\r\r", b"\r\n", b"\r\n\r\n", b"\n\r", b"\r\n\n", b"\n\n\n\n", b"")
#: What comes in one read, mostly: whole events.
WHOLE = (
    b"data: w\n\n", b"data: w\n\ndata: v\n\n", b"event: e\ndata: w\n\n", b"event: e\ndata: w\n\nevent: f\ndata: v\n\n",
    b"id: 1\ndata: w\n\n", b"id: 1\nevent: e\ndata: w\n\ndata: v\n\nid:\nid: 2\ndata: u\n\n", b"data: w\ndata: v\n\n",
    b"event: e\n\ndata: w\n\n", b"data: w\n\nid: a\0\ndata: v\n\n", b"data: w\r\n\r\n", b"data: w\n\n\ndata: v\n\n",
    b"event: e\nevent: f\ndata: w\n\n", b"retry: 5\n\n", b": c\n\n", b"data: w\n: c\n\ndata: v\n\n", b"id: 5\n\n",
    BOM + b"data: w\n\n", BOM + b"data: w\ndata: v\n\n", b"event: e\r\ndata: w\r\n\r\ndata: v\r\n\r\n", b"data: w\r\r",
    b"data: w\n\ndata: v\nid: 6\n\n", b"data: \rid: 3\n\n", b"event: \rid: 3\ndata: w\n\n", b"id: 3\r\ndata: w\n\r\n",
)  # fmt: skip

SOUP = st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(ENDS)), min_size=1, max_size=6).map(
    lambda lines: b"".join(line + end for line, end in lines)
)
READS = st.lists(st.one_of(st.sampled_from(WHOLE), SOUP), max_size=8)
SIZES = st.lists(st.sampled_from((0, 1, 1, 2, 3, 7, 50)), max_size=60)


@st.composite
def cut_streams(draw: st.DrawFn) -> list[bytes]:
    """A stream as it is read: each piece as it was sent, or cut anywhere."""
    reads = draw(READS)
    if draw(st.booleans()):
        return reads
    stream, pieces = b"".join(reads), []
    for size in draw(SIZES):
        pieces.append(stream[:size])
        stream = stream[size:]
    return [*pieces, stream]


def cuts(pieces: Iterable[bytes], limit: int = LIMIT) -> list[Cut]:
    cutter = Cutter(limit)
    return [cut for cut in map(cutter.feed, pieces) if cut is not None]


def text_of(pieces: Iterable[bytes]) -> bytes:
    return b"".join(cut.text for cut in cuts(pieces))


def one_by_one(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


def blocks_of(stream: bytes) -> list[bytes]:
    """The lines of each block but comments, in words of this file; at last what is incomplete."""
    blocks = [b""]
    *lines, rest = re.split(rb"(?>\r\n|\r|\n)", stream.removeprefix(BOM))
    for line in lines:
        if not line:
            blocks.append(b"")
        elif not line.startswith(b":"):
            blocks[-1] += line + b"\n"
    blocks[-1] += b"" if rest.startswith(b":") else rest
    return blocks


@given(cut_streams())
def test_a_client_sees_the_same(pieces: list[bytes]) -> None:
    meant, seen = parse(b"".join(pieces)), parse(text_of(pieces))
    assert seen.events == meant.events
    assert seen.last_event_id == meant.last_event_id
    assert seen.retries == meant.retries[: len(seen.retries)]


@given(cut_streams())
def test_a_reconnection_time_is_kept_with_its_block(pieces: list[bytes]) -> None:
    pieces = [*pieces, b"\n\n"]
    assert parse(text_of(pieces)).retries == parse(b"".join(pieces)).retries


@given(cut_streams())
def test_the_form_is_canonical(pieces: list[bytes]) -> None:
    for cut in cuts(pieces):
        assert cut.text.endswith(b"\n\n")
        blocks = cut.text.split(b"\n\n")[:-1]
        assert len(blocks) == cut.count > 0
        for block in blocks:
            assert not block.startswith((b"\n", b":", BOM))
            assert b"\n:" not in block
            assert b"\r" not in block


@given(cut_streams())
def test_the_lines_are_those_of_the_stream(pieces: list[bytes]) -> None:
    """Fields as they came; of the blocks those that change something for a client."""
    meant = [
        b"".join(line + b"\n" for line in block.split(b"\n")[:-1] if not line.startswith(BOM))
        for block in blocks_of(b"".join(pieces))[:-1]
    ]
    fields = re.compile(rb"(?m)^(?:data|id|retry)(?::|$)")
    assert text_of(pieces) == b"".join(block + b"\n" for block in meant if fields.search(block))


@given(cut_streams())
def test_each_entry_is_the_same_event_where_it_comes_first(pieces: list[bytes]) -> None:
    """A reader may begin anywhere, and what begins its stream is not taken for a byte order mark."""
    alone = [
        event for cut in cuts(pieces) for block in cut.text.split(b"\n\n") for event in parse(block + b"\n\n").events
    ]
    assert [event[:2] for event in alone] == [event[:2] for event in parse(b"".join(pieces)).events]


@given(cut_streams())
def test_ids_are_those_that_the_client_takes(pieces: list[bytes]) -> None:
    for cut in cuts(pieces):
        meant = []
        for index, block in enumerate(cut.text.split(b"\n\n")[:-1]):
            taken = parse(b"id: none\n\n" + block + b"\n\n").last_event_id
            if taken != "none":
                meant.append((index, taken))
        assert [(index, value.decode("utf-8", "replace")) for index, value in cut.ids] == meant


@given(cut_streams())
def test_the_newest_event_is_known(pieces: list[bytes]) -> None:
    cutter = Cutter(LIMIT)
    seen = b""
    for piece in pieces:
        cutter.feed(piece)
        seen += piece
        events = parse(seen).events
        name, data = (part.decode("utf-8", "replace") for part in cutter.last())
        assert (name or "message", data) == (events[-1][:2] if events else ("message", ""))


@given(cut_streams())
def test_between_events_is_where_the_session_says(pieces: list[bytes]) -> None:
    """As scanner and event reader of a session do; but a comment may be incomplete, and so may the mark."""
    cutter, scanner, reader = Cutter(LIMIT), Scanner(), EventReader()
    seen = b""
    for piece in filter(None, pieces):
        cutter.feed(piece)
        scanner.feed(piece)
        seen += piece
        reader = EventReader()
        reader.feed(seen.removeprefix(BOM), 0.0)
        line = re.split(rb"[\r\n]", seen)[-1]
        is_void = scanner.position is not Position.MID_LINE or line.startswith(b":")
        if BOM.startswith(seen):
            is_void = True
        assert cutter.is_between_events is (is_void and reader.is_void), seen


@pytest.mark.parametrize(
    ("stream", "text", "ids"),
    [
        pytest.param(b"", b"", (), id="nothing"),
        pytest.param(b"data: x", b"", (), id="an incomplete line at the end"),
        pytest.param(b"data: x\n", b"", (), id="an incomplete event at the end"),
        pytest.param(b"data: x\r\n\r", b"data: x\n\n", (), id="half a CRLF at the end"),
        pytest.param(b"data: x\r\n\r\ndata: y\n\n", b"data: x\n\ndata: y\n\n", (), id="CRLF"),
        pytest.param(b"data: x\r\rdata: y\r\r", b"data: x\n\ndata: y\n\n", (), id="CR"),
        pytest.param(b"data: x\n\rdata: y\r\n\ndata: z\n\r\n", b"data: x\n\ndata: y\n\ndata: z\n\n", (), id="mixed"),
        pytest.param(b"\n\r\n\r\n\n\ndata: x\n\n\n\n\r\r\n", b"data: x\n\n", (), id="many blank lines"),
        pytest.param(BOM + b"data: x\n\n", b"data: x\n\n", (), id="a mark at the start"),
        pytest.param(BOM + BOM + b"data: x\n\n", b"", (), id="a second one belongs to a field"),
        pytest.param(BOM + b"data\nid\n\n", b"data\nid\n\n", ((0, b""),), id="a mark, fields without values"),
        pytest.param(BOM[:2] + b"data: x\ndata: y\n\n", BOM[:2] + b"data: x\ndata: y\n\n", (), id="half a mark"),
        pytest.param(b"data: x\n\n" + BOM + b"data: y\ndata: z\n\n", b"data: x\n\ndata: z\n\n", (), id="a mark later"),
        pytest.param(b": a\n\n: b\n:\n\n", b"", (), id="only comments"),
        pytest.param(b"data: x\n: c\ndata: y\n:d\n\n", b"data: x\ndata: y\n\n", (), id="comments in an event"),
        pytest.param(b"data: x\n: c\n\ndata: y\n\n", b"data: x\n\ndata: y\n\n", (), id="a comment before a blank line"),
        pytest.param(b"data:\n:id: 3\n\n", b"data:\n\n", (), id="a field in a comment"),
        pytest.param(b"event: ping\n\ndata: x\n\n", b"data: x\n\n", (), id="only a type"),
        pytest.param(b"foo\n\nfoo: data\nbar\n\nxdata: 1\n\n", b"", (), id="only unknown fields"),
        pytest.param(b"foo: 1\ndata: x\n\n", b"foo: 1\ndata: x\n\n", (), id="an unknown field in an event"),
        pytest.param(b"retry: 5\n\n", b"retry: 5\n\n", (), id="only a reconnection time"),
        pytest.param(b"id: 5\n\n", b"id: 5\n\n", ((0, b"5"),), id="only an id"),
        pytest.param(b"data: x\nid\n\n", b"data: x\nid\n\n", ((0, b""),), id="an id without a value"),
        pytest.param(b"id: 1\nid: 2\ndata: x\n\n", b"id: 1\nid: 2\ndata: x\n\n", ((0, b"2"),), id="two ids"),
        pytest.param(b"data: x\nid: a\0\n\n", b"data: x\nid: a\0\n\n", (), id="NUL in an id"),
        pytest.param(b"id: a\0\ndata: x\n\n", b"id: a\0\ndata: x\n\n", (), id="NUL in an id that comes first"),
        pytest.param(b"id:1\nid:2\0\ndata\n\n", b"id:1\nid:2\0\ndata\n\n", ((0, b"1"),), id="NUL in the second id"),
        pytest.param(b"data: x\n\nid:  1\ndata\n\n", b"data: x\n\nid:  1\ndata\n\n", ((1, b" 1"),), id="two spaces"),
        pytest.param(b"idx: 1\ndata: x\n\n", b"idx: 1\ndata: x\n\n", (), id="what begins like an id"),
        pytest.param(b"data: x\n\nid: 1\n\nfoo\n\nid: 2\ndata\n\n", b"data: x\n\nid: 1\n\nid: 2\ndata\n\n",
                     ((1, b"1"), (2, b"2")), id="an index counts entries"),
        pytest.param(b"data: a\rid: 3\n\n", b"data: a\nid: 3\n\n", ((0, b"3"),), id="a field behind a lone CR"),
    ],
)  # fmt: skip
def test_hostile_streams(stream: bytes, text: bytes, ids: tuple[tuple[int, bytes], ...]) -> None:
    """For every cut in two, and byte by byte: behind an event, and at the start of the stream."""
    ways = [[stream[:at], stream[at:]] for at in range(len(stream))] + [[stream], one_by_one(stream)]
    for pieces in ways:
        found, index = [], 0
        for cut in cuts(pieces):
            found += [(index + at, value) for at, value in cut.ids]
            index += cut.count
        assert (text_of(pieces), tuple(found)) == (text, ids), pieces
        if not stream.startswith(BOM):
            assert text_of([b"data: first\n\n", *pieces]) == b"data: first\n\n" + text, pieces


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"data: x\n\n", 1),
        (b"data: x\n\ndata: y\n\n", 2),
        (b"event: a\ndata: x\n\n", 1),
        (b"event: a\ndata: x\ndata: y\n\nevent: b\ndata: z\n\n", 2),
        (b"id: 1\ndata: x\n\n", 1),
        (b"id: 1\nevent: a\ndata: x\n\nid: 2\nretry: 5\ndata: y\n\n", 2),
    ],
)
def test_what_is_plainly_whole_events_is_not_copied(data: bytes, count: int) -> None:
    cutter = Cutter(LIMIT)
    cutter.feed(b"data: first\n\n")
    cut = cutter.feed(data)
    assert cut is not None
    assert cut.count == count
    assert cut.text is data


def test_a_comment_and_nothing_complete_no_event() -> None:
    cutter = Cutter(LIMIT)
    assert [cutter.feed(data) for data in (b": ping\n\n", b"", b"data: x\n", b"", b": ping\n")] == [None] * 5
    assert cutter.feed(b"\n") == Cut(1, b"data: x\n\n")


def test_an_empty_piece_changes_nothing() -> None:
    assert text_of([b"data: x\r", b"", b"\n", b"", b"data: y\r\n\r", b"", b"\n", b"data: z\n\n"]) == (
        b"data: x\ndata: y\n\ndata: z\n\n"
    )


def test_the_newest_data_may_be_shortened() -> None:
    cutter = Cutter(LIMIT)
    cutter.feed(b"event: e\ndata: " + b"a" * 5000 + b"b" * 5000 + b"\n\n")
    assert cutter.last() == (b"e", b"a" * 1024 + b"b" * 1024)
    assert cutter.last(5000) == (b"e", b"a" * 5000 + b"b" * 5000)


# What may not be kept.


@dataclass
class Outcome:
    """What a cutter with a limit makes of a stream."""

    text: bytes = b""
    is_too_large: bool = False
    pieces: list[bytes] = field(default_factory=list)


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
@example([b"data: first\n\n", b"data: 78\n\n"], 10)
@example([b"data: first\n\n", b"data: 789\n\n"], 10)
@example([b"data: 78\n", b"\n"], 10)
@example([b"data: 789\n", b"\n"], 10)
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
    cutter = Cutter(limit)
    cutter.feed(b"data: x\n\n:")
    tracemalloc.start()
    try:
        for _ in range(50 * limit // len(piece)):
            cutter.feed(piece)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < limit


def test_an_event_in_small_pieces_takes_no_more_memory_than_its_bytes() -> None:
    size = 256 * 1024
    cutter = Cutter(LIMIT)
    cutter.feed(b"data: ")
    tracemalloc.start()
    try:
        for at in range(size // 2):
            cutter.feed(b"%02d" % (at % 100))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
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
