"""Are content codings undone piece by piece, within bounds, and are broken ones noticed? (contract S11)"""

import gzip
import random
import sys
import zlib
from collections.abc import Callable

import brotli
import pytest

from sseproxy.core.errors import OriginError
from sseproxy.origins.codings import PIECE, Decoder, DecodingSource, decoder_for

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


def connected(name: bytes, *, pauses: bool = False) -> tuple[Source, DecodingSource, Sink]:
    source, sink = Source(), Sink(pauses=pauses)
    sink.decoding = DecodingSource(decoder(name), source, sink)
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
    assert b"".join(sink.pieces) == text
    assert sink.ends == [None]


@each_coding
def test_pieces_are_bounded_and_wait(name: bytes, compress: Callable[[bytes], bytes]) -> None:
    size = 20 * PIECE
    source, decoding, sink = connected(name, pauses=True)
    decoding.receive_data(compress(bytes(size)))
    decoding.receive_eof()
    while not sink.ends:
        assert source.paused
        before = len(sink.pieces)
        decoding.resume()
        assert len(sink.pieces) <= before + 1
    assert b"".join(sink.pieces) == bytes(size)
    assert max(map(len, sink.pieces)) <= 2 * PIECE
    assert sink.ends == [None]


@each_coding
def test_cut_short(name: bytes, compress: Callable[[bytes], bytes]) -> None:
    source, decoding, sink = connected(name)
    decoding.receive_data(compress(TEXT)[:-9])
    decoding.receive_eof()
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
    [error] = sink.ends
    assert error is not None
    assert source.aborted


@each_coding
def test_nothing_at_all(name: bytes, compress: Callable[[bytes], bytes]) -> None:
    _, decoding, sink = connected(name)
    decoding.receive_eof()
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
    assert b"".join(sink.pieces) == b"".join(parts)
    assert sink.ends == [None]
