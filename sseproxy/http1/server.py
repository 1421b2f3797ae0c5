"""What happens on one client connection, from its first byte to its last? (RFC 9112 sections 9 and 9.6)

Requests are served one after the other. While one is, further bytes are read, so that a client which leaves is noticed
at once; where that would mean to keep too much, reading stops, and only the kernel is asked (`disconnects`).
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol, cast

from sseproxy.core.errors import ClientError, SSEProxyError, TooManyConnections
from sseproxy.core.flow import FlowListener
from sseproxy.core.frames import release_frames
from sseproxy.core.http.fields import Peer, as_ipv4
from sseproxy.http1.disconnects import DisconnectWatch
from sseproxy.http1.handshake import Evictable
from sseproxy.http1.pausing import Pause, ReadingPauses
from sseproxy.http1.policy import ServerPolicy
from sseproxy.http1.requests import ParsedRequest, RequestParser

#: Seconds after which a client that was refused for want of room may try again.
_RETRY_AFTER = 1


class WrittenResponse(Protocol):
    """What is left to know of a response that has been written."""

    @property
    def keep_alive(self) -> bool:
        """True if another response may follow on the connection."""


class Service(Protocol):
    """Who answers the requests of connections."""

    disconnects: DisconnectWatch

    async def handle(self, request: ParsedRequest, connection: "DownstreamConnection") -> WrittenResponse:
        """Serve a request. It is cancelled when the client has gone."""

    def refuse(self, error: SSEProxyError, connection: "DownstreamConnection") -> None:
        """Answer what is no request, or a connection that is one too many."""


class DownstreamConnection(asyncio.Protocol):
    """One client connection. scheme: what the client speaks, ``http`` or ``https``. is_unix: over a unix socket.
    is_trusted: the listener trusts all of its peers.

    on_made: called when it can be used, and returns False if there are too many; on_lost: called when it is closed.
    idle: the connections without a request, where it enters and leaves itself.
    idle_since: when the last response ended, in seconds of the event loop.
    flow: hears how the response under way flows. client_address: without its port; empty over a unix socket.
    peer: who it is, once a service has set it.
    """

    # The plan: `data_received` -> parser -> `_requests` -> one task (`_serve`) that takes them one after the other, as
    # long as there are any. The task is the connection's only one; a client that leaves cancels it.
    #
    # 1. Bytes are read while a request is served, so that a client which leaves is noticed at once. Where that would
    #    mean to keep too much, reading pauses, and only the kernel is asked.
    # 2. A response is over when the service returns; what is left of its request is thrown away before the next one.
    # 3. `_is_leaving`: nothing that comes is believed any more. `_close` and `close` set it, and a timer aborts what
    #    does not end.
    # 4. The connection is in `_idle` while it is open, `_serving` is None, and it has not been refused, nor made room.
    #
    # Hazards: a client that sends while its connection is closed would be reset and lose the response (`_close`); a
    # client that takes nothing keeps its transport closing for ever (`_abort_later`); a hundred pipelined requests
    # must not keep other connections waiting (`sleep(0)`), nor be kept as a hundred requests (`queued`).

    __slots__ = (
        "_closing",
        "_full_bodies",
        "_idle",
        "_is_leaving",
        "_loop",
        "_on_lost",
        "_on_made",
        "_parser",
        "_pauses",
        "_policy",
        "_raw",
        "_requests",
        "_service",
        "_serving",
        "_writable",
        "client_address",
        "flow",
        "gathers",
        "idle_since",
        "is_trusted",
        "is_unix",
        "peer",
        "scheme",
        "transport",
        "writing_paused",
    )

    def __init__(
        self,
        service: Service,
        *,
        scheme: str,
        is_unix: bool,
        is_trusted: bool,
        policy: ServerPolicy,
        idle: dict[Evictable, None],
        on_made: Callable[["DownstreamConnection"], bool],
        on_lost: Callable[["DownstreamConnection"], object],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._service = service
        self._on_made = on_made
        self._on_lost = on_lost
        self._policy = policy
        self._idle = idle
        self._pauses: ReadingPauses | None = None  # until reading pauses for the first time
        self._full_bodies = 0  # several, if requests wait
        self._parser = RequestParser(self._take, self._take, hold=self._hold, limits=policy.head)
        self._requests: list[ParsedRequest | ClientError] = []  # empty it takes a tenth of a deque
        self._serving: asyncio.Task[None] | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._is_leaving = False  # what still comes is thrown away
        self._raw: Callable[[bytes], None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self.scheme = scheme
        self.is_unix = is_unix
        self.is_trusted = is_trusted
        self.client_address = ""
        self.peer: Peer | None = None
        self.transport: asyncio.Transport | None = None
        self.flow: FlowListener | None = None
        self.writing_paused = False
        self.gathers = False
        self.idle_since = self._loop.time()

    # asyncio's calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # Not with asyncio's own transports: at best they join the pieces, and in some releases (CVE-2024-12254) they
        # never say that there are too many.
        self.gathers = type(transport).__module__ == "uvloop.loop"
        if not self.is_unix:
            # Hazard: a client that resets its connection has no name any more, but its bytes may still be read; and
            # peers without a name are trusted, because those on a unix socket have none.
            peer = transport.get_extra_info("peername")
            if isinstance(peer, tuple):
                self.client_address = as_ipv4(peer[0])
            else:
                self._is_leaving = True
                self.transport.abort()
                return
        if not self._on_made(self):
            refusal = TooManyConnections("Too many clients are connected.", retry_after=_RETRY_AFTER)
            self._service.refuse(refusal, self)
            self._close()

    def data_received(self, data: bytes) -> None:
        if self._raw is not None:
            self._raw(data)
        elif not self._is_leaving:
            self._parser.feed(data)
            if self._parser.is_stopped:
                self._pause_while(Pause.TAIL, self.unread > self._policy.tail)
            if self._requests:
                self._serve_next()

    def eof_received(self) -> None:
        """Let the transport close: a client that says no more does not listen either, as far as can be known."""
        self._abort_later()  # the transport would wait until the client has taken what is left
        flow, self.flow = self.flow, None
        if flow is not None:
            flow.connection_lost()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._pauses is not None:
            self._pauses.close()
            self._pauses = None  # it leads back here
        self.transport = None
        self._raw = None
        self._requests.clear()
        flow, self.flow = self.flow, None
        if flow is not None:
            flow.connection_lost()
        self._parser.close()
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(ConnectionResetError("the client has gone"))
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._serving is not None:
            self._serving.cancel()
        self._on_lost(self)

    def pause_writing(self) -> None:
        self.writing_paused = True
        if self.flow is not None:
            self.flow.pause_writing()

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        if self.flow is not None:
            self.flow.resume_writing()

    # Serving.

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way or has begun to arrive."""
        return self._serving is None and not self._parser.has_begun and not self._is_leaving

    def is_unused(self, since: float) -> bool:
        """Whether no request has come as a whole since then, and no response has ended."""
        return self._serving is None and not self._is_leaving and self.idle_since <= since

    @property
    def queued(self) -> int:
        """How many requests wait for the one under way."""
        return len(self._requests)

    @property
    def unread(self) -> int:
        """Bytes that have come, and are not read as HTTP before the requests ahead of them are answered."""
        return len(self._parser.tail)

    def _take(self, request: ParsedRequest | ClientError) -> None:
        self._requests.append(request)
        if len(self._requests) >= self._policy.queued:
            self._parser.is_full = True

    def _serve_next(self) -> None:
        """One read may bring many requests; no more is read before they have been answered."""
        if self._serving is not None or len(self._requests) > 1:
            self._pause(Pause.QUEUE)
        if self._serving is None:
            self._idle.pop(self, None)
            self._serving = self._loop.create_task(self._serve())

    async def _serve(self) -> None:
        try:
            while self._requests:
                request = self._requests.pop(0)
                if self._parser.is_full and not (self._requests or self._parser.is_stopped):
                    self._go_on()
                if self._pauses is not None and self._pauses.holding:
                    self._pause_while(Pause.QUEUE, bool(self._requests))
                if isinstance(request, ClientError):
                    self._service.refuse(request, self)
                    self._close()
                else:
                    answer = await self._service.handle(request, self)
                    await self._settle(request, answer)
                if self._requests:
                    await asyncio.sleep(0)  # an own answer may need no wait, and others want their turn
        except BaseException as error:
            self.abort()  # what has been written may be half a response
            if isinstance(error, asyncio.CancelledError):
                release_frames(error)  # the task keeps it
            raise
        finally:
            self._serving = None
            self.idle_since = self._loop.time()
            if self.transport is not None:
                self._idle[self] = None

    async def _settle(self, request: ParsedRequest, answer: WrittenResponse) -> None:
        """The response has been written. Is there to be another one?"""
        content = request.content
        if content is not None:
            content.drop()
        if content is not None and not content.is_complete and answer.keep_alive:
            await asyncio.wait((content.ended,), timeout=self._policy.read_off)
        is_whole = content is None or content.is_complete
        if not (answer.keep_alive and is_whole):
            self._close()
        elif request.upgrades and self._parser.is_stopped:  # by this request, and not by one that waits behind it
            self._go_on()

    def _go_on(self) -> None:
        """Read what came behind the last request, perhaps only to the next wish for another protocol."""
        self._parser.go_on()
        self._pause_while(Pause.TAIL, self._parser.is_stopped and self.unread > self._policy.tail)

    def _hold(self, is_full: bool) -> None:
        """One more body comes faster than it is taken, or one less: read while none does."""
        self._full_bodies += 1 if is_full else -1
        self._pause_while(Pause.CONTENT, self._full_bodies > 0)

    def _pause_while(self, why: Pause, applies: bool) -> None:
        if applies:
            self._pause(why)
        elif self._pauses is not None:
            self._pauses.end(why)

    def _pause(self, why: Pause) -> None:
        if self._pauses is None and self.transport is not None:
            self._pauses = ReadingPauses(self.transport, self._service.disconnects, self.abort)
        if self._pauses is not None:
            self._pauses.begin(why)

    # Ending.

    def close(self) -> None:
        """Close when all that has been written is on its way, or when it should have been."""
        if self.transport is not None and not self.transport.is_closing():
            self._is_leaving = True
            self._abort_later()
            self.transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abort()

    def make_room(self) -> None:
        """Close because others need the place. No request is under way."""
        if self._is_leaving:
            self.abort()
        else:
            self.close()

    async def wait_until_writable(self) -> None:
        """Until what was written has gone, as far as the transport wants it gone. Raises `ConnectionError`."""
        if self.transport is None:
            raise ConnectionResetError("the client has gone")
        if self.writing_paused:
            self._writable = self._loop.create_future()
            try:
                await self._writable
            finally:
                self._writable = None

    async def wait_until_served(self) -> None:
        """Until no request is under way."""
        if self._serving is not None:
            await asyncio.wait({self._serving})

    def _close(self) -> None:
        """Close behind the last response.

        Hazard: the kernel resets a connection that is closed while bytes come in, and the client's kernel then forgets
        what the client has not read: the response. So whatever still comes is taken, until the client closes too, or
        for a while.
        """
        self._requests.clear()
        self._raw = None
        if self.transport is None or self.transport.is_closing():
            return
        self._is_leaving = True
        self._parser.close()
        self._abort_later()
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        if self._pauses is not None:
            self._pauses.end_all()
        try:
            self.transport.write_eof()
        except OSError:  # asyncio's: the client was faster
            self.transport.abort()

    def _abort_later(self) -> None:
        if self._closing is None and self.transport is not None:
            policy = self._policy
            seconds = policy.read_off if self.transport.can_write_eof() else policy.tls_close
            self._closing = self._loop.call_later(seconds, self.abort)

    # Another protocol.

    def switch_to_raw(self, sink: Callable[[bytes], None]) -> bytes:
        """After a 101: `sink` gets all bytes from now on. Returns those that have already arrived."""
        self._raw = sink
        early, self._parser.tail = self._parser.tail, b""
        if self._pauses is not None:
            self._pauses.end(Pause.TAIL)
        return early

    def pause_raw_reading(self) -> None:
        """After a 101: read no more for now."""
        self._pause(Pause.RAW)

    def resume_raw_reading(self) -> None:
        """After a 101: go on reading."""
        if self._pauses is not None:
            self._pauses.end(Pause.RAW)

    # Who it is.

    @property
    def socket(self) -> socket.socket | None:
        """The connection's socket, as long as it is open."""
        return None if self.transport is None else cast("socket.socket | None", self.transport.get_extra_info("socket"))
