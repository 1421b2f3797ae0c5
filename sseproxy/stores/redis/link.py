"""How do thousands of callers share one connection to Redis, and what do they hear while it is away?"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sseproxy.core.errors import ReplyError
from sseproxy.stores.redis.urls import RedisURL

Argument = bytes | str | int
Command = Sequence[Argument]

#: What Redis replies under RESP3, undecoded: None, int, float, bool, bytes, list, dict.
Reply = Any


class LinkState(Enum):
    """opening: the first dial, or a new one after a lost connection: calls wait for it. away: calls fail at once."""

    OPENING = "opening"
    UP = "up"
    AWAY = "away"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """timeout: seconds for a dial, and for a pipeline. batch: commands in a pipeline. waiting: commands that wait.

    least, most: seconds between two dials while Redis is away. idle: seconds without a command before a PING.
    """

    timeout: float = 2.0
    batch: int = 500
    waiting: int = 50_000
    least: float = 0.05
    most: float = 2.0
    idle: float = 5.0


class Link:
    """The commands of one process to one Redis. Subscriptions and blocking reads have connections of their own.

    Raises `RedisMissing` if redis-py is not installed.
    """

    def __init__(
        self,
        url: RedisURL,
        *,
        limits: LinkLimits = LinkLimits(),  # noqa: B008
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.url = url
        self.state = LinkState.OPENING
        self.was_reached = False

    @property
    def is_up(self) -> bool:
        """True if the last dial succeeded and its connection is not known to be lost."""
        return self.state is LinkState.UP

    def start(self) -> None:
        """Dial, in a task of the running loop. The caller must call `close` later."""
        raise NotImplementedError

    async def run(self, *command: Argument) -> Reply:
        """Send one command, in the pipeline of this loop turn. Return its reply.

        Raises `StoreAway` (Redis is away; the command may have been executed) or `ReplyError`.
        """
        raise NotImplementedError

    async def run_all(self, commands: Sequence[Command]) -> list[Reply | ReplyError]:
        """Send several commands, in order and with no other between them. Return a reply or an error for each.

        Raises `StoreAway` if Redis is away. In a cluster the order holds for each node only.
        """
        raise NotImplementedError

    def watch(self, on_change: Callable[[], None]) -> Callable[[], None]:
        """Call `on_change()` after each change of `is_up`, in the event loop. Return a call that ends this."""
        raise NotImplementedError

    async def close(self) -> None:
        """Fail what waits, and leave no task and no socket."""
        await asyncio.sleep(0)
        raise NotImplementedError
