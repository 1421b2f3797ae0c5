"""What does a client's connection tell us besides its requests?

aiohttp accepts, reads and answers; this adds what its `RequestHandler` keeps to itself: when writing stalls and
goes on, when the client is gone, raw bytes after an upgrade, and errors as problem+json. It leans on a few of
aiohttp's internals, which `tests/proxy/test_connection.py` names and checks.
"""

import re
import socket
from collections.abc import Callable
from typing import Any, Protocol, cast

from aiohttp import StreamReader, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import InvalidURLError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from sseproxy.core.errors import BadRequest, HeadersTooLarge, InternalError, SSEProxyError
from sseproxy.proxy.hangups import HangupWatch

#: Bytes of a request head, as a whole.
MAX_HEAD = 256 * 1024

#: How a chunked body ends that has no trailers. A trailer cannot look like it, for it has a colon.
_PLAIN_END = b"\r\n0\r\n\r\n"


class FlowListener(Protocol):
    """Who wants to know how the client takes what is written."""

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self) -> None: ...


class ErrorResponder(Protocol):
    """Makes the response for a request that could not be read."""

    def __call__(self, request: web.BaseRequest, error: SSEProxyError) -> web.StreamResponse: ...


class DownstreamConnection(RequestHandler):
    """One client connection."""

    __slots__ = ("_hangups", "_head_size", "_last_payload", "_raw", "_recent", "_respond_error", "_watched_fd", "flow")

    def __init__(
        self, manager: web.Server, *, respond_error: ErrorResponder, hangups: HangupWatch, **options: Any
    ) -> None:
        super().__init__(manager, **options)
        self.flow: FlowListener | None = None
        self._raw: Callable[[bytes], None] | None = None
        self._last_payload: Any = None
        self._recent = b""
        self._head_size = 0
        self._respond_error = respond_error
        self._hangups = hangups
        self._watched_fd = -1

    def data_received(self, data: bytes) -> None:
        if self._raw is not None:
            self._raw(data)
            return
        self._recent = (self._recent + data[-len(_PLAIN_END) :])[-len(_PLAIN_END) :]
        in_head = self._waits_for_head()
        super().data_received(data)
        if self._messages:
            self._head_size = 0
            self._note_broken_body()
        elif in_head:
            self._limit_head(len(data))

    def _note_broken_body(self) -> None:
        """aiohttp answers malformed bytes after the request under way; if they are its body, that must know now."""
        message, payload = self._messages[-1]
        if not isinstance(message, _ErrInfo):
            self._last_payload = payload
        elif self._last_payload is not None and not self._last_payload.is_eof():
            self._last_payload.set_exception(BadRequest("The request body is malformed."))
            self._last_payload.feed_eof()  # else aiohttp waits for the rest, and takes the exception for a defect

    def _waits_for_head(self) -> bool:
        """Whether the next byte belongs to the head of a request, and not to the body of one under way."""
        return self._waiter is not None and (self._last_payload is None or self._last_payload.is_eof())

    def _limit_head(self, size: int) -> None:
        """aiohttp limits each field and their number, but not all of them together."""
        self._head_size += size
        if self._head_size > MAX_HEAD and self._waiter is not None and not self._waiter.done():
            error = LineTooLong(b"", MAX_HEAD)
            self._messages.append((_ErrInfo(status=400, exc=error, message=error.message), EMPTY_PAYLOAD))
            self._waiter.set_result(None)

    def has_plain_end(self, body: StreamReader) -> bool:
        """Whether a chunked body, that of the request under way, has ended without trailers, and nothing came after it.

        Otherwise the connection must not be used again: aiohttp's parser keeps a trailer and makes it a field of the
        next request.
        """
        return body.is_eof() and not self._messages and self._recent == _PLAIN_END

    def switch_to_raw(self, sink: Callable[[bytes], None]) -> bytes:
        """After a 101: `sink` gets all bytes from now on. Returns those that have already arrived."""
        self._raw = sink
        early, self._message_tail = self._message_tail, b""
        if self._buffer_paused:
            self._resume_reading_for_buffer()
        return early

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.flow is not None:
            self.flow.pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.flow is not None:
            self.flow.resume_writing()

    def pause_raw_reading(self) -> None:
        """After a 101: read no more for now."""
        self._pause_transport_reading()

    def resume_raw_reading(self) -> None:
        """After a 101: go on reading."""
        self._resume_transport_reading()

    def stop_idle_timer(self) -> None:
        """A response that may last for hours needs no timer that waits for the next request; aiohttp makes it anew."""
        if self._keepalive_handle is not None:
            self._keepalive_handle.cancel()
            self._keepalive_handle = None

    def _pause_transport_reading(self) -> None:
        """aiohttp's one place in which reading stops; from here on only the kernel can tell that the client leaves."""
        super()._pause_transport_reading()
        sock = self.socket
        if sock is not None and self._watched_fd < 0:
            self._watched_fd = sock.fileno()
            self._hangups.add(self._watched_fd, self._hung_up)

    def _resume_transport_reading(self) -> None:
        self._stop_watching()
        super()._resume_transport_reading()

    def _stop_watching(self) -> None:
        if self._watched_fd >= 0:
            self._hangups.remove(self._watched_fd)
            self._watched_fd = -1

    def _hung_up(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_watching()
        flow, self.flow = self.flow, None
        if flow is not None:
            flow.connection_lost()
        self._raw = None
        self._last_payload = None
        super().connection_lost(exc)

    def close_if_idle(self) -> None:
        """Close the connection unless a request is under way or has begun to arrive."""
        if self._current_request is None and not self._messages:
            self.force_close()  # `close` only stops to read: the client would ask, and wait, in vain

    @property
    def socket(self) -> socket.socket | None:
        """The connection's socket, as long as it is open."""
        return None if self.transport is None else cast("socket.socket | None", self.transport.get_extra_info("socket"))

    @property
    def client_address(self) -> str:
        """The client's address without its port; empty for a unix socket."""
        peer = self.peername
        return peer[0] if isinstance(peer, tuple) else ""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp's hook for what it could not parse, and for exceptions that nobody caught."""
        return self._respond_error(request, _as_ours(status, exc))


def forgets_what_follows(message: RawRequestMessage) -> bool:
    """Whether aiohttp's parser has dropped what came behind this request in the same read.

    It does so after a request to switch to a protocol that it does not know. The connection must not be used again:
    the client would take the next response for one to a request that nobody has seen.
    """
    return message.upgrade and message.headers.get("Upgrade", "").lower() != "websocket"


def _as_ours(status: int, exc: BaseException | None) -> SSEProxyError:
    if isinstance(exc, LineTooLong) or "Too many headers" in str(exc):
        return HeadersTooLarge("The request line or a header field is too large.")
    if status == 400:
        return BadRequest("The request is not valid HTTP.", cause=_words_of(exc))
    return InternalError("An internal error occurred.", cause=repr(exc))


def _words_of(exc: BaseException | None) -> str | None:
    """What the parser found wrong, without the bytes that it quotes: they may be a secret in the wrong place."""
    if isinstance(exc, InvalidURLError):
        return "Invalid request target"  # its message is the target
    words = re.match(r"[A-Za-z][A-Za-z ,/-]*", getattr(exc, "message", ""))
    return None if words is None else words[0].strip()
