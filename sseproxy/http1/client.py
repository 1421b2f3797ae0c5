"""What does one upstream connection say? (HTTP/1.1 responses, RFC 9112)

A pool makes, keeps and closes these connections; llhttp (by httptools) reads the responses.
Bytes of a body go to their sink in the call stack of `data_received`: no task switch, no queue.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from sseproxy.core.errors import OriginError, UpstreamBroken
from sseproxy.core.http.fields import Headers
from sseproxy.http1.faults import broken_off, not_http, too_large
from sseproxy.http1.heads import check_fields, read_head
from sseproxy.http1.leniency import ResponseParser, with_one_length
from sseproxy.http1.messages import ResponseHead
from sseproxy.http1.sockets import probe_in_silence, reset_when_closed
from sseproxy.http1.unread_response import last_words

#: Bytes of a response head and of the interim ones before it; behind it, of trailers and what else is no body.
MAX_HEAD = 64 * 1024

#: Bytes of a body that come in one read and are too many to go on in one turn of the event loop.
_LONG_READ = 32 * 1024


class ResponseListener(Protocol):
    """Who waits for the response. Each call but `body` comes at most once, `ended` or `failed` is the last.

    body: gets what comes before the first `flow_into`, and after a long read until the next one.
    """

    def responded(self, head: ResponseHead) -> None: ...

    def body(self, data: bytes) -> None: ...

    def ended(self) -> None: ...

    def failed(self, error: OriginError) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """One connection, one response at a time. Also the shape that aiohttp's connector expects of its protocols.

    is_local: the upstream is on this machine.
    """

    __slots__ = (
        "_closed",
        "_complete",
        "_drained",
        "_early_raw",
        "_head",
        "_head_done",
        "_head_size",
        "_headers",
        "_is_local",
        "_listener",
        "_loop",
        "_lost",
        "_parser",
        "_pieces",
        "_raw",
        "_reason",
        "_received",
        "_responded",
        "_sink",
        "_to_head",
        "_until_eof",
        "_unusable",
        "_upgraded",
        "_write_paused",
        "on_body",
        "on_lost",
        "on_writable",
        "responses",
        "transport",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, *, is_local: bool = False) -> None:
        self.transport: asyncio.Transport | None = None
        self.responses = 0
        self._loop = loop
        self._is_local = is_local
        self._closed: asyncio.Future[None] | None = None
        self._lost = False
        self._unusable = False
        self._listener: ResponseListener | None = None
        self._raw: Callable[[bytes], None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._write_paused = False
        self.on_writable: Callable[[bool], None] | None = None
        self.on_lost: Callable[[], None] | None = None
        self._parser: ResponseParser | None = None
        self._received = b""  # until the response has a head
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append  # for llhttp, straight into the list
        self._sink: Callable[[bytes], None] | None = None
        self._to_head = False
        self._reason = b""
        self._headers: Headers = []
        self._head: ResponseHead | None = None
        self._head_size = 0
        self._head_done = False
        self._responded = False
        self._complete = False
        self._until_eof = False
        self._upgraded = False
        self._early_raw = b""

    # For the pool.

    @property
    def should_close(self) -> bool:
        """Whether the pool must not keep this connection."""
        return self._unusable or self._listener is not None or self._raw is not None

    @property
    def closed(self) -> asyncio.Future[None] | None:
        """Done when the connection is lost; ``None`` when it was lost before anybody asked."""
        if self._closed is None and not self._lost:
            self._closed = self._loop.create_future()
        return self._closed

    def is_connected(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()
            self.transport = None

    def abort(self, *, in_request: bool = False) -> None:
        """Close at once; bytes that were not sent yet are dropped.

        in_request: in the middle of a request. Hazard: an upstream that does not take the rest would not learn of the
        end, which queues up behind what the kernel keeps for it. A reset does not queue.
        """
        if self.transport is not None:
            if in_request:
                reset_when_closed(self.transport)
            self.transport.abort()
            self.transport = None

    # Asking.

    def expect_response(self, listener: ResponseListener, *, to_head: bool) -> None:
        """Read the next response for `listener`. to_head: the request was a HEAD, so there is no body."""
        self._listener = listener
        self._to_head = to_head
        self._begin_response()

    def flow_into(self, sink: Callable[[bytes], None]) -> None:
        """Call `sink` instead of the listener with the bytes of the body."""
        self._sink = sink

    def forget_listener(self) -> None:
        """Nobody waits any more; the connection cannot be used again."""
        self._listener = self._sink = self._parser = None  # of which each leads back here
        self._unusable = True

    def switch_to_raw(self, sink: Callable[[bytes], None]) -> bytes:
        """After a 101: `sink` gets all bytes from now on. Returns those that have already arrived."""
        self._raw = sink
        early, self._early_raw = self._early_raw, b""
        return early

    async def drain(self) -> None:
        """Wait until the transport takes more. Raises `UpstreamBroken` if it never will."""
        if self._lost:
            raise UpstreamBroken("The upstream closed the connection.", proxy_status="connection_terminated")
        if self._write_paused:
            self._drained = self._loop.create_future()
            try:
                await self._drained
            finally:
                self._drained = None

    # asyncio's calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if not self._is_local:  # there nothing vanishes without a word, and to ask for the socket is dear
            probe_in_silence(transport)

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self._receive_unparsed(data)
        elif not self._responded:
            self._parse(data)
        else:  # the hot path
            if len(data) > _LONG_READ:
                self._sink = None  # the listener hands it on, in turns
            try:
                if self._parser.looks_for_extensions:
                    self._parser.feed(data)
                else:
                    self._parser.feed_data(data)
            except httptools.HttpParserError as error:
                self._reject(not_http(error))
                return
            if self._sink is not None and len(self._pieces) == 1 and not self._complete:
                self._head_size = 0
                self._sink(self._pieces.pop())
            elif self._pieces or self._complete:
                self._head_size = 0
                self._deliver()
            else:
                self._limit_fields(len(data))

    def _receive_unparsed(self, data: bytes) -> None:
        if self._raw is not None:
            self._raw(data)
        elif self._upgraded:
            self._early_raw += data
        else:
            self._unusable = True  # bytes that nobody asked for
            self.close()

    def eof_received(self) -> None:
        """Let the transport close: an upstream that half-closes has nothing more to say."""

    def connection_lost(self, exc: Exception | None) -> None:
        waits = self._listener is not None and not self._responded
        if exc is not None and waits and (words := last_words(self.transport)):
            self.data_received(words)
        self.transport = None
        self._lost = True
        self._unusable = True
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        self._wake_writer()
        if self.on_lost is not None:
            self.on_lost()
        if self._listener is not None:
            if exc is None and self._head_done and self._until_eof:
                self._finish()
            else:
                self._fail(broken_off(exc, in_body=self._head_done))

    def pause_writing(self) -> None:
        self._write_paused = True
        if self.on_writable is not None:
            self.on_writable(False)

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake_writer()
        if self.on_writable is not None:
            self.on_writable(True)

    # llhttp's calls.

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("a second response, to no request")

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_done:  # trailers come here too, and are dropped
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        check_fields(self._reason, self._headers)
        if sum(len(name) + len(value) + 4 for name, value in self._headers) > MAX_HEAD:
            self._head_size = MAX_HEAD + 1
            raise ValueError("the head is too large")
        status = self._parser.status()
        if status < 200 and status != 101:
            self._unusable = self._unusable or not self._parser.should_keep_alive()
            return
        self._head_done = True
        self._received = b""
        self._head = head = self._read_head(status)
        self._parser.enter_body(head)

    def on_message_complete(self) -> None:
        if not self._head_done:
            self._begin_head()  # that was an interim response
        elif not self._upgraded:
            self._complete = True

    # Private.

    def _begin_response(self) -> None:
        self._parser = ResponseParser(self, self._pieces)
        self._received = b""
        self._begin_head()

    def _begin_head(self) -> None:
        self._reason = b""
        self._headers = []
        self._head = None
        self._head_size = 0
        self._head_done = self._responded = self._complete = self._until_eof = self._upgraded = False

    def _parse(self, data: bytes) -> None:
        assert self._parser is not None
        self._received += data
        try:
            self._parser.feed(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parser = None
            self._early_raw = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._repair(error)
            return
        if not self._head_done:
            if len(self._received) > MAX_HEAD:
                self._fail(too_large())
        elif self._pieces and self._head is not None and not self._head.has_body:
            self._pieces.clear()
            self._reject(not_http("a body where there can be none"))
        else:
            self._deliver()

    def _repair(self, error: httptools.HttpParserError) -> None:
        """The parser refuses what has come. Read it once more if there is one way to read it, or else reject it."""
        repaired = with_one_length(self._received)
        if self._head_size > MAX_HEAD or (repaired is None and len(self._received) > MAX_HEAD):
            self._reject(too_large())
        elif repaired == self._received:
            self._reject(not_http(error))
        elif repaired is not None:
            self._begin_response()
            self._parse(repaired)

    def _limit_fields(self, size: int) -> None:
        """Bytes without body: the framing of a chunk, or trailers, of which httptools keeps each until it is whole."""
        self._head_size += size
        if self._head_size > MAX_HEAD:
            self._fail(not_http("the trailers are too large", "http_response_trailer_section_size"))

    def _reject(self, error: OriginError) -> None:
        """The bytes make no sense; a response that was complete before them still counts."""
        self._unusable = True
        self._deliver()
        self._fail_if_waiting(error)

    def _deliver(self) -> None:
        """Hand on what the last bytes held: perhaps a head, perhaps some body, perhaps the end."""
        listener = self._listener
        if listener is None:
            return
        if self._head is not None and not self._responded:
            self._responded = True
            head, self._head, self._headers = self._head, None, []
            self._head_size = 0
            listener.responded(head)
        if self._pieces:
            data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            (self._sink or listener.body)(data)
        if self._complete and self._listener is not None:
            self._finish()

    def _read_head(self, status: int) -> ResponseHead:
        assert self._parser is not None
        head = read_head(status, self._reason, self._headers, to_head=self._to_head)
        self._upgraded = head.upgraded_to is not None
        self._until_eof = head.ends_with_connection
        if self._until_eof or not self._parser.should_keep_alive():
            self._unusable = True
        self._complete = self._complete or not (head.has_body or self._upgraded)
        return head

    def _finish(self) -> None:
        listener, self._listener = self._listener, None
        self._parser = self._sink = None
        self.responses += 1
        if listener is not None:
            listener.ended()

    def _fail_if_waiting(self, error: OriginError) -> None:
        self._unusable = True
        if self._listener is not None:
            self._fail(error)
        else:
            self.abort()

    def _fail(self, error: OriginError) -> None:
        listener, self._listener = self._listener, None
        self._parser = self._sink = None
        self._received = b""
        self._unusable = True
        self.abort()
        if listener is not None:
            listener.failed(error)

    def _wake_writer(self) -> None:
        if self._drained is not None and not self._drained.done():
            if self._lost:
                self._drained.set_exception(broken_off(None, in_body=self._head_done))
            else:
                self._drained.set_result(None)
