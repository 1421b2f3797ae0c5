"""What does a service say in place of what was wanted of it? The beginning of its answer is enough."""

import asyncio
from typing import Any

from sseproxy.core.errors import ClientError, OriginError, SSEProxyError
from sseproxy.core.flow import BodySource
from sseproxy.core.http.fields import Headers, get
from sseproxy.core.limits import ERROR_BODY, REFUSAL_TIME
from sseproxy.core.stream.error_events import StreamError
from sseproxy.core.stream.late_refusal import LateRefusal, answered
from sseproxy.origins.codings import decode_beginning, decoder_for
from sseproxy.origins.http import HttpExchange


async def read_refusal(exchange: HttpExchange, ended: asyncio.Future[Any]) -> StreamError:
    """Return the upstream's answer with the beginning of its body, as far as it comes in `REFUSAL_TIME`.

    ended: when this is done, there is no client any more that waits for the answer. Aborts the exchange.
    """
    head = exchange.head
    beginning = Beginning(exchange)
    exchange.attach(beginning)
    await first_of(beginning.ended, ended, within=REFUSAL_TIME)
    exchange.abort()
    return refused_there(head.status, head.reason, head.headers, beginning.raw)


def refused_there(status: int, reason: bytes, headers: Headers, raw: bytes) -> StreamError:
    """Return what an answer of the upstream is to a client that was promised a stream. raw: of its body, as it came."""
    retry_after = get(headers, b"retry-after")
    return StreamError(
        type="upstream_response",
        status=status,
        detail=answered("The upstream", status, reason, headers),
        retry_after=None if retry_after is None else retry_after.decode("latin-1"),
        body=decoded_beginning(headers, raw),
    )


def refused_here(error: SSEProxyError) -> LateRefusal:
    """Return what becomes of a request that the upstream has no part in refusing: it may go better the next time."""
    if isinstance(error, ClientError):
        return LateRefusal(StreamError("request_error", error.status, error.detail))
    return LateRefusal(StreamError("unavailable", error.status, error.detail))


async def first_of(*futures: asyncio.Future[Any], within: float | None = None) -> None:
    """Wait until one of `futures` is done, or for `within` seconds."""
    await asyncio.wait(futures, timeout=within, return_when=asyncio.FIRST_COMPLETED)


def decoded_beginning(headers: Headers, raw: bytes) -> bytes:
    """Return the beginning of a body, decoded; nothing if that cannot be done."""
    try:
        decoder = decoder_for(headers)
        return raw if decoder is None else decode_beginning(decoder, raw, ERROR_BODY)
    except Exception:  # noqa: BLE001 - a decoder's library may raise anything: there is no text to pass on
        return b""


class Beginning:
    """Takes the first `ERROR_BODY` bytes of a body.

    ended: done when they are here, or when no more come. is_whole: all of the body has come; error: what broke it.
    """

    def __init__(self, source: BodySource) -> None:
        self._source = source
        self._data = bytearray()
        self._is_cut = False
        self.is_whole = False
        self.error: OriginError | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def receive_data(self, data: bytes) -> None:
        room = ERROR_BODY - len(self._data)
        self._is_cut = self._is_cut or len(data) > room
        self._data += data[:room]
        if len(self._data) >= ERROR_BODY:
            self._source.pause()
            self._end()

    def receive_eof(self) -> None:
        self.is_whole = not self._is_cut
        self._end()

    def receive_error(self, error: OriginError) -> None:
        self.error = error
        self._end()

    @property
    def raw(self) -> bytes:
        """What came, as it came."""
        return bytes(self._data)

    def body(self, headers: Headers) -> bytes:
        """Return what came, decoded; nothing if that cannot be done."""
        return decoded_beginning(headers, self.raw)

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
