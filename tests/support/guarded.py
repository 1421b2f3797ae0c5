"""How does a test put a service in front of an upstream that says which requests may go on?"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from sseproxy.core.routes import AuthorizePolicy, Upstream
from tests.support.async_peer import AsyncPeer
from tests.support.proxy_server import ProxyServer, route_to
from tests.support.raw_upstream import RawUpstream, Script, Visit, replies

YES = b"HTTP/1.1 204 No Content\r\n\r\n"
ALICE = b"HTTP/1.1 200 OK\r\nX-User: alice\r\nContent-Length: 0\r\n\r\n"
NO = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 5\r\n\r\nlogin"

TAKE = (("user", "X-User"),)


def head(*fields: bytes, line: bytes = b"GET /a") -> bytes:
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: a.test", *fields]) + b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Guarded:
    """A client, the proxy, an upstream, and the service that is asked before."""

    client: AsyncPeer
    proxy: ProxyServer
    upstream: RawUpstream
    service: RawUpstream

    @property
    def leased(self) -> int:
        """How many connections are in use for questions."""
        return sum(origin.pool.leased for origin in self.proxy.authorizers.values())


@contextlib.asynccontextmanager
async def guarded(
    service: Script, script: Script | None = None, *, policy: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Guarded]:
    """Everything for a test with one route and one connection. policy: of `authorize`. options: of the `Route`."""
    async with RawUpstream.serve(service) as asked, RawUpstream.serve(script or replies()) as upstream:
        authorize = AuthorizePolicy(
            Upstream("http", "127.0.0.1", asked.port), **{"target": "/whoami", **(policy or {})}
        )
        route = route_to(upstream, authorize=authorize, **options)
        async with ProxyServer.serve(route) as proxy, proxy.connect() as client:
            yield Guarded(client, proxy, upstream, asked)


async def silent(visit: Visit) -> None:
    """Take questions, and say nothing."""
    await visit.request()
    await visit.wait_closed()
