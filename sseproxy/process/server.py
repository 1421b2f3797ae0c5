"""What runs in one process, from its start to its end? (the composition root)"""

import asyncio
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Sequence

from sseproxy.config.settings import Config
from sseproxy.engine.live import LiveStreams
from sseproxy.http1.listener import ClientConnections
from sseproxy.logs import LOGGER
from sseproxy.origins.http import HttpOrigin
from sseproxy.process.admin import AdminServer
from sseproxy.process.garbage import GarbageNet, spare_the_collector
from sseproxy.process.listeners import BACKLOG
from sseproxy.proxy.app import ProxyApp
from sseproxy.stores.memory import MemoryTicketStore

_log = logging.getLogger(LOGGER)

#: Seconds that the last connections get to close once nothing is under way.
_LAST_MOMENT = 0.5


class Server:
    """One process: its listeners, its upstreams and its end.

    sockets, admin_sockets: listening already; they stay the caller's.
    end_key, instance: shared by workers; see `ProxyApp`.
    """

    def __init__(
        self,
        config: Config,
        sockets: Sequence[socket.socket],
        admin_sockets: Sequence[socket.socket] = (),
        *,
        end_key: bytes = b"",
        instance: str = "",
    ) -> None:
        self._end_key = end_key
        self._instance = instance
        self._config = config
        self._sockets = sockets
        self._admin_sockets = admin_sockets
        self._stopping: asyncio.Event | None = None
        self._stopped_at_once: asyncio.Event | None = None

    def run(
        self, *, on_ready: Callable[[], None], on_draining: Callable[[], None], signals: Sequence[signal.Signals]
    ) -> None:
        """Serve until one of `signals` comes: then drain; a second one stops at once."""
        spare_the_collector()
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._serve_until_signal(on_ready, on_draining, signals))

    async def _serve_until_signal(
        self, on_ready: Callable[[], None], on_draining: Callable[[], None], signals: Sequence[signal.Signals]
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in signals:
            loop.add_signal_handler(number, self.stop)
        try:
            await self.serve(on_ready=on_ready, on_draining=on_draining)
        finally:
            self._ignore(signals)

    async def serve(
        self, *, on_ready: Callable[[], None] = lambda: None, on_draining: Callable[[], None] = lambda: None
    ) -> None:
        """Serve until `stop` is called, and end in order.

        on_draining: must close `sockets`. What is connected to them by then is served; whoever comes later must be
        refused, instead of waiting in a queue that nobody empties.
        """
        self._stopping, self._stopped_at_once = asyncio.Event(), asyncio.Event()
        app = self._new_app()
        admin = AdminServer(is_ready=lambda: not app.draining)
        await admin.start(self._admin_sockets)
        factories, servers = await self._listen(app)
        net = GarbageNet(asyncio.get_running_loop())
        on_ready()
        try:
            await self._stopping.wait()
            for server in servers:
                server.close()
            on_draining()
            await self._drain(app)
        finally:
            await asyncio.gather(*(factory.shutdown(_LAST_MOMENT) for factory in factories))
            await app.close()
            await admin.stop()
            net.close()

    def stop(self) -> None:
        """Drain and end; called again, end at once."""
        if self._stopping is None or self._stopped_at_once is None:
            return
        if self._stopping.is_set():
            self._stopped_at_once.set()
        self._stopping.set()

    # Private.

    def _ignore(self, signals: Sequence[signal.Signals]) -> None:
        """They have been obeyed: one that comes before the process is gone must not make its exit look like a crash."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        for number in signals:
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _new_app(self) -> ProxyApp:
        loop = asyncio.get_running_loop()
        streams = LiveStreams()
        origins = {route.name: HttpOrigin(route.upstream, clock=streams.clock()) for route in self._config.routes}
        store = MemoryTicketStore(loop)
        return ProxyApp(
            self._config.routes,
            origins,
            trusted_proxies=self._config.server.trusted_proxies,
            tickets=store,
            end_key=self._end_key,
            instance=self._instance,
            streams=streams,
        )

    async def _listen(self, app: ProxyApp) -> tuple[list[ClientConnections], list[asyncio.Server]]:
        """Accept connections. What comes over a unix socket is from this machine and needs no TLS."""
        loop, context = asyncio.get_running_loop(), self._tls_context()
        untrusted = {address.path for address in self._config.server.listen if not address.trust}
        factories, servers = [], []
        for sock in self._sockets:
            is_unix = sock.family == socket.AF_UNIX
            tls = None if is_unix else context
            trusts = is_unix and sock.getsockname() not in untrusted
            factory = app.server(scheme="http" if tls is None else "https", is_unix=is_unix, trusts=trusts)
            factories.append(factory)
            servers.append(await loop.create_server(factory, sock=sock.dup(), ssl=tls, backlog=BACKLOG))
        return factories, servers

    def _tls_context(self) -> ssl.SSLContext | None:
        tls = self._config.server.tls
        if tls is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(tls.certificate, tls.key)
        return context

    async def _drain(self, app: ProxyApp) -> None:
        """Let what is under way come to its end, within the time that the configuration gives it."""
        assert self._stopped_at_once is not None
        timeout = self._config.server.drain_timeout
        _log.info("draining: %d requests under way", app.requests)
        app.drain(timeout=timeout, spread=self._config.server.drain_spread)
        idle = asyncio.ensure_future(app.wait_until_idle())
        hurry = asyncio.ensure_future(self._stopped_at_once.wait())
        await asyncio.wait({idle, hurry}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        app.abort()
        await asyncio.wait({idle}, timeout=_LAST_MOMENT)
        idle.cancel()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop
