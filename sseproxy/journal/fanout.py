"""How do all readers of one window get what it has new?"""

import asyncio

from sseproxy.core.journal.gap import Missing
from sseproxy.core.journal.positions import Mark
from sseproxy.core.journal.window import Window, WindowLimits, WindowPolicy
from sseproxy.journal.budget import WindowBudget
from sseproxy.journal.catching_up import CatchingUp
from sseproxy.journal.history import History

_KIB = 1024
_MIB = 1024 * 1024

#: Redis streams: marks are ids of entries, and a `History` is behind them.
STREAM = WindowPolicy(
    tail=WindowLimits(events=100, bytes=64 * _KIB),
    most=WindowLimits(events=1000, bytes=_MIB),
    least=WindowLimits(events=1),
)

#: Redis channels: marks are (0, n), dropped once all readers have passed.
CHANNEL = WindowPolicy(
    tail=WindowLimits(events=0), most=WindowLimits(bytes=_MIB), least=WindowLimits(events=0), is_counted=True
)


class Fanout:
    """All readers of one window."""

    def __init__(
        self,
        window: Window,
        loop: asyncio.AbstractEventLoop,
        policy: WindowPolicy,
        catching_up: CatchingUp,
        *,
        history: History | None = None,
        budget: WindowBudget | None = None,
    ) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        """How many readers there are."""
        raise NotImplementedError

    def publish(self) -> None:
        """Hand out what the window has new, to live readers in this call stack (the first 256 of them)."""
        raise NotImplementedError

    def break_in(self, base: Mark, missing: Missing | None) -> None:
        """Make the window go on at `base`, and tell the readers what is missing; see `Window.break_in`."""
        raise NotImplementedError

    async def settled(self) -> None:
        """Return when all live readers have everything. A producer waits here between batches of more than 1 MiB."""
        raise NotImplementedError

    def shrink(self) -> None:
        """Keep as little as possible."""
        raise NotImplementedError

    def close(self) -> None:
        """The window is no longer used; it has no readers."""
        raise NotImplementedError
