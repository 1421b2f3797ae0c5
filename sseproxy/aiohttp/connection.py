"""How does the proxy get at the connection of a client that aiohttp serves?

Of aiohttp this leans on things that are not promised (`tests/aiohttp/proxy/test_leans.py` holds them):

- any protocol may stand before aiohttp's on the transport, if it passes on each call;
- `request.protocol.writing_paused` is whether the transport has called `pause_writing` last;
- `request.protocol.set_parser` hands over what came behind a request for WebSockets, and all that comes after.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from aiohttp import web

from sseproxy.core.flow import FlowListener
from sseproxy.core.frames import release_frames
from sseproxy.core.http.fields import Peer, as_ipv4
from sseproxy.http1.disconnects import DisconnectWatch
from sseproxy.http1.pausing import Pause, ReadingPauses
from sseproxy.http1.sockets import reset_when_closed

#: Seconds in which a client has to take what is left for it when it says no more, or is not listened to any more.
_LAST_BYTES = 5.0

_T = TypeVar("_T")


class AiohttpConnection(asyncio.Protocol):
    """The connection of one request, while the proxy serves it. `begin` comes first, and `end` has to follow.

    on_bytes: called when aiohttp has read more of what the client sends. is_gone: the client has left.
    For the rest see `ClientConnection` and `RawConnection` of the port, and `ResponseConnection` of `downstream`.
    """

    # Plan: `begin` puts this protocol before aiohttp's on the transport, and `end` takes it away. In between each call
    # of the transport comes here first, and goes on to aiohttp's protocol as it is.
    #
    # 1. aiohttp's protocol gets each call exactly once, but for the bytes behind a 101. It asserts that pauses and
    #    resumptions alternate.
    # 2. `is_gone` is set once, by whatever tells first: the end of what the client sends, the loss of the connection,
    #    or the kernel (`disconnects`), which is asked while aiohttp does not read. The task that serves is cancelled.
    # 3. Of several cancellations of the task only those from here, and of the proxy, are taken back (`run`).
    # 4. Behind `end` nothing leads here, neither from the transport nor from the watch nor from a timer.
    #
    # Hazards: aiohttp stops reading, and so notices no end, when a body or further requests fill its buffers; a client
    # that has reset its connection has no name any more, and those without a name are on a unix socket, and trusted.

    __slots__ = (
        "_aborting",
        "_behind",
        "_closed",
        "_disconnects",
        "_failure",
        "_fd",
        "_loop",
        "_pauses",
        "_protocol",
        "_sink",
        "_task",
        "_writable",
        "client_address",
        "flow",
        "gathers",
        "is_gone",
        "is_trusted",
        "on_bytes",
        "peer",
        "scheme",
        "transport",
        "writing_paused",
    )

    def __init__(self, request: web.BaseRequest, transport: asyncio.Transport, disconnects: DisconnectWatch) -> None:
        self._loop = asyncio.get_running_loop()
        self._protocol = request.protocol
        self._behind = cast(asyncio.Protocol, transport.get_protocol())
        self._disconnects = disconnects
        self._fd = -1  # while the kernel is asked
        self._pauses: ReadingPauses | None = None  # of a tunnel
        self._sink: Callable[[bytes], None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[None] | None = None  # while `linger` waits
        self._aborting: asyncio.TimerHandle | None = None
        self._failure: Exception | None = None
        self.transport: asyncio.Transport | None = transport
        self.gathers = type(transport).__module__ == "uvloop.loop"  # see `DownstreamConnection`
        self.on_bytes: Callable[[], None] | None = None
        self.client_address = as_ipv4(request.remote or "")
        self.scheme = request.scheme
        self.peer: Peer | None = None
        self.flow: FlowListener | None = None
        self.writing_paused = self._protocol.writing_paused
        sock = self.socket
        self.is_trusted = sock is not None and sock.family == socket.AF_UNIX
        self.is_gone = transport.is_closing() or not (self.client_address or self.is_trusted)

    # While it is served.

    def begin(self) -> None:
        """Hear of all that happens on the connection from now on."""
        if self.transport is not None:
            self.transport.set_protocol(self)
            self._watch_if_unread()

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """Return what `work` returns, or ``None`` if it was cancelled because the client has gone.

        Raises what `fail` was given.
        """
        task = asyncio.current_task()
        assert task is not None
        self._task, others = task, task.cancelling()
        try:
            result: _T | None = await work
        except asyncio.CancelledError as error:
            self._task = None
            if not self.is_gone or task.uncancel() > others:
                raise
            release_frames(error)
            if self._failure is not None:
                raise self._failure from None
            return None
        if self._task is None and task.uncancel() > others:  # gone, and `work` has come to its end all the same
            raise asyncio.CancelledError
        self._task = None
        while task.cancelling() > others:  # the proxy has answered a request that it has cancelled itself
            task.uncancel()
        return result

    def end(self) -> None:
        """Leave the connection to aiohttp."""
        self._unwatch()
        if self._pauses is not None:
            self._pauses.close()
            self._pauses = None
        self._sink = self._task = self.on_bytes = self.flow = None
        transport = self.transport
        if transport is not None:
            if self._aborting is not None and not transport.get_write_buffer_size():
                self._aborting.cancel()
            if transport.get_protocol() is self:
                transport.set_protocol(self._behind)

    async def linger(self) -> None:
        """Close behind a response that came before the end of its request.

        Hazard: the kernel resets a connection that is closed while bytes come in, and the client's kernel then forgets
        what the client has not read: the response. So what still comes is taken, until the client closes too, or for a
        while. aiohttp would do so for its `lingering_time`, also when the connection is lost.
        """
        transport = self.transport
        if transport is None:
            return
        self._closed = self._loop.create_future()
        self._sink = _drop
        if not transport.is_reading() and not transport.is_closing():
            transport.resume_reading()
        if not transport.can_write_eof():
            transport.close()
        elif not transport.is_closing():
            with contextlib.suppress(OSError):  # asyncio's: the client was faster
                transport.write_eof()
        aborting = self._loop.call_later(_LAST_BYTES, transport.abort)
        try:
            await self._closed
        finally:
            aborting.cancel()

    def fail(self, error: Exception) -> None:
        """Let `run` raise `error`: there will be no response."""
        self._failure = error
        self._note_loss()

    def abort(self, *, resets: bool) -> None:
        """Close at once. resets: with a TCP reset, for a client to which closing is the end of the body."""
        if self.transport is not None:
            if resets:
                reset_when_closed(self.transport)
            self.transport.abort()

    # The transport's calls.

    def data_received(self, data: bytes) -> None:
        if self._sink is not None:
            self._sink(data)
            return
        self._behind.data_received(data)
        self._watch_if_unread()
        if self.on_bytes is not None:
            self.on_bytes()

    def eof_received(self) -> bool | None:
        """Pass it on. A client that says no more does not listen either, as far as can be known."""
        if self.transport is not None:
            self._aborting = self._loop.call_later(_LAST_BYTES, self.transport.abort)
        self._note_loss()
        return self._behind.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        if self._pauses is not None:
            self._pauses.close()
            self._pauses = None
        if self._aborting is not None:
            self._aborting.cancel()
        self.transport = self._sink = None
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(ConnectionResetError("the client has gone"))
        self._note_loss()
        self._behind.connection_lost(exc)

    def pause_writing(self) -> None:
        self.writing_paused = True
        self._behind.pause_writing()
        if self.flow is not None:
            self.flow.pause_writing()

    def resume_writing(self) -> None:
        self.writing_paused = False
        self._behind.resume_writing()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        if self.flow is not None:
            self.flow.resume_writing()

    # What a response needs.

    @property
    def socket(self) -> socket.socket | None:
        """The connection's socket, as long as it is open."""
        return None if self.transport is None else cast("socket.socket | None", self.transport.get_extra_info("socket"))

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

    # Another protocol.

    def switch_to_raw(self, sink: Callable[[bytes], None]) -> bytes:
        """After a 101: `sink` gets all bytes from now on. Returns those that have already arrived."""
        self._sink = sink
        self._unwatch()
        early = _Early()
        self._protocol.set_parser(cast(Any, early))
        return b"".join(early.pieces)

    def pause_raw_reading(self) -> None:
        """After a 101: read no more for now."""
        if self._pauses is None and self.transport is not None:
            self._pauses = ReadingPauses(self.transport, self._disconnects, self._note_loss)
        if self._pauses is not None:
            self._pauses.begin(Pause.RAW)

    def resume_raw_reading(self) -> None:
        """After a 101: go on reading."""
        if self._pauses is not None:
            self._pauses.end(Pause.RAW)

    # Private.

    def _note_loss(self) -> None:
        if self.is_gone:
            return
        self.is_gone = True
        flow, self.flow = self.flow, None
        if flow is not None:
            flow.connection_lost()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def _watch_if_unread(self) -> None:
        """Ask the kernel whether the client leaves, while aiohttp does not read (rule 2)."""
        transport = self.transport
        if transport is None or transport.is_reading():
            self._unwatch()
        elif self._fd < 0 and (sock := self.socket) is not None:
            self._fd = sock.fileno()
            self._disconnects.add(self._fd, self._note_loss)

    def _unwatch(self) -> None:
        if self._fd >= 0:
            self._disconnects.remove(self._fd)
            self._fd = -1


def _drop(_: bytes) -> None:
    """Take what is not listened to any more."""


class _Early:
    """Stands for the parser of WebSockets, to get what has come of them before the switch."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take what aiohttp has kept."""
        self.pieces.append(data)
        return False, b""

    def feed_eof(self) -> None:
        """The connection is lost: `connection_lost` has said so already."""
