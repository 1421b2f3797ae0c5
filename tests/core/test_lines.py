"""Do the right bytes wait, and are the right ones dropped behind something that was inserted?"""

import pytest

from sseproxy.core.stream.event_reader import EventReader
from sseproxy.core.stream.lines import UpstreamLines

BOM = b"\xef\xbb\xbf"


def lines(limit: int = 16, *, by_line: bool = True) -> UpstreamLines:
    return UpstreamLines(limit, by_line=by_line)


@pytest.mark.parametrize(
    ("pieces", "left"),
    [
        ([b"data", b": x", b"\n", b"\n"], [b"", b"", b"data: x\n", b"\n"]),
        ([b"a\rb", b"\n"], [b"a\r", b"b\n"]),
        ([b"a\nb", b"c\rd\n"], [b"a\n", b"bc\rd\n"]),
        ([b"a" * 16, b"a", b"\n"], [b"", b"a" * 17, b"\n"]),
    ],
)
def test_an_unfinished_line_waits_up_to_the_limit(pieces: list[bytes], left: list[bytes]) -> None:
    held, out = lines(), b""
    for piece, expected in zip(pieces, left, strict=True):
        is_inside_line = out[-1:] not in (b"", b"\n", b"\r")
        assert held.receive(piece, is_inside_line=is_inside_line) == expected
        out += expected
    assert held.is_clear


def test_a_piece_of_a_line_that_is_known_to_be_too_long_does_not_wait() -> None:
    held = lines()
    assert held.receive(b"more", is_inside_line=True) == b"more"
    assert held.is_clear


def test_without_lines_only_half_a_mark_waits() -> None:
    held = lines(by_line=False)
    assert held.receive(BOM[:2], is_inside_line=False) == b""
    assert not held.is_clear
    assert held.receive(BOM[2:] + b"data", is_inside_line=False) == BOM + b"data"
    assert held.split_mark(BOM + b"data") == (BOM, b"data")
    assert held.receive(b"\xef", is_inside_line=True) == b"\xef"


def test_a_mark_is_one_at_the_very_start_only() -> None:
    first, behind_ours, later = lines(), lines(), lines()
    assert first.split_mark(BOM + b"x\n") == (BOM, b"x\n")
    behind_ours.note_inserted(b": heartbeat\n", after_cr=False)
    assert behind_ours.split_mark(BOM + b"x\n") == (b"", b"x\n")
    assert later.split_mark(b"x\n") == (b"", b"x\n")
    assert later.split_mark(BOM + b"x\n") == (b"", BOM + b"x\n")


@pytest.mark.parametrize(
    ("after_cr", "held", "inserted", "drops"),
    [
        (True, b"", b": heartbeat\n", True),
        (False, b"", b": heartbeat\n", False),
        (True, b"", b": heartbeat\r", False),
        (True, b"data", b": heartbeat\n", False),
    ],
)
def test_the_other_half_of_a_line_end(after_cr: bool, held: bytes, inserted: bytes, drops: bool) -> None:
    """What is held comes first: then the next LF ends that line."""
    watch = lines()
    if held:
        watch.hold(held)
    watch.note_inserted(inserted, after_cr=after_cr)
    assert watch.drops_lf is drops
    assert watch.is_clear is not (drops or bool(held))


def test_the_time_of_the_last_event_is_that_of_its_last_byte() -> None:
    reader = EventReader()
    reader.newest = b"data: 1\n\n"
    reader.park(1.0)
    reader.park(2.0)
    reader.settle(3.0)
    assert (reader.data, reader.at) == (b"1", 1.0)
    reader.newest = b"data: 2\n\n"
    reader.settle(4.0)
    assert (reader.data, reader.at) == (b"2", 4.0)
