"""Do bytes that wait come out as they went in, and are their line ends counted?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.http1.backlog import Backlog


@given(st.lists(st.text("a\r\n", min_size=1, max_size=8).map(str.encode), max_size=6), st.lists(st.integers(1, 10)))
def test_what_is_taken_is_what_came(pieces: list[bytes], most: list[int]) -> None:
    backlog, expected = Backlog(), b"".join(pieces)
    for piece in pieces:
        backlog.append(piece)
    taken = b""
    for size in most:
        taken += backlog.take(size)
        assert backlog.size == len(expected) - len(taken)
        assert bool(backlog) is (backlog.size > 0)
    assert expected.startswith(taken)


@pytest.mark.parametrize(("end", "count"), [(b"\n", 1), (b"\r", 1), (b"\r\n", 2)])
def test_line_ends_of_each_style_are_counted(end: bytes, count: int) -> None:
    backlog = Backlog()
    assert backlog.line_ends() == 0
    backlog.append(b"data: 1" + end + b"data: 2" + end)
    backlog.append(end * 9)
    assert backlog.line_ends() == 2 * count
    backlog.take(len(b"data: 1" + end))
    assert backlog.line_ends() == count
    backlog.take(100)
    assert backlog.line_ends() == 9 * count
