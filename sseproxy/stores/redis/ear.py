"""How is one connection kept that hears channels, and how is it noticed that it has gone deaf?"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from sseproxy.core.errors import ReplyError, StoreAway
from sseproxy.stores.redis.guard import cancel
from sseproxy.stores.redis.outage import Outage
from sseproxy.stores.redis.ports import Backoff, WireLost, not_ready

if TYPE_CHECKING:
    from sseproxy.stores.redis.wire import Wire

#: Channels in one SUBSCRIBE.
_PER_COMMAND = 500

#: Messages that are delivered before other tasks have a turn.
_PER_TURN = 256

#: Probes in a row that may stay unheard.
_PROBES = 2

#: Seconds after which a connection counts as one that works.
_HELD = 1.0

_DEAF = "the connection stands, but no message is heard over it"


class Ear:
    """One pub/sub connection to one node, dialled again and again. Made in a running loop; `close` must be called.

    dial: makes the connection, with RESP2. publish: publishes an empty message to a channel, by another way than this
    connection. own: the channel of the probes. on_message, on_ready: called with the channel; neither may raise.
    """

    # Per connection three tasks: one reads, one sends what has changed in `_wanted`, one watches the silence. The first
    # that finds the connection lost ends the others, and the next dial begins with all that is wanted.
    #
    # 1. `_wanted` is what callers want; `_asked` what this connection was last asked for; `acknowledged` what of it
    #    Redis has confirmed. A channel that is wanted again before UNSUBSCRIBE was sent still is all three.
    # 2. Replies come in the order of commands: `_unanswered` is the commands that Redis owes an answer to. A refused
    #    SUBSCRIBE of several channels is sent again channel by channel (`_alone`); a refused channel waits for the next
    #    dial.
    # 3. Heard is whatever Redis sends. After `silence` seconds without it a probe is published; `_PROBES` of them
    #    unheard in a row, and the connection is dialled anew: it may be attached to a node that gets no messages, or
    #    the network between has forgotten it.
    # 4. After a connection that has held for `_HELD` seconds the next dial is at once; else dials are `backoff` apart.
    #
    # Hazards: a channel that is unsubscribed and subscribed again before the acknowledgement (each calls `on_ready`, so
    # an early one does no harm); a user that may not use the probes' channel, or a link that is away: PING over this
    # connection takes the probe's place; a reader that Redis cuts off since it is too slow, again and again (4).

    def __init__(
        self,
        dial: Callable[[], Awaitable["Wire"]],
        publish: Callable[[bytes], Awaitable[object]],
        *,
        place: str,
        own: bytes,
        silence: float,
        backoff: Backoff,
        chance: Callable[[], float],
        on_message: Callable[[bytes, bytes], None],
        on_ready: Callable[[bytes], None],
    ) -> None:
        self.acknowledged: set[bytes] = set()
        self._dial = dial
        self._publish = publish
        self._own = own
        self._silence = silence
        self._backoff = backoff
        self._chance = chance
        self._on_message = on_message
        self._on_ready = on_ready
        self._loop = asyncio.get_running_loop()
        self._outage = Outage(f"subscriptions to Redis at {place}", self._loop.time)
        self._wanted: set[bytes] = {own}
        self._changed: set[bytes] = set()
        self._asked: set[bytes] = set()
        self._alone: set[bytes] = set()
        self._unanswered: deque[tuple[bytes, set[bytes]]] = deque()
        self._due = asyncio.Event()
        self._heard_at = 0.0
        self._is_served = False  # this connection answers
        self._task: asyncio.Task[None] | None = self._loop.create_task(self._keep())

    def want(self, channel: bytes) -> None:
        """Subscribe to `channel`, now and after each dial."""
        self._wanted.add(channel)
        self._change(channel)

    def unwant(self, channel: bytes) -> None:
        """Unsubscribe from `channel`."""
        self._wanted.discard(channel)
        self._change(channel)

    async def close(self) -> None:
        """Leave no task and no socket."""
        task, self._task = self._task, None
        if task is not None:
            await cancel(task)
        self.acknowledged.clear()

    def _change(self, channel: bytes) -> None:
        self._changed.add(channel)
        self._due.set()

    async def _keep(self) -> None:
        failures = 0
        while True:
            began = self._loop.time()
            try:
                wire = await self._dial()
                try:
                    await self._serve(wire)
                finally:
                    self.acknowledged.clear()
                    await wire.close()
            except WireLost as lost:
                failures = 1 if self._loop.time() - began > _HELD and self._is_served else failures + 1
                self._is_served = False
                # A connection that worked is replaced at once: the log hears of it only if that fails.
                if failures > 1 or lost.reason == _DEAF:
                    self._outage.failed(lost.reason)
                if failures > 1:
                    await asyncio.sleep(self._backoff.pause(failures - 1, self._chance()))

    async def _serve(self, wire: "Wire") -> None:
        """Use one connection until it is lost. Raises `WireLost`."""
        self._asked.clear()
        self._alone.clear()
        self._unanswered.clear()
        # The own channel first: it must be heard before any silence counts.
        await self._ask(wire, b"SUBSCRIBE", [self._own])
        self._changed = self._wanted - {self._own}
        self._due.set()
        self._heard_at = self._loop.time()
        parts = (self._read(wire), self._write(wire), self._probe(wire))
        tasks = [self._loop.create_task(_until_lost(each)) for each in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            reason = done.pop().result()
        finally:
            await cancel(*tasks)
            tasks.clear()  # they hold their errors, and these hold this frame
        raise WireLost(reason)

    # Reading.

    async def _read(self, wire: "Wire") -> None:
        while True:
            for _ in range(_PER_TURN):
                self._receive(await wire.read())
            await asyncio.sleep(0)

    def _receive(self, reply: Any) -> None:
        self._heard_at = self._loop.time()
        if isinstance(reply, ReplyError):
            self._refuse(reply)
        elif not isinstance(reply, list) or len(reply) < 3:
            self._unanswered.popleft()  # a PONG
        elif reply[0] == b"message":
            if reply[1] != self._own:
                self._on_message(reply[1], reply[2])
        else:
            self._confirm(reply[0], reply[1])

    def _confirm(self, kind: bytes, channel: bytes) -> None:
        channels = self._unanswered[0][1]
        channels.discard(channel)
        if not channels:
            self._unanswered.popleft()
        if kind != b"subscribe" or channel not in self._asked:
            return
        self.acknowledged.add(channel)
        if channel == self._own:
            self._note_served()
        else:
            self._on_ready(channel)

    def _refuse(self, error: ReplyError) -> None:
        if (reason := not_ready(error)) is not None:
            raise WireLost(reason)
        _, channels = self._unanswered.popleft()
        if len(channels) > 1:
            self._asked -= channels
            self._alone |= channels
            self._changed |= channels
            self._due.set()
        elif channels:
            self._note_served()
            self._outage.refused(error.code)

    def _note_served(self) -> None:
        self._is_served = True
        self._outage.ended()

    # Sending.

    async def _write(self, wire: "Wire") -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            changed, self._changed = self._changed, set()
            new = [each for each in changed if each in self._wanted and each not in self._asked]
            old = [each for each in changed if each not in self._wanted and each in self._asked]
            for channel in self._alone.intersection(new):
                await self._ask(wire, b"SUBSCRIBE", [channel])
            together = [each for each in new if each not in self._alone]
            for names, kind in ((together, b"SUBSCRIBE"), (old, b"UNSUBSCRIBE")):
                for start in range(0, len(names), _PER_COMMAND):
                    await self._ask(wire, kind, names[start : start + _PER_COMMAND])

    async def _ask(self, wire: "Wire", kind: bytes, channels: list[bytes]) -> None:
        if kind == b"SUBSCRIBE":
            self._asked.update(channels)
        else:
            self._asked.difference_update(channels)
            self.acknowledged.difference_update(channels)
        self._unanswered.append((kind, set(channels)))
        await wire.send(kind, *channels)

    async def _probe(self, wire: "Wire") -> None:
        unheard = 0
        probed_at = 0.0
        due = self._heard_at + self._silence
        while True:
            await asyncio.sleep(due - self._loop.time())
            if self._heard_at >= probed_at:
                unheard = 0
            due = self._heard_at + self._silence
            if due > self._loop.time():
                continue
            if unheard == _PROBES:
                raise WireLost(_DEAF)
            unheard += 1
            probed_at = self._loop.time()
            await self._send_probe(wire)
            due = self._loop.time() + self._silence

    async def _send_probe(self, wire: "Wire") -> None:
        if self._own in self.acknowledged:
            try:
                await self._publish(self._own)
                return
            except (StoreAway, ReplyError):
                pass
        self._unanswered.append((b"PING", set()))
        await wire.send(b"PING")


async def _until_lost(work: Coroutine[None, None, None]) -> str:
    """Why it ended: a reason has no traceback, and so keeps no frame."""
    try:
        await work
    except WireLost as lost:
        return lost.reason
    return "connection lost"
