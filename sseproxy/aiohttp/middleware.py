"""How does an aiohttp app keep its own event streams alive?"""

import asyncio
from collections.abc import Callable, Collection, Mapping

from aiohttp import web

from sseproxy.aiohttp.exchange import Exchange, Handler
from sseproxy.asgi.options import Duration, StreamOptions, read_drain, read_options
from sseproxy.asgi.response_switch import Common
from sseproxy.engine.live import LiveStreams


def sse_keepalive(
    *,
    heartbeat: Duration = "15s",
    form: str | None = None,
    comment: str = "heartbeat",
    event: Mapping[str, str] = {"name": "heartbeat", "data": "{}"},
    before_response: Duration = "off",
    prelude: bool = False,
    dialect: str = "auto",
    response_timeout: Duration = "15m",
    idle_timeout: Duration = "auto",
    write_timeout: Duration = "30s",
    max_duration: Duration = "off",
    paths: Collection[str] | Callable[[str], bool] | None = None,
    drain: Duration = "25s",
    drain_spread: Duration = "5s",
    streams: LiveStreams | None = None,
) -> "SSEKeepalive":
    """A middleware for ``web.Application(middlewares=[sse_keepalive(), ...])``; put it first.

    The options are those of `SSEKeepaliveMiddleware`. drain, drain_spread: of `SSEKeepalive.on_shutdown`.
    Raises `ValueError` or `TypeError` for options that make no sense.
    """
    return SSEKeepalive(
        read_options(
            heartbeat=heartbeat,
            form=form,
            comment=comment,
            event=event,
            before_response=before_response,
            prelude=prelude,
            dialect=dialect,
            response_timeout=response_timeout,
            idle_timeout=idle_timeout,
            write_timeout=write_timeout,
            max_duration=max_duration,
            paths=paths,
            drain=drain,
            drain_spread=drain_spread,
        ),
        LiveStreams() if streams is None else streams,
    )


class SSEKeepalive:
    """What `sse_keepalive` makes: called by aiohttp for each request."""

    def __init__(self, options: StreamOptions, streams: LiveStreams) -> None:
        self._options = options
        self._common = Common(options, streams)
        web.middleware(self)

    @property
    def open_streams(self) -> int:
        """How many event streams are open."""
        return len(self._common.streams)

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        selects = self._options.selects
        if request.method == "HEAD" or Exchange.sees_to(request) or (selects and not selects(request.path)):
            return await handler(request)
        return await Exchange(self._common, request).run(handler)

    def begin_drain(self, *, timeout: Duration = "25s", spread: Duration = "5s") -> None:
        """Let every open stream end at an event boundary, each at its own moment within `spread`, all by `timeout`."""
        self._drain(*read_drain(timeout, spread))

    async def on_shutdown(self, _: web.Application) -> None:
        """`begin_drain` with the options `drain` and `drain_spread`: for ``app.on_shutdown.append(...)``.

        aiohttp calls it before it waits for its handlers, for at most the `shutdown_timeout` of `web.run_app`.
        """
        if self._options.drain is not None:
            self._drain(self._options.drain.timeout, self._options.drain.spread)

    def _drain(self, timeout: float | None, spread: float) -> None:
        self._common.streams.drain(now=asyncio.get_running_loop().time(), timeout=timeout, spread=spread)
