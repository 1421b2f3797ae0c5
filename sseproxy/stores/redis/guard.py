"""What if a callback of a caller fails?"""

import asyncio
from collections.abc import Callable


def call_guarded(callback: Callable[..., object], *arguments: object) -> None:
    """Call it in the running loop. One caller's defect is reported, and must not end what all others share."""
    try:
        callback(*arguments)
    except Exception as error:  # noqa: BLE001
        context = {"message": "a callback of the store's user failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
