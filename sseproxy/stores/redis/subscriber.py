"""How does a process hear thousands of channels over one connection, and notice when it has gone deaf?"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from sseproxy.stores.redis.link import Link
from sseproxy.stores.redis.urls import RedisURL


@dataclass(frozen=True, slots=True)
class SubscriberLimits:
    """timeout: seconds for a dial. silence: seconds without a message before a probe is published, and then for it.

    least, most: seconds between two dials.
    """

    timeout: float = 2.0
    silence: float = 5.0
    least: float = 0.05
    most: float = 2.0


class Subscription:
    """One caller's interest in one channel."""

    __slots__ = ("channel", "is_ready")

    channel: bytes
    is_ready: bool  # acknowledged by Redis, over the connection that stands

    def close(self) -> None:
        """End it: neither callback is called again. Twice is once."""
        raise NotImplementedError


class Subscriber:
    """All subscriptions of one process to one Redis. It dials by itself, again and again, while there are any."""

    def __init__(
        self,
        url: RedisURL,
        link: Link,
        *,
        prefix: bytes = b"sseproxy",
        node: bytes,
        limits: SubscriberLimits = SubscriberLimits(),  # noqa: B008
        chance: Callable[[], float] = random.random,
    ) -> None:
        """link: probes are published over it, as everybody's messages are; the caller closes it after this.

        prefix, node: the probes' channel is ``PREFIX:probe:NODE``; `node` is unique among processes."""
        self.url = url

    def subscribe(
        self,
        channel: bytes,
        on_message: Callable[[bytes], None],
        on_ready: Callable[[], None],
        *,
        everywhere: bool = False,
    ) -> Subscription:
        """Call `on_message(payload)` for each message, in order; the running loop's read task calls it.

        on_ready: called after each acknowledged (re)subscription, never within this call. What was published before it
        may be lost: read what has happened since. Neither callback may raise.
        everywhere: in a cluster, at each primary: keyspace notifications are per node. Ready is when all have
        acknowledged, and again after each of them that was dialled anew.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """End all subscriptions, and leave no task, socket or callback."""
        raise NotImplementedError
