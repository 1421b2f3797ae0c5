"""How does a process send commands to Redis, whatever kind of Redis it is?"""

import random
from collections.abc import Callable, Sequence

from sseproxy.core.errors import ReplyError
from sseproxy.stores.redis.cluster import Cluster
from sseproxy.stores.redis.dialer import Dialer
from sseproxy.stores.redis.guard import call_guarded
from sseproxy.stores.redis.line import Line, LinkLimits, LinkState, away
from sseproxy.stores.redis.ports import Argument, Command, Reply
from sseproxy.stores.redis.urls import Address, Kind, RedisURL

__all__ = ["Link", "LinkLimits", "LinkState"]


class Link:
    """The commands of one process to one Redis. Subscriptions and blocking reads have connections of their own.

    All commands that fall due in one turn of the event loop leave as one pipeline. Raises `RedisMissing` if redis-py is
    not installed.
    """

    def __init__(
        self,
        url: RedisURL,
        *,
        limits: LinkLimits = LinkLimits(),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.url = url
        self.was_reached = False
        self.dialer = Dialer(url, timeout=limits.timeout)
        self._limits = limits
        self._chance = chance
        self._was_up = False
        self._is_closed = False
        self._watchers: dict[object, Callable[[], None]] = {}
        self._node_watchers: dict[object, Callable[[], None]] = {}
        self._line: Line | None = None
        self._cluster: Cluster | None = None

    @property
    def state(self) -> LinkState:
        """Of a cluster: UP if each primary is."""
        if self._is_closed:
            return LinkState.CLOSED
        served = self._cluster or self._line
        return LinkState.OPENING if served is None else served.state

    @property
    def is_up(self) -> bool:
        """True if Redis answered, and the connection is not known to be lost."""
        return self.state is LinkState.UP

    @property
    def reason(self) -> str:
        """Why it is not up, for people; without secrets."""
        served = self._cluster or self._line
        return "not reached yet" if served is None else served.reason

    @property
    def primaries(self) -> tuple[Address, ...]:
        """The nodes of a cluster that serve slots, as far as known. Empty for any other Redis."""
        return () if self._cluster is None else self._cluster.primaries

    def start(self) -> None:
        """Dial, in a task of the running loop. The first command does it, too. Twice is once."""
        if self._is_closed or self._line is not None or self._cluster is not None:
            return
        if self.url.kind is Kind.CLUSTER:
            self._cluster = Cluster(
                self.dialer,
                limits=self._limits,
                chance=self._chance,
                on_change=self._note_change,
                on_nodes=lambda: _call_all(self._node_watchers),
            )
        else:
            self._line = Line(
                self.dialer.dial,
                place=self.url.place,
                limits=self._limits,
                chance=self._chance,
                on_change=self._note_change,
            )

    async def run(self, *command: Argument) -> Reply:
        """Send one command, in the pipeline of this loop turn. Return its reply, undecoded.

        Raises `StoreAway` (Redis is away; the command may have been executed) or `ReplyError`.
        """
        [reply] = await self.run_all([command])
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    async def run_all(self, commands: Sequence[Command]) -> list[Reply | ReplyError]:
        """Send several commands, in order and with no other between them. Return a reply or a `ReplyError` for each.

        Raises `StoreAway` if Redis is away. More than a pipeline holds are several pipelines. In a cluster the order
        holds for each node only.
        """
        self.start()
        if self._cluster is not None:
            return await self._cluster.run_all(commands)
        if self._line is None:
            raise away("the link is closed")
        return await self._line.submit(commands)

    def watch(self, on_change: Callable[[], None]) -> Callable[[], None]:
        """Call `on_change()` after each change of `is_up`, in the event loop. Return a call that ends this."""
        return _add(self._watchers, on_change)

    def watch_nodes(self, on_nodes: Callable[[], None]) -> Callable[[], None]:
        """Call `on_nodes()` after each change of `primaries`. Return a call that ends this."""
        return _add(self._node_watchers, on_nodes)

    def key_for_each_node(self, stem: bytes) -> list[bytes]:
        """Return keys that begin with `stem`, one for each primary of a cluster, or one."""
        return [stem] if self._cluster is None else self._cluster.key_for_each_node(stem)

    async def close(self) -> None:
        """Fail what waits, and leave no task and no socket. Twice is once."""
        served = self._cluster or self._line
        if served is not None:
            await served.close()
        self._is_closed = True
        self._cluster = self._line = None
        self._watchers.clear()
        self._node_watchers.clear()

    def _note_change(self) -> None:
        is_up = self.is_up
        self.was_reached = self.was_reached or is_up
        if is_up is not self._was_up:
            self._was_up = is_up
            _call_all(self._watchers)


def _add(watchers: dict[object, Callable[[], None]], callback: Callable[[], None]) -> Callable[[], None]:
    key = object()
    watchers[key] = callback

    def end() -> None:
        watchers.pop(key, None)

    return end


def _call_all(watchers: dict[object, Callable[[], None]]) -> None:
    for callback in list(watchers.values()):
        call_guarded(callback)
