"""How is an HTTP upstream asked, and when is it asked a second time?"""

import asyncio

from sseproxy.core.errors import UpstreamBroken
from sseproxy.core.routes import Upstream
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.http1.messages import OriginRequest
from sseproxy.origins.connector import Connector
from sseproxy.origins.exchange import HttpExchange
from sseproxy.origins.faults import our_errors
from sseproxy.origins.outages import Outages
from sseproxy.origins.pools import Pool, PoolGroup
from sseproxy.timers import Clock


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
