"""Where do the events of a `redis:` route come from, and who shares them?"""

import asyncio
import random
from collections.abc import Callable, Sequence

from sseproxy.core.flow import EventSink
from sseproxy.core.journal.cursor import PLAIN, Flavour
from sseproxy.core.journal.policy import RedisPolicy
from sseproxy.journal.budget import WindowBudget
from sseproxy.journal.catching_up import CatchingUp
from sseproxy.journal.place import Place
from sseproxy.journal.reader import Reader
from sseproxy.origins.redis.bells import BellLimits, Bells, Ring
from sseproxy.origins.redis.channels import ChannelFeed
from sseproxy.origins.redis.shared import FollowLimits, Shared, Terms
from sseproxy.origins.redis.stats import RedisStats
from sseproxy.origins.redis.streams import StreamFollower
from sseproxy.origins.redis.tools import RedisTools
from sseproxy.origins.redis.wishes import Wish, wishes
from sseproxy.timers import Clock, Timer

__all__ = ["RedisOrigin", "RedisTools"]


class RedisOrigin:
    """The streams and channels of one Redis, for all routes and clients of a process.

    stats: what has happened. clock: the event loop's, or `Timers` that many share. is_closed: no reader gets an event.
    """

    # Two registries, by name and terms: one follower for each stream, one subscription for each channel, however many
    # clients. A channel is left with its last reader. A stream is followed a little longer, since an `EventSource`
    # comes back within seconds, and is then served from memory.

    def __init__(
        self,
        tools: RedisTools,
        *,
        budget: WindowBudget | None = None,
        catching_up: CatchingUp | None = None,
        clock: Clock | None = None,
        limits: FollowLimits = FollowLimits(),  # noqa: B008 - frozen
        bells: BellLimits = BellLimits(),
        chance: Callable[[], float] = random.random,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.stats = RedisStats()
        self._link, self._subscriber = tools.link, tools.subscriber
        self._shared = Shared(
            link=tools.link,
            stats=self.stats,
            loop=loop,
            clock=loop if clock is None else clock,
            catching_up=catching_up or CatchingUp(loop),
            budget=budget,
            limits=limits,
            chance=chance,
        )
        self._bells = Bells(
            tools,
            stats=self.stats,
            clock=self._shared.clock,
            limits=bells,
            chance=chance,
        )
        self._streams: dict[tuple[bytes, Terms], _Held] = {}
        self._channels: dict[tuple[bytes, Terms], ChannelFeed] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._when_unused: asyncio.Event | None = None
        self.is_closed = False
        self._end_watch = tools.link.watch(self._link_changed)

    @property
    def streams(self) -> int:
        """How many streams are followed."""
        return len(self._streams)

    @property
    def channels(self) -> int:
        """How many channels are subscribed to."""
        return len(self._channels)

    @property
    def ringing(self) -> str:
        """What rings when a stream grows, beside the poll: silent, notifications or blocking."""
        return self._bells.ringing.value

    def start(self) -> None:
        """Find out what rings. The link is started; the caller must call `close` later."""
        self._bells.start()

    def open(
        self,
        sink: EventSink,
        names: Sequence[bytes],
        policy: RedisPolicy,
        position: bytes | None = None,
        *,
        wants_primer: bool = False,
        most: int = 1 << 20,
        route: str = "redis",
    ) -> Reader:
        """Return a client's reader of the streams, or of the channels, `names`; never waits, and never raises.

        position: what the client named; ``oldest`` too. wants_primer: an `EventSource` gets an id at once. most: bytes
        of one event. route: for the log. Events reach the sink after this call, as soon as Redis is there. The caller
        must `abort` the reader, or let it end. A name that occurs twice is read once.
        """
        terms = Terms(policy.format, most, route, policy.shows_names)
        if not policy.is_stream:
            return self._open_channels(sink, names, terms)
        ends: list[Callable[[], None]] = []
        reader = Reader(
            sink,
            Flavour(gap=policy.gap),
            self._shared.loop,
            named=position or b"",
            has_primer=wants_primer,
            on_done=lambda: _call_all(ends),
        )
        joining: list[tuple[StreamFollower, Place, Wish]] = []
        for index, wish in enumerate(wishes(policy.start, position, len(names))):
            if names[index] in names[:index]:
                reader.leave_out()
            else:
                follower = self._follower(names[index], terms)
                joining.append((follower, reader.place(follower.fanout), wish))
        for follower, place, wish in joining:
            ends.append(self._end_of(follower, place, terms))
            follower.join(place, wish)
        return reader

    async def wait_until_unused(self) -> None:
        """Wait until nothing is followed, and nothing subscribed to."""
        while self._streams or self._channels:
            self._when_unused = asyncio.Event()
            await self._when_unused.wait()

    async def close(self) -> None:
        """Leave no task, no timer and no subscription. All readers are done before."""
        self.is_closed = True
        self._end_watch()
        for held in list(self._streams.values()):
            held.cancel_timer()
            await held.follower.close()
        for feed in self._channels.values():
            feed.close()
        self._streams.clear()
        self._channels.clear()
        if self._closing:
            await asyncio.wait(self._closing)
        await self._bells.close()

    def _open_channels(self, sink: EventSink, names: Sequence[bytes], terms: Terms) -> Reader:
        ends: list[Callable[[], None]] = []
        reader = Reader(sink, PLAIN, self._shared.loop, on_done=lambda: _call_all(ends))
        feeds = [self._feed(name, terms) for name in dict.fromkeys(names)]
        places = [reader.place(feed.fanout) for feed in feeds]
        for feed, place in zip(feeds, places, strict=True):
            ends.append(self._end_of_feed(feed, place, terms))
            feed.join(place)
        return reader

    def _follower(self, name: bytes, terms: Terms) -> StreamFollower:
        held = self._streams.get((name, terms))
        if held is None:
            held = self._streams[name, terms] = _Held(StreamFollower(name, terms, self._shared, self._bells))
        held.cancel_timer()
        return held.follower

    def _feed(self, name: bytes, terms: Terms) -> ChannelFeed:
        feed = self._channels.get((name, terms))
        if feed is None:
            feed = self._channels[name, terms] = ChannelFeed(name, terms, self._shared, self._subscriber)
        return feed

    def _end_of(self, follower: StreamFollower, place: Place, terms: Terms) -> Callable[[], None]:
        def leave() -> None:
            follower.leave(place)
            held = self._streams.get((follower.name, terms))
            if held is not None and held.follower is follower and not follower.readers:
                clock = self._shared.clock
                linger = clock.time() + self._shared.limits.linger
                held.cancel_timer()
                held.timer = clock.call_at(linger, lambda: self._drop(follower, terms))

        return leave

    def _end_of_feed(self, feed: ChannelFeed, place: Place, terms: Terms) -> Callable[[], None]:
        def leave() -> None:
            feed.leave(place)
            if not feed.readers and self._channels.get((feed.name, terms)) is feed:
                del self._channels[feed.name, terms]
                feed.close()
                self._note_end()

        return leave

    def _drop(self, follower: StreamFollower, terms: Terms) -> None:
        held = self._streams.get((follower.name, terms))
        if held is not None and held.follower is follower and not follower.readers:
            del self._streams[follower.name, terms]
            task = self._shared.loop.create_task(follower.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            self._note_end()

    def _note_end(self) -> None:
        """Something is not followed any more: perhaps nothing is."""
        if self._when_unused is not None and not (self._streams or self._channels):
            self._when_unused.set()

    def _link_changed(self) -> None:
        if not self._link.is_up:
            self._shared.connection += 1
            return
        if self._shared.connection:
            self.stats.reconnects += 1
        for held in list(self._streams.values()):
            held.follower.ring(Ring.BELL)


class _Held:
    """A follower in its registry, and when it is dropped."""

    __slots__ = ("follower", "timer")

    def __init__(self, follower: StreamFollower) -> None:
        self.follower = follower
        self.timer: Timer | None = None

    def cancel_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def _call_all(calls: Sequence[Callable[[], None]]) -> None:
    for call in calls:
        call()
