"""What does an operator get to see of one process, and who counts it?"""

import socket
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sseproxy.config.settings import Config
from sseproxy.engine.metrics import StreamMetrics
from sseproxy.metrics import table
from sseproxy.metrics.figures import Figures
from sseproxy.process.dashboard.history import History
from sseproxy.process.dashboard.overview import Overview
from sseproxy.process.dashboard.watchers import Watchers
from sseproxy.process.knowledge import Knowledge
from sseproxy.process.pages import Pages
from sseproxy.process.siblings import Place, Siblings
from sseproxy.process.stores import RedisStores
from sseproxy.proxy.app import ProxyApp

if TYPE_CHECKING:
    from sseproxy.process.admin import AdminServer


class Operations:
    """The admin side of one process: what is counted, how workers tell each other, and the listener.

    place: this process among the workers. Without an admin listener in `config` nothing is counted.
    """

    def __init__(self, config: Config, app: ProxyApp, stores: RedisStores, place: Place) -> None:
        routes = [route.name for route in config.routes]
        self._metrics = metrics = StreamMetrics(app.streams, routes)
        self._history = history = History(routes)
        if config.admin is not None:
            app.streams.observers.add(metrics)
            app.streams.observers.add(history)

        def add_more(figures: Figures) -> None:
            figures.add(table.CONNECTIONS, (), app.connections)
            if app.most_connections is not None:
                figures.add(table.CONNECTIONS_LIMIT, (), app.most_connections)
            stores.add_figures(figures)

        self._siblings = Siblings(place, Knowledge(app.streams, metrics, history, place, add_more).answer)
        self._admin: AdminServer | None = None
        if config.admin is not None:
            # aiohttp, which serves it, is a third of the time in which a process starts.
            from sseproxy.aiohttp.middleware import sse_keepalive  # noqa: PLC0415
            from sseproxy.process import admin  # noqa: PLC0415

            self._admin = admin.AdminServer(
                readiness=lambda: stores.readiness(is_draining=app.draining),
                pages=Pages(place, self._siblings),
                watchers=Watchers(Overview(self._siblings, time.monotonic).snapshots),
                keepalive=sse_keepalive(paths=(admin.EVENTS,), heartbeat="5s", write_timeout="10s", dialect="generic"),
                hosts=config.admin.hosts,
            )

    def reload(self, routes: Iterable[str]) -> None:
        """Show these routes, by name, also while they have no stream. What was counted of others stays."""
        self._metrics.routes = tuple(routes)
        self._history.show(self._metrics.routes)

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on `sockets`, which are listening already and stay the caller's. The caller must call `stop` later."""
        if self._admin is not None:
            await self._siblings.start()
            await self._admin.start(sockets)

    async def stop(self) -> None:
        """Close all that was opened."""
        if self._admin is not None:
            await self._admin.stop()
            await self._siblings.stop()
