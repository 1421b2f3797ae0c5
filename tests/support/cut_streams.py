"""Which streams, and which pieces of them, are dangerous for what cuts a stream into whole events?"""

import re
from collections.abc import Iterable

from hypothesis import strategies as st

from sseproxy.core.journal.cutter import Cut, Cutter

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
