"""How is an ASGI app wrapped, so that its event streams stay alive?"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sseproxy.asgi.errors import StreamAborted, require_asyncio
from sseproxy.asgi.lifespan import Lifespan
from sseproxy.asgi.options import Duration, read_drain, read_options
from sseproxy.asgi.requests import route_path
from sseproxy.asgi.response_switch import Common, ResponseSwitch
from sseproxy.asgi.types import ASGIApp, Receive, Scope, Send
from sseproxy.engine.live import LiveStreams

#: Who is in the scope of a request that an outer middleware of this kind sees to.
_MARK = "sseproxy"

__all__ = ["SSEKeepaliveMiddleware", "StreamAborted"]


class SSEKeepaliveMiddleware:
    """Keeps the event streams of an ASGI app alive; everything else passes through as it is.

    Put it outermost. Durations are seconds or text such as ``"15s"``, ``"500ms"``, ``"5m"``, ``"off"``; names and
    defaults are those of the configuration file.

    heartbeat: silence after which a heartbeat goes out. form: what it looks like; by default the dialect's, which is
    ``auto``. comment, event: its text, and name and data of the form ``event``.
    before_response: after this long without a response, a request that declares a stream (``Accept:
    text/event-stream``, or a JSON body with ``"stream": true``) is answered with heartbeats; what comes late and is
    no stream becomes an error event of the dialect.
    prelude: one heartbeat goes out with the response head.
    response_timeout: how long a request that was answered by `before_response` waits for the app's response.
    idle_timeout: silence of the app after which a stream ends. write_timeout: a client that takes nothing.
    max_duration: age at which a stream ends at the next event boundary.
    paths: prefixes of the paths to look at, or a function of the path, as the app's routes have it; default: all.
    drain: when the server is asked to end (SIGTERM or SIGINT), `begin_drain` with this timeout; needs a server that
    tells the app its lifespan. drain_spread: the time over which the streams end; at most `drain`.
    streams: where the open streams are kept; left out, the middleware has its own.

    A stream that must not end as if it were complete ends by `StreamAborted`, which makes the server break the
    connection. Raises `ValueError` or `TypeError` for options that make no sense.
    """

    def __init__(
        self,
        app: ASGIApp,
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
        drain: Duration = "off",
        drain_spread: Duration = "5s",
        streams: LiveStreams | None = None,
    ) -> None:
        if not callable(app):
            raise TypeError(f"app: expected an ASGI app, got {type(app).__name__}")
        self.app = app
        self._options = read_options(
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
        )
        self._selects = self._options.selects
        self._common = Common(self._options, LiveStreams() if streams is None else streams)

    @property
    def open_streams(self) -> int:
        """How many event streams are open."""
        return len(self._common.streams)

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
        self._common.streams.drain(now=asyncio.get_running_loop().time(), timeout=deadline, spread=over)
