"""How do thousands of callers hear channels of one Redis over one connection?"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from sseproxy.core.frozen import frozen
from sseproxy.stores.redis.dialer import first_in_turn
from sseproxy.stores.redis.ear import Ear
from sseproxy.stores.redis.guard import call_guarded
from sseproxy.stores.redis.link import Link
from sseproxy.stores.redis.ports import Backoff, WireLost
from sseproxy.stores.redis.urls import Address, Kind, RedisURL

if TYPE_CHECKING:
    from sseproxy.stores.redis.wire import Wire


@frozen
class SubscriberLimits:
    """silence: seconds without a message before a probe is published; two unheard, and the connection is replaced."""

    silence: float = 5.0
    backoff: Backoff = Backoff()


class Subscription:
    """One caller's interest in one channel. Made by `Subscriber.subscribe`."""

    __slots__ = ("_on_message", "_on_ready", "_room", "channel")

    def __init__(
        self, room: "_Room", channel: bytes, on_message: Callable[[bytes], None], on_ready: Callable[[], None]
    ) -> None:
        self.channel = channel
        self._room: _Room | None = room
        self._on_message = on_message
        self._on_ready = on_ready

    @property
    def is_ready(self) -> bool:
        """True if Redis has acknowledged it over the connection that stands."""
        return self._room is not None and self._room.is_ready(self.channel)

    def close(self) -> None:
        """End it: neither callback is called again. Twice is once."""
        room, self._room = self._room, None
        if room is not None:
            room.leave(self)

    def deliver(self, payload: bytes) -> None:
        """Give a message to the caller."""
        if self._room is not None:
            call_guarded(self._on_message, payload)

    def announce(self) -> None:
        """Tell the caller that it is subscribed."""
        if self.is_ready:
            call_guarded(self._on_ready)


class Subscriber:
    """All subscriptions of one process to one Redis. It dials by itself from the first one on, again and again."""

    # In a cluster PUBLISH reaches every node, so one connection to any of them serves all channels. Keyspace
    # notifications stay on their node: what is subscribed `everywhere` has a connection to each primary.

    def __init__(
        self,
        url: RedisURL,
        link: Link,
        *,
        prefix: bytes = b"sseproxy",
        node: bytes,
        limits: SubscriberLimits = SubscriberLimits(),
        chance: Callable[[], float] = random.random,
    ) -> None:
        """link: probes are published over it, as all messages are; the caller closes it after this.

        prefix, node: the probes' channel is ``PREFIX:probe:NODE``; `node` is unique among processes.
        """
        self.url = url
        self._link = link
        self._own = b"%b:probe:%b" % (prefix, node)
        self._limits = limits
        self._chance = chance
        self._turn = 0
        self._any: _Room | None = None
        self._every: _Room | None = None
        self._nodes: dict[Address, Ear] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._unwatch: Callable[[], None] = lambda: None

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
        room = self._every_room() if everywhere and self.url.kind is Kind.CLUSTER else self._any_room()
        subscription = Subscription(room, channel, on_message, on_ready)
        room.join(subscription)
        return subscription

    async def close(self) -> None:
        """End all subscriptions, and leave no task, socket or callback. Twice is once."""
        self._unwatch()
        rooms, self._any, self._every = (self._any, self._every), None, None
        for room in rooms:
            if room is not None:
                room.close()
                ears, room.ears = room.ears, []
                for ear in ears:
                    await ear.close()
        self._nodes.clear()
        if self._closing:
            await asyncio.wait(self._closing)

    def _any_room(self) -> "_Room":
        if self._any is None:
            self._link.start()
            self._any = _Room()
            self._any.ears.append(self._ear(self._dial_any, self._any, self.url.place, b""))
        return self._any

    def _every_room(self) -> "_Room":
        if self._every is None:
            self._link.start()
            self._every = _Room()
            self._unwatch = self._link.watch_nodes(self._follow_nodes)
            self._follow_nodes()
        return self._every

    def _follow_nodes(self) -> None:
        """Have a connection to each primary that there is now."""
        room = self._every
        if room is None:
            return
        primaries = self._link.primaries
        for address in [each for each in self._nodes if each not in primaries]:
            ear = self._nodes.pop(address)
            room.ears.remove(ear)
            task = asyncio.get_running_loop().create_task(ear.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        for address in primaries:
            if address not in self._nodes:
                place = f"{address[0]}:{address[1]}"
                dial = partial(self._link.dialer.dial_at, address, protocol=2)
                ear = self._ear(dial, room, place, b":%b" % place.encode())
                self._nodes[address] = ear
                room.add(ear)

    def _ear(self, dial: "Callable[[], Awaitable[Wire]]", room: "_Room", place: str, suffix: bytes) -> Ear:
        return Ear(
            dial,
            lambda channel: self._link.run("PUBLISH", channel, b""),
            place=place,
            own=self._own + suffix,
            silence=self._limits.silence,
            backoff=self._limits.backoff,
            chance=self._chance,
            on_message=room.deliver,
            on_ready=room.announce,
        )

    async def _dial_any(self) -> "Wire":
        if self.url.kind is not Kind.CLUSTER:
            return await self._link.dialer.dial(protocol=2)
        self._turn += 1
        lost = WireLost("no node is known")
        for address in first_in_turn(self._link.primaries or self.url.hosts, self._turn):
            try:
                return await self._link.dialer.dial_at(address, protocol=2)
            except WireLost as error:
                lost = error
        raise lost


class _Room:
    """The callers of all channels that are heard by the same ears."""

    def __init__(self) -> None:
        self.ears: list[Ear] = []
        self._users: dict[bytes, dict[Subscription, None]] = {}

    def is_ready(self, channel: bytes) -> bool:
        """True if all ears have it acknowledged."""
        return bool(self.ears) and all(channel in ear.acknowledged for ear in self.ears)

    def add(self, ear: Ear) -> None:
        """One more ear, which subscribes to everything."""
        self.ears.append(ear)
        for channel in self._users:
            ear.want(channel)

    def join(self, subscription: Subscription) -> None:
        users = self._users.setdefault(subscription.channel, {})
        users[subscription] = None
        if len(users) == 1:
            for ear in self.ears:
                ear.want(subscription.channel)
        if subscription.is_ready:
            asyncio.get_running_loop().call_soon(subscription.announce)

    def leave(self, subscription: Subscription) -> None:
        users = self._users.get(subscription.channel, {})
        users.pop(subscription, None)
        if not users and self._users.pop(subscription.channel, None) is not None:
            for ear in self.ears:
                ear.unwant(subscription.channel)

    def deliver(self, channel: bytes, payload: bytes) -> None:
        for subscription in list(self._users.get(channel, ())):
            subscription.deliver(payload)

    def announce(self, channel: bytes) -> None:
        if self.is_ready(channel):
            for subscription in list(self._users.get(channel, ())):
                subscription.announce()

    def close(self) -> None:
        """End all subscriptions."""
        for users in list(self._users.values()):
            for subscription in list(users):
                subscription.close()
