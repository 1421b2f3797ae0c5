"""Where do the connections to an upstream come from, and where are they kept between two requests?

An upstream with a name is left to aiohttp's connector, which caches names and tries addresses side by side. It has to
let us say what speaks on its connections, an internal of aiohttp. Where that is gone, and for an address or a unix
socket, where there is nothing to look up, a small pool on asyncio's public functions does it, at three quarters of the
price of a new stream. To everybody else the two are alike.
"""

import asyncio
import functools
import logging
import socket
import ssl
from ipaddress import ip_address
from typing import Any, Protocol, cast

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import BaseConnector
from yarl import URL

from sseproxy.core.routes import Upstream, UpstreamTLS
from sseproxy.http1.client import UpstreamConnection

_log = logging.getLogger(__name__)

#: Seconds that an unused connection is kept: less than the common servers keep it (gunicorn 2, uvicorn and Node 5),
#: so that it is not closed at the very moment in which it is used again.
POOL_KEEPALIVE = 1.5

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)


class Lease(Protocol):
    """The use of one connection for one request."""

    @property
    def protocol(self) -> UpstreamConnection: ...

    def release(self) -> None:
        """It may be used again, if it can be."""

    def close(self) -> None:
        """It must not be used again."""


class Pool(Protocol):
    """The connections to one upstream."""

    @property
    def leased(self) -> int:
        """How many are in use."""

    def take_idle(self) -> Lease | None:
        """One that is free, if that can be said at once."""

    async def connect(self, *, anew: bool = False) -> Lease:
        """Return one that is free, or a new one; always a new one if `anew`. Raises what `faults.our_errors` reads."""

    async def close(self) -> None:
        """Close all connections."""


def pool_for(upstream: Upstream) -> Pool:
    """The pool that fits. Must be called while the event loop runs."""
    if upstream.socket_path is not None or _is_address(upstream.host):
        return PlainPool(upstream)
    try:
        return AiohttpPool(upstream)
    except (AttributeError, TypeError) as error:
        _log.warning("aiohttp %s is not known here, its pool is not used: %s", aiohttp.__version__, error)
        return PlainPool(upstream)


class AiohttpPool:
    """aiohttp's connector, with `UpstreamConnection` as what speaks on its connections."""

    def __init__(self, upstream: Upstream) -> None:
        loop = asyncio.get_running_loop()
        is_tls = upstream.scheme == "https"
        self._connector = _connector(upstream, keeps=True)
        self._upstream = upstream
        self._without_pool: BaseConnector | None = None
        self._key = ClientRequest(
            "GET",
            URL.build(scheme="https" if is_tls else "http", authority=upstream.authority),
            loop=loop,
            ssl=_tls_context(upstream.tls) if is_tls else True,
            server_hostname=upstream.tls.server_name,
        )

    @property
    def leased(self) -> int:
        once = 0 if self._without_pool is None else len(self._without_pool._acquired)
        return len(self._connector._acquired) + once

    def take_idle(self) -> Lease | None:
        return None  # only `connect` can tell

    async def connect(self, *, anew: bool = False) -> Lease:
        connector = self._connector
        if anew:
            # A connector prefers what it has in its pool, so what must be new comes from one that keeps nothing.
            connector = self._without_pool = self._without_pool or _connector(self._upstream, keeps=False)
        return cast(Lease, await connector.connect(self._key, [], _NO_TIMEOUT))

    async def close(self) -> None:
        await self._connector.close()
        if self._without_pool is not None:
            await self._without_pool.close()


class PlainPool:
    """The same on asyncio alone. Names are looked up for each new connection, addresses tried one after the other."""

    def __init__(self, upstream: Upstream) -> None:
        self._loop = asyncio.get_running_loop()
        self._upstream = upstream
        self._tls = _tls_context(upstream.tls) if upstream.scheme == "https" else None
        is_local = upstream.socket_path is not None or _is_loopback(upstream.host)
        self._factory = functools.partial(UpstreamConnection, self._loop, is_local=is_local)
        self._idle: list[tuple[UpstreamConnection, float]] = []
        self._pruning: asyncio.TimerHandle | None = None
        self._leased: set[_PlainLease] = set()

    @property
    def leased(self) -> int:
        return len(self._leased)

    def take_idle(self) -> Lease | None:
        while self._idle:
            connection, since = self._idle.pop()
            if connection.is_connected() and self._loop.time() - since < POOL_KEEPALIVE:
                return self._lease(connection)
            connection.close()
        return None

    async def connect(self, *, anew: bool = False) -> Lease:
        idle = None if anew else self.take_idle()
        return idle or self._lease(await self._open())

    async def close(self) -> None:
        if self._pruning is not None:
            self._pruning.cancel()
            self._pruning = None
        for connection in [lease.protocol for lease in self._leased] + [idle for idle, _ in self._idle]:
            connection.close()
        self._idle.clear()
        self._leased.clear()

    def give_back(self, lease: "_PlainLease", *, reusable: bool) -> None:
        """The end of a lease."""
        if lease not in self._leased:
            return
        self._leased.discard(lease)
        connection = lease.protocol
        if not reusable or connection.should_close or not connection.is_connected():
            connection.close()
            return
        self._idle.append((connection, self._loop.time()))
        if self._pruning is None:
            self._pruning = self._loop.call_later(POOL_KEEPALIVE, self._prune)

    def _lease(self, connection: UpstreamConnection) -> "_PlainLease":
        lease = _PlainLease(self, connection)
        self._leased.add(lease)
        return lease

    def _prune(self) -> None:
        self._pruning = None
        oldest = self._loop.time() - POOL_KEEPALIVE
        for connection, since in self._idle:
            if since <= oldest:
                connection.close()
        self._idle = [(connection, since) for connection, since in self._idle if since > oldest]
        if self._idle:
            self._pruning = self._loop.call_at(self._idle[0][1] + POOL_KEEPALIVE, self._prune)

    async def _open(self) -> UpstreamConnection:
        factory, upstream = self._factory, self._upstream
        if upstream.socket_path is not None:
            return (await self._loop.create_unix_connection(factory, upstream.socket_path))[1]
        found = await self._loop.getaddrinfo(upstream.host, upstream.port, type=socket.SOCK_STREAM)
        name = None if self._tls is None else upstream.tls.server_name or upstream.host
        for tries_left, (*_, address) in zip(range(len(found) - 1, -1, -1), found, strict=True):
            try:
                made = await self._loop.create_connection(
                    factory, str(address[0]), int(address[1]), ssl=self._tls, server_hostname=name
                )
            except ssl.SSLError:
                raise
            except OSError:
                if not tries_left:
                    raise
            else:
                return made[1]
        raise OSError("The name has no address.")


class _PlainLease:
    __slots__ = ("_pool", "protocol")

    def __init__(self, pool: PlainPool, connection: UpstreamConnection) -> None:
        self._pool = pool
        self.protocol = connection

    def release(self) -> None:
        self._pool.give_back(self, reusable=True)

    def close(self) -> None:
        self._pool.give_back(self, reusable=False)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return _is_address(host) and ip_address(host).is_loopback


def _connector(upstream: Upstream, *, keeps: bool) -> BaseConnector:
    """aiohttp's connector that makes our connections. keeps: and keeps them for further requests."""
    options: dict[str, Any] = {"keepalive_timeout": POOL_KEEPALIVE} if keeps else {"force_close": True}
    connector: BaseConnector
    if upstream.socket_path is not None:
        connector = aiohttp.UnixConnector(upstream.socket_path, limit=0, **options)
    else:
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=0, **options)
    if not hasattr(connector, "_factory"):
        raise AttributeError("its connector has no _factory")
    connector._factory = cast(Any, functools.partial(UpstreamConnection, asyncio.get_running_loop()))
    return connector


def _tls_context(tls: UpstreamTLS) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca)
    context.set_alpn_protocols(["http/1.1"])
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
