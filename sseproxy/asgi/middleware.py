"""How is an ASGI app wrapped, so that its event streams stay alive?"""

from functools import partial
from typing import Any, Unpack

from sseproxy.asgi.aborting import break_in_front
from sseproxy.asgi.errors import StreamAborted, require_asyncio
from sseproxy.asgi.lifespan import Lifespan
from sseproxy.asgi.option_values import Duration
from sseproxy.asgi.options import MiddlewareOptions, read_drain, read_options
from sseproxy.asgi.request_end import answer_with_nothing, new_signer
from sseproxy.asgi.requests import route_path
from sseproxy.asgi.response_switch import Common, ResponseSwitch
from sseproxy.asgi.types import ASGIApp, Receive, Scope, Send

#: A key in the scope of a request that an outer middleware of this kind keeps alive.
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
        self._common = Common(self._options, new_signer(self._options.secret))

    @property
    def open_streams(self) -> int:
        """Return how many event streams are open."""
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
            await self._pass(scope, receive, send)
            return
        scope[_MARK] = True
        switch = ResponseSwitch(self._common, scope, receive, send)
        try:
            if switch.end is not None and switch.end.is_known:
                await answer_with_nothing(switch.send)
            else:
                await self.app(switch.scope, switch.receive, switch.send)
        except BaseException as error:
            if switch.is_bypassed or not await switch.finish(error):
                raise
        else:
            if not switch.is_bypassed:
                await switch.finish()
        finally:
            switch.close()
            del scope[_MARK]
            if switch.is_broken:
                await break_in_front(send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What is no request to look at. A lifespan is looked at, if `drain` is on."""
        drain = self._options.drain
        if scope["type"] == "lifespan" and drain is not None:
            require_asyncio()
            on_stop = partial(self.begin_drain, timeout=drain.timeout, spread=drain.spread)
            await Lifespan(receive, send, on_stop).run(self.app, scope)
        else:
            await self.app(scope, receive, send)

    def begin_drain(self, *, timeout: Duration = "25s", spread: Duration = "5s") -> None:
        """End streams of clients that come back by themselves within `spread`; all others may finish for `timeout`.

        Streams that begin later have the time that is left. `EventSource` clients get different times to come back.
        Call it from the event loop's thread when the server is asked to end, which ASGI does not say in time. The
        option `drain` calls it by itself. Raises `ValueError` for a duration that is none.
        """
        deadline, over = read_drain(timeout, spread)
        self._common.drain(timeout=deadline, spread=over)
