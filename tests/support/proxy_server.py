"""How does a test run the proxy inside its own event loop, between a raw client and a raw upstream?"""

import asyncio
import contextlib
import itertools
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from sseproxy.core.routes import Route, Upstream
from sseproxy.core.store import StorePolicy
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.engine.live import LiveStreams
from sseproxy.http1.listener import ClientConnections
from sseproxy.http1.policy import ServerPolicy
from sseproxy.origins.http import HttpOrigin
from sseproxy.origins.redis.origin import RedisOrigin
from sseproxy.proxy.app import ProxyApp
from sseproxy.proxy.on_http1 import Http1Door
from sseproxy.proxy.origins import Origins
from sseproxy.proxy.process_journal import ProcessJournal
from sseproxy.stores.base import TicketStore
from sseproxy.stores.memory import MemoryTicketStore
from tests.support.async_peer import AsyncPeer
from tests.support.fronts import Front, OpenFront, OwnFront, Place, front_of
from tests.support.patience import LIMIT
from tests.support.raw_upstream import RawUpstream, Script

#: Of each request that brings none.
REQUEST_ID = "made-here"

#: For tests that are not about heartbeats.
SILENT = HeartbeatPolicy(interval=None)


class ProxyServer:
    """A `ProxyApp` that listens. Leaving it asserts that nothing is under way and nothing unexpected was logged.

    front: the server that has its clients' connections. origins: the upstreams, by the name of the route;
    authorizers: the services that `authorize` asks, likewise.
    """

    def __init__(
        self,
        app: ProxyApp,
        front: Front,
        origins: Mapping[str, HttpOrigin],
        port: int,
        *,
        authorizers: Mapping[str, HttpOrigin],
    ) -> None:
        self.app = app
        self.front = front
        self.origins = origins
        self.port = port
        self.authorizers = authorizers

    @classmethod
    @contextlib.asynccontextmanager
    async def serve(
        cls,
        *routes: Route,
        trusted: Sequence[str] = (),
        socket_path: Path | None = None,
        send_buffer: int | None = None,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        store: TicketStore | None = None,
        end_key: bytes = b"",
        streams: LiveStreams | None = None,
        listener: socket.socket | None = None,
        instance: str = "test",
        origin: Callable[[Upstream], HttpOrigin] = HttpOrigin,
        policy: ServerPolicy = ServerPolicy(),
        redis: Mapping[str, RedisOrigin] | None = None,
        runs: StorePolicy = StorePolicy(),  # noqa: B008 - frozen
        behind: OpenFront | None = None,
    ) -> "AsyncIterator[ProxyServer]":
        """On a port that the kernel chooses, or on a unix socket.

        trusted: networks of proxies. send_buffer: bytes of SO_SNDBUF of its connections. store: of tickets.
        end_key: of the ends of streams. streams: left out, those that break do so at once.
        listener: a socket in place of one of its own. instance: see `ProxyApp`.
        origin: makes what stands for an upstream. policy: of client connections. redis: what serves routes to Redis.
        runs: how they are kept. behind: which server; left out, the one that the event loop is for.
        """
        loop = asyncio.get_running_loop()
        asked = [each.authorize.upstream for each in routes if each.authorize is not None]
        by_place = {each: origin(each) for each in dict.fromkeys(each.upstream for each in routes) if each is not None}
        services = {each: HttpOrigin(each) for each in dict.fromkeys(asked)}
        networks = [ip_network(network) for network in trusted]
        tickets = MemoryTicketStore(loop) if store is None else store
        app = ProxyApp(
            routes,
            Origins(by_place, {} if redis is None else redis, services),
            trusted_proxies=networks,
            tickets=tickets,
            end_key=end_key,
            streams=LiveStreams(linger=0.0) if streams is None else streams,
            instance=instance,
            journal=ProcessJournal(runs),
            request_ids=itertools.repeat(REQUEST_ID),
        )
        sock = listener or _bound(host, socket_path)
        if send_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        front = await (behind or front_of(loop))(app, Place(sock, tls), policy)
        port = 0 if socket_path is not None else sock.getsockname()[1]
        with _no_surprises(loop):
            try:
                origins = {each.name: by_place[each.upstream] for each in routes if each.upstream is not None}
                authorizers = {each.name: services[each.authorize.upstream] for each in routes if each.authorize}
                yield cls(app, front, origins, port, authorizers=authorizers)
                await _end(app)
            finally:
                front.stop_listening()
                app.abort()
                await front.shut_down()
                await app.close()

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self.front.clients)

    @property
    def door(self) -> Http1Door:
        """The door of our own server, for tests that are about that."""
        assert isinstance(self.front, OwnFront)
        return self.front.door

    @property
    def connections(self) -> ClientConnections:
        """The connections of our own server, for tests that are about those."""
        assert isinstance(self.front, OwnFront)
        return self.front.clients

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncPeer]:
        """Open a connection of a client."""
        async with AsyncPeer.connect(self.port) as client:
            yield client

    @property
    def bytes_in(self) -> int:
        """Bytes of all responses under way that have gone through the proxy's policies, content codings undone."""
        return sum(live.stats.bytes_in for live in self.app.streams)

    @property
    def skipped(self) -> int:
        """How many heartbeats of all responses under way were due and did not go out."""
        each = (live.stats.heartbeats_skipped for live in self.app.streams)
        return sum(sum(skipped.values()) for skipped in each)


@dataclass(frozen=True, slots=True)
class Stage:
    """A client, the proxy and an upstream, connected."""

    client: AsyncPeer
    proxy: ProxyServer
    upstream: RawUpstream


@contextlib.asynccontextmanager
async def stage(
    script: Script,
    *,
    trusted: Sequence[str] = (),
    base_path: str = "",
    send_buffer: int | None = None,
    streams: LiveStreams | None = None,
    policy: ServerPolicy = ServerPolicy(),
    **options: Any,
) -> AsyncIterator[Stage]:
    """Everything for a test with one route and one connection. options: of the `Route`."""
    async with (
        RawUpstream.serve(script) as upstream,
        ProxyServer.serve(
            route_to(upstream, base_path=base_path, **options),
            trusted=trusted,
            send_buffer=send_buffer,
            streams=streams,
            policy=policy,
        ) as proxy,
        proxy.connect() as client,
    ):
        yield Stage(client, proxy, upstream)


def route_to(upstream: RawUpstream, *, base_path: str = "", **options: Any) -> Route:
    """A route called "default", without heartbeats unless `options` say otherwise."""
    where = Upstream("http", "127.0.0.1", upstream.port, base_path=base_path)
    return Route(**{"name": "default", "upstream": where, "heartbeat": SILENT, **options})


def _bound(host: str, path: Path | None) -> socket.socket:
    if path is not None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        return sock
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named: otherwise asyncio leaves Nagle's algorithm on, and what is small may wait 40 ms.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, "." not in host)  # for IPv4 on a socket of IPv6
    sock.bind((host, 0))
    return sock


async def _end(app: ProxyApp) -> None:
    """The clients have gone: everything has to come to its end by itself."""
    async with asyncio.timeout(LIMIT):
        await app.wait_until_idle()
    assert len(app.streams) == 0
    assert len(app.admissions) == 0
    assert app.tickets.open_tickets == 0
    assert app.tickets.incoming.is_idle


class _Surprises(logging.Handler):
    """Collects what is logged as an error, by whatever library."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(logging.Formatter().format(record))


@contextlib.contextmanager
def _no_surprises(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    surprises = _Surprises()
    logging.getLogger().addHandler(surprises)
    loop.set_exception_handler(lambda _, context: surprises.seen.append(repr(context)))
    try:
        yield
    finally:
        logging.getLogger().removeHandler(surprises)
        loop.set_exception_handler(None)
    assert not surprises.seen, "\n".join(surprises.seen)
