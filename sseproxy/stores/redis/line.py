"""How do thousands of callers share one connection to one Redis, and what do they get while it is away?"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING

from sseproxy.core.errors import ReplyError, StoreAway
from sseproxy.core.frozen import frozen
from sseproxy.stores.redis.guard import cancel
from sseproxy.stores.redis.outage import Outage
from sseproxy.stores.redis.ports import Backoff, Command, Reply, WireLost, not_ready

if TYPE_CHECKING:
    from sseproxy.stores.redis.wire import Wire

#: Seconds that an HTTP client is asked to wait when the store is away.
RETRY_AFTER = 2


class LinkState(Enum):
    """opening: the first dial, or the one after a lost connection; calls wait for it. away: calls fail at once."""

    OPENING = "opening"
    UP = "up"
    AWAY = "away"
    CLOSED = "closed"


@frozen
class LinkLimits:
    """timeout: seconds for a dial, and without a reply. batch: commands in a pipeline. waiting: commands that wait.

    patience: seconds that a command waits to be sent. idle: seconds without a command before a PING.
    """

    timeout: float = 2.0
    batch: int = 500
    waiting: int = 50_000
    patience: float = 10.0
    idle: float = 5.0
    backoff: Backoff = Backoff()


class _Call:
    """Commands of one caller, which are sent together, and what has been replied so far."""

    __slots__ = ("commands", "future", "replies", "sent", "since")

    def __init__(self, commands: Sequence[Command], future: "asyncio.Future[list[Reply | ReplyError]]", since: float):
        self.commands = commands
        self.future = future
        self.replies: list[Reply | ReplyError] = []
        self.sent = 0
        self.since = since

    def receive(self, reply: Reply | ReplyError) -> None:
        self.replies.append(reply)
        if len(self.replies) == len(self.commands) and not self.future.done():
            self.future.set_result(self.replies)

    def fail(self, reason: str) -> None:
        if not self.future.done():
            self.future.set_exception(away(reason))


def away(reason: str) -> StoreAway:
    """The error for a caller, with the reason for the log."""
    return StoreAway("The store is away.", retry_after=RETRY_AFTER, cause=reason)


class Line:
    """One connection to one Redis, and the calls that wait for it. Made in a running loop; `close` must be called.

    dial: makes the connection. on_change: called after each change of `state`, in the event loop.
    """

    # One task dials, takes what waits, sends it as one pipeline, reads the replies, and begins again. What falls due
    # in one loop turn is in one pipeline, since the task wakes in the next; what comes while a pipeline is under way
    # is in the one after it.
    #
    # 1. A call ends: with its replies, or with StoreAway after a lost connection, `timeout` without a reply, `patience`
    #    in the queue, or at once while AWAY.
    # 2. Nothing is sent twice: calls of a lost pipeline fail, since Redis may have executed them.
    # 3. One dial at a time. After a connection that worked is lost, the first dial is at once, and calls wait for it
    #    (OPENING); after a failed one, or a timeout, calls fail (AWAY) and dials are `backoff` apart.
    # 4. A success is a pipeline that was replied to, not a dial: a Redis that accepts connections and then refuses
    #    all commands (READONLY) is dialled with growing pauses.
    # 5. The queue is empty in AWAY and CLOSED.
    #
    # Hazards: an idle connection that a firewall has dropped (PING each `idle` seconds; a closed one is noticed before
    # it is used); a frozen Redis, whose kernel still accepts connections (the login times out); a cancelled caller,
    # whose commands are skipped if they have not been sent.

    def __init__(
        self,
        dial: Callable[[], Awaitable["Wire"]],
        *,
        place: str,
        limits: LinkLimits,
        chance: Callable[[], float],
        on_change: Callable[[], None],
    ) -> None:
        self.state = LinkState.OPENING
        self.reason = "not reached yet"
        self._dial = dial
        self._limits = limits
        self._chance = chance
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._outage = Outage(f"Redis at {place}", self._loop.time)
        self._wire: Wire | None = None
        self._queue: deque[_Call] = deque()
        self._waiting = 0
        self._due = asyncio.Event()
        self._failures = 0
        self._task: asyncio.Task[None] | None = self._loop.create_task(self._work())

    def submit(self, commands: Sequence[Command]) -> "asyncio.Future[list[Reply | ReplyError]]":
        """Send commands in order. The result is a reply for each, or `StoreAway`."""
        future: asyncio.Future[list[Reply | ReplyError]] = self._loop.create_future()
        call = _Call(commands, future, self._loop.time())
        if self.state in (LinkState.AWAY, LinkState.CLOSED):
            call.fail(self.reason)
        elif self._waiting + len(commands) > self._limits.waiting:
            call.fail("too many commands wait for it")
        elif not commands:
            future.set_result([])
        else:
            self._queue.append(call)
            self._waiting += len(commands)
            self._due.set()
        return future

    async def close(self) -> None:
        """Fail what waits, and leave no task and no socket. Twice is once."""
        task, self._task = self._task, None
        if task is not None:
            await cancel(task)
        self._become(LinkState.CLOSED, "the link is closed")
        await self._disconnect()

    # The task.

    async def _work(self) -> None:
        while True:
            if self._wire is None:
                await self._open()
            elif not self._queue:
                await self._idle()
            else:
                await self._exchange()

    async def _open(self) -> None:
        try:
            self._wire = await self._dial()
        except WireLost as lost:
            await self._fail(lost.reason)
        else:
            self._outage.ended()
            self._become(LinkState.UP, "")

    async def _idle(self) -> None:
        self._due.clear()
        try:
            async with asyncio.timeout(self._limits.idle):
                await self._due.wait()
        except TimeoutError:
            ping = self.submit([("PING",)])
            ping.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        if self._wire is not None and await self._wire.is_stale():
            await self._disconnect()
            self._become(LinkState.OPENING, "connection lost")

    async def _exchange(self) -> None:
        batch, calls = self._take()
        if self._wire is None or not batch:
            return
        reason: str | None = None
        replies = iter(calls)

        def receive(reply: Reply | ReplyError) -> None:
            nonlocal reason
            call, why = next(replies), not_ready(reply)
            if why is None:
                call.receive(reply)
            else:
                reason = why
                call.fail(why)

        try:
            await self._wire.exchange(batch, receive, within=self._limits.timeout)
        except WireLost as lost:
            for call in calls:
                call.fail(lost.reason)
            is_first = not self._failures and lost.reason != "timed out"
            await (self._reopen(lost.reason) if is_first else self._fail(lost.reason))
        except BaseException:
            for call in calls:
                call.fail("the link is closed")
            raise
        else:
            if reason is not None:
                await self._fail(reason)
            else:
                self._failures = 0

    def _take(self) -> tuple[list[Command], list[_Call]]:
        """The commands of the next pipeline, and to which call each belongs."""
        batch: list[Command] = []
        calls: list[_Call] = []
        expired = self._loop.time() - self._limits.patience
        while self._queue and len(batch) < self._limits.batch:
            call = self._queue[0]
            if not call.sent and call.since < expired:
                call.fail("it is too slow for what is asked of it")
            # A call that has failed or was cancelled sends no more.
            end = call.sent + self._limits.batch - len(batch)
            part = [] if call.future.done() else call.commands[call.sent : end]
            batch.extend(part)
            calls.extend([call] * len(part))
            call.sent += len(part)
            self._waiting -= len(part)
            if call.future.done() or call.sent == len(call.commands):
                self._waiting -= len(call.commands) - call.sent
                self._queue.popleft()
        return batch, calls

    async def _reopen(self, reason: str) -> None:
        """Dial at once; calls wait for it."""
        self._failures = 1
        await self._disconnect()
        self._become(LinkState.OPENING, reason)

    async def _fail(self, reason: str) -> None:
        """Fail all calls, also those that come in a while, and return when it is time to dial."""
        self._failures += 1
        self._become(LinkState.AWAY, reason)
        self._outage.failed(reason)
        await self._disconnect()
        await asyncio.sleep(self._limits.backoff.pause(self._failures, self._chance()))

    async def _disconnect(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    def _become(self, state: LinkState, reason: str) -> None:
        self.reason = reason
        if state in (LinkState.AWAY, LinkState.CLOSED):
            while self._queue:
                self._queue.popleft().fail(reason)
            self._waiting = 0
        if state is not self.state:
            self.state = state
            self._on_change()
