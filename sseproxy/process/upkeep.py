"""What does a process watch beside its requests: memory, descriptors, and where its spans go?"""

import asyncio
from typing import TYPE_CHECKING

from sseproxy.engine.observer import Observers
from sseproxy.process.descriptors import DescriptorWatch
from sseproxy.process.garbage import GarbageNet, spare_the_collector

if TYPE_CHECKING:
    from sseproxy.process.telemetry import Telemetry


class Upkeep:
    """Watches from its beginning, while the event loop runs. The caller must call `stop` later.

    traces: `observers` get one that makes a span of each request.
    """

    #: Called before the event loop begins, once all is loaded.
    prepare = staticmethod(spare_the_collector)

    def __init__(self, observers: Observers, *, traces: bool) -> None:
        self._garbage = GarbageNet(asyncio.get_running_loop())
        self._descriptors = DescriptorWatch()
        self._telemetry: Telemetry | None = None
        if traces:
            # The SDK takes longer to import than all the rest.
            from sseproxy.process import telemetry  # noqa: PLC0415

            self._telemetry = telemetry.Telemetry.begin()
        if self._telemetry is not None:
            observers.add(self._telemetry.tracing)

    async def stop(self) -> None:
        """Watch no more, and send the last spans."""
        self._garbage.close()
        self._descriptors.close()
        if self._telemetry is not None:
            await self._telemetry.stop()
