"""How do the requests that an ASGI server has read come to the proxy?"""

import asyncio
import contextlib
from functools import partial

from sseproxy.asgi.aborting import break_in_front
from sseproxy.asgi.later import begin_later
from sseproxy.asgi.types import Receive, Scope, Send
from sseproxy.core.errors import ClientError
from sseproxy.core.flow import FlowListener
from sseproxy.core.frames import release_frames
from sseproxy.core.http.fields import Peer
from sseproxy.http1.policy import HeadLimits
from sseproxy.http1.requests import ParsedRequest
from sseproxy.proxy.app import ProxyApp
from sseproxy.proxy.asgi.receiving import RequestReceiver
from sseproxy.proxy.asgi.response import AsgiResponse
from sseproxy.proxy.asgi.scopes import client_address, is_unix, read_scope, speaks_http1
from sseproxy.proxy.handler import RequestHandler

#: What a middleware in front gets for a client that has left before its response began. No client sees it.
_LEFT = 499


class ResponseAborted(Exception):
    """A response must not look complete. Servers close the connection of an app that raises behind the head."""

    def __init__(self) -> None:
        super().__init__("the response was broken off; the access log says why")


class AsgiConnection:
    """The client of one request, as the server in front sees it. A peer on a unix socket is trusted."""

    __slots__ = ("client_address", "flow", "is_trusted", "peer", "scheme")

    def __init__(self, scope: Scope) -> None:
        self.client_address = client_address(scope)
        self.scheme = "https" if scope.get("scheme") == "https" else "http"
        self.is_trusted = is_unix(scope)
        self.peer: Peer | None = None
        self.flow: FlowListener | None = None


# Strategy. Three coroutines serve one request:
#
#     the app's own call     hands the response to the server (`AsgiResponse.transmit`), and raises what must be raised
#     `RequestHandler`       a task of its own, because it is cancelled when the client leaves, which must not show in
#                            front, and because granian's calls of an app are no tasks
#     `RequestReceiver`      a task that receives the body, and hears of a client that leaves
#
# Rules
# 1. The call ends last: behind it, nothing is left of the request.
# 2. A client that leaves cancels the handler (rule 1 of `port`). One that leaves behind the end has got all.
# 3. The receiver begins before the handler, so that a body that is here goes upstream together with its head.
#
# Hazard: call, tasks and receiver refer to one another; `_serve` takes that apart in the end, or each request would
# leave a circle for the garbage collector.


class AsgiDoor:
    """The proxy as an ASGI 3 app, for ``http`` scopes. head: limits of a request's head.

    A ``websocket`` is refused: ASGI has no way to pass one on as it is.
    """

    def __init__(self, app: ProxyApp, *, head: HeadLimits = HeadLimits()) -> None:
        self._handler = app.handler
        self._limits = head
        app.add_door(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises `ResponseAborted` if its response must not look complete.

        Raises `ValueError` for other scopes than ``http`` and ``websocket``.
        """
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            raise ValueError(f"an ASGI scope of type {scope['type']!r} is not served here")
        connection, receiver = AsgiConnection(scope), RequestReceiver(receive)
        response = AsgiResponse(
            connection, send, ask=receiver.ask, read_off=receiver.read_off, is_http1=speaks_http1(scope)
        )
        try:
            request = read_scope(scope, self._limits)
        except ClientError as error:
            release_frames(error)
            self._handler.refuse(response.begin, error, connection)
            await response.transmit()
            return
        if await receiver.open(request):
            try:
                await _serve(self._handler, request, connection, receiver, response)
            except Exception:
                if response.has_begun and not response.is_complete:
                    await break_in_front(send)
                raise
        if response.is_broken:
            if response.has_begun:
                await break_in_front(send)
            raise ResponseAborted
        if not response.has_begun:
            with contextlib.suppress(OSError):
                await send({"type": "http.response.start", "status": _LEFT, "headers": []})
                await send({"type": "http.response.body"})

    # What the proxy asks of each door. Connections are the server's.

    def forget_peers(self) -> None:
        """Do nothing: each request finds out anew who sends it."""

    def close_idle(self) -> None:
        """Do nothing: the server closes its connections."""

    def close(self) -> None:
        """Do nothing: a request holds all that belongs to it."""


async def _serve(
    handler: RequestHandler,
    request: ParsedRequest,
    connection: AsgiConnection,
    receiver: RequestReceiver,
    response: AsgiResponse,
) -> None:
    """Serve `request` until its response has ended, in any way. Raises what the server's calls raise."""
    listening = begin_later(receiver.listen())
    handling = asyncio.Task(handler.handle(response.begin, request, connection), loop=asyncio.get_running_loop())
    del request
    receiver.on_left = partial(_leave, connection, response, handling)
    handling.add_done_callback(partial(_note_handled, response))
    try:
        with contextlib.suppress(OSError):  # of a client that has left, as the specification has it since 2.4
            await response.transmit()
        _leave(connection, response, handling)
        if not handling.done():
            await asyncio.wait({handling})
    finally:
        error, receiver.error = receiver.error, None
        receiver.close()
        listening.cancel()
        _leave(connection, response, handling)
    try:
        if error is not None and not response.is_complete:
            raise error
    finally:
        del error  # whose traceback leads here
    if not handling.cancelled():
        handling.result()


def _leave(connection: AsgiConnection, response: AsgiResponse, handling: "asyncio.Task[object]") -> None:
    """End what is under way: the client has left."""
    if not response.is_under_way:
        return
    flow, connection.flow = connection.flow, None
    response.lose()
    if flow is not None:
        flow.connection_lost()
    handling.cancel()


def _note_handled(response: AsgiResponse, _: object) -> None:
    """The handler has returned: what it has not ended will not end."""
    if response.is_under_way:
        response.abort_at_once()
