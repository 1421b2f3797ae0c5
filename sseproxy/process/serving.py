"""What does one process serve with, and how does that change while it runs?"""

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sseproxy.core.routes import Route
from sseproxy.engine.live import LiveStreams
from sseproxy.logs import LOGGER
from sseproxy.process.accepting import Accepting
from sseproxy.process.descriptors import connections_allowed, server_policy
from sseproxy.process.origins import HttpServers
from sseproxy.process.siblings import Place
from sseproxy.process.source import Snapshot
from sseproxy.process.stores import RedisStores
from sseproxy.proxy.app import ProxyApp
from sseproxy.proxy.origins import Origins
from sseproxy.proxy.process_journal import ProcessJournal
from sseproxy.stores.open import open_store

if TYPE_CHECKING:
    from sseproxy.process.operations import Operations

_log = logging.getLogger(LOGGER)

#: Seconds between two looks at whether the tickets and runs of routes that are gone have ended.
_LOOK = 10.0


class Serving:
    """The proxy of one process, its stores, its admin side and what accepts its clients.

    Must be made while the event loop runs. sockets: public, listening already. end_key, instance: see `ProxyApp`.
    place: among the workers.
    """

    # Plan: everything is made once. A reload (`apply`) keeps all of it, and hands each part what concerns it.
    #
    # 1. What can fail comes first: certificates and pools are made before anything is put in the place of another. From
    #    there on no step fails, and none but the last waits: no request finds half of a configuration.
    # 2. Routes that are gone are served on for the tickets and runs that live, with the upstreams that they had.
    #    `_reroute` drops them when the last has ended: a timer calls it, with the configuration that holds anyway.

    def __init__(
        self, snapshot: Snapshot, sockets: Sequence[socket.socket], *, end_key: bytes, instance: str, place: Place
    ) -> None:
        self.config = config = snapshot.config
        streams = LiveStreams()
        self.stores = RedisStores(config.routes, config.store)
        self._servers = HttpServers(streams.clock())
        self._certificate = snapshot.certificate
        self._forgetting: asyncio.TimerHandle | None = None
        self.app = ProxyApp(
            config.routes,
            self._origins(config.routes),
            trusted_proxies=config.server.trusted_proxies,
            tickets=open_store(config.store, asyncio.get_running_loop()),
            end_key=end_key,
            instance=instance,
            streams=streams,
            journal=ProcessJournal(config.store),
        )
        untrusted = [address.path for address in config.server.listen if not address.trust]
        self.accepting = Accepting(self.app, sockets, untrusted, policy=server_policy(config.server.connections))
        self._operations: Operations | None = None
        if config.admin is not None:
            # aiohttp, the metrics and the dashboard are half of the time in which a process starts.
            from sseproxy.process import operations  # noqa: PLC0415

            names = (route.name for route in config.routes)
            self._operations = operations.Operations(
                config.admin, names, self.app, self.accepting.door, self.stores, place=place
            )

    async def start(self, admin_sockets: Sequence[socket.socket]) -> None:
        """Serve. The caller must call `close` later. Raises `OSError`."""
        self.stores.start()
        if self._operations is not None:
            await self._operations.start(admin_sockets)
        await self.accepting.start(None if self._certificate is None else self._certificate.context())

    async def apply(self, snapshot: Snapshot) -> None:
        """Serve new requests as `snapshot` says. Raises `OSError` for a certificate that has gone; nothing has changed.

        What needs a restart must be in it as it was.
        """
        context = None if snapshot.certificate is None else snapshot.certificate.context()
        self._reroute(snapshot)
        before, self.config = self.config.server, snapshot.config
        if before.connections != self.config.server.connections:
            self.accepting.door.limit_connections(connections_allowed(self.config.server.connections))
        await self.accepting.renew(context)

    async def close(self, within: float) -> None:
        """Close everything. within: seconds for what is still served."""
        if self._forgetting is not None:
            self._forgetting.cancel()
        await self.accepting.shutdown(within)
        await self.app.close()
        await self.stores.close()
        if self._operations is not None:
            await self._operations.stop()

    def _reroute(self, snapshot: Snapshot) -> None:
        """Serve new requests by the routes of `snapshot`, and show these and those that live on."""
        config, tickets = snapshot.config, self.app.tickets
        routes, of_runs = tickets.routes_with(config.routes), self.app.journal.retired(config.routes)
        routes += tuple(route for route in of_runs if route not in routes)
        self.app.reload(config.routes, self._origins(routes), trusted_proxies=config.server.trusted_proxies)
        if self._forgetting is not None:
            self._forgetting.cancel()
            self._forgetting = None
        if of_runs or tickets.retired_until is not None:
            loop = asyncio.get_running_loop()
            at = loop.time() + _LOOK
            if not of_runs and tickets.retired_until is not None:
                at = max(tickets.retired_until, at)
            self._forgetting = loop.call_at(at, self._forget, snapshot)
        if self._operations is not None:
            self._operations.reload(route.name for route in routes)

    def _forget(self, snapshot: Snapshot) -> None:
        """Drop the routes of which no ticket and no run lives any more."""
        try:
            self._reroute(snapshot)
        except OSError as error:
            _log.debug("a certificate is being renewed: %s", error)
            self._forgetting = asyncio.get_running_loop().call_later(_LOOK, self._forget, snapshot)

    def _origins(self, routes: Sequence[Route]) -> Origins:
        upstreams, authorizers = self._servers.upstreams(routes), self._servers.authorizers(routes)
        self.stores.reload(routes)
        return Origins(upstreams, self.stores.origins, authorizers)
