"""How do readers that lag behind share the event loop, and the store? In turns, and a few at a time."""

import asyncio
from collections.abc import Callable


class CatchingUp:
    """The work of all readers of a process that are not live.

    steps: calls in one turn of the loop. pages: requests to a store at the same time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, steps: int = 16, pages: int = 16) -> None:
        raise NotImplementedError

    def soon(self, step: Callable[[], None]) -> None:
        """Call `step` in one of the next turns of the loop, in the order in which it was asked for."""
        raise NotImplementedError
