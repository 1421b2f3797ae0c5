"""What happens in one simulated history? Actions are done to a room, its clients, its upstreams, and written down."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from sseproxy.core.journal.run import RunPhase
from sseproxy.runs.live_run import LiveRun
from tests.sim import history
from tests.sim.client import Client
from tests.sim.plans import Plan
from tests.sim.room import Room
from tests.sim.upstream import Body, Service, Source

T = TypeVar("T")

_WAITS = (0.01, 0.3, 1.0, 3.0, 7.0, 15.0, 31.0, 65.0, 130.0)
_THINKING = (0.0, 0.0, 0.0, 0.5, 8.0)
_LOGINS = ("ann", "bob")
_KEYS = ("k", "l")
_BOGUS = ("AAAAAAAAAAA.1-3", "AAAAAAAAAAAAAAAAAAAAAA.1-1", "elsewhere", "AAAAAAAAAAE.1-99999")


class World:
    """A history under way. defects: what was reported to the event loop."""

    def __init__(self, plan: Plan) -> None:
        self.loop = asyncio.get_running_loop()
        self.plan = plan
        self.setting = plan.setting
        self.history: list[history.Event] = []
        self.defects: list[BaseException] = []
        self.loop.set_exception_handler(
            lambda _, context: self.defects.append(context.get("exception") or Lonely(context))
        )
        self.log = self.history.append
        self.service = Service(self.setting, self.log, self.loop.time)
        self.room = Room(self.setting, self.service, self.log)
        self.clients: list[Client] = []
        self._actions: dict[str, Callable[[int, int], object]] = {
            name.removeprefix("do_").replace("_", " "): getattr(self, name)
            for name in dir(self)
            if name.startswith("do_")
        }

    async def play(self) -> None:
        for action in self.plan.actions:
            waiting = self._actions[action.name](action.one, action.other)
            if asyncio.iscoroutine(waiting):
                await waiting
            self.count_detached()
        await self.settle()

    def count_detached(self) -> None:
        """No more runs go on without a reader than the route allows (J12)."""
        limits = self.setting.detached, self.setting.per_client
        runs = [run for run in self.room.desk if not run.attended and run.is_begun and run.state.is_under_way]
        runs = [run for run in runs if run.state.phase is not RunPhase.ASLEEP]
        of_one = max(Counter(run.belongs.owner for run in runs).values(), default=0)
        for number, most in zip((len(runs), of_one), limits, strict=True):
            assert most is None or number <= most, f"{number} runs without a reader, and {most} are allowed"

    async def settle(self) -> None:
        """Everything comes to its end: all clients read again, then leave, and what is kept grows old."""
        for client in self.clients:
            client.within = None
            client.unpause()
        await asyncio.sleep(3.0)
        for body in self.bodies:
            if self.setting.is_answer:
                body.finish()
        await asyncio.sleep(3.0)
        for client in self.clients:
            client.leave()
        for source in self.service.sources.values():
            source.replies.clear()
        await asyncio.sleep(self.setting.age + 1000.0)
        for body in self.bodies:
            body.finish()
        await asyncio.sleep(self.setting.age + 1000.0)
        room = self.room
        self.log(
            history.Measured(
                at=self.loop.time(), bytes=max(room.budget.peak, room.budget.total), runs=0, readers=len(self.clients)
            )
        )
        self.log(
            history.Measured(
                at=self.loop.time(),
                bytes=room.budget.total,
                runs=len(room.desk) + len(room.store),
                readers=sum(not client.is_over for client in self.clients),
                is_last=True,
            )
        )
        await room.desk.close()

    @property
    def sources(self) -> Sequence[Source]:
        return tuple(self.service.sources.values())

    @property
    def bodies(self) -> Sequence[Body]:
        return [body for source in self.sources for body in source.bodies if not body.is_over]

    # The upstream.

    def do_emit(self, one: int, other: int) -> None:
        """Some events, each in a piece, or all in one, or all but the last piece of the last one."""
        if not self.sources:
            return
        source = pick(self.sources, one)
        number = 1 + other % 4 * (3 if other & 8 else 1)  # several, so that some are loose
        for _ in range(number):
            source.produce()
        if (body := source.body) is not None:
            if other & 16:
                body.send_at_once(number)
            if other & 32:
                body.flush(20 + other)
            else:
                body.flush()

    def do_piece(self, one: int, other: int) -> None:
        if self.bodies:
            body = pick(self.bodies, one)
            if not other % 3:
                body.source.produce()
            body.flush(1 + other)

    def do_silent(self, one: int, other: int) -> None:
        if not self.sources:
            return
        source = pick(self.sources, one)
        source.produce(is_silent=True)
        if source.body is not None:
            source.body.flush()

    def do_comment(self, one: int, other: int) -> None:
        if self.bodies:
            pick(self.bodies, one).send_raw((b": alive\n\n", b":\r\n", b"\n", b"event: nothing\n\n")[other % 4])

    def do_finish(self, one: int, other: int) -> None:
        if self.bodies:
            pick(self.bodies, one).finish()

    def do_break(self, one: int, other: int) -> None:
        if self.bodies:
            pick(self.bodies, one).break_off()

    def do_reply(self, one: int, other: int) -> None:
        """How the upstream answers the next requests."""
        if not self.sources:
            return
        source = pick(self.sources, one)
        source.replies.append(other)
        source.think = _THINKING[other // 8 % len(_THINKING)]

    # The clients.

    def do_ask(self, one: int, other: int) -> None:
        self.ask(one, other)

    def do_resume(self, one: int, other: int) -> None:
        """A client comes back with the last position that it has."""
        client = pick(self.clients, one)
        client.leave()
        self.again(client, client.positions[-1] if client.positions else "", other)

    def do_return(self, one: int, other: int) -> None:
        """A client comes with any position that anyone was given; perhaps it is another login's."""
        known = [(client, position) for client in self.clients for position in client.positions]
        if known:
            client, position = known[(one * 64 + other) % len(known)]
            self.ask(_LOGINS.index(client.login) + 2 * _KEYS.index(client.key[0]) ^ (not other % 5), other, position)

    def do_oldest(self, one: int, other: int) -> None:
        self.ask(one, other, "oldest")

    def do_bogus(self, one: int, other: int) -> None:
        self.ask(one, other, pick(_BOGUS, other))

    def do_url(self, one: int, other: int) -> None:
        """A client asks for a run by its URL."""
        client = pick(self.clients, one)
        if client.run is not None and client.run in list(self.room.desk) and self.setting.is_answer:
            position = client.positions[-1] if client.positions and other % 2 else ""
            self.again(client, position, other, run=client.run)

    def do_leave(self, one: int, other: int) -> None:
        pick(self.clients, one).leave()

    def do_pause(self, one: int, other: int) -> None:
        pick(self.clients, one).pause()

    def do_unpause(self, one: int, other: int) -> None:
        pick(self.clients, one).unpause()

    def do_within(self, one: int, other: int) -> None:
        """Something happens in the middle of the next piece that a client gets."""
        client = pick(self.clients, one)
        if not client.is_over:
            deeds: list[Callable[[], None]] = [client.pause, client.leave]
            deeds += [partial(self.blink, client), partial(self.do_stop, one, other)]
            client.within = pick(deeds, other)

    def blink(self, client: Client) -> None:
        client.pause()
        client.unpause()

    def do_stop(self, one: int, other: int) -> None:
        self.stop(one, other)

    def do_stop_other(self, one: int, other: int) -> None:
        self.stop(one, other, is_other=True)

    def stop(self, one: int, other: int, *, is_other: bool = False) -> None:
        """Stop the run of a client by its URL: its own login, or another one."""
        client = pick(self.clients, one)
        run = client.run
        if run is None or not self.setting.is_answer:
            return
        login = _LOGINS[not _LOGINS.index(client.login)] if is_other else client.login
        found = self.room.desk.named(run.name, login=self.room.belonging(client.key, login).login)
        if found is not None:
            found.stop()
        self.log(history.Stopped(at=self.loop.time(), source=self.room.sources[run].name, login=login))

    # Time.

    async def do_turn(self, one: int, other: int) -> None:
        for _ in range(1 + one % 3):
            await asyncio.sleep(0)

    async def do_wait(self, one: int, other: int) -> None:
        await asyncio.sleep(_WAITS[other % len(_WAITS)])

    # The process.

    def do_drain(self, one: int, other: int) -> None:
        self.log(history.Drained(at=self.loop.time()))
        self.room.desk.drain()

    async def do_restart(self, one: int, other: int) -> None:
        """The process ends, and another one begins, which has nothing of it."""
        at = self.loop.time()
        self.log(history.Fault(at=at, done=at))
        for client in self.clients:
            client.break_off()
        await asyncio.sleep(0)  # what served them is cancelled
        await self.room.desk.close()
        self.log(history.Lost(at=at))
        self.room = Room(self.setting, self.service, self.log, self.room)

    # Private.

    def ask(self, one: int, other: int, position: str = "", run: LiveRun | None = None) -> None:
        """A new connection. The bits of `one` are who asks for what, those of `other` how."""
        login, key = _LOGINS[one & 1], _KEYS[one >> 1 & 1]
        number = len(self.clients) + 1
        takes_ids = bool(position) or other % 4 != 0
        client = Client(number, login, key, self.log, self.loop.time, takes_ids=takes_ids, position=position, run=run)
        client.is_browser = takes_ids and other % 4 == 1
        client.declares = not self.setting.is_answer or one < 48
        client.positions += [position] if position and position != "oldest" else []
        self.clients.append(client)
        if self.setting.is_by_run:
            key = f"{key}{number}"
        self.log(
            history.Requested(
                at=self.loop.time(),
                client=number,
                request=number,
                key=key,
                login=login,
                position=position,
                starts_latest=self.setting.starts_latest,
                source=self.room.sources[run].name if run is not None else "",
            )
        )
        making = partial(self.make, number, key, login, one, other)
        client.task = self.loop.create_task(self.room.serve(client, making, may_detach=bool(other & 8)))

    def make(self, number: int, key: str, login: str, one: int, other: int) -> Source:
        """Return what the upstream sends to a request: an answer of its own, or the feed."""
        if not self.setting.is_answer:
            return self.service.source(f"f-{login}-{key}", key, login)
        source = self.service.source(f"a{number}", key, login)
        source.think = _THINKING[one // 4 % len(_THINKING)]
        source.replies.append(other if one >= 52 else 0)
        return source

    def again(self, client: Client, position: str, other: int, run: LiveRun | None = None) -> None:
        self.ask(_LOGINS.index(client.login) + 2 * _KEYS.index(client.key[0]), other, position, run)


class Lonely(Exception):
    """Something was reported without an exception."""


def pick(row: Sequence[T], index: int) -> T:
    """Return one of a row, whatever the index."""
    return row[index % len(row)]
