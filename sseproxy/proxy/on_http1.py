"""How do the connections of our own HTTP server come to the proxy?"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from sseproxy.core.errors import SSEProxyError
from sseproxy.http1.disconnects import DisconnectWatch
from sseproxy.http1.downstream import HttpDownstream
from sseproxy.http1.listener import ClientConnections, ConnectionLimit
from sseproxy.http1.policy import ServerPolicy
from sseproxy.http1.requests import ParsedRequest
from sseproxy.http1.server import DownstreamConnection
from sseproxy.proxy.app import ProxyApp
from sseproxy.proxy.notices import HandshakeNotice, UntellableNotice, warn_of_connections
from sseproxy.proxy.port import ClientResponse


class Http1Door:
    """The client connections of one process, over all of its listeners. policy: of each of them.

    handle, refuse: see `Service`. disconnects: the connections on which only the kernel can tell that a client leaves.
    """

    # `handle` and `refuse` are partial functions, and no methods: a request passes here without a call of its own.

    def __init__(self, app: ProxyApp, policy: ServerPolicy = ServerPolicy()) -> None:
        new_response = partial(HttpDownstream, on_untellable=UntellableNotice().give)
        self.disconnects = DisconnectWatch()
        self.handle: Callable[[ParsedRequest, DownstreamConnection], Coroutine[Any, Any, ClientResponse]] = partial(
            app.handler.handle, new_response
        )
        self.refuse: Callable[[SSEProxyError, DownstreamConnection], None] = partial(app.handler.refuse, new_response)
        self._policy = policy
        self._limit = ConnectionLimit(policy.connections, on_reached=warn_of_connections)
        self._listeners: list[ClientConnections] = []
        self._handshakes = HandshakeNotice(asyncio.get_running_loop().time)
        app.add_door(self)

    def server(self, *, scheme: str, is_unix: bool = False, trusts: bool | None = None) -> ClientConnections:
        """Return a factory of client connections, for `loop.create_server`; see `ClientConnections`.

        trusts: all peers are trusted proxies; left out: those on a unix socket are.
        """
        listener = ClientConnections(
            self,
            scheme=scheme,
            is_unix=is_unix,
            trusts=is_unix if trusts is None else trusts,
            policy=self._policy,
            limit=self._limit,
            on_failed_handshake=self._handshakes.look_at,
        )
        self._listeners.append(listener)
        return listener

    def limit_connections(self, most: int | None) -> None:
        """Let so many clients be connected from now on; ``None``: any number. No request is broken off."""
        self._limit.most = most

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._limit)

    @property
    def most_connections(self) -> int | None:
        """How many clients may be connected; ``None``: any number."""
        return self._policy.connections

    # What the proxy asks of each door.

    def forget_peers(self) -> None:
        for listener in self._listeners:
            for connection in listener:
                connection.peer = None

    def close_idle(self) -> None:
        for listener in self._listeners:
            listener.close_idle()

    def close(self) -> None:
        self.disconnects.close()
