"""What does a process have of each Redis that its routes name?"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sseproxy.core.store import StorePolicy
from sseproxy.journal.budget import WindowBudget
from sseproxy.journal.catching_up import CatchingUp
from sseproxy.origins.redis.origin import RedisOrigin, RedisTools
from sseproxy.stores.redis.blocking import BlockingLimits, BlockingReads
from sseproxy.stores.redis.link import Link, LinkLimits
from sseproxy.stores.redis.subscriber import Subscriber
from sseproxy.stores.redis.urls import RedisURL
from sseproxy.timers import Timers

#: Random bytes that tell one process from another in the names of its own keys and channels.
_NODE_BYTES = 6


@dataclass(frozen=True, slots=True)
class RedisStore:
    """One Redis, with all that this process has of it. routes: their names."""

    tools: RedisTools
    origin: RedisOrigin
    routes: Sequence[str]

    @property
    def link(self) -> Link:
        return self.tools.link

    async def close(self) -> None:
        """Close what talks to it. The origin is the proxy's to close, and goes first."""
        await self.tools.blocking.close()
        await self.tools.subscriber.close()
        await self.link.close()


def new_stores(routes: Mapping[str, Sequence[str]], policy: StorePolicy) -> list[RedisStore]:
    """Make one for each URL in `routes`, which has the names of its routes. Nothing is dialled yet.

    Must be called while the event loop runs.
    """
    loop = asyncio.get_running_loop()
    # Of the process, whatever the number of stores: memory, turns of the event loop, timers.
    share = partial(RedisOrigin, budget=WindowBudget(policy.memory), catching_up=CatchingUp(loop), clock=Timers(loop))
    prefix, timeout = policy.prefix.encode(), policy.timeout
    node = secrets.token_hex(_NODE_BYTES).encode()
    stores = []
    for text, names in routes.items():
        url = RedisURL.parse(text)
        link = Link(url, limits=LinkLimits(timeout=timeout))
        subscriber = Subscriber(url, link, prefix=prefix, node=node)
        blocking = BlockingReads(url, link, prefix=prefix, node=node, limits=BlockingLimits(timeout=timeout))
        tools = RedisTools(link, subscriber, blocking, prefix, node)
        stores.append(RedisStore(tools, share(tools), names))
    return stores
