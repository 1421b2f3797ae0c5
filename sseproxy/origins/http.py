"""How is an HTTP upstream asked, once or a second time, and how does its response come back?"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from enum import Enum

from sseproxy.core.errors import OriginError, RequestBroken, UpstreamBroken
from sseproxy.core.flow import BodySink
from sseproxy.core.routes import Upstream
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.http1.backlog import Backlog
from sseproxy.http1.client import UpstreamConnection
from sseproxy.http1.messages import OriginRequest, RequestBody, ResponseHead
from sseproxy.origins.connector import Connector
from sseproxy.origins.faults import our_errors
from sseproxy.origins.outages import Outages
from sseproxy.origins.pools import Lease, Pool, PoolGroup
from sseproxy.origins.turns import FULL, SourceInTurns
from sseproxy.origins.upload import Upload, no_response_in_time
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

    clock: of the waits for responses; the event loop, or `Timers` that it shares with streams. group: of its pool.
    """

    def __init__(self, upstream: Upstream, *, clock: Clock | None = None, group: PoolGroup | None = None) -> None:
        self.pool = Pool(Connector(upstream).open, group=group)
        self._outages = Outages(self.pool, upstream.socket_path or f"{upstream.host}:{upstream.port}")
        self._clock: Clock = asyncio.get_running_loop() if clock is None else clock

    async def open(self, request: OriginRequest, timeouts: TimeoutPolicy) -> "HttpExchange":
        """Send the head of `request`, begin to send its body, and wait for the response head.

        Raises `OriginError`, `Draining`, or the `ClientError` that reading the request's body raises. A body that is
        still being sent goes on in the background, until the exchange ends.
        """
        # Hazard: upstreams close pooled connections at any time, often all of them at once (a restart). So a second try
        # never takes another pooled one; nor does a request that could not be sent twice because its body is passing.
        body = request.body
        is_here = body is None or isinstance(body.pieces, bytes)
        anew = not is_here and request.is_idempotent
        while True:
            lease = None if anew else self.pool.take_idle()
            if lease is None:
                with our_errors():
                    if timeouts.connect_retry is not None:
                        lease = await self._outages.connect(timeouts, anew=anew)
                    else:
                        async with asyncio.timeout(timeouts.connect):
                            lease = await self.pool.connect(anew=anew)
            exchange = HttpExchange(lease, request)
            try:
                if body is None or isinstance(body.pieces, bytes):
                    await exchange.ask(request, self._clock, timeouts.response)
                else:
                    await exchange.send(request, body, body.pieces, timeouts.response)
                return exchange
            except UpstreamBroken:
                exchange.abort()
                was_stale = exchange.was_reused and not exchange.heard
                if not (was_stale and is_here and request.is_idempotent):
                    raise
                anew = True
            except BaseException:
                exchange.abort()
                raise

    def drain(self) -> None:
        """Let no request wait for an upstream that is away: it raises `Draining`."""
        self._outages.drain()

    def retire(self) -> None:
        """Keep no connection for another request; exchanges under way go on, and new ones are possible."""
        self.pool.retire()

    async def close(self) -> None:
        """Close all connections."""
        await self.pool.close()


class _State(Enum):
    WAITING = "for the response head"
    FLOWING = "the head is here, the body comes"
    COMPLETE = "all of the response has come"
    BROKEN = "the response failed, or was aborted"


class HttpExchange(SourceInTurns):
    """One request and its response. Is the response's `BodySource`.

    heard: the upstream has sent something. was_reused: the connection has served another request before.
    """

    # Plan: WAITING -> FLOWING -> COMPLETE; from each of them to BROKEN. The caller sends the request (`ask` or `send`),
    # looks at the head, and attaches a sink or takes the body that is there already. Body bytes go from the connection
    # to the sink directly while none wait here: the exchange is not on the steady path.
    #
    # Rules:
    # 1. The lease ends exactly once, at the end of the response, and not when its last byte reaches the sink.
    # 2. A connection goes back to the pool only if all of the request has left, and the upstream cannot take its body
    #    for another request.
    # 3. The sink hears of the end, or of an error, once, and behind all bytes that came before.
    # 4. After `abort` the sink hears nothing.
    # 5. What the exchange no longer needs it releases at once: the future with the head in `attach`.
    #
    # Hazards: a response that is complete while the request is still being sent (a refused upload): the connection is
    # reset. A caller that is cancelled in the turn in which the head comes: the future is done then, and nothing may
    # be set. A long read without a sink, or behind one that is slow: see `SourceInTurns`.

    __slots__ = (
        "_backlog",
        "_error",
        "_is_by_line",
        "_lease",
        "_limit",
        "_may_be_kept",
        "_protocol",
        "_response",
        "_sink",
        "_state",
        "_upload",
        "heard",
        "was_reused",
    )

    def __init__(self, lease: Lease, request: OriginRequest) -> None:
        super().__init__()
        self._lease = lease
        self._may_be_kept = request.body is None or not request.may_be_misread  # the connection, for other requests
        self._protocol = lease.protocol
        self._state = _State.WAITING
        self._response: asyncio.Future[ResponseHead] | None = asyncio.get_running_loop().create_future()
        self.heard = False
        self._sink: BodySink | None = None
        self._backlog: Backlog | None = None  # what has come before its sink, or faster than in turns
        self._is_by_line = False
        self._error: OriginError | None = None
        self._limit: Timer | None = None  # of the wait for the response
        self._upload: Upload | None = None  # of a body that comes while it is sent
        self.was_reused = self._protocol.responses > 0
        self._protocol.expect_response(self, to_head=request.method == "HEAD")

    # Sending.

    def ask(self, request: OriginRequest, clock: Clock, within: float | None) -> "Awaitable[ResponseHead]":
        """Send a request whose body, if any, is here. What is returned waits for the response head.

        within: seconds, after which it raises `ResponseTimeout`. It raises what breaks the response as well.
        """
        body, headers, data = request.body, request.headers, b""
        if body is not None:
            headers, data = [*headers, body.framing], body.framed
        assert self._response is not None
        self._protocol.send_request(request.method, request.target, headers, data)
        if within is not None:
            self._limit = clock.call_at(clock.time() + within, self._time_out)
        return self._response

    async def send(
        self, request: OriginRequest, body: RequestBody, pieces: AsyncIterator[bytes], within: float | None
    ) -> None:
        """Send a request and wait for the response head; the body goes on being sent meanwhile and after.

        Raises what `Upload.send` raises.
        """
        assert self._response is not None
        self._upload = Upload(self._protocol, body.length, on_break=self.break_request)
        self._protocol.send_request(request.method, request.target, [*request.headers, body.framing])
        await self._upload.send(pieces, self._response, within=within)

    @property
    def is_sending(self) -> bool:
        """True if some of the request has not left yet."""
        transport = self._protocol.transport
        if transport is not None and transport.get_write_buffer_size():
            return True
        return self._upload is not None and self._upload.is_running

    def break_request(self) -> None:
        """End a response to half a request: its body broke off. Before the head, `send` raises the error instead."""
        if self._state is _State.FLOWING:
            sink = self._sink
            self.abort()
            self._error = RequestBroken("The request body broke off.", proxy_status="http_request_error")
            if sink is not None:
                sink.receive_error(self._error)

    def _time_out(self) -> None:
        self._limit = None
        self._refuse_response(no_response_in_time())

    # Receiving.

    @property
    def head(self) -> ResponseHead:
        """The response head, from the end of `ask` or `send` until `attach`."""
        assert self._response is not None
        return self._response.result()

    def take_whole(self) -> bytes | None:
        """Return the body, if all of it has come already; then there is nothing to attach to, or to abort."""
        if self._state is not _State.COMPLETE:
            return None
        return b"" if self._backlog is None else self._backlog.whole()

    def attach(self, sink: BodySink, *, by_line: bool = False) -> None:
        """Let the body flow into `sink`, what has already arrived first. by_line: the sink looks at every line."""
        self._sink = sink
        self._is_by_line = by_line
        self._response = None
        if self._backlog:  # also to a sink that is behind: it has to know that there is something
            sink.receive_data(self._backlog.take(self._size_of_turn(self._backlog)))
        self._go_on(FULL)

    def abort(self) -> None:
        self._stop_timer_and_upload()
        self._sink = None
        self._backlog = None
        if not self._is_over:
            self._state = _State.BROKEN
            self._protocol.detach()
            self._protocol.abort(in_request=self._is_in_request or self.is_sending)
            self._lease.close()

    def switch_to_raw(self) -> tuple[UpstreamConnection, Lease]:
        """After a 101: return the connection itself, and its lease, which the caller must close in the end."""
        self._protocol.detach()
        return self._protocol, self._lease

    # The connection's calls.

    def responded(self, head: ResponseHead) -> None:
        if self._state is _State.WAITING and self._response is not None:
            self._state = _State.FLOWING
            self.heard = True
            self._stop_timer()
            if not self._response.done():  # see the hazards
                self._response.set_result(head)

    def body(self, data: bytes) -> None:
        if self._backlog is None:
            self._backlog = Backlog()
        self._backlog.append(data)
        if self._sink is not None:
            self._run()
        elif self._backlog.size > _EARLY:
            self._stop(FULL)

    def ended(self) -> None:
        self._state = _State.COMPLETE
        self._end_reading()  # the pool takes only connections that listen
        if self._is_in_request or self.is_sending:
            # The rest of the request would be read as the next one, or never be taken.
            self._stop_timer_and_upload()
            self._protocol.abort(in_request=True)
            self._lease.close()
        elif self._may_be_kept:
            self._lease.release()
        else:
            self._lease.close()
        self._finish_sink()

    def failed(self, error: OriginError) -> None:
        is_headless = self._state is _State.WAITING
        self._state = _State.BROKEN
        self._error = error
        self._stop_timer_and_upload()
        self._lease.close()
        if is_headless:
            self._refuse_response(error)
        else:
            self._finish_sink()

    # Private.

    @property
    def _is_over(self) -> bool:
        return self._state in (_State.COMPLETE, _State.BROKEN)

    @property
    def _is_in_request(self) -> bool:
        return self._upload is not None and not self._upload.is_complete

    def _work(self) -> bool:
        while self._backlog and self._sink is not None and not self._silence:
            piece = self._backlog.take(self._size_of_turn(self._backlog))
            self._sink.receive_data(piece)
            if self._backlog or len(piece) >= _IN_TURN:
                return True
        if self._is_over:
            self._finish_sink()
        elif self._sink is not None and not self._backlog:
            self._backlog = None  # a stream goes on for hours
            self._protocol.flow_into(self._sink.receive_data)
        return False

    def _size_of_turn(self, backlog: Backlog) -> int:
        if not self._is_by_line or backlog.line_ends() * _SHORT_LINE <= _IN_TURN:
            return _IN_TURN
        return _IN_TURN_BY_LINE

    def _set_reading(self, wanted: bool) -> None:
        if self._protocol.transport is not None:
            if wanted:
                self._protocol.transport.resume_reading()
            else:
                self._protocol.transport.pause_reading()

    def _refuse_response(self, error: OriginError) -> None:
        if self._response is not None and not self._response.done():
            self._response.set_exception(error)
            self._response.exception()  # it may be that the caller does not wait any more

    def _finish_sink(self) -> None:
        """Tell the sink the end, if it has everything that came before."""
        if self._sink is None or self._backlog:
            return
        sink, self._sink = self._sink, None
        if self._error is None:
            sink.receive_eof()
        else:
            sink.receive_error(self._error)

    def _stop_timer(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _stop_timer_and_upload(self) -> None:
        self._stop_timer()
        if self._upload is not None:
            self._upload.cancel()
