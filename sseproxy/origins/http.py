"""How is a request sent to an HTTP upstream, and how does its response come back?"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import cast

from sseproxy.core.errors import BadRequest, OriginError, RequestBroken, ResponseTimeout, UpstreamBroken
from sseproxy.core.flow import BodySink
from sseproxy.core.frames import release_frames
from sseproxy.core.routes import Upstream
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.http1.backlog import Backlog
from sseproxy.http1.client import UpstreamConnection
from sseproxy.http1.framing import CHUNK, LAST_CHUNK, request_head
from sseproxy.http1.messages import OriginRequest, RequestBody, ResponseHead
from sseproxy.origins.faults import our_errors
from sseproxy.origins.pools import Lease, pool_for
from sseproxy.timers import Clock, Timer

#: Bytes of a response body that may arrive before its sink is known.
_EARLY = 64 * 1024

#: Bytes of a response body that go on in one turn of the event loop, if more have come: uvloop would read up to 8 MiB
#: in one. A sink that looks at every line gets fewer of them where lines are shorter than `_SHORT_LINE`.
_IN_TURN = 128 * 1024
_IN_TURN_BY_LINE = 16 * 1024
_SHORT_LINE = 32


class HttpOrigin:
    """One upstream with its pool of connections. Must be made while the event loop runs.

    clock: of the waits for responses; the event loop, or `Timers` that it shares with streams.
    """

    def __init__(self, upstream: Upstream, *, clock: Clock | None = None) -> None:
        self.pool = pool_for(upstream)
        self._clock: Clock = asyncio.get_running_loop() if clock is None else clock

    async def open(self, request: OriginRequest, timeouts: TimeoutPolicy) -> "HttpExchange":
        """Send the head of `request`, begin to send its body, and wait for the response head.

        Raises `OriginError`, or the `ClientError` that reading the request's body raises. A body that is
        still being sent goes on in the background, until the exchange ends.
        """
        # Hazard: upstreams close pooled connections at any time, often all of them at once (a restart). So a second try
        # never takes another pooled one; nor does a request that could not be sent twice because its body is passing.
        anew = request.is_idempotent and not request.is_here
        while True:
            lease = await self._lease(timeouts, anew=anew)
            exchange = HttpExchange(lease, request)
            try:
                body = request.body
                if body is None or isinstance(body.pieces, bytes):
                    await exchange.ask(request, self._clock, timeouts.response)
                else:
                    await exchange.send(request, body, body.pieces, timeouts.response)
                return exchange
            except UpstreamBroken:
                exchange.abort()
                was_stale = exchange.was_reused and not exchange.heard
                if not (was_stale and request.is_idempotent and request.is_here):
                    raise
                anew = True
            except BaseException:
                exchange.abort()
                raise

    async def close(self) -> None:
        """Close all connections."""
        await self.pool.close()

    async def _lease(self, timeouts: TimeoutPolicy, *, anew: bool) -> Lease:
        if not anew and (idle := self.pool.take_idle()) is not None:
            return idle
        with our_errors():
            async with asyncio.timeout(timeouts.connect):
                return await self.pool.connect(anew=anew)


class HttpExchange:
    """One request and its response. Is the response's `BodySource`.

    heard: the upstream has sent something.
    """

    __slots__ = (
        "_answered",
        "_early",
        "_end",
        "_ended",
        "_in_request",
        "_is_by_line",
        "_is_full",
        "_is_passing",
        "_is_paused",
        "_is_reading",
        "_is_resting",
        "_lease",
        "_limit",
        "_may_be_kept",
        "_protocol",
        "_response",
        "_sending",
        "_sink",
        "_waits_for_client",
        "heard",
        "was_reused",
    )

    def __init__(self, lease: Lease, request: OriginRequest) -> None:
        self._lease = lease
        self._may_be_kept = request.body is None or not request.may_be_misread  # the connection, for other requests
        self._protocol = lease.protocol
        self._response: asyncio.Future[ResponseHead] | None = asyncio.get_running_loop().create_future()
        self._answered = False  # with a response, or with none
        self.heard = False
        self._sink: BodySink | None = None
        self._early = Backlog()  # what has come before its sink, or faster than in turns
        self._end: OriginError | None = None
        self._ended = False
        self._limit: Timer | None = None  # of the wait for the response
        self._is_reading = True
        self._is_full = False  # more has arrived early than is kept
        self._is_paused = False  # by the sink
        self._is_resting = False  # for a turn of the event loop
        self._is_by_line = False
        self._is_passing = False  # something on to the sink, in this very moment
        self._waits_for_client = False  # for the next piece of the request body
        self._in_request = False  # a request body is not sent as a whole yet
        self._sending: asyncio.Task[None] | None = None
        self.was_reused = self._protocol.responses > 0
        self._protocol.expect_response(self, to_head=request.method == "HEAD")

    # Sending.

    def ask(self, request: OriginRequest, clock: Clock, within: float | None) -> "Awaitable[ResponseHead]":
        """Send a request whose body, if any, is here; what is returned waits for the response head."""
        body, headers = request.body, request.headers
        if body is not None:
            headers = [*headers, body.framing]
        head = request_head(request.method, request.target, headers)
        self._write(head if body is None else head + body.framed)
        assert self._response is not None
        if within is not None:
            self._limit = clock.call_at(clock.time() + within, self._give_up)
        return self._response

    async def send(
        self, request: OriginRequest, body: RequestBody, pieces: AsyncIterator[bytes], within: float | None
    ) -> None:
        """Send a request and wait for the response head; the body goes on being sent meanwhile and after."""
        self._in_request = True
        self._write(request_head(request.method, request.target, [*request.headers, body.framing]))
        try:
            async with asyncio.timeout(within) as limit:
                self._sending = asyncio.create_task(self._send_body(pieces, body.length, limit, within))
                self._sending.add_done_callback(self._sent)
                await self._wait_for_response(self._sending)
        except TimeoutError:
            if self._waits_for_client:
                raise BadRequest("The request body did not come in time.") from None
            raise _too_late() from None

    def _give_up(self) -> None:
        self._limit = None
        if self._response is not None and not self._response.done():
            self._response.set_exception(_too_late())
            self._response.exception()  # it may be that nobody waits any more

    async def _wait_for_response(self, sending: "asyncio.Task[None]") -> None:
        """Wait for the head, or for an error of the body that is being sent."""
        response = self._response
        assert response is not None
        waiting: set[asyncio.Future[object]] = {
            cast("asyncio.Future[object]", response),
            cast("asyncio.Future[object]", sending),
        }
        while not response.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if sending in done and not response.done():
                sending.result()
        response.result()

    async def _send_body(
        self,
        pieces: AsyncIterator[bytes],
        length: int | None,
        limit: asyncio.Timeout,
        response_timeout: float | None,
    ) -> None:
        """Each piece that goes out shows that the upstream lives, so the wait for its answer begins anew."""
        loop = asyncio.get_running_loop()
        try:
            self._waits_for_client = True
            async for piece in pieces:
                self._waits_for_client = False
                self._write(piece if length is not None else CHUNK % (len(piece), piece))
                await self._protocol.drain()
                if response_timeout is not None and not self._answered:
                    limit.reschedule(loop.time() + response_timeout)
                self._waits_for_client = True
            self._waits_for_client = False
            if length is None:
                self._write(LAST_CHUNK)
            self._in_request = False
        except UpstreamBroken:
            # The answer that came before the end, if any, says more than this.
            if not self._answered:
                raise
        except asyncio.CancelledError as error:
            release_frames(error)
            raise

    def _sent(self, sending: asyncio.Task[None]) -> None:
        """A body that breaks after the response has begun leaves the upstream with half a request."""
        self._sending = None
        error = None if sending.cancelled() else sending.exception()
        if error is not None:
            release_frames(error)
            if self.heard and not self._ended:
                self._connection_lost_by_client()

    def _connection_lost_by_client(self) -> None:
        sink = self._sink
        self.abort()
        self._end = RequestBroken("The request body broke off.", proxy_status="http_request_error")
        if sink is not None:
            sink.receive_error(self._end)

    def _write(self, data: bytes) -> None:
        if self._protocol.transport is not None:
            self._protocol.transport.write(data)

    # Receiving.

    @property
    def head(self) -> ResponseHead:
        """The response head, from the end of `ask` or `send` until `attach`."""
        assert self._response is not None
        return self._response.result()

    @property
    def is_sending(self) -> bool:
        """Whether some of the request has not left yet."""
        transport = self._protocol.transport
        if transport is not None and transport.get_write_buffer_size():
            return True
        return self._sending is not None and not self._sending.done()

    def take_whole(self) -> bytes | None:
        """The body, if all of it has come already; then there is nothing to attach to, or to abort."""
        if not self._ended or self._end is not None:
            return None
        return self._early.whole()

    def attach(self, sink: BodySink, *, by_line: bool = False) -> None:
        """Let the body flow into `sink`, what has already arrived first. by_line: the sink looks at every line."""
        self._sink = sink
        self._is_by_line = by_line
        self._response = None
        self._is_full = False
        if self._early:  # also to a sink that is behind: it has to know that there is something
            sink.receive_data(self._early.take(self._size_of_turn()))
        self._pass_on()

    def pause(self) -> None:
        self._is_paused = True
        self._set_reading()

    def resume(self) -> None:
        self._is_paused = False
        self._pass_on()

    def _pass_on(self) -> None:
        """Hand on some of what has come. Others have their turn before the rest of it, and before the next read."""
        if self._is_resting or self._is_passing:
            return
        self._is_passing = True
        while self._early and self._sink is not None and not (self._is_paused or self._is_resting):
            piece = self._early.take(self._size_of_turn())
            self._sink.receive_data(piece)
            self._is_resting = bool(self._early) or len(piece) >= _IN_TURN
        self._is_passing = False
        if self._is_resting:
            asyncio.get_running_loop().call_soon(self._go_on)
        elif self._sink is not None and not self._early:
            if self._ended:
                self._tell_end(self._sink)
            else:
                self._protocol.flow_into(self._sink.receive_data)
        self._set_reading()

    def _size_of_turn(self) -> int:
        if not self._is_by_line or self._early.line_ends() * _SHORT_LINE <= _IN_TURN:
            return _IN_TURN
        return _IN_TURN_BY_LINE

    def _go_on(self) -> None:
        self._is_resting = False
        self._pass_on()

    def _set_reading(self) -> None:
        """Several want silence: we, until there is a sink, the sink, all others. Each allows only what it forbade."""
        wanted = self._ended or not (self._is_full or self._is_paused or self._is_resting)
        if wanted is not self._is_reading and self._protocol.transport is not None:
            self._is_reading = wanted
            if wanted:
                self._protocol.transport.resume_reading()
            else:
                self._protocol.transport.pause_reading()

    def switch_to_raw(self) -> tuple[UpstreamConnection, Lease]:
        """After a 101: the connection itself, and the lease on it that must be closed in the end."""
        self._protocol.detach()
        return self._protocol, self._lease

    def abort(self) -> None:
        self._stop_waiting()
        self._stop_sending()
        self._sink = None
        self._early.clear()
        if not self._ended:
            self._ended = True
            self._protocol.detach()
            self._protocol.abort(in_request=self._in_request or self.is_sending)
            self._lease.close()

    # The connection's calls.

    def responded(self, head: ResponseHead) -> None:
        if not self._answered and self._response is not None:
            self._answered = self.heard = True
            self._stop_waiting()
            if not self._response.done():  # whoever waited was called off in this very turn of the event loop
                self._response.set_result(head)

    def body(self, data: bytes) -> None:
        self._early.append(data)
        if self._sink is not None:
            self._pass_on()
        elif self._early.size > _EARLY:
            self._is_full = True
            self._set_reading()

    def ended(self) -> None:
        self._ended = True
        self._set_reading()  # the pool takes only connections that listen
        if self._in_request or self.is_sending:
            self._stop_sending()
            # The rest of the request would be read as the next one, or never be taken.
            self._protocol.abort(in_request=True)
            self._lease.close()
        elif self._may_be_kept:
            self._lease.release()
        else:
            self._lease.close()
        if self._sink is not None and not self._early:
            self._tell_end(self._sink)

    def failed(self, error: OriginError) -> None:
        self._ended = True
        self._end = error
        self._stop_waiting()
        self._stop_sending()
        self._lease.close()
        if not self._answered and self._response is not None:
            self._answered = True
            if not self._response.done():
                self._response.set_exception(error)
                self._response.exception()  # it may be that nobody waits any more
        elif self._sink is not None and not self._early:
            self._tell_end(self._sink)

    def _tell_end(self, sink: BodySink) -> None:
        self._sink = None
        if self._end is None:
            sink.receive_eof()
        else:
            sink.receive_error(self._end)

    def _stop_waiting(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _stop_sending(self) -> None:
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()


def _too_late() -> ResponseTimeout:
    return ResponseTimeout("The upstream did not answer in time.", proxy_status="http_response_timeout")
