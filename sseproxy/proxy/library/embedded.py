"""What do all doors of the library do alike: when is a proxy made, for which event loop, and what shows it?"""

import asyncio
import secrets
from collections.abc import Callable
from contextvars import Context
from types import TracebackType
from typing import Generic, Self

from sseproxy.asgi.option_values import Duration
from sseproxy.asgi.options import read_drain
from sseproxy.engine.observer import Observer
from sseproxy.metrics.exposition import exposition, wanted_form
from sseproxy.proxy.app import INSTANCE_BYTES, ProxyApp
from sseproxy.proxy.backing.readiness import Readiness, Status
from sseproxy.proxy.library.loop_proxy import AnyDoor, Identity, LoopProxy, Phase
from sseproxy.proxy.library.options import ProxyOptions, ProxySettings


class EmbeddedProxy(Generic[AnyDoor]):
    """The proxy inside another server, which has the clients' connections. new_door: makes what takes its requests.

    It can be made anywhere, also where no event loop runs. Each event loop gets connections, streams, tickets and runs
    of its own, when its first request comes, or with `start`.
    """

    def __init__(self, upstream: str | None, options: ProxyOptions, new_door: Callable[[ProxyApp], AnyDoor]) -> None:
        self._settings = ProxySettings.read(upstream, options)
        # Processes that are forked from this one answer each other's clients, and are one proxy.
        self._identity = Identity(
            self._settings.store.secret.encode() or secrets.token_bytes(32), secrets.token_hex(INSTANCE_BYTES)
        )
        self._new_door = new_door
        self._observers: list[Observer] = []
        self._by_loop: dict[asyncio.AbstractEventLoop, LoopProxy[AnyDoor]] = {}

    def here(self) -> LoopProxy[AnyDoor]:
        """Return the proxy of the running event loop, made if there is none.

        Raises `RuntimeError` where it has been closed, and where no loop of asyncio runs; `OSError` as `start`.
        """
        found = self._by_loop.get(self._loop())
        if found is None:
            return self._new()
        if found.phase is Phase.CLOSED:
            raise RuntimeError(f"{type(self).__name__} has been closed in this event loop: start() opens it again")
        return found

    # For the app around it.

    async def start(self) -> None:
        """Connect what is connected at once (Redis), and read `store.file`. Without it the first request does so.

        After `close`: begin anew. Raises `OSError` for a certificate of an upstream that cannot be read.
        """
        found = self._by_loop.get(self._loop())
        if found is None or found.phase is Phase.CLOSED:
            self._new()

    def begin_drain(self, *, timeout: Duration = "25s", spread: Duration = "5s") -> None:
        """End streams of clients that come back by themselves within `spread`; all others may finish for `timeout`.

        Call it in the event loop when the server is asked to end. A stop signal (SIGTERM, SIGINT) calls it by itself,
        with the options `drain` and `drain_spread`. Raises `ValueError` for a duration that is none.
        """
        limit, over = read_drain(timeout, spread)
        self.here().drain(timeout=limit, spread=over)

    async def close(self) -> None:
        """Drain what is under way, then close all connections and write `store.file`. Of the running event loop.

        Further requests there raise `RuntimeError`. Nothing happens where there was no request.
        """
        found = self._by_loop.get(self._loop())
        if found is not None:
            await found.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # What is seen of it.

    @property
    def open_streams(self) -> int:
        """How many event streams, and other responses, are under way, in all event loops."""
        return sum(len(proxy.app.streams) for proxy in list(self._by_loop.values()))

    def readiness(self) -> Readiness:
        """Return whether new requests can be served in the running event loop, and which Redis is away."""
        found = self._by_loop.get(self._loop())
        if found is not None and found.phase is Phase.CLOSED:
            return Readiness(Status.DRAINING)
        proxy = self.here()
        return proxy.stores.readiness(is_draining=proxy.app.draining)

    async def metrics(self, accept: str = "") -> tuple[bytes, str]:
        """Return a page for Prometheus about the running event loop, and its content type.

        accept: the field of the scraper's request, which asks for OpenMetrics or not. Requests and streams are counted
        from the first call on.
        """
        figures = await self.here().figures()
        return await asyncio.to_thread(exposition, figures, wanted_form(accept))

    def add_observer(self, observer: Observer) -> None:
        """Let `observer` hear of all requests and streams from now on, in the thread of their event loop."""
        self._observers.append(observer)
        for proxy in list(self._by_loop.values()):
            proxy.app.streams.observers.add(observer)

    # Private.

    def _new(self) -> LoopProxy[AnyDoor]:
        for loop in list(self._by_loop):
            if loop.is_closed():
                del self._by_loop[loop]
        # Not in the context of the request that happens to come first: timers and tasks would keep it, and its trace.
        proxy = Context().run(LoopProxy, self._settings, self._identity, self._new_door, self._observers)
        self._by_loop[self._loop()] = proxy
        return proxy

    def _loop(self) -> asyncio.AbstractEventLoop:
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            message = "no event loop of asyncio runs here, and it cannot work on trio"
            raise RuntimeError(f"{type(self).__name__}: {message}") from None
