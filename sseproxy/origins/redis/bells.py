"""How does a follower learn that its stream has grown, when Redis may or may not say so?"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from enum import Enum

from sseproxy.core.errors import ReplyError, StoreAway
from sseproxy.core.frozen import frozen
from sseproxy.origins.redis.stats import RedisStats
from sseproxy.origins.redis.tools import RedisTools
from sseproxy.stores.redis.keyspace import keyspace_channel, rings
from sseproxy.stores.redis.subscriber import Subscription
from sseproxy.timers import Clock, Timer

#: Notifications that add no entry and take no stream away. XADD with MAXLEN sends one of them each time.
_NO_NEWS = frozenset({b"xtrim", b"xdel", b"expire", b"persist", b"xgroup-create", b"xgroup-createconsumer"})

#: The part of `BellLimits.poll` after which the poll comes at the earliest; it differs so that streams spread.
_SOONEST = 0.8


class Ring(Enum):
    """Why a follower should look: Redis said so, or time has passed."""

    BELL = "bell"
    POLL = "poll"


class Ringing(Enum):
    """What rings, beside the poll. silent: nothing does, or it is not known yet."""

    SILENT = "silent"
    NOTIFICATIONS = "notifications"
    BLOCKING = "blocking"


@frozen
class BellLimits:
    """Seconds. poll: between two looks that nothing has asked for, at most. probe: between two tries of what rings.

    soon: before the next try, after one that found no answer or a bell that did not ring.
    """

    poll: float = 5.0
    probe: float = 60.0
    soon: float = 5.0


class Bells:
    """All bells of one Redis. `ringing` says which kind is in use."""

    # A bell says *that* there is something, a read says *what*. So a bell may come late, twice, for nothing or never,
    # and costs time only.
    #
    # 1. One kind rings at a time: keyspace notifications where a try has heard one, else blocking reads, else (in a
    #    cluster, or while nothing is known) only the poll.
    # 2. No stream goes without a look for longer than `BellLimits.poll`. A look that a bell has brought about puts the
    #    next poll off. What a poll finds that no bell had said is counted, and leads to a try soon after.
    # 3. A try is made at each new connection and now and then, since CONFIG SET can switch notifications at any time.
    # 4. One subscription, or one blocking watch, for each key, whatever the number of followers.
    #
    # Hazards: a key is added while kinds change; a switch rings all keys of the new kind (its subscriptions become
    # ready), as it must, since what came between the two was heard by neither.

    def __init__(
        self,
        tools: RedisTools,
        *,
        stats: RedisStats,
        clock: Clock,
        limits: BellLimits = BellLimits(),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.ringing = Ringing.SILENT
        self.limits = limits
        self._link, self._subscriber, self._blocking = tools.link, tools.subscriber, tools.blocking
        self._tools, self._stats = tools, stats
        self._clock, self._chance = clock, chance
        self._keys: dict[bytes, _Key] = {}
        self._try: asyncio.Task[None] | None = None
        self._next_try: Timer | None = None
        self._tried_at = float("-inf")
        self._end_watch = tools.link.watch(self._link_changed)

    def start(self) -> None:
        """Find out what rings. The caller must call `close` later."""
        self._try_now()

    def watch(self, key: bytes, after: Callable[[], bytes], on_ring: Callable[[Ring], None]) -> "Watch":
        """Call `on_ring` when the stream `key` may have an entry behind ``after()`` (``b"ms-seq"``), and by the poll.

        `on_ring` must not raise, and is not called within this call.
        """
        entry = self._keys.get(key)
        if entry is None:
            entry = self._keys[key] = _Key(key)
            self._attach(entry)
        watch = Watch(self, entry, after, on_ring)
        entry.watches.append(watch)
        watch.poll_in(self.limits.poll * self._chance())
        return watch

    def missed(self) -> None:
        """The poll has found what no bell had announced."""
        self._stats.bells_missed += 1
        if self.ringing is Ringing.NOTIFICATIONS and self._clock.time() - self._tried_at >= self.limits.soon:
            self._try_now()

    async def close(self) -> None:
        """Leave no timer and no task. Link, subscriber and blocking reads are the caller's to close."""
        self._end_watch()
        if self._next_try is not None:
            self._next_try.cancel()
        for entry in list(self._keys.values()):
            for watch in list(entry.watches):
                watch.close()
        if self._try is not None:
            self._try.cancel()
            await asyncio.wait([self._try])

    def time(self) -> float:
        """The time of the clock, in seconds."""
        return self._clock.time()

    def until_poll(self) -> float:
        """Return the seconds from a look to the poll that follows it."""
        return self.limits.poll * (_SOONEST + (1 - _SOONEST) * self._chance())

    def at(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` after so many seconds."""
        return self._clock.call_at(self._clock.time() + seconds, callback)

    def drop(self, entry: "_Key") -> None:
        """The last watch of a key has ended."""
        if self._keys.get(entry.key) is entry:
            del self._keys[entry.key]
            self._detach(entry)

    def _link_changed(self) -> None:
        if self._link.is_up:
            self._try_now()

    def _try_now(self) -> None:
        if self._try is None or self._try.done():
            self._try = asyncio.get_running_loop().create_task(self._find_out())

    async def _find_out(self) -> None:
        wait = self.limits.soon
        # What it cannot find out now, it does at the next connection, or a little later.
        with contextlib.suppress(StoreAway, ReplyError):
            do_ring = await rings(self._link, self._subscriber, prefix=self._tools.prefix, node=self._tools.node)
            quiet = Ringing.BLOCKING if self._blocking.can_block else Ringing.SILENT
            self._switch(Ringing.NOTIFICATIONS if do_ring else quiet)
            wait = self.limits.probe
        self._tried_at = self._clock.time()
        if self._next_try is not None:
            self._next_try.cancel()
        self._next_try = self.at(wait * (0.8 + 0.4 * self._chance()), self._try_now)

    def _switch(self, ringing: Ringing) -> None:
        if ringing is self.ringing:
            return
        entries = list(self._keys.values())
        for entry in entries:
            self._detach(entry)
        self.ringing = ringing
        for entry in entries:
            self._attach(entry)

    def _attach(self, entry: "_Key") -> None:
        if self.ringing is Ringing.NOTIFICATIONS:
            channel = keyspace_channel(self._link.url.database, entry.key)
            entry.subscription = self._subscriber.subscribe(channel, entry.notified, entry.ring, everywhere=True)
        elif self.ringing is Ringing.BLOCKING:
            self._blocking.watch(entry.key, entry.after, entry.ring)

    def _detach(self, entry: "_Key") -> None:
        if entry.subscription is not None:
            entry.subscription.close()
            entry.subscription = None
        elif self.ringing is Ringing.BLOCKING:
            self._blocking.unwatch(entry.key)


class Watch:
    """One follower's interest in one key."""

    __slots__ = ("_bells", "_entry", "_looked_at", "_timer", "after", "on_ring")

    def __init__(
        self, bells: Bells, entry: "_Key", after: Callable[[], bytes], on_ring: Callable[[Ring], None]
    ) -> None:
        self._bells, self._entry = bells, entry
        self._looked_at = float("-inf")
        self._timer: Timer | None = None
        self.after, self.on_ring = after, on_ring

    def poll_in(self, seconds: float) -> None:
        """Poll once, after so many seconds."""
        self._timer = self._bells.at(seconds, self._poll)

    def looked(self) -> None:
        """Put the next poll off: the stream was looked at just now."""
        self._looked_at = self._bells.time()

    def close(self) -> None:
        """End it: it does not ring again. Twice is once."""
        if self in self._entry.watches:
            self._entry.watches.remove(self)
            if self._timer is not None:
                self._timer.cancel()
            if not self._entry.watches:
                self._bells.drop(self._entry)

    def _poll(self) -> None:
        since = self._bells.time() - self._looked_at
        if since < _SOONEST * self._bells.limits.poll:
            self.poll_in(self._bells.until_poll() - since)
            return
        self.poll_in(self._bells.until_poll())
        self.on_ring(Ring.POLL)


class _Key:
    """What is known of one key, and who asks for it."""

    __slots__ = ("key", "subscription", "watches")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.watches: list[Watch] = []
        self.subscription: Subscription | None = None

    def notified(self, what: bytes) -> None:
        if what not in _NO_NEWS:
            self.ring()

    def ring(self) -> None:
        for watch in list(self.watches):
            watch.on_ring(Ring.BELL)

    def after(self) -> bytes:
        """Where a blocking read begins: the position of the follower that is furthest behind."""
        return min((watch.after() for watch in self.watches), key=_order)


def _order(position: bytes) -> tuple[int, int]:
    first, _, second = position.partition(b"-")
    return int(first), int(second)
