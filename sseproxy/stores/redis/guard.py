"""What if a callback of a caller fails, and how does a task end for good?"""

import asyncio
from collections.abc import Callable
from typing import Any


def call_guarded(callback: Callable[..., object], *arguments: object) -> None:
    """Call it in the running loop. One caller's defect is reported, and must not end what all others share."""
    try:
        callback(*arguments)
    except Exception as error:  # noqa: BLE001
        context = {"message": "a callback of the store's user failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for their end. The caller must drop them: they hold their errors and so their frames."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
