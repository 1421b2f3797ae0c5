"""What does a process have of each Redis that its routes name?"""

import asyncio
import secrets
from collections.abc import Sequence
from functools import partial

from sseproxy.core.frozen import frozen
from sseproxy.core.journal.gap import GapReason
from sseproxy.core.store import StorePolicy
from sseproxy.journal.budget import WindowBudget
from sseproxy.journal.catching_up import CatchingUp
from sseproxy.metrics import table
from sseproxy.metrics.figures import Figures
from sseproxy.origins.redis.origin import RedisOrigin, RedisTools
from sseproxy.stores.redis.blocking import BlockingLimits, BlockingReads
from sseproxy.stores.redis.link import Link, LinkLimits
from sseproxy.stores.redis.subscriber import Subscriber
from sseproxy.stores.redis.urls import RedisURL
from sseproxy.timers import Timers

#: Random bytes that tell one process from another in the names of its own keys and channels.
_NODE_BYTES = 6


@frozen
class RedisStore:
    """One Redis, with all that this process has of it. routes: their names."""

    tools: RedisTools
    origin: RedisOrigin
    routes: Sequence[str] = ()

    @property
    def link(self) -> Link:
        return self.tools.link

    def start(self) -> None:
        """Dial, and find out what rings."""
        self.link.start()
        self.origin.start()

    def add_figures(self, figures: Figures, name: str) -> None:
        """Add what was counted. name: of this Redis, for an operator."""
        stats = self.origin.stats
        figures.add(table.REDIS_UP, (name,), self.link.is_up)
        figures.add(table.REDIS_MESSAGES, (name,), stats.messages)
        figures.add(table.REDIS_ENTRIES, (name,), stats.entries)
        figures.add(table.REDIS_DELIVERIES, (name,), stats.deliveries)
        figures.add(table.REDIS_UNREADABLE, (name,), stats.unreadable)
        figures.add(table.REDIS_DUPLICATES, (name,), stats.duplicates)
        figures.add(table.REDIS_BELLS_MISSED, (name,), stats.bells_missed)
        figures.add(table.REDIS_RECONNECTS, (name,), stats.reconnects)
        for reason in GapReason:
            figures.add(table.REDIS_GAPS, (name, reason.value), stats.gaps[reason])

    async def close(self) -> None:
        """Close what talks to it. The origin is the proxy's to close, and goes first."""
        await self.tools.blocking.close()
        await self.tools.subscriber.close()
        await self.link.close()


class RedisFactory:
    """Makes what a process has of each Redis. Must be made while the event loop runs."""

    def __init__(self, policy: StorePolicy) -> None:
        loop = asyncio.get_running_loop()
        self._policy = policy
        self._node = secrets.token_hex(_NODE_BYTES).encode()
        # Of the process, whatever the number of stores: memory, turns of the event loop, timers.
        self._share = partial(
            RedisOrigin, budget=WindowBudget(policy.memory), catching_up=CatchingUp(loop), clock=Timers(loop)
        )

    def new(self, text: str) -> RedisStore:
        """Return a store for the Redis at the URL `text`. Nothing is dialled before its `start`."""
        url, prefix, timeout = RedisURL.parse(text), self._policy.prefix.encode(), self._policy.timeout
        link = Link(url, limits=LinkLimits(timeout=timeout))
        subscriber = Subscriber(url, link, prefix=prefix, node=self._node)
        limits = BlockingLimits(timeout=timeout)
        blocking = BlockingReads(url, link, prefix=prefix, node=self._node, limits=limits)
        tools = RedisTools(link, subscriber, blocking, prefix, self._node)
        return RedisStore(tools, self._share(tools))
