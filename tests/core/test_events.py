"""Are events written as a client reads them, and fields and boundaries found where they are?"""

import itertools
import random
from collections.abc import Callable, Iterator

import pytest

from sseproxy.core.stream.event_reader import EventReader
from sseproxy.core.stream.events import (
    comment,
    event,
    first_boundary,
    has_id,
    last_data,
    one_line_events,
    reconnection_time,
    whole_events,
)
from tests.core.test_scanner import ByteByByte, all_streams
from tests.support.whatwg import Event, parse

EOLS = pytest.mark.parametrize("eol", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])


@EOLS
@pytest.mark.parametrize("text", ["heartbeat", "", "a: b", "data: x", "é"])
def test_a_comment_is_one_line_that_says_nothing(text: str, eol: bytes) -> None:
    line = comment(text, eol=eol)
    assert line.startswith(b":")
    assert line.count(eol) == 1
    seen = parse(b"data: x" + eol + line + b"data: y" + eol * 2)
    assert seen.events == [Event("message", "x\ny", "")]


@EOLS
@pytest.mark.parametrize("text", ["x", "", "a\nb", "a\r\nb\rc\n", " led by a space", "a\u2028b"])
def test_an_event_arrives_as_it_was_meant(text: str, eol: bytes) -> None:
    seen = parse(event(text, name="kind", retry=7, eol=eol))
    assert seen.events == [Event("kind", "\n".join(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")), "")]
    assert seen.retries == [7]


@EOLS
def test_a_reconnection_time_dispatches_nothing(eol: bytes) -> None:
    seen = parse(reconnection_time(1500, eol=eol))
    assert (seen.events, seen.retries) == ([], [1500])


@pytest.mark.parametrize(
    "lines",
    [b"id: 1\n", b"id:1\n", b"id\n", b"id", b"id:\r\n", b"data: x\nid: 1\n", b"data: x\rid\r", b"a\r\nid: 1\r\n"],
)
def test_an_id_is_found(lines: bytes) -> None:
    assert has_id(lines)


@pytest.mark.parametrize(
    "lines",
    [b"", b"data: id: 1\n", b"idx: 1\n", b" id: 1\n", b": id: 1\n", b"ID: 1\n", b"data: x\nidle: 1\n", b"i\nd: 1\n"],
)
def test_what_is_no_id_is_not_taken_for_one(lines: bytes) -> None:
    assert not has_id(lines)


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        (b"", None),
        (b": data: x\n", None),
        (b"xdata: y\n", None),
        (b"data: x\n\n", b"x"),
        (b"data:x\n", b"x"),
        (b"data:  x\n", b" x"),
        (b"data:\n", b""),
        (b"data:", b""),
        (b"data: ", b""),
        (b"data: x", b"x"),
        (b"data: a\n\ndata: b\r\n\r\n", b"b"),
        (b"data: a\rdata: b\rid: 1\r", b"b"),
        (b'data: {"text": "data: z"}\n\n', b'{"text": "data: z"}'),
        ("data: a\u2028b\x85c\n".encode(), "a\u2028b\x85c".encode()),
    ],
)
def test_the_last_data(lines: bytes, value: bytes | None) -> None:
    assert last_data(lines) == value


def test_the_last_data_of_a_kind() -> None:
    assert last_data(b'data: {"id": 1}\n\ndata: [DONE]\n\n', opening=b"{") == b'{"id": 1}'
    assert last_data(b'data:{"id": 1}\rdata: x', opening=b"{") == b'{"id": 1}'
    assert last_data(b"data: [DONE]\n\n", opening=b"{") is None
    assert last_data(b"data:\ndata: ", opening=b"{") is None


def test_the_first_boundary_is_where_a_byte_by_byte_oracle_finds_it() -> None:
    for stream in all_streams(8):
        for cut in range(1, len(stream)):
            oracle = ByteByByte()
            oracle.feed(stream[:cut])
            if oracle.position.name != "EVENT_BOUNDARY":
                tail = (b"\n\n" + stream[:cut])[-3:]
                assert first_boundary(tail, stream[cut:]) == _boundary_after(oracle, stream[cut:]), (stream, cut)


def _boundary_after(oracle: ByteByByte, data: bytes) -> int | None:
    for at in range(len(data)):
        oracle.feed(data[at : at + 1])
        if oracle.position.name == "EVENT_BOUNDARY":
            return at + 1 + (data[at : at + 2] == b"\r\n")
    return None


def test_a_boundary_inside_the_tail_is_an_earlier_one() -> None:
    assert first_boundary(b"\n\nd", b"ata: x") is None
    assert first_boundary(b"\n\nd", b"ata: x\n\ndata: y\n\n") == len(b"ata: x\n\n")


SAMPLES = [
    b"data: x\n\n",
    b"data: x\n\ndata: y\n\n",
    b"data: x\r\n\r\ndata: y\r\n\r\n",
    b"data: x\r\rdata\r\r",
    b"data: x\r\n\ndata:\n\r\n",
    b"data: a\ndata: b\n\n: c\n\nevent: e\n\nid: 1\n\n",
    b"\n\n\ndata: x\n\n\n\n",
    b"data\n\n",
    b"datax\n\ndat\n\ndatabase: 1\n\n data: x\n\nDATA: x\n\n",
    b"id: 1\ndata: x\nretry: 5\n\ndata: unfinished\n",
    b"data: \xff\n\n" + b"data: " + b"l" * 100 + b"\n\n",
    b"data: x\r" + b"\n" + b"\n",
]


def pieces(stream: bytes, seed: int) -> list[bytes]:
    """`stream` cut at random, the same for the same seed."""
    cuts = sorted(random.Random(seed).sample(range(1, len(stream)), k=min(4, len(stream) - 1)))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def count(parts: list[bytes]) -> int:
    reader = EventReader()
    return sum(reader.feed(part, 0.0) for part in parts)


@pytest.mark.parametrize("stream", SAMPLES)
def test_events_are_counted_as_a_client_counts_them(stream: bytes) -> None:
    wanted = len(parse(stream).events)
    assert count([stream]) == wanted
    assert count([stream[at : at + 1] for at in range(len(stream))]) == wanted
    for seed in range(30):
        assert count(pieces(stream, seed)) == wanted


def test_events_are_counted_in_every_cut_in_two() -> None:
    for letters in all_streams(7):
        stream = letters.replace(b"a", b"data")
        wanted = len(parse(stream).events)
        for cut in range(len(stream) + 1):
            assert count([stream[:cut], stream[cut:]]) == wanted, (stream, cut)


# A glance: either it says nothing, or what it says is the truth.

_LINES = (b"data: x\n", b"data:\n", b"data\n", b"id: 1\n", b"event: e\n", b":\n", b"\n", b"x\r\n", b"\r", b"data: y")


def _texts() -> Iterator[bytes]:
    """Everything that up to six lines can be."""
    for count in range(1, 6):
        yield from map(b"".join, itertools.product(_LINES, repeat=count))
    few = (b"data: x\n", b"id: 1\n", b"data\n", b"\n")
    yield from map(b"".join, itertools.product(few, repeat=6))
    yield from (text.replace(b"\n", b"\r\n") for text in map(b"".join, itertools.product(few, repeat=5)))


def _lies(glance: Callable[[bytes], int], *, sees_ids: bool) -> list[bytes]:
    """Texts of which `glance` says something that is not so. sees_ids: it must not speak of one that has an id."""
    lies = []
    for text in _texts():
        said = glance(text)
        if said:
            meant = parse(text + b"data: behind\n\n")
            is_true = said == len(meant.events) - 1 and meant.events[-1][:2] == ("message", "behind")
            if not is_true or (sees_ids and meant.last_event_id):
                lies.append(text)
    return lies


def test_one_line_events_are_that_and_nothing_else() -> None:
    assert _lies(one_line_events, sees_ids=True) == []
    assert one_line_events(b"data: a\n\n" * 7) == 7


@pytest.mark.parametrize("boundary", [b"\n\n", b"\r\n\r\n"])
def test_whole_events_are_that(boundary: bytes) -> None:
    assert _lies(lambda text: whole_events(text, boundary), sees_ids=False) == []
    for text in (b"data: a", b"event: e\ndata: a".replace(b"\n", boundary[:-2] or b"\n")):
        assert whole_events(text + boundary, boundary) == 1
    assert whole_events((b"data: a" + boundary) * 7, boundary) == 7


@pytest.mark.parametrize(
    "broken",
    [
        lambda text: min(one_line_events(text), 1),
        lambda text: one_line_events(text.replace(b"\r", b" ")),
        lambda text: text.count(b"\n\ndata:") + 1 if text.startswith(b"data:") and text.endswith(b"\n\n") else 0,
        lambda text: one_line_events(text + b"\n"),
        lambda text: one_line_events(b"data:" + text),
    ],
    ids=["all are counted", "no CR", "one line each", "a blank line at the end", "data from the beginning"],
)
def test_a_lie_is_noticed(broken: Callable[[bytes], int]) -> None:
    assert _lies(broken, sees_ids=True)
