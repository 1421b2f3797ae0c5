"""How does a test call something off in a process whose turns are slow, as on a machine that is busy?"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Protocol

#: Seconds. Another thread or process answers meanwhile; where it does not, the turn is only less hard.
_SLOW = 0.02


class Closable(Protocol):
    """What is opened, and may have been when it is called off."""

    def close(self) -> Coroutine[None, None, None] | None: ...


async def cancelled_after(opening: Coroutine[None, None, Closable], turns: int) -> None:
    """Cancel `opening` after some turns of the loop, each of them slow. What is open already is closed."""
    task, pause = asyncio.create_task(opening), threading.Event()
    for _ in range(turns):
        await asyncio.sleep(0)
        pause.wait(_SLOW)  # the loop has no time for anything else
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        closing = (await task).close()
        if closing is not None:
            await closing
