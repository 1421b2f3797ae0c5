"""How does the reverse proxy become a handler of an aiohttp app, which begins and ends with the app or without it?"""

import asyncio
import inspect
import sys
from typing import Unpack

from aiohttp import web

from sseproxy.aiohttp.door import AiohttpDoor
from sseproxy.proxy.library.embedded import EmbeddedProxy
from sseproxy.proxy.library.options import ProxyOptions


def reverse_proxy(upstream: str | None = None, **options: Unpack[ProxyOptions]) -> "ProxyHandler":
    """Return a handler: ``app.router.add_route("*", "/v1/{tail:.*}", reverse_proxy("http://127.0.0.1:9000"))``.

    The whole target goes upstream; the option `rewrite` takes a prefix off. The options are those of `ProxyOptions`.
    Raises `TypeError` for one that there is not, and `ValueError` with all that is wrong.
    """
    return ProxyHandler(upstream, options)


class ProxyHandler(EmbeddedProxy[AiohttpDoor]):
    """What `reverse_proxy` makes: called by aiohttp for each request, behind the app's middlewares.

    A response is sent while the handler runs, as that of a `web.StreamResponse` is: what middlewares do to it behind
    the handler comes too late. They add fields to its head by `on_response_prepare`.
    """

    #: `sse_keepalive` leaves the streams of such handlers alone.
    keeps_streams_alive = True

    def __init__(self, upstream: str | None, options: ProxyOptions) -> None:
        super().__init__(upstream, options, AiohttpDoor)
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)
        else:  # what aiohttp takes for a coroutine function there
            vars(self)["_is_coroutine"] = vars(asyncio.coroutines)["_is_coroutine"]

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        return await self.here().door.serve(request)

    expect = staticmethod(AiohttpDoor.expect)
    """For ``add_route(..., expect_handler=proxy.expect)``: a client that waits for ``100 Continue`` is asked for its
    body when the upstream is to have it. Without this aiohttp asks at once, before any middleware.
    """

    def setup(self, app: web.Application) -> None:
        """Begin and end with `app`: connect at its startup, drain at its shutdown, close at its cleanup.

        Call it before the app starts. Without it the first request makes the connections, a stop signal drains, and the
        end of the event loop closes.
        """
        app.on_startup.append(self._on_startup)
        app.on_shutdown.append(self._on_shutdown)
        app.on_cleanup.append(self._on_cleanup)

    # The app's signals.

    async def _on_startup(self, _: web.Application) -> None:
        await self.start()

    async def _on_shutdown(self, _: web.Application) -> None:
        """aiohttp calls this before it waits for its handlers, for at most its `shutdown_timeout`."""
        policy = self._settings.drain
        if policy is not None:
            self.here().drain(timeout=policy.timeout, spread=policy.spread)

    async def _on_cleanup(self, _: web.Application) -> None:
        await self.close()
