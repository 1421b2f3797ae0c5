"""What does the test want an app to send next?

Orders come as lines of JSON on standard input, and what happens to a stream is told on standard output. So the test
decides when an app sends something, and learns what the app has noticed.
"""

import asyncio
import json
import queue
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple


class Order(NamedTuple):
    """verb: ``send`` this event, ``fail`` or ``end``."""

    verb: str
    data: str = ""
    event: str | None = None
    id: str | None = None


class AppFailed(Exception):
    """What an app raises when it is told to fail."""


def tell(run: str, what: str) -> None:
    """Say what has happened to the stream of a run."""
    print(run, what, flush=True)


class Orders:
    """For apps with threads. The orders of different runs do not mix."""

    def __init__(self) -> None:
        self._queues: dict[str, queue.Queue[Order]] = {}
        self._lock = threading.Lock()
        _read_orders(lambda run, order: self._of(run).put(order))

    def take(self, run: str) -> Order:
        """The next order, waited for."""
        return self._of(run).get()

    def _of(self, run: str) -> "queue.Queue[Order]":
        with self._lock:
            return self._queues.setdefault(run, queue.Queue())


class AsyncOrders:
    """For apps on asyncio."""

    def __init__(self) -> None:
        self._queues: dict[str, asyncio.Queue[Order]] = {}
        loop = asyncio.get_running_loop()
        _read_orders(lambda run, order: loop.call_soon_threadsafe(self._put, run, order))

    async def take(self, run: str) -> Order:
        """The next order, waited for."""
        return await self._of(run).get()

    def _put(self, run: str, order: Order) -> None:
        self._of(run).put_nowait(order)

    def _of(self, run: str) -> "asyncio.Queue[Order]":
        return self._queues.setdefault(run, asyncio.Queue())


def _read_orders(put: Callable[[str, Order], object]) -> None:
    def read() -> None:
        for line in sys.stdin:
            run, *order = json.loads(line)
            put(run, Order(*order))

    threading.Thread(target=read, daemon=True).start()
