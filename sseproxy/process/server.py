"""What runs in one process, from its start to its end?"""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Sequence

from sseproxy.logs import LOGGER
from sseproxy.process.control import Control
from sseproxy.process.serving import Serving
from sseproxy.process.siblings import Place
from sseproxy.process.source import Snapshot
from sseproxy.process.stopping import StopRequest, close_entrances, worker_delay
from sseproxy.process.upkeep import Upkeep

_log = logging.getLogger(LOGGER)

#: Seconds that the last connections get to close once no request is under way.
_LAST_MOMENT = 0.5


class ServerProcess:
    """One process: its listeners, its upstreams and its end.

    snapshot: what holds at its start. sockets, admin_sockets: listening already; they stay the caller's.
    control: how it is asked for something else. end_key, instance: shared by workers; see `ProxyApp`. The store's
    secret comes before `end_key`. place: among the workers.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        sockets: Sequence[socket.socket],
        admin_sockets: Sequence[socket.socket] = (),
        *,
        control: Control,
        end_key: bytes = b"",
        instance: str = "",
        place: Place = Place(),
    ) -> None:
        self._snapshot = snapshot
        self._sockets = sockets
        self._admin_sockets = admin_sockets
        self._control = control
        self._end_key = snapshot.config.store.secret.encode() or end_key
        self._instance = instance
        self._place = place

    def run(
        self, *, on_ready: Callable[[], None], on_draining: Callable[[], None], signals: Sequence[signal.Signals]
    ) -> None:
        """Serve until one of `signals` comes: then drain; a second one stops at once."""
        Upkeep.prepare()
        with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
            runner.run(self.serve(on_ready=on_ready, on_draining=on_draining, signals=signals))

    async def serve(
        self,
        *,
        on_ready: Callable[[], None],
        on_draining: Callable[[], None],
        signals: Sequence[signal.Signals],
    ) -> None:
        """Serve until one of `signals` comes, and end in order.

        on_draining: must close `sockets`. What is connected to them by then is served; a client that comes later must
        be refused, instead of waiting in the queue of a process that accepts no more.
        """
        stop = StopRequest()
        with stop.by_signals(signals):
            serving = Serving(
                self._snapshot, self._sockets, end_key=self._end_key, instance=self._instance, place=self._place
            )
            upkeep = Upkeep(serving.app.streams.observers, traces=serving.config.telemetry.traces)
            await serving.start(self._admin_sockets)
            on_ready()
            self._control.begin(serving.apply)
            try:
                await stop.wait_for_drain()
                self._control.drain()
                delay = worker_delay(serving.config.server.drain_delay, self._place.count)
                if delay:
                    _log.info("stopping: connections are accepted for %g s more", delay)
                    serving.app.leave()
                    await stop.wait_for_end(within=delay)
                entrances = serving.accepting.end()
                await close_entrances(entrances, stop, close_sockets=on_draining, was_delayed=delay > 0)
                await drain(serving, stop)
            finally:
                await self._control.end()
                await serving.close(_LAST_MOMENT)
                await upkeep.stop()


async def drain(serving: Serving, stop: StopRequest) -> None:
    """Let what is under way finish, within the time that the configuration gives it, and abort what has not."""
    app, server = serving.app, serving.config.server
    begun = app.requests
    _log.info("draining: %d requests under way", begun)
    app.drain(timeout=server.drain_timeout, spread=server.drain_spread)
    # Waiting for both at once: a second signal ends a drain that would take longer.
    idle = asyncio.ensure_future(app.wait_until_idle())
    at_once = asyncio.ensure_future(stop.wait_for_end())
    await asyncio.wait({idle, at_once}, timeout=server.drain_timeout, return_when=asyncio.FIRST_COMPLETED)
    at_once.cancel()
    left = app.requests
    _log.info("drained: %d requests have finished, %d are broken off", max(begun - left, 0), left)
    app.abort()
    await asyncio.wait({idle}, timeout=_LAST_MOMENT)
    idle.cancel()


def event_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop where it is installed, else ``None`` for asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop
