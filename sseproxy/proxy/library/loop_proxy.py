"""How does the proxy of one event loop begin, drain and end, when the server is another's?"""

import asyncio
import contextlib
import platform
from collections.abc import AsyncGenerator, Callable, Iterable
from enum import Enum, auto
from typing import Generic, TypeVar

from sseproxy import __version__
from sseproxy.asgi.lifespan import StopSignals
from sseproxy.core.frozen import frozen
from sseproxy.engine.metrics import StreamMetrics
from sseproxy.engine.observer import Observer
from sseproxy.metrics import table
from sseproxy.metrics.figures import Figures
from sseproxy.proxy.app import ProxyApp
from sseproxy.proxy.backing.composition import ComposedProxy
from sseproxy.proxy.library.options import ProxySettings

AnyDoor = TypeVar("AnyDoor")

#: Seconds that requests which were aborted get to end.
_LAST_MOMENT = 0.5


class Phase(Enum):
    """How far a proxy has come."""

    OPEN = auto()
    DRAINING = auto()
    CLOSED = auto()


@frozen
class Identity:
    """What the proxies of all event loops of an app have in common; see `ProxyApp`."""

    end_key: bytes
    instance: str


class LoopProxy(Generic[AnyDoor]):
    """The proxy of the running event loop, begun. The caller should call `close` later. door: where requests come in.

    Raises `OSError` for a certificate of an upstream that cannot be read.
    """

    # Plan: OPEN ─ `drain` ─► DRAINING ─ `close` ─► CLOSED. Three things bring that about, whichever comes first:
    #
    # 1. A stop signal drains. Servers wait for responses that are under way, and a stream does not end by itself. At
    #    the end of the drain all that is left breaks, so that the server goes on to stop.
    # 2. The app closes: at the end of its lifespan, or with `close`. What is under way by then is drained first.
    # 3. The event loop ends. Nothing tells a mounted app of its end but asyncio itself, which closes all asynchronous
    #    generators of a loop (`shutdown_asyncgens`): `_guard` is one. All tasks have been cancelled by then.
    #
    # Hazard: a loop that is closed without that word leaves connections that the garbage collector finds. There is no
    # moment at which they could be closed.

    def __init__(
        self,
        settings: ProxySettings,
        identity: Identity,
        new_door: Callable[[ProxyApp], AnyDoor],
        observers: Iterable[Observer],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._policy = settings.drain
        self._routes = settings.routes
        self._metrics: StreamMetrics | None = None
        self._proxy = ComposedProxy(
            settings.routes,
            settings.store,
            trusted_proxies=settings.trusted_proxies,
            end_key=identity.end_key,
            instance=identity.instance,
        )
        self.app = self._proxy.app
        self.stores = self._proxy.stores
        self.door = new_door(self.app)
        self.phase = Phase.OPEN
        for observer in observers:
            self.app.streams.observers.add(observer)
        self._closing: asyncio.Future[None] | None = None
        self._aborting: asyncio.TimerHandle | None = None
        self._deadline: float | None = None  # of the drain, by the loop's clock; None: it waits for the last one
        self._signals = StopSignals(self._on_stop)
        self._proxy.start()
        if settings.drain is not None:
            self._signals.install()
        self._generator = self._guard()
        with contextlib.suppress(StopIteration):  # it has come to its `yield`, without a turn of the loop
            self._generator.asend(None).send(None)

    def drain(self, *, timeout: float | None, spread: float) -> None:
        """End streams, each at its own moment within `spread`, and break what is left after `timeout`.

        timeout: ``None``: nothing breaks. Only the first call counts.
        """
        if self.phase is Phase.OPEN:
            self.phase = Phase.DRAINING
            self.app.drain(timeout=timeout, spread=spread)
            if timeout is not None:
                self._deadline = self._loop.time() + timeout
                self._aborting = self._loop.call_at(self._deadline, self.app.abort)

    async def close(self) -> None:
        """Drain, then close everything. A second call waits for the first."""
        if self.phase is Phase.CLOSED:
            return
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._drain_and_close())
        await asyncio.shield(self._closing)

    async def figures(self) -> Figures:
        """Return what was counted of requests and streams since the first call, and of runs and Redis since ever."""
        if self._metrics is None:  # most apps never ask, and pay nothing for it
            routes = (route.name for route in self._routes)
            self._metrics = StreamMetrics(self.app.streams, routes)
            self.app.streams.observers.add(self._metrics)
        found = await self._metrics.figures()
        found.merge(await self.app.journal.figures())
        self.stores.add_figures(found)
        found.add(table.BUILD_INFO, (__version__, platform.python_version()))
        return found

    # Private.

    def _on_stop(self) -> None:
        if self._policy is not None:
            self.drain(timeout=self._policy.timeout, spread=self._policy.spread)

    async def _drain_and_close(self) -> None:
        self._on_stop()
        idle = asyncio.ensure_future(self.app.wait_until_idle())
        if self.phase is Phase.DRAINING:
            within = None if self._deadline is None else max(self._deadline - self._loop.time(), 0.0)
            await asyncio.wait({idle}, timeout=within)
        self.app.abort()
        await asyncio.wait({idle}, timeout=_LAST_MOMENT)
        idle.cancel()
        await self._close_now()
        await self._generator.aclose()

    async def _close_now(self) -> None:
        if self.phase is not Phase.CLOSED:
            self.phase = Phase.CLOSED
            self._signals.restore()
            if self._aborting is not None:
                self._aborting.cancel()
            self.app.abort()
            await self._proxy.close()

    async def _guard(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self._close_now()
