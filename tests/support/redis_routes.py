"""How does a test serve routes from a real Redis, inside its own event loop?"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from sseproxy.core.journal.policy import RedisPolicy
from sseproxy.core.journal.templates import Template
from sseproxy.core.routes import Match, Route
from sseproxy.core.store import StorePolicy
from sseproxy.core.stream.plan import StreamKind
from sseproxy.proxy.backing.redis_stores import RedisStores
from tests.support.async_peer import AsyncPeer
from tests.support.proxy_server import SILENT, ProxyServer
from tests.support.redis_server import RedisServer
from tests.support.settled import eventually

#: What a browser's `EventSource` sends.
EVENT_SOURCE = (b"Accept: text/event-stream", b"Cache-Control: no-cache")


@dataclass(frozen=True, slots=True)
class RedisRoutes:
    """A proxy whose routes are served from `redis`."""

    redis: RedisServer
    proxy: ProxyServer
    stores: RedisStores

    @classmethod
    @contextlib.asynccontextmanager
    async def serve(
        cls, redis: RedisServer, *routes: Route, memory: int = StorePolicy().memory, **options: Any
    ) -> "AsyncIterator[RedisRoutes]":
        """options: of `ProxyServer.serve`."""
        stores = RedisStores(routes, StorePolicy(memory=memory, timeout=1.0))
        stores.start()
        try:
            async with ProxyServer.serve(*routes, redis=stores.origins, **options) as proxy:
                yield cls(redis, proxy, stores)
        finally:
            await stores.close()

    async def cli(self, *command: str | bytes | float) -> Any:
        """Return Redis' answer to one command."""
        return await asyncio.to_thread(self.redis.cli, *command)

    async def publish(self, channel: str, message: str | bytes) -> None:
        """Publish as soon as the proxy listens: before that a message is lost."""
        with self.redis.client() as client:
            await eventually(lambda: client.execute_command("PUBLISH", channel, message) > 0)

    @contextlib.asynccontextmanager
    async def listening(self, target: bytes, *fields: bytes) -> "AsyncIterator[AsyncPeer]":
        """A client that has got the head of the stream at `target`."""
        async with self.proxy.connect() as client:
            await client.send(get(target, *fields))
            assert (await client.head()).status == 200
            yield client


def route_from(
    redis: RedisServer, *, stream: str = "", channel: str = "", path: str = "/a", name: str = "", **options: Any
) -> Route:
    """A route to streams or channels, whose names are separated by blanks. options: of the route and its policy."""
    own = {key: options.pop(key) for key in ("format", "start", "gap") if key in options}
    streams, channels = (tuple(map(Template.parse, names.split())) for names in (stream, channel))
    policy = RedisPolicy(streams, channels, url=options.pop("url", redis.url), **own)
    settings = {"heartbeat": SILENT, "kind": StreamKind.FEED, "match": Match(path=path), **options}
    return Route(name or path.strip("/"), redis=policy, **settings)


def get(target: bytes, *fields: bytes, method: bytes = b"GET") -> bytes:
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", b"Host: a.test", *fields]) + b"\r\n\r\n"


async def events(client: AsyncPeer, count: int) -> list[bytes]:
    """The next events of a chunked stream, without comments and blocks that hold only an id."""
    found: list[bytes] = []
    rest = b""
    while len(found) < count:
        lines = (await client.chunk()).splitlines(keepends=True)
        rest += b"".join(line for line in lines if not line.startswith(b":"))
        *whole, rest = rest.split(b"\n\n")
        # The blank line behind a comment may have come with it, or alone.
        found += [event.lstrip(b"\n") for event in whole if b"data:" in event]
    assert rest.strip(b"\n") == b""
    return found
