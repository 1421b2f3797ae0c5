"""How do one request's handler and aiohttp's connection speak to the responder, which speaks ASGI only?

What a handler writes becomes ASGI messages, and what the responder sends becomes calls of aiohttp's writer: streams
live by the rules of the proxy, written once. Of aiohttp this leans on three things that are not promised:

- `request._payload_writer` is where a response gets its writer when it is prepared;
- `request._cancel` is called when the connection is lost, whether or not handlers are cancelled then;
- `request._read_bytes` is the request body, once the handler has read it.
"""

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from sseproxy.aiohttp.sealing import seal
from sseproxy.asgi.errors import StreamAborted
from sseproxy.asgi.response_switch import Common, ResponseSwitch
from sseproxy.asgi.types import Message, Scope
from sseproxy.core.stream.kinds import is_of_a_kind
from sseproxy.http1.sockets import reset_when_closed

#: Seconds between looks whether a handler has read the request body, at most.
_LOOK = 0.5

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


# Strategy. The exchange stands where aiohttp keeps the writer of a request, so that any response that a handler
# prepares writes here. Until its head is written, calls are only kept; then the switch decides:
#
#     no event stream   `is_bypassed`: all calls go to aiohttp's writer, as they came
#     an event stream   each call becomes a message to the switch, and the responder's messages come back to `send`
#
# Rules
# 1. What aiohttp does behind the handler (prepare the response, write its end) is done here for a stream, while the
#    responder still runs: it has to see the end.
# 2. The request body does not come by `receive`: handlers read it from aiohttp. Whether it declares a stream is seen in
#    `_read_bytes`, by a timer, and again at the response's head.
# 3. Behind `run` the request has its own writer again, and nothing of aiohttp leads here.
# 4. Behind a stream nothing else is sent for the request: a middleware in front may turn an error into a response.
#
# Hazards
# - Behind a stream there is no place for the head of the 500 that aiohttp answers with when a handler returns no
#   response, nor for a `FileResponse`, which goes to the connection past any writer.
# - An `HTTPException` is a response that is raised: aiohttp takes it for a good end.
# - aiohttp closes a connection whose handler fails, which waits for a client that may take nothing: it is aborted.
# - The handler sees `Accept-Encoding`. `Request.clone` could hide it, but the clone has a copy of the request's state,
#   which `on_response_prepare` would not see, and posted files of its own, which aiohttp would not close. So a handler
#   that calls `enable_compression` gets no heartbeats.


class Exchange(AbstractStreamWriter):
    """One request. To the handler's response it is the writer; to the responder it is the server."""

    length: int | None = None
    _chunked = False
    _compression: tuple[Any, ...] | None = None
    _head: tuple[str, CIMultiDict[str]] | None = None
    _gone: asyncio.Future[None] | None = None
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, common: Common, request: web.Request) -> None:
        self._request = request
        self._writer = request._payload_writer
        switch = ResponseSwitch(common, _scope_of(request), self.receive, self.send)
        self._switch: ResponseSwitch | _Finished = switch
        if request.content.is_eof():
            switch.restart_early()
        elif switch.may_answer_early:
            switch.hold_early()
            note_body_end = weakref.WeakMethod(self.note_body_end)  # it may never come, and keeps what is called
            request.content.on_eof(lambda: (note := note_body_end()) and note())
        if common.early is not None and switch.wants_body:
            self._show_body_later(common.early)

    @classmethod
    def covers(cls, request: web.Request) -> bool:
        """True if an outer middleware of this kind has the request already."""
        return isinstance(request._payload_writer, cls)

    async def run(self, handler: Handler) -> web.StreamResponse:
        """Call the handler, unless the client has seen the end. Raises what it raises, or `StreamAborted`."""
        end = self._switch.end
        if end is not None and end.is_known:
            self._close()
            return web.Response(status=204, headers={"Cache-Control": "no-store"})
        self._request._payload_writer = self
        try:
            try:
                response = await handler(self._request)
            except web.HTTPException as refusal:
                await self._take_over(refusal)
                raise
            await self._take_over(response)
        except BaseException as error:
            if not await self._is_over(error):
                raise
            return _Sent()
        else:
            await self._is_over(None)
            return response
        finally:
            self._close()

    async def _is_over(self, error: BaseException | None) -> bool:
        """True if `error` is to go no further. Raises `StreamAborted`."""
        if self._has_stream and isinstance(error, web.HTTPException):
            error = None  # a response, and written
        try:
            return await self._switch.finish(error)
        except StreamAborted:
            transport = self._request.transport
            if transport is not None and transport.get_write_buffer_size():
                transport.abort()
            raise

    async def _take_over(self, response: web.StreamResponse) -> None:
        """Do what is aiohttp's behind the handler (rule 1)."""
        if self._switch.is_bypassed:
            return
        if not isinstance(response, web.StreamResponse):
            if self._has_stream:
                raise TypeError(f"Web-handler should return a response instance, got {response!r}")
        elif isinstance(response, web.FileResponse):
            if self._has_stream:
                await self._switch.send({"type": "http.response.start", "status": response.status, "headers": []})
                await self._switch.send({"type": "http.response.body"})
        elif self._has_stream or _is_stream(response.headers):
            if self._request.version < HttpVersion11:
                response.force_close()
            await response.prepare(self._request)
            await response.write_eof()

    @property
    def _has_stream(self) -> bool:
        return self._switch.responder is not None

    def _close(self) -> None:
        self._request._payload_writer = self._writer
        vars(self._request).pop("_cancel", None)
        if self._timer is not None:
            self._timer.cancel()
        if self._has_stream:
            seal(self._writer)
        transport = self._request.transport
        if self._switch.is_broken and transport is not None and self._request.version < HttpVersion11:
            reset_when_closed(transport)  # in order it would be the end of the body (RFC 9112 section 6.3)
        self._switch.close()
        self._switch = _Finished(is_bypassed=self._switch.is_bypassed)

    # The handler's side: a writer.

    @property
    def output_size(self) -> int:  # type: ignore[override]  # only ever read
        return self._writer.output_size

    @property
    def buffer_size(self) -> int:  # type: ignore[override]  # likewise
        return self._writer.buffer_size

    @property
    def transport(self) -> asyncio.WriteTransport | None:
        return self._writer.transport

    def enable_chunking(self) -> None:
        self._chunked = True

    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None:
        self._compression = (encoding, strategy)

    async def write_headers(self, status_line: str, headers: CIMultiDict[str]) -> None:
        self._head = status_line, headers
        status = int(status_line.split(" ", 2)[1])
        counts = self._has_stream or _is_stream(headers)
        fields = [(_encoded(name), _encoded(value)) for name, value in headers.items()] if counts else []
        if counts and (body := self._request._read_bytes) is not None:
            self._switch.note_body(body)
        await self._switch.send({"type": "http.response.start", "status": status, "headers": fields})

    def send_headers(self) -> None:
        if self._switch.is_bypassed:
            self._writer.send_headers()

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        if self._switch.is_bypassed:
            await self._writer.write(chunk)
        else:
            await self._switch.send({"type": "http.response.body", "body": bytes(chunk), "more_body": True})

    async def write_eof(self, chunk: bytes = b"") -> None:
        if self._switch.is_bypassed:
            await self._writer.write_eof(chunk)
        else:
            await self._switch.send({"type": "http.response.body", "body": chunk})

    async def drain(self) -> None:
        await self._writer.drain()

    # The responder's side: a server.

    async def receive(self) -> Message:
        """Wait until the client has left. There is no request body here: handlers read it by themselves."""
        self._gone = asyncio.get_running_loop().create_future()
        vars(self._request)["_cancel"] = self.note_loss
        if self._request.transport is not None:
            await self._gone
        return {"type": "http.disconnect"}

    def note_loss(self, error: BaseException) -> None:
        """The connection is lost: aiohttp calls this in place of the request's `_cancel`."""
        type(self._request)._cancel(self._request, error)
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    async def send(self, message: Message) -> None:
        """One message of the responder, to the client."""
        if message["type"] == "http.response.start":
            if self._switch.is_bypassed:
                assert self._head is not None
                self._writer.length = self.length
                if self._chunked:
                    self._writer.enable_chunking()
                if self._compression is not None:
                    self._writer.enable_compression(*self._compression)
                await self._writer.write_headers(*self._head)
            else:
                await self._send_head(message)
        elif message["more_body"]:
            await self._writer.write(message["body"])
            await self._writer.drain()
        else:
            await self._writer.write_eof(message["body"])

    async def _send_head(self, message: Message) -> None:
        """The head of a stream: of any length, whatever the handler thought of its own."""
        version = self._request.version
        headers = CIMultiDict((_decoded(name), _decoded(value)) for name, value in message["headers"])
        self._writer.length = None
        if version >= HttpVersion11:
            self._writer.enable_chunking()
            headers["Transfer-Encoding"] = "chunked"
        if version < HttpVersion11:
            headers["Connection"] = "close"
        headers.setdefault("Date", formatdate(usegmt=True))
        reason = "OK" if self._head is None else self._head[0].split(" ", 2)[2]
        await self._writer.write_headers(f"HTTP/{version.major}.{version.minor} {message['status']} {reason}", headers)
        self._writer.send_headers()

    def note_body_end(self) -> None:
        """The request body has arrived."""
        self._switch.restart_early()

    def _show_body_later(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self.show_body, seconds)

    def show_body(self, again: float) -> None:
        """Show the switch the request body, once the handler has read it (rule 2). again: seconds to the next look."""
        body = self._request._read_bytes
        if not self._switch.wants_body:
            return
        if body is not None:
            self._switch.receive_body(body)
        else:
            self._show_body_later(min(again, _LOOK))


class _Finished:
    """Stands for the switch when the handler has returned, because a switch leads back to its server.

    is_bypassed: the response is aiohttp's, and it may not be complete.
    """

    end = None
    is_broken = False
    responder = None
    wants_body = False

    def __init__(self, *, is_bypassed: bool) -> None:
        self.is_bypassed = is_bypassed

    async def send(self, message: Message) -> None:
        """Drop what a task of the handler's still writes to a stream that has ended."""

    async def finish(self, error: BaseException | None = None) -> bool:
        """Return False: nothing was stopped."""
        return False

    def receive_body(self, body: bytes) -> None:
        """Drop it: the request has its response."""

    def note_body(self, body: bytes) -> None:
        """Likewise."""

    def restart_early(self) -> None:
        """Wait for nothing any more."""

    def close(self) -> None:
        """Nothing is held."""


class _Sent(web.StreamResponse):
    """Stands for a response that has gone out under a handler that was stopped."""

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


def _scope_of(request: web.Request) -> Scope:
    headers = [(name.lower(), value) for name, value in request.raw_headers]
    return {
        "type": "http",
        "method": request.method,
        "path": request.path,
        "query_string": _encoded(request.rel_url.raw_query_string),
        "headers": headers,
        "client": (request.remote or "", 0),
    }


def _is_stream(headers: CIMultiDict[str]) -> bool:
    return is_of_a_kind([(b"content-type", _encoded(media)) for media in headers.getall("Content-Type", ())])


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decoded(field: bytes) -> str:
    return field.decode("utf-8", "surrogateescape")
