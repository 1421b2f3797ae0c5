"""Who reads what one upstream connection says, and who writes to it?

A pool makes, keeps and closes these connections. Bytes of a body go to their sink in the call stack of
`data_received`: no task switch, no queue.
"""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Protocol, cast

import httptools

from sseproxy.core.errors import OriginError, UpstreamBroken
from sseproxy.core.http.fields import Headers
from sseproxy.http1.faults import broken_off, not_http
from sseproxy.http1.framing import FIELD
from sseproxy.http1.messages import ResponseHead
from sseproxy.http1.responses import Progress, ResponseParser
from sseproxy.http1.sockets import probe_in_silence, reset_when_closed
from sseproxy.http1.unread_response import last_words

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


class _State(Enum):
    IDLE = "no request is under way, and no byte may come"
    WAITING = "for the head of a response"
    FLOWING = "the listener has the head; the body comes"
    SWITCHING = "the listener has a 101; bytes wait for `switch_to_raw`"
    RAW = "another protocol is spoken"
    SPENT = "must not be used again"


class UpstreamConnection(asyncio.Protocol):
    """One connection, one response at a time.

    is_local: the upstream is on this machine. responses: how many have come to their end.
    on_writable, on_lost: called after a 101 when the transport takes no more or takes more, and when it is closed.
    """

    # The plan: IDLE -> WAITING -> FLOWING -> IDLE, for each response; or WAITING -> SWITCHING -> RAW, for another
    # protocol. `_listener` exists in WAITING and FLOWING, and in SWITCHING until `detach`; `_response` from the first
    # byte of a response on, since a request may wait for long, until SWITCHING. SPENT is where errors lead, and
    # responses behind which no other can follow.
    #
    # 1. A listener hears `ended` or `failed` exactly once, or nothing after `detach`. Both are the last thing that a
    #    call does, for the pool may use the connection for another request before they return.
    # 2. What was valid before an error is delivered before the error.
    # 3. `should_close` is known before `ended` is called, which is when the pool asks.
    # 4. The steady body takes the first half of `data_received` and nothing else.
    #
    # Hazards: bytes in IDLE (an upstream that answers without being asked: another request would take them for its
    # response); a reset behind a response that was not read yet (`unread_response`); a read of megabytes, which
    # would keep all other connections waiting (`_LONG_READ`).

    __slots__ = (
        "_closed",
        "_drained",
        "_is_local",
        "_listener",
        "_loop",
        "_lost",
        "_raw",
        "_response",
        "_sink",
        "_state",
        "_tail",
        "_to_head",
        "_write_paused",
        "on_lost",
        "on_writable",
        "responses",
        "transport",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, *, is_local: bool = False) -> None:
        self.transport: asyncio.Transport | None = None
        self.responses = 0
        self.on_writable: Callable[[bool], None] | None = None
        self.on_lost: Callable[[], None] | None = None
        self._loop = loop
        self._is_local = is_local
        self._state = _State.IDLE
        self._listener: ResponseListener | None = None
        self._response: ResponseParser | None = None
        self._to_head = False
        self._sink: Callable[[bytes], None] | None = None
        self._raw: Callable[[bytes], None] | None = None
        self._tail = b""  # bytes behind a 101
        self._closed: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._write_paused = False
        self._lost = False

    # The pool's calls.

    @property
    def should_close(self) -> bool:
        """True if the pool must not keep this connection."""
        return self._lost or self._state is not _State.IDLE

    @property
    def closed(self) -> asyncio.Future[None] | None:
        """Done when the connection is lost; ``None`` if it was lost before."""
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

    # The listener's calls.

    def send_request(self, method: str, target: str, headers: Headers, body: bytes = b"") -> None:
        """Write a head (RFC 9112 section 3), with `target` as it came in, and `body` behind it.

        Does nothing once the connection is closed.
        """
        if self.transport is not None:
            line = f"{method} {target} HTTP/1.1\r\n".encode("utf-8", "surrogateescape")
            self.transport.write(b"".join((line, *map(FIELD.__mod__, headers), b"\r\n", body)))

    def expect_response(self, listener: ResponseListener, *, to_head: bool) -> None:
        """Read the next response for `listener`. to_head: the request was a HEAD, so there is no body."""
        self._state = _State.WAITING
        self._listener = listener
        self._to_head = to_head

    def flow_into(self, sink: Callable[[bytes], None]) -> None:
        """Call `sink` instead of the listener with the bytes of the body."""
        self._sink = sink

    def detach(self) -> None:
        """Call the listener no more. The connection cannot be used for another request."""
        self._end_response(_State.SPENT if self._state is not _State.SWITCHING else _State.SWITCHING)

    def switch_to_raw(self, sink: Callable[[bytes], None]) -> bytes:
        """After a 101: pass all further bytes to `sink`. Return those that have already arrived."""
        self._state = _State.RAW
        self._raw = sink
        tail, self._tail = self._tail, b""
        return tail

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
        response = self._response
        if response is None or (feed := response.feed_body) is None:
            self._receive(data)
            return
        if len(data) > _LONG_READ:
            self._sink = None  # the listener hands it on, in turns
        try:
            feed(data)
        except httptools.HttpParserError as error:
            self._reject(not_http(error))
            return
        if len(response.pieces) == 1 and self._sink is not None and response.feed_body is not None:
            response.unframed = 0
            self._sink(response.pieces.pop())
        else:
            self._deliver_counted(response, len(data))

    def eof_received(self) -> None:
        """Let the transport close: an upstream that half-closes has nothing more to say."""

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._state is _State.WAITING and (words := last_words(self.transport)):
            self.data_received(words)
        error = broken_off(exc, in_body=self._state in (_State.FLOWING, _State.SWITCHING))
        self.transport = None
        self._lost = True
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(error)
        if self.on_lost is not None:
            self.on_lost()
        if self._listener is not None:
            if exc is None and self._response is not None and self._response.ends_with_connection:
                self._finish()
            else:
                self._fail(error)

    def pause_writing(self) -> None:
        self._write_paused = True
        if self.on_writable is not None:
            self.on_writable(False)

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self.on_writable is not None:
            self.on_writable(True)

    # Private.

    def _receive(self, data: bytes) -> None:
        """Receive anything but the steady body."""
        if self._response is None and self._state is _State.WAITING:
            self._response = ResponseParser(to_head=self._to_head)
        if self._response is not None:
            if len(data) > _LONG_READ:
                self._sink = None  # as in `data_received`
            try:
                self._response.feed(data)
            except OriginError as error:
                self._reject(error)
            else:
                self._deliver(self._response)
        elif self._raw is not None:
            self._raw(data)
        elif self._state is _State.SWITCHING:
            self._tail += data
        else:
            self._state = _State.SPENT  # no request has asked for these bytes
            self.close()

    def _deliver_counted(self, response: ResponseParser, size: int) -> None:
        """Deliver what `feed_body` has found in `size` bytes, if their framing is not too long."""
        try:
            response.limit_framing(size)
        except OriginError as error:
            self._reject(error)
        else:
            self._deliver(response)

    def _deliver(self, response: ResponseParser) -> None:
        """Hand on what the last bytes held: perhaps a head, perhaps some body, perhaps the end."""
        listener = self._listener
        if listener is None:
            return
        if self._state is _State.WAITING and response.head is not None:
            head = response.take_head()
            self._state = _State.FLOWING
            if response.progress is Progress.SWITCHED:
                self._state = _State.SWITCHING
                self._tail = response.tail
                self._response = None
                response.close()
            listener.responded(head)
        if response.pieces:
            (self._sink or listener.body)(response.take_body())
        if response.progress is Progress.COMPLETE and self._listener is not None:
            self._finish()

    def _reject(self, error: OriginError) -> None:
        """Fail, because the bytes make no sense. A response that was complete before them still counts."""
        response = self._response
        assert response is not None
        response.keeps_connection = False
        self._deliver(response)
        if self._listener is not None:
            self._fail(error)
        else:
            self.abort()

    def _finish(self) -> None:
        keeps = self._response is not None and self._response.keeps_connection
        listener = self._end_response(_State.IDLE if keeps else _State.SPENT)
        self.responses += 1
        if listener is not None:
            listener.ended()

    def _fail(self, error: OriginError) -> None:
        listener = self._end_response(_State.SPENT)
        self.abort()
        if listener is not None:
            listener.failed(error)

    def _end_response(self, then: _State) -> ResponseListener | None:
        """Release what each leads back here: listener, sink and parser."""
        listener, self._listener = self._listener, None
        response, self._response = self._response, None
        self._sink = None
        self._state = then
        if response is not None:
            response.close()
        return listener
