"""How is the content coding of an event stream undone while it flows? (RFC 9110 section 8.4, contract S11)

Every decoder gives its output in pieces of bounded size: a few compressed bytes can stand for very many.
"""

import asyncio
import sys
import zlib
from collections.abc import Callable
from typing import Protocol

import brotli

from sseproxy.core.errors import OriginError, UpstreamBroken
from sseproxy.core.flow import BodySink, BodySource
from sseproxy.core.http.fields import Headers, get_all, tokens
from sseproxy.http1.backlog import Backlog

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Bytes of output at a time.
PIECE = 16 * 1024

#: Bytes, coded and decoded together, after which others have their turn. A call counts for some, whatever it does.
TURN = 32 * 1024
_CALL = 1024

#: Bytes of input at a time: a decoder copies what it leaves for its next call.
_INPUT = 4 * 1024

#: Calls of a decoder for the beginning of a body.
_MOST_CALLS = 100

#: The largest window of zstd that a decoder for the web has to have (RFC 9659 section 3): 2 ** 23 bytes. Larger ones
#: are refused, or a few bytes would take 2 GiB. brotli has 16 MiB at most by its format (RFC 7932 section 9.1).
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}


class Decoder(Protocol):
    """Undoes one content coding.

    has_more: what was taken is not used up; to be asked for with no further `data`.
    """

    has_more: bool

    def decode(self, data: bytes) -> bytes:
        """Take `data` and give at most about `PIECE` bytes, perhaps none. Each call does a bounded amount of work.

        Raises an exception of its library on bad data.
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
        self._rest = b""
        self.has_more = False

    def decode(self, data: bytes) -> bytes:
        coded = self._rest + data
        if not (coded or self.has_more):
            return b""
        self._prepare(coded)
        decoded = self._zlib.decompress(coded, PIECE)
        self._rest = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
        is_full = len(decoded) >= PIECE and not self._zlib.eof  # there may be more, although all input is taken
        self.has_more = is_full or bool(self._rest)
        return decoded

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
        self.has_more = False

    def decode(self, data: bytes) -> bytes:
        self._begun = self._begun or bool(data)
        self._pending += data
        if not (self._pending or self.has_more):
            return b""
        decoded: bytes = self._brotli.process(self._next_input(), output_buffer_limit=PIECE)
        # The library says that it wants input also while it has output left.
        self.has_more = bool(decoded or self._pending) or not self._brotli.can_accept_more_data()
        return decoded

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
        self._zstd = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
        self._begun = False
        self._rest = b""
        self.has_more = False

    def decode(self, data: bytes) -> bytes:
        self._begun = self._begun or bool(data)
        coded = self._rest + data
        if not (coded or self.has_more):
            return b""
        if self._zstd.eof:
            self._zstd = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)  # the next frame
        decoded = self._zstd.decompress(coded, PIECE)
        self._rest = self._zstd.unused_data if self._zstd.eof else b""
        self.has_more = bool(self._rest) or not (self._zstd.eof or self._zstd.needs_input)
        return decoded

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


def decode_beginning(decoder: Decoder, coded: bytes, size: int) -> bytes:
    """Return the first `size` bytes that `coded` stands for, or fewer if they take too much work.

    Raises an exception of the decoder's library on bad data.
    """
    decoded = decoder.decode(coded)
    for _ in range(_MOST_CALLS):
        if len(decoded) >= size or not decoder.has_more:
            break
        decoded += decoder.decode(b"")
    return decoded[:size]


def can_decode(headers: Headers) -> bool:
    """True if a body with these fields can be read."""
    try:
        decoder_for(headers)
    except LookupError:
        return False
    return True


class DecodingSource:
    """Sits between a coded body and its sink. While paused, it keeps coded bytes, not decoded ones.

    A few coded bytes can stand for very many, so it works in turns: when it has done `TURN` bytes of work it lets the
    event loop go on with others, and reads nothing meanwhile. What comes in the meantime, an end or an error included,
    keeps its place behind what came before. later: calls back in the next turn; the event loop's `call_soon`.
    """

    def __init__(
        self,
        decoder: Decoder,
        source: BodySource,
        sink: BodySink,
        *,
        later: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self._decoder = decoder
        self._source = source
        self._sink = sink
        self._later = later or asyncio.get_running_loop().call_soon
        self._paused = False
        self._is_resting = False  # for a turn of the event loop
        self._decoding = False
        self._waiting = Backlog()
        self._at_eof = False
        self._error: OriginError | None = None  # in place of the end
        self._over = False

    # A `BodySink` for the coded body.

    def receive_data(self, data: bytes) -> None:
        self._waiting.append(data)
        self._pump()

    def receive_eof(self) -> None:
        self._at_eof = True
        self._pump()

    def receive_error(self, error: OriginError) -> None:
        self._at_eof, self._error = True, error
        self._pump()

    # A `BodySource` for the decoded body.

    def pause(self) -> None:
        self._paused = True
        self._source.pause()

    def resume(self) -> None:
        self._paused = False
        self._go_on()

    def abort(self) -> None:
        self._over = True
        self._waiting.clear()
        self._source.abort()

    # Private.

    def _pump(self) -> None:
        """Decode for as long as the sink takes it. The sink may pause, resume or abort from within."""
        if self._decoding or self._is_resting:
            return
        self._decoding = True
        try:
            self._decode_while_wanted()
        except (zlib.error, brotli.error, zstd.ZstdError, EOFError) as error:
            self._break(str(error))
        finally:
            self._decoding = False

    def _decode_while_wanted(self) -> None:
        work = 0
        while not self._paused and not self._over:
            if work >= TURN:
                self._rest()
                return
            coded = b"" if self._decoder.has_more else self._waiting.take(_INPUT)
            decoded = self._decoder.decode(coded)
            work += len(coded) + len(decoded) + _CALL
            if decoded:
                self._sink.receive_data(decoded)
            elif not (self._decoder.has_more or self._waiting):
                self._end_if_due()
                return

    def _rest(self) -> None:
        self._is_resting = True
        self._source.pause()
        self._later(self._end_rest)

    def _end_rest(self) -> None:
        self._is_resting = False
        self._go_on()

    def _go_on(self) -> None:
        self._pump()
        if not (self._paused or self._is_resting or self._over):
            self._source.resume()

    def _end_if_due(self) -> None:
        if not self._at_eof:
            return
        if self._error is not None:
            self._over = True
            self._sink.receive_error(self._error)
        elif self._decoder.complete:
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
