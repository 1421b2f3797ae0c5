"""How is an ASGI app wrapped, so that its event streams stay alive?"""

import asyncio
from typing import Any, Unpack

from sseproxy.asgi.errors import StreamAborted, require_asyncio
from sseproxy.asgi.lifespan import Lifespan
from sseproxy.asgi.option_values import Duration
from sseproxy.asgi.options import MiddlewareOptions, read_drain, read_options
from sseproxy.asgi.requests import route_path
from sseproxy.asgi.response_switch import Common, ResponseSwitch
from sseproxy.asgi.types import ASGIApp, Receive, Scope, Send

#: Who is in the scope of a request that an outer middleware of this kind sees to.
_MARK = "sseproxy"

__all__ = ["SSEKeepaliveMiddleware", "StreamAborted"]


class SSEKeepaliveMiddleware:
    """Keeps the event streams of an ASGI app alive; everything else passes through as it is.

    Put it outermost. The options are those of `MiddlewareOptions`. Raises `ValueError` or `TypeError` for a wrong one,
    where the middleware is constructed: Starlette and FastAPI do so when their app is first called, not in
    ``add_middleware``.

    A stream that must not end as if it were complete ends by `StreamAborted`, which makes the server break the
    connection.
    """

    def __init__(self, app: ASGIApp, **options: Unpack[MiddlewareOptions]) -> None:
        if not callable(app):
            raise TypeError(f"app: expected an ASGI app, got {type(app).__name__}")
        self.app = app
        self._options = read_options(options)
        self._selects = self._options.selects
        self._common = Common(self._options)

    @property
    def open_streams(self) -> int:
        """How many event streams are open."""
        return len(self._options.live)

    # Any, as in `ASGIApp`: servers and frameworks, too, type what they call an app with each in their own way.
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        selects = self._selects
        if (
            scope["type"] != "http"
            or scope["method"] == "HEAD"
            or _MARK in scope
            or (selects is not None and not selects(route_path(scope)))
        ):
            await self._pass_by(scope, receive, send)
            return
        scope[_MARK] = True
        gate = ResponseSwitch(self._common, scope, receive, send)
        try:
            await self.app(gate.scope, gate.receive, gate.send)
        except BaseException as error:
            if gate.is_open or not await gate.end(error):
                raise
        else:
            if not gate.is_open:
                await gate.end()
        finally:
            gate.let_go()
            del scope[_MARK]

    async def _pass_by(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" and self._options.drain is not None:
            require_asyncio()
            await Lifespan(receive, send, self._drain).run(self.app, scope)
        else:
            await self.app(scope, receive, send)

    def _drain(self) -> None:
        assert self._options.drain is not None
        self.begin_drain(timeout=self._options.drain.timeout, spread=self._options.drain.spread)

    def begin_drain(self, *, timeout: Duration = "25s", spread: Duration = "5s") -> None:
        """Let every open stream end at an event boundary, each at its own moment within `spread`, all by `timeout`.

        Streams that begin later have the time that is left. `EventSource` clients are told to come back at different
        moments. Call it from the event loop's thread, when the server is asked to end: no server tells its apps. The
        option `drain` does so by itself.
        """
        deadline, over = read_drain(timeout, spread)
        self._options.live.drain(now=asyncio.get_running_loop().time(), timeout=deadline, spread=over)
