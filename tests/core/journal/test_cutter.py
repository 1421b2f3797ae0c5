"""Does a client see in what was cut what it would have seen in the stream, however the bytes came?"""

import re

import pytest
from hypothesis import given

from sseproxy.core.journal.cutter import Cut, Cutter
from sseproxy.core.stream.event_reader import EventReader
from sseproxy.core.stream.scanner import Position, Scanner
from tests.support.cut_streams import BOM, LIMIT, blocks_of, cut_streams, cuts, one_by_one, text_of
from tests.support.whatwg import parse


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
        pytest.param(b": adata: x\n\n", b"", (), id="an event in a comment"),
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


def test_the_newest_event_is_known_whatever_way_it_came() -> None:
    ways = (
        (b"data: a\n\n", (b"", b"a")),
        (b"data: b\n\n", (b"", b"b")),
        (b"data: c\n\ndata: d\n\n", (b"", b"d")),
        (b"event: e\ndata: f\n\n", (b"e", b"f")),
        (b"id: 1\ndata: g\n\n", (b"", b"g")),
        (b"event: h\r\ndata: i\r\n\r\n", (b"h", b"i")),
        (b"data\ndata: j\n: c\n\nretry: 5\n\nevent: k\n\n: c\n", (b"", b"\nj")),
        (b"data: l\n\n" * 1000 + b"data: m\n\n", (b"", b"m")),
        (b"event\ndata\n\ndata: n", (b"", b"")),
    )
    cutter = Cutter(LIMIT)
    for piece, newest in ways:
        cutter.feed(piece)
        assert cutter.last() == newest


def test_the_newest_data_may_be_shortened() -> None:
    cutter = Cutter(LIMIT)
    cutter.feed(b"event: e\ndata: " + b"a" * 5000 + b"b" * 5000 + b"\n\n")
    assert cutter.last() == (b"e", b"a" * 1024 + b"b" * 1024)
    assert cutter.last(5000) == (b"e", b"a" * 5000 + b"b" * 5000)
