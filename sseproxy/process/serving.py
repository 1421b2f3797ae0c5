"""What does one process serve with, and how does that change while it runs?"""

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sseproxy.core.routes import Route
from sseproxy.process.accepting import Accepting
from sseproxy.process.descriptors import connections_allowed, server_policy
from sseproxy.process.siblings import Place
from sseproxy.process.source import Snapshot
from sseproxy.proxy.backing.composition import ComposedProxy

if TYPE_CHECKING:
    from sseproxy.process.operations import Operations


class Serving:
    """The proxy of one process, its admin side and what accepts its clients.

    Must be made while the event loop runs. sockets: public, listening already. end_key, instance: see `ProxyApp`.
    place: among the workers.
    """

    # Plan: everything is made once. A reload (`apply`) keeps all of it, and hands each part what concerns it.
    #
    # What can fail comes first: certificates and pools are made before anything is put in the place of another. From
    # there on no step fails, and none but the last waits: no request finds half of a configuration.

    def __init__(
        self, snapshot: Snapshot, sockets: Sequence[socket.socket], *, end_key: bytes, instance: str, place: Place
    ) -> None:
        self.config = config = snapshot.config
        self._certificate = snapshot.certificate
        self._proxy = ComposedProxy(
            config.routes,
            config.store,
            trusted_proxies=config.server.trusted_proxies,
            end_key=end_key,
            instance=instance,
            on_routes=self._show,
        )
        self.app = self._proxy.app
        untrusted = [address.path for address in config.server.listen if not address.trust]
        self.accepting = Accepting(self.app, sockets, untrusted, policy=server_policy(config.server.connections))
        self._operations: Operations | None = None
        if config.admin is not None:
            # aiohttp, the metrics and the dashboard are half of the time in which a process starts.
            from sseproxy.process import operations  # noqa: PLC0415

            names = (route.name for route in config.routes)
            self._operations = operations.Operations(
                config.admin, names, self.app, self.accepting.door, self._proxy.stores, place=place
            )

    async def start(self, admin_sockets: Sequence[socket.socket]) -> None:
        """Serve. The caller must call `close` later. Raises `OSError`."""
        self._proxy.start()
        if self._operations is not None:
            await self._operations.start(admin_sockets)
        await self.accepting.start(None if self._certificate is None else self._certificate.context())

    async def apply(self, snapshot: Snapshot) -> None:
        """Serve new requests as `snapshot` says. Raises `OSError` for a certificate that has gone; nothing has changed.

        What needs a restart must be in it as it was.
        """
        context = None if snapshot.certificate is None else snapshot.certificate.context()
        config = snapshot.config
        self._proxy.reload(config.routes, trusted_proxies=config.server.trusted_proxies)
        before, self.config = self.config.server, config
        if before.connections != self.config.server.connections:
            self.accepting.door.limit_connections(connections_allowed(self.config.server.connections))
        await self.accepting.renew(context)

    async def close(self, within: float) -> None:
        """Close everything. within: seconds for what is still served."""
        await self.accepting.shutdown(within)
        await self._proxy.close()
        if self._operations is not None:
            await self._operations.stop()

    def _show(self, routes: Sequence[Route]) -> None:
        """Show an operator these routes, also while they have no stream."""
        if self._operations is not None:
            self._operations.reload(route.name for route in routes)
