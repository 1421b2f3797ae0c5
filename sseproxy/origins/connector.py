"""How is a new connection to an upstream opened?"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohappyeyeballs

from sseproxy.core.routes import Upstream, UpstreamTLS
from sseproxy.http1.certificates import load_pair
from sseproxy.http1.client import UpstreamConnection
from sseproxy.origins.addresses import Addresses, Resolve

#: Seconds after which the next address is tried beside one that has not answered yet (RFC 8305 section 8).
ATTEMPT_DELAY = 0.25


class Connector:
    """Opens connections to one upstream. Must be made while the event loop runs.

    resolve: looks names up; the event loop's `getaddrinfo`.
    """

    def __init__(self, upstream: Upstream, *, resolve: Resolve | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket_path = upstream.socket_path
        self._addresses = Addresses(upstream.host, upstream.port, resolve=resolve)
        self._tls: Mapping[str, Any] = {}
        if upstream.scheme == "https":
            # Certificates name hosts without the dot that ends a fully qualified name.
            server_name = (upstream.tls.server_name or upstream.host).rstrip(".")
            self._tls = {"ssl": tls_context(upstream.tls), "server_hostname": server_name}
        self._is_local = upstream.socket_path is not None or self._addresses.is_loopback

    async def open(self) -> UpstreamConnection:
        """Return a new connection. Raises `OSError`, which `faults.our_errors` tells apart; waits without a limit."""
        if self._socket_path is not None:
            return await self._connect(self._loop.create_unix_connection, path=self._socket_path)
        addresses = await self._addresses.find()
        if len(addresses) == 1:
            host, port, *scope = addresses[0][4]
            if not any(scope):  # cheaper than a socket of our own: uvloop takes half the time
                return await self._connect(self._loop.create_connection, host=host, port=port, **self._tls)
        while True:
            sock = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=ATTEMPT_DELAY)
            try:
                return await self._connect(self._loop.create_connection, sock=sock, **self._tls)
            except OSError:
                # TLS fails with the address that answered first. Another replica may be sound: go on without one
                # address of each family.
                aiohappyeyeballs.pop_addr_infos_interleave(addresses, 1)
                if not addresses:
                    raise

    async def _connect(self, create: Callable[..., Awaitable[object]], **to: Any) -> UpstreamConnection:
        connection = UpstreamConnection(self._loop, is_local=self._is_local)
        try:
            await create(lambda: connection, **to)
        except BaseException:
            # Hazard: uvloop closes the transport of an attempt that is cancelled just as it succeeds, and reports no
            # end to the connection. Both would keep each other until the garbage collector comes. TLS is not informed
            # either: left alone, or closed in order, it would write, fail, and put a traceback in the log.
            connection.abort()
            raise
        return connection


def tls_context(tls: UpstreamTLS) -> ssl.SSLContext:
    """Return how connections to an upstream are encrypted, verified, and shown a certificate, as the files are now.

    Raises `OSError` if a file cannot be used.
    """
    context = ssl.create_default_context(cafile=tls.ca)
    context.set_alpn_protocols(["http/1.1"])
    if tls.certificate is not None and tls.key is not None:
        load_pair(context, tls.certificate, tls.key)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
