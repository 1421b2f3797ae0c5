"""How is a follower woken by a stream when Redis does not send keyspace notifications?"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from sseproxy.stores.redis.link import Link
from sseproxy.stores.redis.urls import RedisURL


@dataclass(frozen=True, slots=True)
class BlockingLimits:
    """block: seconds for which a read waits. keys: streams in one read. wakes: reads per second and connection."""

    block: float = 5.0
    keys: int = 1000
    wakes: float = 50.0
    timeout: float = 2.0


class BlockingReads:
    """``XREAD BLOCK`` over many streams, used as a bell only: it says that there is something, never what."""

    def __init__(
        self,
        url: RedisURL,
        link: Link,
        *,
        prefix: bytes = b"sseproxy",
        node: bytes,
        limits: BlockingLimits = BlockingLimits(),  # noqa: B008
        chance: Callable[[], float] = random.random,
    ) -> None:
        """link: sends the wake-ups, to streams ``PREFIX:wake:NODE:N`` that expire. node: unique among processes."""

    @property
    def can_block(self) -> bool:
        """False in a cluster, where one command cannot read keys of different slots: poll instead."""
        raise NotImplementedError

    def watch(self, key: bytes, after: Callable[[], bytes], on_bell: Callable[[], None]) -> None:
        """Call `on_bell()` when the stream `key` has an entry behind ``after()`` (``b"ms-seq"``, never ``b"$"``).

        `after` is called before each read. A bell is not repeated for the same entry. One watch per key: a second
        replaces the first. Neither callback may raise. Raises `RuntimeError` unless `can_block`.
        """
        raise NotImplementedError

    def unwatch(self, key: bytes) -> None:
        """End it; a key that is not watched is no error."""
        raise NotImplementedError

    async def close(self) -> None:
        """Leave no task and no socket."""
        raise NotImplementedError
