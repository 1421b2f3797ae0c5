"""How do bytes flow once a connection has stopped to speak HTTP? (RFC 9110 section 7.8, ``101 Switching Protocols``)"""

import asyncio

from sseproxy.core.errors import UpstreamBroken
from sseproxy.core.http.fields import Headers
from sseproxy.core.routes import Route
from sseproxy.core.stream.transfer import CloseReason, TransferStats
from sseproxy.origins.http import HttpExchange
from sseproxy.proxy.port import ClientConnection, RawConnection
from sseproxy.proxy.tail import ResponseTail

#: Seconds in which an upstream has to take what is left when the client has said all that it had to say.
LAST_BYTES = 30.0


async def run_tunnel(
    exchange: HttpExchange, headers: Headers, wanted: bytes | None, route: Route, tail: ResponseTail
) -> None:
    """Answer with the upstream's 101, and wait for the end of what follows.

    headers: of the response, without those of the switch. wanted: the protocols that the client has asked for.
    Raises `UpstreamBroken` if the upstream must not switch.
    """
    raw = tail.downstream.raw
    if wanted is None or raw is None or exchange.is_sending:
        when = "before it had the request" if wanted is not None and raw is not None else "unasked"
        raise UpstreamBroken(f"The upstream switched protocols {when}.", proxy_status="http_upgrade_failed")
    head = exchange.head
    tunnel = Tunnel(tail.connection, raw, exchange, idle=route.timeouts.idle_of(is_answer=False))
    try:
        upgrade = [(b"Connection", b"upgrade"), (b"Upgrade", head.upgraded_to or wanted)]
        tail.downstream.send_tunnel_head(head.status, head.reason, headers + upgrade)
        tail.record.status = head.status
        tail.record.stats = tunnel.stats
        tunnel.start()
        tail.go_live(route, tunnel)
        tail.note_end(await tunnel.ended)
        await tail.downstream.wait_until_flushed(route.timeouts.write)
    finally:
        tunnel.close()
        tail.downstream.close_behind()


class Tunnel:
    """Two raw connections, each as fast as the other takes it. Either end closes both.

    idle: seconds without a byte in either direction after which the tunnel is closed; ``None`` for never.
    """

    # Plan: each connection hands its bytes to the other (`_to_client`, `_to_upstream`), and pauses the other's reading
    # while its own buffer is full. Nothing is parsed, and nothing is kept here.
    #
    # Invariants:
    # 1. `ended` is done once, with the first reason: a side that has closed, silence, or the end of a drain.
    # 2. A tunnel of which the client has closed its end still delivers what the client has sent, for `LAST_BYTES`.
    #
    # Hazards:
    # - bytes that came with the 101, or right behind the request: both parsers hold some that are no HTTP. They go
    #   first;
    # - an upstream that closes between its 101 and `start`: its loss was reported to a listener that was gone.

    def __init__(
        self, connection: ClientConnection, raw: RawConnection, exchange: HttpExchange, *, idle: float | None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._raw = raw
        self._upstream, self._lease = exchange.switch_to_raw()
        self._idle = idle
        self._last_byte = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._drain: asyncio.TimerHandle | None = None
        self.stats = TransferStats(opened_at=self._last_byte, last_upstream_at=self._last_byte)
        self.ended: asyncio.Future[CloseReason] = self._loop.create_future()

    @property
    def close_reason(self) -> CloseReason | None:
        ended = self.ended
        return ended.result() if ended.done() and not ended.cancelled() else None

    def start(self) -> None:
        """Let the bytes flow, those first that came too early."""
        self._connection.flow = self
        self._upstream.on_lost = self._upstream_lost
        self._upstream.on_writable = self._upstream_writable
        self._to_client(self._upstream.switch_to_raw(self._to_client))
        self._to_upstream(self._raw.switch_to_raw(self._to_upstream))
        self._watch()
        if not self._upstream.is_connected():
            self._upstream_lost()

    def stop(self, reason: CloseReason) -> None:
        """End here and now."""
        self._end(reason)

    def drain(self, *, at: float | None, deadline: float | None, retry: int | None = None) -> None:
        """Come to an end by `deadline`. What flows here is not known, so no place before it is better than another."""
        if self._drain is not None:
            self._drain.cancel()
        self._drain = None if deadline is None else self._loop.call_at(deadline, self._end, CloseReason.DRAIN)

    def close(self) -> None:
        """Close the upstream's connection, once it has all that the client has sent. The client's is the caller's."""
        for timer in (self._timer, self._drain):
            if timer is not None:
                timer.cancel()
        self._upstream.on_lost = self._upstream.on_writable = None
        self._upstream.switch_to_raw(lambda _: None)  # what an upstream still says is dropped
        transport = self._upstream.transport
        if transport is not None and self.close_reason is CloseReason.CLIENT_GONE and transport.get_write_buffer_size():
            transport.close()
            self._loop.call_later(LAST_BYTES, transport.abort)
        else:
            self._upstream.abort()
        self._lease.close()

    # The client's side (a `FlowListener`).

    def pause_writing(self) -> None:
        if self._upstream.transport is not None:
            self._upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._upstream.transport is not None:
            self._upstream.transport.resume_reading()

    def connection_lost(self) -> None:
        self._end(CloseReason.CLIENT_GONE)

    # The upstream's side.

    def _upstream_writable(self, writable: bool) -> None:
        if writable:
            self._raw.resume_raw_reading()
        else:
            self._raw.pause_raw_reading()

    def _upstream_lost(self) -> None:
        self._end(CloseReason.UPSTREAM_END)

    # Bytes and time.

    def _to_client(self, data: bytes) -> None:
        self._last_byte = self._loop.time()
        if data and self._raw.transport is not None:
            self.stats.received(len(data), now=self._last_byte)
            self.stats.bytes_out += len(data)
            self._raw.transport.write(data)

    def _to_upstream(self, data: bytes) -> None:
        self._last_byte = self._loop.time()
        if data and self._upstream.transport is not None:
            self._upstream.transport.write(data)

    def _watch(self) -> None:
        if self._idle is None or self.ended.done():
            return
        left = self._last_byte + self._idle - self._loop.time()
        if left <= 0:
            self._end(CloseReason.IDLE_TIMEOUT)
        else:
            self._timer = self._loop.call_later(left, self._watch)

    def _end(self, reason: CloseReason) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)
