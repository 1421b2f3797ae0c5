"""How is the content coding of an event stream undone while it flows? (RFC 9110 section 8.4)

Every decoder gives its output in pieces of bounded size: a few compressed bytes can stand for very many.
"""

import sys
import zlib
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Protocol

from sseproxy.core.errors import OriginError, UpstreamBroken
from sseproxy.core.flow import BodySink, BodySource
from sseproxy.core.http.fields import Headers, get_all, tokens
from sseproxy.http1.backlog import Backlog
from sseproxy.origins.turns import SourceInTurns

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
_ZSTD_WINDOW = 23


class Coded(Enum):
    """What a decoder has made of the coded data so far."""

    NOTHING = "none has come"
    WANTING = "all that has come is decoded, and more must come"
    HOLDING = "some of what has come is not decoded yet"
    COMPLETE = "it has come to its proper end"


# Each event asks for some of them, and Python 3.11 calls a function for each member that is looked up.
_NOTHING, _WANTING, _HOLDING, _COMPLETE = Coded


class Decoder(Protocol):
    """Undoes one content coding.

    state: while it is HOLDING, `decode` wants no further data. errors: what `decode` raises on bad data.
    """

    state: Coded

    @property
    def errors(self) -> tuple[type[Exception], ...]: ...

    def decode(self, data: bytes) -> bytes:
        """Take `data` and return at most about `PIECE` bytes, perhaps none. Each call does a bounded amount of work.

        Raises one of `errors` on bad data.
        """


# brotli and zstd are imported by the first response that is coded so: a start does not wait for them.


class ZlibDecoder:
    """gzip, of one member or several, and deflate; the latter also without zlib's wrapper, as some servers send it."""

    # Hazards: a deflate body without a wrapper, which the first byte shows (RFC 1950 section 2.2: its low half is the
    # method). Output that fills a piece exactly: there may be more although all input is taken. A server that ends a
    # gzip member with each event: what stands behind the first one is the next one.

    def __init__(self, *, is_deflate: bool = False) -> None:
        self._is_deflate = is_deflate
        self._zlib = self._new_member()
        self._rest = b""
        self.state = _NOTHING
        self.errors = (zlib.error, EOFError)

    def decode(self, data: bytes) -> bytes:
        coded = self._rest + data
        if not coded and self.state is not _HOLDING:
            return b""
        if self.state is _NOTHING and self._is_deflate and coded[0] & 0x0F != zlib.DEFLATED:
            self._zlib = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        elif self._zlib.eof:
            self._zlib = self._new_member()
        decoded = self._zlib.decompress(coded, PIECE)
        if self._zlib.eof:
            self._rest = self._zlib.unused_data
            self.state = _HOLDING if self._rest else _COMPLETE
        else:
            self._rest = self._zlib.unconsumed_tail
            self.state = _HOLDING if self._rest or len(decoded) >= PIECE else _WANTING
        return decoded

    def _new_member(self) -> "zlib._Decompress":
        return zlib.decompressobj(wbits=zlib.MAX_WBITS if self._is_deflate else 16 + zlib.MAX_WBITS)


class BrotliDecoder:
    """br."""

    # Hazard: the library takes input only when it says so, but says so also while it has output left. So it is asked
    # again until it gives nothing.

    def __init__(self) -> None:
        import brotli  # noqa: PLC0415

        self._brotli = brotli.Decompressor()
        self._rest = b""
        self.state = _NOTHING
        self.errors = (brotli.error,)

    def decode(self, data: bytes) -> bytes:
        self._rest += data
        if not self._rest and self.state is not _HOLDING:
            return b""
        taken = b""
        if self._brotli.can_accept_more_data():
            taken, self._rest = self._rest, b""
        decoded: bytes = self._brotli.process(taken, output_buffer_limit=PIECE)
        if decoded or self._rest or not self._brotli.can_accept_more_data():
            self.state = _HOLDING
        else:
            self.state = _COMPLETE if self._brotli.is_finished() else _WANTING
        return decoded


class ZstdDecoder:
    """zstd, of one frame or several."""

    def __init__(self) -> None:
        if sys.version_info >= (3, 14):
            from compression import zstd  # noqa: PLC0415
        else:
            from backports import zstd  # noqa: PLC0415

        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW}
        self._new_frame = partial(zstd.ZstdDecompressor, options=options)
        self._zstd = self._new_frame()
        self._rest = b""
        self.state = _NOTHING
        self.errors = (zstd.ZstdError, EOFError)

    def decode(self, data: bytes) -> bytes:
        coded = self._rest + data
        if not coded and self.state is not _HOLDING:
            return b""
        if self._zstd.eof:
            self._zstd = self._new_frame()
        decoded = self._zstd.decompress(coded, PIECE)
        if self._zstd.eof:
            self._rest = self._zstd.unused_data
            self.state = _HOLDING if self._rest else _COMPLETE
        else:
            self._rest = b""
            self.state = _WANTING if self._zstd.needs_input else _HOLDING
        return decoded


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

    Raises one of the decoder's `errors` on bad data.
    """
    decoded = decoder.decode(coded)
    for _ in range(_MOST_CALLS):
        if len(decoded) >= size or decoder.state is not _HOLDING:
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


class _State(Enum):
    FLOWING = "coded data may come"
    ENDING = "all coded data has come"
    OVER = "the sink has its end, or wants none"


_FLOWING, _ENDING, _OVER = _State


class DecodingSource(SourceInTurns):
    """Sits between a coded body and its sink: a `BodySink` for the former, a `BodySource` for the latter.

    later: calls back in the next turn; the event loop's `call_soon`.
    """

    # Plan: coded bytes wait in a backlog and are decoded a few at a time, for as long as the sink takes what comes out.
    #
    # Rules:
    # 1. What waits is coded, not decoded: at most one piece is decoded that the sink has not got.
    # 2. When `TURN` bytes of work are done, others have their turn; nothing is read meanwhile.
    # 3. An end or an error of the source keeps its place behind what came before.
    # 4. A clean end of the body in the middle of the coded data is no clean end.
    #
    # Hazards: a bomb (few coded bytes, any number of decoded ones); thousands of members or frames with nothing in
    # them, which give no output: each call counts as work (`_CALL`).

    __slots__ = ("_backlog", "_decoder", "_error", "_sink", "_source", "_state")

    def __init__(
        self,
        decoder: Decoder,
        source: BodySource,
        sink: BodySink,
        *,
        later: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        super().__init__(later)
        self._decoder = decoder
        self._source = source
        self._sink = sink
        self._state = _FLOWING
        self._backlog = Backlog()
        self._error: OriginError | None = None  # in place of the end

    def receive_data(self, data: bytes) -> None:
        self._backlog.append(data)
        self._run()

    def receive_eof(self) -> None:
        self._end_input(None)

    def receive_error(self, error: OriginError) -> None:
        self._end_input(error)

    def abort(self) -> None:
        self._state = _OVER
        self._backlog.clear()
        self._source.abort()

    def _end_input(self, error: OriginError | None) -> None:
        if self._state is _FLOWING:
            self._state = _ENDING
            self._error = error
            self._run()

    def _set_reading(self, wanted: bool) -> None:
        if not wanted:
            self._source.pause()
        elif self._state is not _OVER:
            self._source.resume()

    def _work(self) -> bool:
        decoder, work = self._decoder, 0
        try:
            while not self._silence and self._state is not _OVER:
                if work >= TURN:
                    return True
                coded = b"" if decoder.state is _HOLDING else self._backlog.take(_INPUT)
                decoded = decoder.decode(coded)
                work += len(coded) + len(decoded) + _CALL
                if decoded:
                    self._sink.receive_data(decoded)
                elif decoder.state is not _HOLDING and not self._backlog:
                    if self._state is _ENDING:
                        self._finish()
                    break
        except decoder.errors as error:
            self._break(str(error))
        return False

    def _finish(self) -> None:
        if self._error is not None:
            self._state = _OVER
            self._sink.receive_error(self._error)
        elif self._decoder.state in (_COMPLETE, _NOTHING):
            self._state = _OVER
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
