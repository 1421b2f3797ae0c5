"""How do commands find their nodes in a cluster whose slots move and whose nodes fail?"""

import asyncio
from collections.abc import Callable, Sequence

from sseproxy.core.errors import ReplyError
from sseproxy.stores.redis.dialer import Dialer, ask, first_in_turn
from sseproxy.stores.redis.guard import cancel
from sseproxy.stores.redis.line import Line, LinkLimits, LinkState, away
from sseproxy.stores.redis.outage import Outage
from sseproxy.stores.redis.ports import Command, Reply, WireLost
from sseproxy.stores.redis.slots import SlotMap, key_of, moved_to, slot_of
from sseproxy.stores.redis.urls import Address

#: How often a command follows MOVED or ASK.
_HOPS = 4

#: Seconds between two looks at the map of slots: after a sign that it has changed, while something is away, else.
_SOON, _AWAY, _STEADY = 0.05, 1.0, 15.0


class Cluster:
    """One `Line` for each primary, and the map of slots. Made in a running loop; `close` must be called.

    on_change: called when `state` may have changed. on_nodes: called after `primaries` has changed.
    """

    # One task keeps the map: it asks one node after another, known ones first, then those of the URL. Lines are made
    # for primaries as they appear and closed as they vanish.
    #
    # 1. A command goes to the owner of its slot; one without a key to any line that is up.
    # 2. MOVED and ASK are followed at once, `_HOPS` times at most; MOVED also makes the task look at the map soon.
    # 3. Calls wait for the first map only. A slot without an owner fails.
    # 4. A node that is away fails its own commands; other slots are served.
    #
    # Hazards: a node that still answers but is cut off from the others has an old map (the next one is asked in turn);
    # a primary that fails over while its line is AWAY (the task looks each second until nothing is away).

    def __init__(
        self,
        dialer: Dialer,
        *,
        limits: LinkLimits,
        chance: Callable[[], float],
        on_change: Callable[[], None],
        on_nodes: Callable[[], None],
    ) -> None:
        self.reason = "not reached yet"
        self._dialer = dialer
        self._limits = limits
        self._chance = chance
        self._on_change = on_change
        self._on_nodes = on_nodes
        self._loop = asyncio.get_running_loop()
        self._outage = Outage(f"Redis Cluster at {dialer.url.place}", self._loop.time)
        self._map = SlotMap()
        self._lines: dict[Address, Line] = {}
        self._turn = 0
        self._look = asyncio.Event()
        self._looked = asyncio.Event()  # the first attempt is over
        self._task: asyncio.Task[None] | None = self._loop.create_task(self._keep_map())

    @property
    def primaries(self) -> tuple[Address, ...]:
        """The nodes that serve slots, as far as known."""
        return self._map.primaries

    @property
    def state(self) -> LinkState:
        """UP if each primary is; AWAY if one is, or there is no map."""
        if self._task is None:
            return LinkState.CLOSED
        states = {line.state for line in self._lines.values()}
        if (not self._map.owners and self._looked.is_set()) or LinkState.AWAY in states:
            return LinkState.AWAY
        return LinkState.UP if states == {LinkState.UP} else LinkState.OPENING

    async def run_all(self, commands: Sequence[Command]) -> list[Reply | ReplyError]:
        """Send commands to their nodes. Return a reply or an error for each.

        Raises `StoreAway` if a node that is needed is away; commands of other nodes may have been executed.
        """
        if not self._looked.is_set():
            await self._looked.wait()
        replies: list[Reply | ReplyError] = [None] * len(commands)
        targets = [self._target(command) for command in commands]
        left = list(range(len(commands)))
        asking: set[int] = set()
        for _ in range(_HOPS):
            await self._send(commands, targets, left, asking, replies)
            left = [at for at in left if self._is_elsewhere(replies[at])]
            if not left:
                break
            asking = set()
            for at in left:
                targets[at] = moved_to(replies[at], targets[at])
                if replies[at].code == "ASK":
                    asking.add(at)
        return replies

    async def close(self) -> None:
        """Leave no task and no socket."""
        task, self._task = self._task, None
        if task is not None:
            await cancel(task)
        self._looked.set()
        await self._set_map(SlotMap())

    def key_for_each_node(self, stem: bytes) -> list[bytes]:
        """Return keys that begin with `stem`, one for each primary."""
        found: dict[Address, bytes] = {}
        for number in range(100 * len(self.primaries)):
            key = b"%b:%d" % (stem, number)
            owner = self._map.owner(slot_of(key))
            if owner is not None:
                found.setdefault(owner, key)
        return list(found.values())

    # Commands.

    def _target(self, command: Command) -> Address:
        key = key_of(command)
        if key is not None:
            owner = self._map.owner(slot_of(key))
        else:
            self._turn += 1
            in_turn = first_in_turn(self.primaries, self._turn)
            ready = [each for each in in_turn if self._line(each).state is LinkState.UP]
            owner = next(iter(ready or in_turn), None)
        if owner is None:
            self._look.set()
            raise away("no node serves this slot" if self._map.owners else self.reason)
        return owner

    async def _send(
        self,
        commands: Sequence[Command],
        targets: Sequence[Address],
        left: Sequence[int],
        asking: set[int],
        replies: list[Reply | ReplyError],
    ) -> None:
        """Send what is `left` to its targets, in order for each; put the replies in their places."""
        groups: dict[Address, list[int]] = {}
        for at in left:
            groups.setdefault(targets[at], []).append(at)
        calls = []
        for address, members in groups.items():
            batch: list[Command] = []
            for at in members:
                batch.extend([("ASKING",), commands[at]] if at in asking else [commands[at]])
            calls.append(self._line(address).submit(batch))
        results = await asyncio.gather(*calls, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        for members, result in zip(groups.values(), results, strict=True):
            answers = iter(result if isinstance(result, list) else ())
            for at in members:
                if at in asking:
                    next(answers)
                replies[at] = next(answers)

    def _is_elsewhere(self, reply: Reply | ReplyError) -> bool:
        if not isinstance(reply, ReplyError) or reply.code not in ("MOVED", "ASK"):
            return False
        if reply.code == "MOVED":
            self._look.set()
        return True

    def _line(self, address: Address) -> Line:
        line = self._lines.get(address)
        if line is None:
            line = self._lines[address] = Line(
                lambda: self._dialer.dial_at(address),
                place=f"{address[0]}:{address[1]}",
                limits=self._limits,
                chance=self._chance,
                on_change=self._note_change,
            )
        return line

    def _note_change(self) -> None:
        self._look.set()
        self._on_change()

    # The map.

    async def _keep_map(self) -> None:
        while True:
            self._look.clear()
            await self._learn()
            self._looked.set()
            self._on_change()
            await asyncio.sleep(_SOON)
            try:
                async with asyncio.timeout(_STEADY if self.state is LinkState.UP else _AWAY):
                    await self._look.wait()
            except TimeoutError:
                pass

    async def _learn(self) -> None:
        known = [each for each in self.primaries if self._line(each).state is LinkState.UP]
        self._turn += 1
        for address in [*first_in_turn(known, self._turn), *first_in_turn(self._dialer.url.hosts, self._turn)]:
            try:
                found = await self._ask_map(address)
            except WireLost as lost:
                self.reason = lost.reason
                continue
            if found.owners:
                self._outage.ended()
                if found != self._map:
                    await self._set_map(found)
                return
            self.reason = "it is no cluster, or serves no slots yet"
        self._outage.failed(self.reason)

    async def _ask_map(self, address: Address) -> SlotMap:
        wire = await self._dialer.dial_at(address)
        try:
            return SlotMap.read(await ask(wire, "CLUSTER", "SLOTS", within=self._limits.timeout), address)
        finally:
            await wire.close()

    async def _set_map(self, found: SlotMap) -> None:
        before, self._map = self.primaries, found
        gone = [self._lines.pop(each) for each in list(self._lines) if each not in found.owners]
        for address in found.primaries:
            self._line(address)
        for line in gone:
            await line.close()
        if found.primaries != before:
            self._on_nodes()
