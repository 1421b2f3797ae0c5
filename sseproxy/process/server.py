"""What runs in one process, from its start to its end? (the composition root)"""

import asyncio
import functools
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Sequence

from sseproxy.config.settings import CertificateFiles, Config
from sseproxy.engine.live import LiveStreams
from sseproxy.http1.handshake import TlsAcceptor
from sseproxy.http1.listener import ClientConnections
from sseproxy.logs import LOGGER
from sseproxy.process.descriptors import server_policy
from sseproxy.process.listeners import BACKLOG
from sseproxy.process.operations import Operations
from sseproxy.process.origins import new_origins
from sseproxy.process.siblings import Place
from sseproxy.process.stopping import StopRequest
from sseproxy.process.stores import RedisStores
from sseproxy.process.upkeep import Upkeep
from sseproxy.proxy.app import ProxyApp
from sseproxy.stores.open import open_store

_log = logging.getLogger(LOGGER)

#: Seconds that the last connections get to close once no request is under way.
_LAST_MOMENT = 0.5


class ServerProcess:
    """One process: its listeners, its upstreams and its end.

    sockets, admin_sockets: listening already; they stay the caller's.
    end_key, instance: shared by workers; see `ProxyApp`. The store's secret comes before `end_key`.
    place: among the workers.
    """

    def __init__(
        self,
        config: Config,
        sockets: Sequence[socket.socket],
        admin_sockets: Sequence[socket.socket] = (),
        *,
        end_key: bytes = b"",
        instance: str = "",
        place: Place = Place(),
    ) -> None:
        self._config = config
        self._sockets = sockets
        self._admin_sockets = admin_sockets
        self._end_key = config.store.secret.encode() or end_key
        self._instance = instance
        self._place = place

    def run(
        self, *, on_ready: Callable[[], None], on_draining: Callable[[], None], signals: Sequence[signal.Signals]
    ) -> None:
        """Serve until one of `signals` comes: then drain; a second one stops at once."""
        Upkeep.prepare()
        with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
            runner.run(self.serve(on_ready=on_ready, on_draining=on_draining, signals=signals))

    async def serve(
        self,
        *,
        on_ready: Callable[[], None],
        on_draining: Callable[[], None],
        signals: Sequence[signal.Signals],
    ) -> None:
        """Serve until one of `signals` comes, and end in order.

        on_draining: must close `sockets`. What is connected to them by then is served; a client that comes later must
        be refused, instead of waiting in the queue of a process that accepts no more.
        """
        stop = StopRequest()
        with stop.by_signals(signals):
            stores = RedisStores(self._config.routes, self._config.store)
            stores.start()
            app = self.new_app(stores)
            operations = Operations(self._config, app, stores, self._place)
            await operations.start(self._admin_sockets)
            upkeep = Upkeep(app.streams.observers, traces=self._config.telemetry.traces)
            factories, servers = await self.accept(app)
            on_ready()
            try:
                await stop.wait_for_drain()
                # Accepting ends before the sockets close: each server has a copy, and a port lives as long as one does.
                for server in servers:
                    server.close()
                on_draining()
                await self.drain(app, stop)
            finally:
                await asyncio.gather(*(factory.shutdown(_LAST_MOMENT) for factory in factories))
                await app.close()
                await stores.close()
                await operations.stop()
                await upkeep.stop()

    def new_app(self, stores: RedisStores) -> ProxyApp:
        """Return the proxy that the configuration asks for."""
        streams, routes = LiveStreams(), self._config.routes
        return ProxyApp(
            routes,
            new_origins(routes, stores.origins, streams.clock()),
            trusted_proxies=self._config.server.trusted_proxies,
            tickets=open_store(self._config.store, asyncio.get_running_loop()),
            end_key=self._end_key,
            instance=self._instance,
            streams=streams,
            policy=server_policy(self._config.server.connections),
        )

    async def accept(self, app: ProxyApp) -> tuple[list[ClientConnections], list[asyncio.Server | TlsAcceptor]]:
        """Accept connections for `app`. What comes over a unix socket is from this machine and needs no TLS."""
        loop = asyncio.get_running_loop()
        context = None if self._config.server.tls is None else tls_context(self._config.server.tls)
        untrusted = {address.path for address in self._config.server.listen if not address.trust}
        factories: list[ClientConnections] = []
        servers: list[asyncio.Server | TlsAcceptor] = []
        for sock in self._sockets:
            is_unix = sock.family == socket.AF_UNIX
            tls = None if is_unix else context
            # The rights of its file decide who connects to a unix socket: its peers are trusted, unless `trust` is off.
            trusts = is_unix and sock.getsockname() not in untrusted
            factory = app.server(scheme="http" if tls is None else "https", is_unix=is_unix, trusts=trusts)
            factories.append(factory)
            if tls is None:
                servers.append(await loop.create_server(factory, sock=sock.dup(), backlog=BACKLOG))
            else:
                servers.append(TlsAcceptor(sock.dup(), functools.partial(factory.secure, context=tls)))
        return factories, servers

    async def drain(self, app: ProxyApp, stop: StopRequest) -> None:
        """Let what is under way finish, within the time that the configuration gives it, and abort what has not."""
        timeout = self._config.server.drain_timeout
        _log.info("draining: %d requests under way", app.requests)
        app.drain(timeout=timeout, spread=self._config.server.drain_spread)
        # Waiting for both at once: a second signal ends a drain that would take longer.
        idle = asyncio.ensure_future(app.wait_until_idle())
        at_once = asyncio.ensure_future(stop.wait_for_end())
        await asyncio.wait({idle, at_once}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        at_once.cancel()
        app.abort()
        await asyncio.wait({idle}, timeout=_LAST_MOMENT)
        idle.cancel()


def tls_context(files: CertificateFiles) -> ssl.SSLContext:
    """Return the server's side of TLS. Only HTTP/1.1 is offered (RFC 7301): there is no HTTP/2 behind it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(files.certificate, files.key)
    return context


def event_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop where it is installed, else ``None`` for asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop
