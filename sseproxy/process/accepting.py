"""How does one process accept the clients of its listening sockets, also while their certificate changes?"""

import asyncio
import socket
import ssl
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from sseproxy.http1.handshake import TlsAcceptor
from sseproxy.http1.listener import ClientConnections
from sseproxy.http1.policy import ServerPolicy
from sseproxy.process.listeners import BACKLOG
from sseproxy.process.stopping import Entrance
from sseproxy.proxy.app import ProxyApp
from sseproxy.proxy.on_http1 import Http1Door


class Accepting:
    """Accepts connections for `app` on sockets that listen already, and stay the caller's.

    untrusted: paths of unix sockets whose peers are no trusted proxies. policy: of each connection.
    entrances: one for each socket.
    """

    # Plan: an acceptor has a copy of its socket, so that it can be closed while the socket listens on. Another
    # certificate needs no other acceptor, it is for the next handshake. Where TLS begins or ends, each socket gets one
    # of the other kind; clients that come in between wait in the queue of the kernel.
    #
    # Hazard: the process may begin to drain while an acceptor is being made. `_closed` is looked at behind each wait.

    def __init__(
        self,
        app: ProxyApp,
        sockets: Sequence[socket.socket],
        untrusted: Collection[str | None],
        *,
        policy: ServerPolicy,
    ) -> None:
        self.entrances: list[Entrance] = []
        self.door = Http1Door(app, policy)
        self._sockets = sockets
        self._untrusted = untrusted
        self._context: ssl.SSLContext | None = None
        self._closed = asyncio.Event()

    async def start(self, context: ssl.SSLContext | None) -> None:
        """Accept. context: of TLS, for all but unix sockets: what comes over those is from this machine."""
        self._context = context
        for sock in self._sockets:
            is_unix = sock.family == socket.AF_UNIX
            # The rights of its file decide who connects to a unix socket: its peers are trusted, unless `trust` is off.
            trusts = is_unix and sock.getsockname() not in self._untrusted
            factory = self.door.server(scheme="http", is_unix=is_unix, trusts=trusts)
            self.entrances.append((sock, factory, await self._open(sock, factory)))

    async def renew(self, context: ssl.SSLContext | None) -> None:
        """Let new connections speak TLS as `context` says, or none; those that are open go on as they are."""
        changed = []
        if (self._context is None) is not (context is None):
            changed = [index for index, (sock, _, _) in enumerate(self.entrances) if sock.family != socket.AF_UNIX]
        for index in changed:
            self.entrances[index][2].close()  # with the last context: it may have a client in its hands
        self._context = context
        for index in changed:
            sock, factory, _ = self.entrances[index]
            if not self._closed.is_set():
                self.entrances[index] = sock, factory, await self._open(sock, factory)

    def end(self) -> Sequence[Entrance]:
        """Change nothing more. Returns the entrances, which the caller closes."""
        self._closed.set()
        return self.entrances

    async def shutdown(self, within: float) -> None:
        """Close all connections; those that are served have so many seconds."""
        await asyncio.gather(*(factory.shutdown(within) for _, factory, _ in self.entrances))

    async def _open(self, sock: socket.socket, factory: ClientConnections) -> "asyncio.Server | TlsAcceptor":
        server: asyncio.Server | TlsAcceptor
        if self._context is None or sock.family == socket.AF_UNIX:
            factory.scheme = "http"
            loop = asyncio.get_running_loop()
            server = await loop.create_server(factory, sock=sock.dup(), backlog=BACKLOG)
        else:
            factory.scheme = "https"
            server = TlsAcceptor(sock.dup(), partial(self._take, factory))
        if self._closed.is_set():
            server.close()
        return server

    def _take(self, factory: ClientConnections, client: socket.socket, address: Any) -> None:
        assert self._context is not None
        factory.secure(client, address, self._context)
