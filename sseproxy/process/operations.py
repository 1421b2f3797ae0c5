"""What does an operator get to see of one process, and who counts it?"""

import socket
import time
from collections.abc import Iterable, Sequence

from sseproxy.aiohttp.middleware import sse_keepalive
from sseproxy.config.settings import AdminSettings
from sseproxy.engine.metrics import StreamMetrics
from sseproxy.metrics import table
from sseproxy.metrics.figures import Figures
from sseproxy.process.admin import EVENTS, AdminServer
from sseproxy.process.dashboard.history import History
from sseproxy.process.dashboard.overview import Overview
from sseproxy.process.dashboard.watchers import Watchers
from sseproxy.process.knowledge import Knowledge
from sseproxy.process.pages import Pages
from sseproxy.process.siblings import Place, Siblings
from sseproxy.proxy.app import ProxyApp
from sseproxy.proxy.backing.redis_stores import RedisStores
from sseproxy.proxy.on_http1 import Http1Door


class Operations:
    """The admin side of one process: what is counted, how workers tell each other, and the listener.

    A process without an admin listener has no such side, and does not load it. place: this process among the workers.
    """

    def __init__(
        self,
        settings: AdminSettings,
        routes: Iterable[str],
        app: ProxyApp,
        door: Http1Door,
        stores: RedisStores,
        *,
        place: Place,
    ) -> None:
        names = tuple(routes)
        self._metrics = metrics = StreamMetrics(app.streams, names)
        self._history = history = History(names)
        app.streams.observers.add(metrics)
        app.streams.observers.add(history)

        def add_more(figures: Figures) -> None:
            figures.add(table.CONNECTIONS, (), door.connections)
            if door.most_connections is not None:
                figures.add(table.CONNECTIONS_LIMIT, (), door.most_connections)
            stores.add_figures(figures)

        self._siblings = Siblings(
            place, Knowledge(app.streams, app.journal, metrics, history, place, add_more=add_more).answer
        )
        self._admin = AdminServer(
            readiness=lambda: stores.readiness(is_draining=app.draining),
            pages=Pages(place, self._siblings),
            watchers=Watchers(Overview(self._siblings, time.monotonic).snapshots),
            keepalive=sse_keepalive(paths=(EVENTS,), heartbeat="5s", write_timeout="10s", dialect="generic"),
            hosts=settings.hosts,
        )

    def reload(self, routes: Iterable[str]) -> None:
        """Show these routes, by name, also while they have no stream. What was counted of others stays."""
        self._metrics.routes = tuple(routes)
        self._history.show(self._metrics.routes)

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on `sockets`, which are listening already and stay the caller's. The caller must call `stop` later."""
        await self._siblings.start()
        await self._admin.start(sockets)

    async def stop(self) -> None:
        """Close all that was opened."""
        await self._admin.stop()
        await self._siblings.stop()
