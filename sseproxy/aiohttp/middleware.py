"""How does an aiohttp app keep its own event streams alive?"""

from typing import Final, Unpack

from aiohttp import web

from sseproxy.aiohttp.exchange import Exchange, Handler
from sseproxy.asgi.option_values import Duration
from sseproxy.asgi.options import DEFAULTS, MiddlewareOptions, StreamOptions, read_drain, read_options
from sseproxy.asgi.request_end import new_signer
from sseproxy.asgi.response_switch import Common

#: aiohttp waits for its handlers when it ends, so that streams that go on would hold it up.
AIOHTTP_DEFAULTS: Final[MiddlewareOptions] = {**DEFAULTS, "drain": "25s"}


def sse_keepalive(**options: Unpack[MiddlewareOptions]) -> "SSEKeepalive":
    """Return a middleware for ``web.Application(middlewares=[sse_keepalive(), ...])``; put it first.

    The options are those of `MiddlewareOptions`. drain, drain_spread: of `SSEKeepalive.on_shutdown`.
    Raises `ValueError` or `TypeError` for a wrong one.
    """
    return SSEKeepalive(read_options(options, AIOHTTP_DEFAULTS))


class SSEKeepalive:
    """What `sse_keepalive` makes: called by aiohttp for each request."""

    def __init__(self, options: StreamOptions) -> None:
        self._options = options
        self._common = Common(options, new_signer(options.secret))
        web.middleware(self)

    @property
    def open_streams(self) -> int:
        """Return how many event streams are open."""
        return len(self._options.live)

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        selects = self._options.selects
        is_proxied = getattr(request.match_info.handler, "keeps_streams_alive", False)  # by `reverse_proxy`
        if (
            is_proxied
            or request.method == "HEAD"
            or Exchange.covers(request)
            or (selects and not selects(request.path))
        ):
            return await handler(request)
        return await Exchange(self._common, request).run(handler)

    def begin_drain(self, *, timeout: Duration = "25s", spread: Duration = "5s") -> None:
        """End streams of clients that come back by themselves within `spread`; all others may finish for `timeout`."""
        self._drain(*read_drain(timeout, spread))

    async def on_shutdown(self, _: web.Application) -> None:
        """`begin_drain` with the options `drain` and `drain_spread`: for ``app.on_shutdown.append(...)``.

        aiohttp calls it before it waits for its handlers, for at most the `shutdown_timeout` of `web.run_app`.
        """
        if self._options.drain is not None:
            self._drain(self._options.drain.timeout, self._options.drain.spread)

    def _drain(self, timeout: float | None, spread: float) -> None:
        self._common.drain(timeout=timeout, spread=spread)
