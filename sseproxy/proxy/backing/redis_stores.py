"""Which Redis servers does this process need, are they there, and what reads from them?"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sseproxy.core.routes import Route
from sseproxy.core.store import StorePolicy
from sseproxy.proxy.backing.readiness import Readiness, Status

if TYPE_CHECKING:
    from sseproxy.metrics.figures import Figures
    from sseproxy.origins.redis.origin import RedisOrigin
    from sseproxy.proxy.backing.redis import RedisFactory, RedisStore


class RedisStores:
    """One link, and one connection for subscriptions, to each Redis that the routes of a process name.

    Must be made while the event loop runs. A Redis that is away is no error: the link dials again and again.
    """

    # A Redis that no route names any more goes when the last reader has gone, and not before (`_close_unused`): until
    # then its clients get their events.

    def __init__(self, routes: Sequence[Route], policy: StorePolicy) -> None:
        self._policy = policy
        self._count = len(routes)
        self._factory: RedisFactory | None = None
        self._stores: Mapping[str, RedisStore] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._stores = self._of(routes)
        self._links_of_start = frozenset(store.link for store in self._stores.values())

    def start(self) -> None:
        """Dial. The caller must call `close` later."""
        for store in self._stores.values():
            store.start()

    def reload(self, routes: Sequence[Route]) -> None:
        """Serve `routes` from now on. A Redis that was there stays connected, if one of them names it."""
        before, self._stores = self._stores, self._of(routes)
        self._count = len(routes)
        for url, store in self._stores.items():
            if url not in before:
                store.start()
        for url, store in before.items():
            if url not in self._stores:
                task = asyncio.create_task(_close_unused(store))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    @property
    def origins(self) -> "dict[str, RedisOrigin]":
        """What serves the routes, by the URL that they name."""
        return {url: store.origin for url, store in self._stores.items()}

    def readiness(self, *, is_draining: bool) -> Readiness:
        """Return whether new requests can be served, and which Redis is away.

        One that was never reached may be named wrongly, so nothing is sent here before. Later, clients that wait for
        one Redis are no reason to turn those of other routes away; nor is one that a reload has named wrongly.
        """
        away = [store for store in self._stores.values() if not store.link.is_up]
        names = self._names(away)
        if is_draining:
            return Readiness(Status.DRAINING, names)
        is_new = any(not store.link.was_reached for store in away if store.link in self._links_of_start)
        serves_nothing = bool(away) and sum(len(store.routes) for store in away) == self._count
        return Readiness(Status.AWAY if is_new or serves_nothing else Status.READY, names)

    def add_figures(self, figures: "Figures") -> None:
        """Add what was counted about each Redis."""
        stores = list(self._stores.values())
        for store, name in zip(stores, self._names(stores), strict=True):
            store.add_figures(figures, name)

    async def close(self) -> None:
        """Close all connections. The proxy has to be closed before."""
        for task in list(self._closing):
            task.cancel()
        if self._closing:
            await asyncio.wait(self._closing)
        for store in self._stores.values():
            await store.close()

    def _of(self, routes: Sequence[Route]) -> "dict[str, RedisStore]":
        """Return the stores that `routes` name, by URL: those that are there, and new ones."""
        by_url: dict[str, list[str]] = {}
        for route in routes:
            if route.redis is not None:
                by_url.setdefault(route.redis.url, []).append(route.name)
        if by_url and self._factory is None:
            # Fifty modules, which a process without such routes does not wait for at its start.
            from sseproxy.proxy.backing.redis import RedisFactory  # noqa: PLC0415

            self._factory = RedisFactory(self._policy)
        found = {}
        for url, names in by_url.items():
            assert self._factory is not None
            store = self._stores.get(url) or self._factory.new(url)
            found[url] = replace(store, routes=names)
        return found

    def _names(self, stores: "Iterable[RedisStore]") -> list[str]:
        """Name stores for an operator: one is `redis`, of several each has its address."""
        return ["redis" if len(self._stores) == 1 else store.link.url.place for store in stores]


async def _close_unused(store: "RedisStore") -> None:
    """Close a Redis and its origin once there is no reader, or at once when the task is cancelled."""
    try:
        await store.origin.wait_until_unused()
    finally:
        await store.origin.close()
        await store.close()
