"""How does a test wait for something that it can only look at?"""

import asyncio
from collections.abc import Callable

from tests.support.patience import LIMIT


async def eventually(condition: Callable[[], bool], *, limit: float = LIMIT) -> None:
    """Until `condition` holds. TimeoutError: it does not within `limit` seconds."""
    async with asyncio.timeout(limit):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


async def settled(value: Callable[[], int]) -> int:
    """What `value` is once it has stopped to change."""
    async with asyncio.timeout(LIMIT):
        last = value()
        while True:
            await asyncio.sleep(0.1)
            if last == (last := value()):
                return last
