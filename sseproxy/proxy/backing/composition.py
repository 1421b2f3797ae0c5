"""What does a proxy consist of with all that is behind it, and how does that change while it runs?"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network

from sseproxy.core.routes import Route
from sseproxy.core.store import StorePolicy
from sseproxy.engine.live import LiveStreams
from sseproxy.logs import LOGGER
from sseproxy.proxy.app import ProxyApp
from sseproxy.proxy.backing.http_servers import HttpServers
from sseproxy.proxy.backing.redis_stores import RedisStores
from sseproxy.proxy.origins import Origins
from sseproxy.proxy.process_journal import ProcessJournal
from sseproxy.stores.open import open_store

_log = logging.getLogger(LOGGER)

_Networks = Sequence[IPv4Network | IPv6Network]

#: Seconds between two looks at whether the tickets and runs of routes that are gone have ended.
_LOOK = 10.0


class ComposedProxy:
    """A proxy, its upstreams, each Redis that its routes name, its tickets and its runs.

    Must be made while the event loop runs. store: what outlives a connection. end_key, instance: see `ProxyApp`.
    on_routes: hears of all routes that are served after a `reload`, also of those that live on.
    Raises `OSError` for a certificate of an upstream that cannot be read.
    """

    # Plan: everything is made once. A reload keeps all of it, and hands each part what concerns it.
    #
    # Routes that are gone are served on for the tickets and runs that live, with the upstreams that they had. A timer
    # drops them when the last has ended: it reloads what holds anyway.

    def __init__(
        self,
        routes: Sequence[Route],
        store: StorePolicy,
        *,
        trusted_proxies: _Networks = (),
        end_key: bytes = b"",
        instance: str = "",
        on_routes: Callable[[Sequence[Route]], None] = lambda _: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        streams = LiveStreams()
        self.stores = RedisStores(routes, store)
        self._servers = HttpServers(streams.clock())
        self._on_routes = on_routes
        self._forgetting: asyncio.TimerHandle | None = None
        self.app = ProxyApp(
            routes,
            self._origins(routes),
            trusted_proxies=trusted_proxies,
            tickets=open_store(store, self._loop),
            end_key=end_key,
            instance=instance,
            streams=streams,
            journal=ProcessJournal(store),
        )

    def start(self) -> None:
        """Dial each Redis. The caller must call `close` later."""
        self.stores.start()

    def reload(self, routes: Sequence[Route], *, trusted_proxies: _Networks) -> None:
        """Serve new requests by `routes`. Raises `OSError` as the constructor does; nothing has changed then."""
        tickets = self.app.tickets
        served, of_runs = tickets.routes_with(routes), self.app.journal.retired(routes)
        served += tuple(route for route in of_runs if route not in served)
        self.app.reload(routes, self._origins(served), trusted_proxies=trusted_proxies)
        self._stop_forgetting()
        if of_runs or tickets.retired_until is not None:
            at = self._loop.time() + _LOOK
            if not of_runs and tickets.retired_until is not None:
                at = max(tickets.retired_until, at)
            self._forgetting = self._loop.call_at(at, self._forget, routes, trusted_proxies)
        self._on_routes(served)

    async def close(self) -> None:
        """Close all that is behind the proxy, and its doors. What is still under way breaks."""
        self._stop_forgetting()
        await self.app.close()
        await self.stores.close()

    # Private.

    def _origins(self, routes: Sequence[Route]) -> Origins:
        upstreams, authorizers = self._servers.upstreams(routes), self._servers.authorizers(routes)
        self.stores.reload(routes)
        return Origins(upstreams, self.stores.origins, authorizers)

    def _forget(self, routes: Sequence[Route], trusted_proxies: _Networks) -> None:
        """Drop the routes of which no ticket and no run lives any more."""
        try:
            self.reload(routes, trusted_proxies=trusted_proxies)
        except OSError as error:
            _log.debug("a certificate is being renewed: %s", error)
            self._forgetting = self._loop.call_later(_LOOK, self._forget, routes, trusted_proxies)

    def _stop_forgetting(self) -> None:
        if self._forgetting is not None:
            self._forgetting.cancel()
            self._forgetting = None
