"""How is a follower woken by a stream when Redis does not send keyspace notifications?"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sseproxy.core.errors import ReplyError, StoreAway
from sseproxy.core.frozen import frozen
from sseproxy.stores.redis.dialer import ask
from sseproxy.stores.redis.guard import call_guarded, cancel
from sseproxy.stores.redis.link import Link
from sseproxy.stores.redis.outage import Outage
from sseproxy.stores.redis.ports import Argument, Backoff, Reply, WireLost, not_ready
from sseproxy.stores.redis.urls import Kind, RedisURL

if TYPE_CHECKING:
    from sseproxy.stores.redis.wire import Wire

#: Milliseconds that a key for wake-ups is kept after the last one.
_KEPT = 60_000

#: Seconds before a stream that Redis refuses to read is tried again.
_REFUSED = 5.0

_Id = tuple[int, int]


@frozen
class BlockingLimits:
    """block: seconds for which a read waits. keys: streams in one read. wakes: reads per second and connection.

    timeout: seconds for which a reply may be late.
    """

    block: float = 5.0
    keys: int = 1000
    wakes: float = 50.0
    timeout: float = 2.0
    backoff: Backoff = Backoff()


class BlockingReads:
    """``XREAD BLOCK`` over many streams, used as a bell only: it says that there is something, never what.

    Its connections are dialled when there is something to watch, and closed when there is nothing left.
    """

    def __init__(
        self,
        url: RedisURL,
        link: Link,
        *,
        prefix: bytes = b"sseproxy",
        node: bytes,
        limits: BlockingLimits = BlockingLimits(),
        chance: Callable[[], float] = random.random,
    ) -> None:
        """link: sends the wake-ups, to streams ``PREFIX:wake:NODE:N`` that expire. node: unique among processes."""
        self.url = url
        self._link = link
        self._stem = b"%b:wake:%b" % (prefix, node)
        self._limits = limits
        self._chance = chance
        self._reads: list[_Read] = []
        self._places: dict[bytes, _Read] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def can_block(self) -> bool:
        """False in a cluster, where one command cannot read keys of different slots: poll instead."""
        return self.url.kind is not Kind.CLUSTER

    def watch(self, key: bytes, after: Callable[[], bytes], on_bell: Callable[[], None]) -> None:
        """Call `on_bell()` when the stream `key` has an entry behind ``after()`` (``b"ms-seq"``, never ``b"$"``).

        `after` is called before each read. A bell is not repeated for the same entry. One watch per key: a second
        replaces the first. Neither callback may raise. Raises `RuntimeError` unless `can_block`.
        """
        if not self.can_block:
            raise RuntimeError("a cluster has no blocking reads over many keys")
        self.unwatch(key)
        read = next((each for each in self._reads if len(each) < self._limits.keys), None)
        if read is None:
            number = next(n for n in range(len(self._reads) + 1) if all(each.number != n for each in self._reads))
            wake = b"%b:%d" % (self._stem, number)
            read = _Read(self._link, wake, number, limits=self._limits, chance=self._chance)
            self._reads.append(read)
        self._places[key] = read
        read.add(_Watch(key, after, on_bell))

    def unwatch(self, key: bytes) -> None:
        """End it; a key that is not watched is no error."""
        read = self._places.pop(key, None)
        if read is not None:
            read.remove(key)
            if not len(read):
                self._reads.remove(read)
                task = asyncio.get_running_loop().create_task(read.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Leave no task and no socket. Twice is once."""
        for key in list(self._places):
            self.unwatch(key)
        if self._closing:
            await asyncio.wait(self._closing)


class _Watch:
    """One stream, and how far its follower and its bell are."""

    __slots__ = ("_after", "_last", "_rung", "key", "on_bell", "refused_until")

    def __init__(self, key: bytes, after: Callable[[], bytes], on_bell: Callable[[], None]) -> None:
        self.key = key
        self.on_bell = on_bell
        self.refused_until = 0.0
        self._after = after
        self._last: _Id = (0, 0)
        self._rung: _Id = (0, 0)

    def position(self) -> bytes:
        """Behind which entry to wait: the follower's, or the last one that the bell has rung for.

        A follower that goes back follows another stream under the same name.
        """
        after = _id(self._after())
        if after < self._last:
            self._rung = after
        self._last = after
        return b"%d-%d" % max(after, self._rung)

    def ring(self, entry: bytes) -> None:
        """An entry was seen."""
        self._rung = _id(entry)
        call_guarded(self.on_bell)


class _Read:
    """One connection that waits for up to `limits.keys` streams."""

    # One task: read, ring, pause, read again. The set of streams of a read that is under way cannot be changed: a
    # stream of our own is in it, and an entry there ends the read.
    #
    # 1. A read begins at most `wakes` times a second: each costs Redis a registration of every key.
    # 2. Wake-ups are sent while a read is under way that does not have all streams, `wakes` times a second at most.
    # 3. A lost wake-up costs `block` seconds.
    # 4. A refused read (one key of another type fails them all) is followed by one without waiting for each key alone:
    #    a key that is refused rings no follower, and is left out for `_REFUSED` seconds.
    #
    # Hazards: a follower that is slow to move on (`_Watch.position` remembers what was rung); an entry that is gone
    # before the follower reads (it finds nothing, and waits on).

    def __init__(
        self, link: Link, wake: bytes, number: int, *, limits: BlockingLimits, chance: Callable[[], float]
    ) -> None:
        self.number = number
        self._link = link
        self._limits = limits
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._outage = Outage(f"blocking reads from Redis at {link.url.place}", self._loop.time)
        self._watches: dict[bytes, _Watch] = {}
        self._wake = _Watch(wake, lambda: b"0-0", lambda: None)
        self._reading: frozenset[bytes] | None = None  # the streams of the read that is under way
        self._waking: asyncio.Task[None] | None = None
        self._added = asyncio.Event()
        self._task: asyncio.Task[None] | None = self._loop.create_task(self._keep())

    def __len__(self) -> int:
        return len(self._watches)

    def add(self, watch: _Watch) -> None:
        self._watches[watch.key] = watch
        self._added.set()
        if self._lacks_any() and (self._waking is None or self._waking.done()):
            self._waking = self._loop.create_task(self._send_wakes())

    def remove(self, key: bytes) -> None:
        self._watches.pop(key, None)

    async def close(self) -> None:
        tasks = [task for task in (self._task, self._waking) if task is not None]
        self._task = self._waking = None
        await cancel(*tasks)

    def _lacks_any(self) -> bool:
        """True if the read that is under way does not have all streams that it should."""
        if self._reading is None:
            return False
        now = self._loop.time()
        return any(each.key not in self._reading and each.refused_until <= now for each in self._watches.values())

    async def _send_wakes(self) -> None:
        wake = self._wake.key
        while self._lacks_any():
            try:
                await self._link.run_all([("XADD", wake, "MAXLEN", 1, "*", "w", 1), ("PEXPIRE", wake, _KEPT)])
            except StoreAway:
                return
            await asyncio.sleep(1 / self._limits.wakes)

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                wire = await self._link.dialer.dial()
                try:
                    while True:
                        await self._read(wire)
                        failures = 0
                        self._outage.ended()
                finally:
                    await wire.close()
            except WireLost as lost:
                failures += 1
                if failures > 1:
                    self._outage.failed(lost.reason)
                    await asyncio.sleep(self._limits.backoff.pause(failures - 1, self._chance()))

    async def _read(self, wire: "Wire") -> None:
        begun = self._loop.time()
        watches = [each for each in (self._wake, *self._watches.values()) if each.refused_until <= begun]
        self._added.clear()
        if not watches:
            await self._wait_for_more()
            return
        self._reading = frozenset(each.key for each in watches)
        try:
            command = _command(watches, "BLOCK", int(self._limits.block * 1000))
            reply = await ask(wire, *command, within=self._limits.block + self._limits.timeout)
        finally:
            self._reading = None
        if (reason := not_ready(reply)) is not None:
            raise WireLost(reason)
        if isinstance(reply, ReplyError):
            await self._find_refused(wire, watches)
        else:
            self._ring(watches, reply)
        await asyncio.sleep(begun + 1 / self._limits.wakes - self._loop.time())

    async def _find_refused(self, wire: "Wire", watches: Sequence[_Watch]) -> None:
        replies: list[Reply | ReplyError] = []
        await wire.exchange([_command([each]) for each in watches], replies.append, within=self._limits.timeout)
        for watch, reply in zip(watches, replies, strict=True):
            if isinstance(reply, ReplyError):
                watch.refused_until = self._loop.time() + _REFUSED
                self._outage.refused(reply.code)
            else:
                self._ring([watch], reply)

    def _ring(self, watches: Sequence[_Watch], reply: Reply) -> None:
        rung = dict(reply or {})
        for watch in watches:
            entries = rung.get(watch.key)
            if entries and (watch is self._wake or self._watches.get(watch.key) is watch):
                watch.ring(entries[0][0])

    async def _wait_for_more(self) -> None:
        try:
            async with asyncio.timeout(_REFUSED):
                await self._added.wait()
        except TimeoutError:
            pass


def _command(watches: Sequence[_Watch], *options: Argument) -> list[Argument]:
    return ["XREAD", "COUNT", 1, *options, "STREAMS", *(w.key for w in watches), *(w.position() for w in watches)]


def _id(text: bytes) -> _Id:
    milliseconds, _, number = text.partition(b"-")
    return int(milliseconds), int(number or 0)
