"""Does the scanner know where it is, whatever the line ends and wherever the stream is cut?"""

from collections.abc import Iterator
from itertools import product

import pytest

from sseproxy.core.stream.scanner import Position, Scanner

LONGEST = 9


class ByteByByte:
    """The oracle: reads one byte after the other and remembers what a line and an event are."""

    def __init__(self) -> None:
        self.position = Position.EVENT_BOUNDARY
        self.line_is_empty = True
        self.after_cr = False

    def feed(self, data: bytes) -> None:
        for byte in data:
            self._take(byte)

    def _take(self, byte: int) -> None:
        if byte == ord("\n") and self.after_cr:
            self.after_cr = False  # the other half; the line end was the CR
        elif byte in b"\r\n":
            self.position = Position.EVENT_BOUNDARY if self.line_is_empty else Position.LINE_BOUNDARY
            self.line_is_empty = True
            self.after_cr = byte == ord("\r")
        else:
            self.position = Position.MID_LINE
            self.line_is_empty = False
            self.after_cr = False


def all_streams(longest: int) -> Iterator[bytes]:
    for length in range(1, longest + 1):
        for letters in product(b"a\r\n", repeat=length):
            yield bytes(letters)


def test_equal_to_a_byte_by_byte_oracle_in_every_cut_in_two() -> None:
    for stream in all_streams(LONGEST):
        oracle = ByteByByte()
        oracle.feed(stream)
        wanted = (oracle.position, oracle.after_cr)
        for cut in range(len(stream)):
            scanner = Scanner()
            if cut:
                scanner.feed(stream[:cut])
            scanner.feed(stream[cut:])
            assert (scanner.position, scanner.after_cr) == wanted, (stream, cut)


def test_equal_to_the_oracle_after_each_single_byte() -> None:
    for stream in all_streams(LONGEST - 2):
        scanner, oracle = Scanner(), ByteByByte()
        for at in range(len(stream)):
            scanner.feed(stream[at : at + 1])
            oracle.feed(stream[at : at + 1])
            assert scanner.position is oracle.position, stream[: at + 1]


def test_the_line_end_does_not_depend_on_the_cuts() -> None:
    for stream in all_streams(LONGEST - 2):
        whole, in_bytes = Scanner(), Scanner()
        whole.feed(stream)
        for at in range(len(stream)):
            in_bytes.feed(stream[at : at + 1])
        assert whole.eol == in_bytes.eol, stream


def test_before_the_first_byte_it_is_as_after_a_boundary() -> None:
    assert Scanner().position is Position.EVENT_BOUNDARY
    assert Scanner().eol == b"\n"


@pytest.mark.parametrize(
    ("stream", "eol"),
    [
        (b"data: x\n", b"\n"),
        (b"data: x\r\n", b"\r\n"),
        (b"data: x\r\n\r", b"\r\n"),  # the style is known, so the CR is half of it
        (b"data: x\r", b"\n"),  # not known yet: the LF may follow
        (b"data: x\rdata: y\r", b"\r"),
        (b"data: x\r\r", b"\r"),
        (b"a\n\rb\r\n", b"\r\n"),  # mixed: the line just ended counts
        # The hazard in `Scanner.eol`: a CR of ours would swallow the LF that comes next, a blank line.
        (b"data: x\rdata: y\n", b"\n"),
        (b"data: x\rdata: y\r\n", b"\r\n"),
        (b"data: x\r\ndata: y\n", b"\r\n"),  # CRLF before an LF does no harm
        (b"data: x\ndata: y\r", b"\n"),
    ],
)
def test_the_line_end_of_what_is_inserted(stream: bytes, eol: bytes) -> None:
    scanner = Scanner()
    scanner.feed(stream)
    assert scanner.eol == eol


def test_nothing_inserted_ever_swallows_a_blank_line() -> None:
    for stream in all_streams(LONGEST - 2):
        scanner = Scanner()
        scanner.feed(stream)
        if scanner.position is not Position.MID_LINE:
            assert not scanner.eol.endswith(b"\r") or stream.endswith(b"\r"), stream


def test_only_three_bytes_are_kept() -> None:
    scanner = Scanner()
    scanner.feed(b"data: " + b"x" * 100_000 + b"\n\n")
    assert scanner.tail == b"x\n\n"
