"""What does a client's connection tell us besides its requests?

aiohttp accepts, reads and answers; this adds what its `RequestHandler` keeps to itself: when writing stalls and
goes on, when the client is gone, raw bytes after an upgrade, and errors as problem+json. It leans on a few of
aiohttp's internals, which `tests/proxy/test_connection.py` names and checks.
"""

import socket
from collections.abc import Callable
from typing import Any, Protocol, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from sseproxy.core.errors import BadRequest, HeadersTooLarge, InternalError, SSEProxyError


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

    __slots__ = ("_last_payload", "_raw", "_respond_error", "flow")

    def __init__(self, manager: web.Server, *, respond_error: ErrorResponder, **options: Any) -> None:
        super().__init__(manager, **options)
        self.flow: FlowListener | None = None
        self._raw: Callable[[bytes], None] | None = None
        self._last_payload: Any = None
        self._respond_error = respond_error

    def data_received(self, data: bytes) -> None:
        if self._raw is not None:
            self._raw(data)
            return
        super().data_received(data)
        if self._messages:
            self._note_broken_body()

    def _note_broken_body(self) -> None:
        """aiohttp answers malformed bytes after the request under way; if they are its body, that must know now."""
        message, payload = self._messages[-1]
        if not isinstance(message, _ErrInfo):
            self._last_payload = payload
        elif self._last_payload is not None and not self._last_payload.is_eof():
            self._last_payload.set_exception(BadRequest("The request body is malformed."))
            self._last_payload.feed_eof()  # else aiohttp waits for the rest, and takes the exception for a defect

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

    def connection_lost(self, exc: BaseException | None) -> None:
        flow, self.flow = self.flow, None
        if flow is not None:
            flow.connection_lost()
        self._raw = None
        self._last_payload = None
        super().connection_lost(exc)

    def close_if_idle(self) -> None:
        """Close the connection unless a request is under way or has begun to arrive."""
        if self._current_request is None and not self._messages:
            self.close()

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


def _as_ours(status: int, exc: BaseException | None) -> SSEProxyError:
    if isinstance(exc, LineTooLong) or "Too many headers" in str(exc):
        return HeadersTooLarge("The request line or a header field is too large.")
    if status == 400:
        return BadRequest("The request is not valid HTTP.", cause=str(exc).partition("\n")[0])
    return InternalError("An internal error occurred.", cause=repr(exc))
