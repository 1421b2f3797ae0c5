"""Are content codings undone piece by piece, within bounds, and are broken ones noticed? (RFC 9110 section 8.4)"""

import gzip
import random
import sys
import zlib
from collections import deque
from collections.abc import Callable

import brotli
import pytest

from sseproxy.core.errors import OriginError
from sseproxy.origins.codings import PIECE, TURN, Decoder, DecodingSource, decode_beginning, decoder_for

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = b"".join(b"data: %d\n\n" % random.Random(number).getrandbits(90) for number in range(5000))
CODINGS: list[tuple[bytes, Callable[[bytes], bytes]]] = [
    (b"gzip", gzip.compress),
    (b"deflate", zlib.compress),
    (b"deflate", lambda data: zlib.compress(data, wbits=-15)),
    (b"br", brotli.compress),
    (b"zstd", zstd.compress),
]
each_coding = pytest.mark.parametrize(
    ("name", "compress"), CODINGS, ids=["gzip", "deflate", "raw-deflate", "br", "zstd"]
)


def decoder(name: bytes) -> Decoder:
    found = decoder_for([(b"Content-Encoding", name)])
    assert found is not None
    return found


class Source:
    """Where coded bytes come from; notes what is wanted of it."""

    def __init__(self) -> None:
        self.paused = False
        self.aborted = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def abort(self) -> None:
        self.aborted = True


class Sink:
    """Takes decoded bytes, and pauses after each piece if it is told to."""

    def __init__(self, *, pauses: bool = False) -> None:
        self.later: deque[Callable[[], None]] = deque()
        self.pieces: list[bytes] = []
        self.ends: list[OriginError | None] = []
        self.decoding: DecodingSource | None = None
        self._pauses = pauses

    def receive_data(self, data: bytes) -> None:
        assert not self.ends
        self.pieces.append(data)
        if self._pauses and self.decoding is not None:
            self.decoding.pause()

    def receive_eof(self) -> None:
        self.ends.append(None)

    def receive_error(self, error: OriginError) -> None:
        self.ends.append(error)

    def take_turns(self) -> int:
        """Let all turns of the event loop pass that are asked for. Returns how many there were."""
        turns = 0
        while self.later:
            self.later.popleft()()
            turns += 1
        return turns


def connected(name: bytes, *, pauses: bool = False) -> tuple[Source, DecodingSource, Sink]:
    source, sink = Source(), Sink(pauses=pauses)
    sink.decoding = DecodingSource(decoder(name), source, sink, later=sink.later.append)
    return source, sink.decoding, sink


@each_coding
@pytest.mark.parametrize("size", [1, 1000, 1 << 30])
def test_cut_anywhere(name: bytes, compress: Callable[[bytes], bytes], size: int) -> None:
    text = TEXT[:3000] if size == 1 else TEXT
    _, decoding, sink = connected(name)
    coded = compress(text)
    for index in range(0, len(coded), size):
        decoding.receive_data(coded[index : index + size])
    decoding.receive_eof()
    sink.take_turns()
    assert b"".join(sink.pieces) == text
    assert sink.ends == [None]


@each_coding
def test_pieces_are_bounded_and_wait(name: bytes, compress: Callable[[bytes], bytes]) -> None:
    size = 20 * PIECE
    source, decoding, sink = connected(name, pauses=True)
    decoding.receive_data(compress(bytes(size)))
    decoding.receive_eof()
    sink.take_turns()
    while not sink.ends:
        assert source.paused
        before = len(sink.pieces)
        decoding.resume()
        sink.take_turns()
        assert len(sink.pieces) <= before + 1
    assert b"".join(sink.pieces) == bytes(size)
    assert max(map(len, sink.pieces)) <= 2 * PIECE
    assert sink.ends == [None]


@each_coding
def test_cut_short(name: bytes, compress: Callable[[bytes], bytes]) -> None:
    source, decoding, sink = connected(name)
    decoding.receive_data(compress(TEXT)[:-9])
    decoding.receive_eof()
    sink.take_turns()
    [error] = sink.ends
    assert error is not None
    assert error.proxy_status == "http_response_content_coding"
    assert source.aborted


@each_coding
def test_garbage(name: bytes, compress: Callable[[bytes], bytes]) -> None:
    source, decoding, sink = connected(name)
    decoding.receive_data(b"\xff\xfe\xfd\xfc" * 100)
    decoding.receive_data(b"\xff\xfe\xfd\xfc" * 100)
    decoding.receive_eof()
    sink.take_turns()
    [error] = sink.ends
    assert error is not None
    assert source.aborted


@each_coding
def test_nothing_at_all(name: bytes, compress: Callable[[bytes], bytes]) -> None:
    _, decoding, sink = connected(name)
    decoding.receive_eof()
    sink.take_turns()
    assert (sink.pieces, sink.ends) == ([], [None])


@each_coding
def test_an_abort_ends_it(name: bytes, compress: Callable[[bytes], bytes]) -> None:
    source, decoding, sink = connected(name, pauses=True)
    decoding.receive_data(compress(bytes(10 * PIECE)))
    decoding.abort()
    decoding.resume()
    decoding.receive_data(b"more")
    assert source.aborted
    assert len(sink.pieces) == 1


@each_coding
def test_an_error_of_the_source_goes_on(name: bytes, compress: Callable[[bytes], bytes]) -> None:
    _, decoding, sink = connected(name)
    error = OriginError("x", proxy_status="y")
    decoding.receive_error(error)
    assert sink.ends == [error]


@pytest.mark.parametrize("values", [[], [b""], [b"identity"], [b"Identity, identity"]])
def test_no_coding(values: list[bytes]) -> None:
    assert decoder_for([(b"content-encoding", value) for value in values]) is None


@pytest.mark.parametrize("values", [[b"compress"], [b"gzip, br"], [b"gzip", b"gzip"], [b"gzip;q=1"], [b"aes128gcm"]])
def test_unknown_codings(values: list[bytes]) -> None:
    with pytest.raises(LookupError):
        decoder_for([(b"Content-Encoding", value) for value in values])


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize("name", [b"gzip", b"zstd"])
def test_several_members_are_one_body(name: bytes, size: int) -> None:
    """A server may end a member with each event; what stands behind the first one must not be lost."""
    compress = gzip.compress if name == b"gzip" else zstd.compress
    parts = [b"data: one\n\n", b"data: " + b"x" * 200_000 + b"\n\n", b"data: three\n\n"]
    coded = b"".join(compress(part) for part in parts)
    _, decoding, sink = connected(name)
    for start in range(0, len(coded), size):
        decoding.receive_data(coded[start : start + size])
    decoding.receive_eof()
    sink.take_turns()
    assert b"".join(sink.pieces) == b"".join(parts)
    assert sink.ends == [None]


# Turns.


@each_coding
def test_others_have_their_turn_after_a_bounded_amount_of_work(name: bytes, compress: Callable[[bytes], bytes]) -> None:
    source, decoding, sink = connected(name)
    decoding.receive_data(compress(bytes(40 * PIECE)))
    decoding.receive_eof()
    done = 0
    while sink.later:
        size = sum(map(len, sink.pieces))
        assert size - done <= TURN + 2 * PIECE
        assert source.paused
        done = size
        sink.later.popleft()()
    assert done >= 30 * PIECE
    assert b"".join(sink.pieces) == bytes(40 * PIECE)
    assert sink.ends == [None]


@pytest.mark.parametrize("name", [b"gzip", b"zstd"])
def test_members_with_nothing_in_them_are_work_too(name: bytes) -> None:
    compress = gzip.compress if name == b"gzip" else zstd.compress
    _, decoding, sink = connected(name)
    decoding.receive_data(compress(b"") * 1000 + compress(TEXT))
    assert sink.take_turns() > 20
    assert b"".join(sink.pieces) == TEXT


def test_what_comes_while_others_have_their_turn_waits_for_its_own() -> None:
    parts = [bytes(8 * PIECE), b"data: two\n\n", b"data: three\n\n"]
    source, decoding, sink = connected(b"gzip")
    decoding.receive_data(gzip.compress(parts[0]))
    for part in parts[1:]:
        assert source.paused
        before = len(sink.pieces)
        decoding.receive_data(gzip.compress(part))
        assert len(sink.pieces) == before
    decoding.receive_eof()
    assert sink.ends == []
    sink.take_turns()
    assert b"".join(sink.pieces) == b"".join(parts)
    assert sink.ends == [None]


def test_reading_goes_on_after_the_turns_of_others() -> None:
    source, decoding, sink = connected(b"gzip")
    decoding.receive_data(gzip.compress(bytes(8 * PIECE)))
    assert source.paused
    sink.take_turns()
    assert not source.paused


def test_a_pause_outlives_the_turns_of_others() -> None:
    source, decoding, sink = connected(b"gzip")
    decoding.receive_data(gzip.compress(bytes(8 * PIECE)))
    decoding.pause()
    before = len(sink.pieces)
    sink.take_turns()
    assert source.paused
    assert len(sink.pieces) == before
    decoding.resume()
    sink.take_turns()
    assert not source.paused
    assert b"".join(sink.pieces) == bytes(8 * PIECE)


def test_a_resume_does_not_take_the_turn_of_others() -> None:
    source, decoding, sink = connected(b"gzip")
    decoding.receive_data(gzip.compress(bytes(8 * PIECE)))
    before = len(sink.pieces)
    decoding.pause()
    decoding.resume()
    assert source.paused
    assert len(sink.pieces) == before


def test_an_abort_ends_the_turns() -> None:
    source, decoding, sink = connected(b"gzip")
    decoding.receive_data(gzip.compress(bytes(8 * PIECE)))
    before = len(sink.pieces)
    decoding.abort()
    assert sink.take_turns() <= 1
    assert len(sink.pieces) == before
    assert sink.ends == []
    assert source.aborted


def test_an_error_of_the_source_comes_behind_what_came_before() -> None:
    _, decoding, sink = connected(b"gzip")
    error = OriginError("x", proxy_status="y")
    decoding.receive_data(gzip.compress(bytes(8 * PIECE)))
    decoding.receive_error(error)
    assert sink.ends == []
    sink.take_turns()
    assert b"".join(sink.pieces) == bytes(8 * PIECE)
    assert sink.ends == [error]


# Memory.


@pytest.mark.parametrize(("log", "is_taken"), [(17, True), (23, True), (24, False), (27, False)])
def test_a_window_of_zstd_is_8_mib_at_most(log: int, is_taken: bool) -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: log}
    compressor = zstd.ZstdCompressor(options=options)
    coded = compressor.compress(TEXT, zstd.ZstdCompressor.FLUSH_BLOCK)
    source, decoding, sink = connected(b"zstd")
    decoding.receive_data(coded)
    sink.take_turns()
    if is_taken:
        assert b"".join(sink.pieces) == TEXT
        assert sink.ends == []
    else:
        [error] = sink.ends
        assert error is not None
        assert error.proxy_status == "http_response_content_coding"
        assert source.aborted


@each_coding
@pytest.mark.parametrize("size", [100, 65_536])
def test_the_beginning_of_a_body(name: bytes, compress: Callable[[bytes], bytes], size: int) -> None:
    assert decode_beginning(decoder(name), compress(TEXT), size) == TEXT[:size]
    assert decode_beginning(decoder(name), compress(b"short"), size) == b"short"
