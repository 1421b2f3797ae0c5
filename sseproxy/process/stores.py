"""Which Redis servers does this process need, are they there, and what reads from them?"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sseproxy.core.routes import Route
from sseproxy.core.store import StorePolicy
from sseproxy.origins.redis.origin import RedisOrigin
from sseproxy.process.admin import Readiness, Status
from sseproxy.stores.redis.link import Link, LinkLimits
from sseproxy.stores.redis.subscriber import Subscriber, SubscriberLimits
from sseproxy.stores.redis.urls import RedisURL

#: Random bytes that tell one process from another in the names of its own keys and channels.
_NODE_BYTES = 6


@dataclass(frozen=True, slots=True)
class RedisStore:
    """One Redis, with all that this process has of it. routes: their names."""

    link: Link
    subscriber: Subscriber
    origin: RedisOrigin
    routes: Sequence[str]

    async def close(self) -> None:
        """Close what talks to it. The origin is the proxy's to close, and goes first."""
        await self.subscriber.close()
        await self.link.close()


class RedisStores:
    """One link, and one connection for subscriptions, to each Redis that the routes of a process name.

    Must be made while the event loop runs. A Redis that is away is no error: the link dials again and again.
    """

    def __init__(self, routes: Sequence[Route], policy: StorePolicy) -> None:
        self._count = len(routes)
        self._stores: list[RedisStore] = []
        node = secrets.token_hex(_NODE_BYTES).encode()
        by_url: dict[str, list[str]] = {}
        for route in routes:
            if route.redis is not None:
                by_url.setdefault(route.redis.url, []).append(route.name)
        for url, names in by_url.items():
            self._stores.append(_open(RedisURL.parse(url), names, policy, node))

    @property
    def origins(self) -> dict[str, RedisOrigin]:
        """What serves each route, by the route's name."""
        return {name: store.origin for store in self._stores for name in store.routes}

    def readiness(self, *, is_draining: bool) -> Readiness:
        """Return whether new requests can be served, and which Redis is away.

        One that was never reached may be named wrongly, so nothing is sent here before. Later, clients that wait for
        one Redis are no reason to turn those of other routes away.
        """
        away = [store for store in self._stores if not store.link.is_up]
        names = self._names(away)
        if is_draining:
            return Readiness(Status.DRAINING, names)
        is_new = any(not store.link.was_reached for store in away)
        serves_nothing = bool(away) and sum(len(store.routes) for store in away) == self._count
        return Readiness(Status.AWAY if is_new or serves_nothing else Status.READY, names)

    async def close(self) -> None:
        """Close all connections. The proxy has to be closed before."""
        for store in self._stores:
            await store.close()

    def _names(self, stores: Iterable[RedisStore]) -> list[str]:
        """Name stores as an operator knows them: one is `redis`, of several each has its address."""
        return ["redis" if len(self._stores) == 1 else store.link.url.place for store in stores]


def _open(url: RedisURL, names: Sequence[str], policy: StorePolicy, node: bytes) -> RedisStore:
    prefix = policy.prefix.encode()
    link = Link(url, limits=LinkLimits(timeout=policy.timeout))
    subscriber = Subscriber(url, link, prefix=prefix, node=node, limits=SubscriberLimits(timeout=policy.timeout))
    origin = RedisOrigin(link, subscriber, prefix=prefix, node=node, memory=policy.memory)
    link.start()
    return RedisStore(link, subscriber, origin, names)
