"""Which Redis servers does this process need, are they there, and what reads from them?"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sseproxy.core.journal.gap import GapReason
from sseproxy.core.routes import Route
from sseproxy.core.store import StorePolicy
from sseproxy.metrics import table
from sseproxy.metrics.figures import Figures
from sseproxy.process.readiness import Readiness, Status

if TYPE_CHECKING:
    from sseproxy.origins.redis.origin import RedisOrigin
    from sseproxy.process.redis import RedisStore


class RedisStores:
    """One link, and one connection for subscriptions, to each Redis that the routes of a process name.

    Must be made while the event loop runs. A Redis that is away is no error: the link dials again and again.
    """

    def __init__(self, routes: Sequence[Route], policy: StorePolicy) -> None:
        self._count = len(routes)
        self._stores: list[RedisStore] = []
        by_url: dict[str, list[str]] = {}
        for route in routes:
            if route.redis is not None:
                by_url.setdefault(route.redis.url, []).append(route.name)
        if by_url:
            # Fifty modules, which a process without such routes does not wait for at its start.
            from sseproxy.process.redis import new_stores  # noqa: PLC0415

            self._stores = new_stores(by_url, policy)

    def start(self) -> None:
        """Dial. The caller must call `close` later."""
        for store in self._stores:
            store.link.start()
            store.origin.start()

    @property
    def origins(self) -> "dict[str, RedisOrigin]":
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

    def add_figures(self, figures: Figures) -> None:
        """Add what was counted about each Redis."""
        for store, name in zip(self._stores, self._names(self._stores), strict=True):
            stats = store.origin.stats
            figures.add(table.REDIS_UP, (name,), store.link.is_up)
            figures.add(table.REDIS_MESSAGES, (name,), stats.messages)
            figures.add(table.REDIS_ENTRIES, (name,), stats.entries)
            figures.add(table.REDIS_DELIVERIES, (name,), stats.deliveries)
            figures.add(table.REDIS_UNREADABLE, (name,), stats.unreadable)
            figures.add(table.REDIS_DUPLICATES, (name,), stats.duplicates)
            figures.add(table.REDIS_BELLS_MISSED, (name,), stats.bells_missed)
            figures.add(table.REDIS_RECONNECTS, (name,), stats.reconnects)
            for reason in GapReason:
                figures.add(table.REDIS_GAPS, (name, reason.value), stats.gaps[reason])

    async def close(self) -> None:
        """Close all connections. The proxy has to be closed before."""
        for store in self._stores:
            await store.close()

    def _names(self, stores: "Iterable[RedisStore]") -> list[str]:
        """Name stores for an operator: one is `redis`, of several each has its address."""
        return ["redis" if len(self._stores) == 1 else store.link.url.place for store in stores]
