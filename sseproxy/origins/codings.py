"""How is the content coding of an event stream undone while it flows? (RFC 9110 section 8.4, contract S11)

Every decoder gives its output in pieces of bounded size: a few compressed bytes can stand for very many.
"""

import sys
import zlib
from typing import Protocol

import brotli

from sseproxy.core.errors import OriginError, UpstreamBroken
from sseproxy.core.flow import BodySink, BodySource
from sseproxy.core.headers import Headers, get_all, tokens

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Bytes of output at a time.
PIECE = 64 * 1024


class Decoder(Protocol):
    """Undoes one content coding."""

    def decode(self, data: bytes) -> bytes:
        """Take `data` and give at most about `PIECE` bytes; with no `data`, go on with what was taken before.

        Gives nothing when more input is needed. Raises an exception of its library on bad data.
        """

    @property
    def complete(self) -> bool:
        """Whether the coded data has come to its proper end, or has not begun."""


class ZlibDecoder:
    """gzip, of one member or several, and deflate; the latter also without zlib's wrapper, as some servers send it."""

    def __init__(self, *, is_deflate: bool = False) -> None:
        self._is_deflate = is_deflate
        self._zlib = self._new_member()
        self._begun = False
        self._full = False
        self._rest = b""

    def decode(self, data: bytes) -> bytes:
        coded = self._rest + data
        while coded or self._full:
            self._prepare(coded)
            decoded = self._zlib.decompress(coded, PIECE)
            self._full = len(decoded) >= PIECE and not self._zlib.eof  # there may be more, although all input is taken
            self._rest = coded = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
            if decoded:
                return decoded
        return b""

    def _prepare(self, coded: bytes) -> None:
        if not self._begun and self._is_deflate and coded[0] & 0x0F != zlib.DEFLATED:
            self._zlib = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        elif self._zlib.eof:
            self._zlib = self._new_member()
        self._begun = True

    def _new_member(self) -> "zlib._Decompress":
        return zlib.decompressobj(wbits=zlib.MAX_WBITS if self._is_deflate else 16 + zlib.MAX_WBITS)

    @property
    def complete(self) -> bool:
        return self._zlib.eof or not self._begun


class BrotliDecoder:
    """br."""

    def __init__(self) -> None:
        self._brotli = brotli.Decompressor()
        self._begun = False
        self._pending = b""
        self._more = False  # the library says that it wants input also while it has output left

    def decode(self, data: bytes) -> bytes:
        self._begun = self._begun or bool(data)
        self._pending += data
        while self._pending or self._more or not self._brotli.can_accept_more_data():
            decoded: bytes = self._brotli.process(self._next_input(), output_buffer_limit=PIECE)
            self._more = bool(decoded)
            if decoded:
                return decoded
        return b""

    def _next_input(self) -> bytes:
        """New input only when the library asks for it; before, it wants to give more of its output."""
        if not self._brotli.can_accept_more_data():
            return b""
        taken, self._pending = self._pending, b""
        return taken

    @property
    def complete(self) -> bool:
        return bool(self._brotli.is_finished()) or not self._begun


class ZstdDecoder:
    """zstd, of one frame or several."""

    def __init__(self) -> None:
        self._zstd = zstd.ZstdDecompressor()
        self._begun = False
        self._rest = b""

    def decode(self, data: bytes) -> bytes:
        self._begun = self._begun or bool(data)
        coded = self._rest + data
        self._rest = b""
        while coded or not (self._zstd.eof or self._zstd.needs_input):
            if self._zstd.eof:
                self._zstd = zstd.ZstdDecompressor()  # the next frame
            decoded = self._zstd.decompress(coded, PIECE)
            coded = self._zstd.unused_data if self._zstd.eof else b""
            if decoded:
                self._rest = coded
                return decoded
        return b""

    @property
    def complete(self) -> bool:
        return self._zstd.eof or not self._begun


def decoder_for(headers: Headers) -> Decoder | None:
    """What undoes the codings that `headers` declare; ``None`` if there are none.

    Raises `LookupError` if they are unknown, or several.
    """
    codings = [coding for coding in tokens(get_all(headers, b"content-encoding")) if coding != b"identity"]
    match codings:
        case []:
            return None
        case [b"gzip" | b"x-gzip"]:
            return ZlibDecoder()
        case [b"deflate"]:
            return ZlibDecoder(is_deflate=True)
        case [b"br"]:
            return BrotliDecoder()
        case [b"zstd"]:
            return ZstdDecoder()
    raise LookupError(codings)


def can_decode(headers: Headers) -> bool:
    """True if a body with these fields can be read."""
    try:
        decoder_for(headers)
    except LookupError:
        return False
    return True


class DecodingSource:
    """Sits between a coded body and its sink. While paused, it keeps coded bytes, not decoded ones."""

    def __init__(self, decoder: Decoder, source: BodySource, sink: BodySink) -> None:
        self._decoder = decoder
        self._source = source
        self._sink = sink
        self._paused = False
        self._decoding = False
        self._waiting: list[bytes] = []
        self._at_eof = False
        self._over = False

    # A `BodySink` for the coded body.

    def receive_data(self, data: bytes) -> None:
        self._waiting.append(data)
        self._pump()

    def receive_eof(self) -> None:
        self._at_eof = True
        self._pump()

    def receive_error(self, error: OriginError) -> None:
        self._over = True
        self._sink.receive_error(error)

    # A `BodySource` for the decoded body.

    def pause(self) -> None:
        self._paused = True
        self._source.pause()

    def resume(self) -> None:
        self._paused = False
        self._pump()
        if not self._paused:
            self._source.resume()

    def abort(self) -> None:
        self._over = True
        self._waiting.clear()
        self._source.abort()

    # Private.

    def _pump(self) -> None:
        """Decode for as long as the sink takes it. The sink may pause, resume or abort from within."""
        if self._decoding:
            return
        self._decoding = True
        try:
            self._decode_while_wanted()
        except (zlib.error, brotli.error, zstd.ZstdError, EOFError) as error:
            self._break(str(error))
        finally:
            self._decoding = False

    def _decode_while_wanted(self) -> None:
        while not self._paused and not self._over:
            coded = b"".join(self._waiting)
            self._waiting.clear()
            decoded = self._decoder.decode(coded)
            if decoded:
                self._sink.receive_data(decoded)
            elif not self._waiting:
                self._end_if_due()
                return

    def _end_if_due(self) -> None:
        if not self._at_eof:
            return
        if self._decoder.complete:
            self._over = True
            self._sink.receive_eof()
        else:
            self._break("the coded data is cut short")

    def _break(self, cause: str) -> None:
        self.abort()
        self._sink.receive_error(
            UpstreamBroken(
                "The upstream's content coding is broken.", proxy_status="http_response_content_coding", cause=cause
            )
        )
