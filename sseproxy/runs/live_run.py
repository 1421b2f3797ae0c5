"""What happens to one run of this process: who writes it, who reads it, and when is it over?"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from sseproxy.core.errors import InternalError, OriginError, SSEProxyError
from sseproxy.core.flow import BodySink
from sseproxy.core.frames import release_frames
from sseproxy.core.journal.cursor import Flavour
from sseproxy.core.journal.cutter import Cut
from sseproxy.core.journal.gap import Missing
from sseproxy.core.journal.intake import Intake
from sseproxy.core.journal.positions import Mark
from sseproxy.core.journal.rules import Detach, JournalPolicy
from sseproxy.core.journal.run import RunEnd, RunHead, RunPhase, RunState
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.journal.window import Entry, WindowLimits, WindowPolicy
from sseproxy.core.stream.ends import row
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.relay import Relay
from sseproxy.journal.catching_up import CatchingUp
from sseproxy.journal.fanout import Fanout
from sseproxy.journal.place import Place
from sseproxy.journal.reader import Reader
from sseproxy.origins.exchange import HttpExchange
from sseproxy.runs.budget import RunBudget
from sseproxy.runs.reopening import Reopening
from sseproxy.stores.journal import JournalStore, Outcome
from sseproxy.timers import Clock, Timer


@dataclass(frozen=True, slots=True)
class Refusal:
    """The beginning of a response that is no stream, for several clients. is_whole: there is no more of it."""

    status: int
    reason: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """What an upstream has answered.

    head: what readers get of it; ``None`` if it is no stream that can be kept. connect: lets its body flow into a
    relay. copy: reads the beginning of a response that is no stream.
    """

    exchange: HttpExchange
    head: RunHead | None
    connect: Callable[[Relay], None]
    copy: Callable[[], Awaitable[Refusal]]


#: Asks the upstream, from behind the id that it has given to an event, if it has given one.
Open: TypeAlias = Callable[[bytes | None], Awaitable[Opened]]


@dataclass(frozen=True, slots=True)
class Belonging:
    """To which stream, and to which reader, a run belongs.

    route: its name. scope: the digest of route, login and key. reader: the digest of route and login, which is all
    that is asked for where the name of the run is the key. owner: whose runs without readers it counts among.
    limits: of the route.
    """

    route: str
    policy: JournalPolicy
    limits: LimitPolicy
    scope: bytes
    reader: bytes
    owner: bytes


class Host(Protocol):
    """What all runs of a process share."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    store: JournalStore
    catching_up: CatchingUp
    budget: RunBudget
    chance: Callable[[], float]

    @property
    def is_draining(self) -> bool: ...

    def left(self, run: "LiveRun") -> None:
        """The last reader of `run` has gone, and it goes on without."""

    def attended(self, run: "LiveRun") -> None:
        """`run` has a reader."""

    def slept(self, run: "LiveRun") -> None:
        """`run` sleeps."""

    def ended(self, run: "LiveRun") -> None:
        """`run` is over: it has ended, or was refused."""

    def forget(self, run: "LiveRun") -> None:
        """Drop `run`, which is over or sleeps."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Do `work` in a task of its own."""


class Attendance:
    """A client that reads a run, or waits for its head. It counts until `abort`, which may be called again."""

    __slots__ = ("_run",)

    def __init__(self, run: "LiveRun") -> None:
        self._run: LiveRun | None = run

    def abort(self) -> None:
        """The client has gone."""
        run, self._run = self._run, None
        if run is not None:
            run.leave()


class LiveRun:
    """One run of this process.

    attended: clients that read it or wait for its head. opened: done once it has a head, was refused, or has ended.
    refusal: why there is no head: the exchange, for its one client; a copy of its beginning, for several; an error.
    left_at: when the last client went; ``None`` while there is one.
    """

    # Plan: the phases are those of `RunState`. What writes is one relay with an `Intake` for each connection of the
    # upstream (`_relay`), and before it the task that opens it (`_task`). Readers only see the fan-out.
    #
    #   OPENING ──head──► OPEN ──end──► ENDED                     an answer
    #      │               │ ▲
    #      └─► REFUSED     ▼ │ (reopened)
    #                 REOPENING ──attempts spent, or no reader──► ASLEEP ──reader──► REOPENING     a feed
    #
    # Invariants:
    # 1. There is at most one task or one relay; `_release_upstream` ends either, and what they still say is not heard.
    # 2. Readers get events in the call stack in which they came, once the store has them.
    # 3. The first end counts. Readers hear of it when they have all that was before it.
    # 4. The request of an answer is forgotten when it was sent; that of a feed while it has no upstream.
    # 5. A run that nobody reads is stopped, put to sleep, or goes on, by `detach` alone, and by the limits of the host.
    #
    # Hazards: a client that leaves while the upstream is asked; a stop in the moment in which the upstream answers
    # (the exchange has no owner then); a reader that comes while the run is being left.

    def __init__(self, state: RunState, belongs: Belonging, host: Host) -> None:
        keep = belongs.policy.keep
        self.state = state
        self.belongs = belongs
        self.attended = 0
        self.left_at: float | None = host.loop.time()
        self.is_superseded = False
        self.opened: asyncio.Future[None] = host.loop.create_future()
        self.refusal: HttpExchange | Refusal | SSEProxyError | None = None
        self.first_mark = state.window.base
        self.started_at = host.loop.time()
        self.ended_at: float | None = None
        self._host = host
        is_answer = belongs.policy.is_answer
        events = float("inf") if keep.events is None else keep.events
        limits = WindowLimits(events, keep.bytes, float("inf") if is_answer else keep.age)
        policy = WindowPolicy(limits, limits, WindowLimits(events=1), is_counted=True, is_held=is_answer)
        self.share = host.budget.share(self)
        self.fanout = Fanout(
            state.window, host.loop, policy, host.catching_up, budget=self.share, held=self if is_answer else None
        )
        self._plan = StreamPlan()
        self._open: Open | None = None
        self._relay: Relay | None = None
        self._task: asyncio.Task[None] | None = None
        self._may_detach: Callable[[], bool] = lambda: True
        self._detach_timer: Timer | None = None
        self._reopening = Reopening(belongs.policy.reopen, host.chance)

    @property
    def name(self) -> bytes:
        return self.state.name

    @property
    def is_begun(self) -> bool:
        """True once the upstream was asked, or has answered."""
        return self._task is not None or self.state.phase is not RunPhase.OPENING

    @property
    def is_answer(self) -> bool:
        return self.belongs.policy.is_answer

    @property
    def is_spare(self) -> bool:
        """True if nothing comes any more, for now or for ever, and no client reads it."""
        return not self.attended and self.state.phase in (RunPhase.ENDED, RunPhase.ASLEEP)

    @property
    def relay(self) -> Relay | None:
        """What moves the bytes of the upstream, if it is connected."""
        return self._relay

    @property
    def end_reason(self) -> CloseReason:
        """Why the run has ended."""
        return CloseReason.INTERNAL_ERROR if self.state.end is None else self.state.end.reason

    @property
    def plan(self) -> StreamPlan:
        """How the upstream is listened to."""
        return self._plan

    # The upstream.

    def begin(self, plan: StreamPlan, open_upstream: Open, *, may_detach: Callable[[], bool]) -> None:
        """Ask the upstream. may_detach: whether the run may go on without its client before there is a head."""
        self._plan = plan
        self._may_detach = may_detach
        if not self.is_answer:
            self._open = open_upstream
        self._task = self._host.spawn(self._bring(open_upstream(None)))

    def adopt(self, plan: StreamPlan, opened: Opened, open_upstream: Open) -> None:
        """Go on with a stream that a client has opened without asking for one."""
        self._plan = plan
        if not self.is_answer:
            self._open = open_upstream
        self._connect(opened)

    def wake(self, plan: StreamPlan, open_upstream: Open) -> None:
        """A feed that sleeps has a reader: ask the upstream from behind what is kept."""
        if self.state.phase is RunPhase.ASLEEP:
            self._plan, self._open = plan, open_upstream
            self.state.wake()
            self._reopening.renew()
            self._task = self._host.spawn(self._claim())

    async def _bring(self, opening: Awaitable[Opened]) -> None:
        """Wait for the upstream's answer to the first request."""
        try:
            opened = await opening
        except SSEProxyError as error:
            release_frames(error)
            self._refuse(error)
            return
        except Exception as error:  # noqa: BLE001 - else the clients would wait for ever
            self._host.loop.call_exception_handler({"message": "a run could not be opened", "exception": error})
            release_frames(error)
            self._refuse(InternalError("An internal error occurred.", cause=repr(error)))
            return
        if opened.head is not None:
            self._connect(opened)
        elif self.attended == 1:
            self._refuse(opened.exchange)
        else:
            try:
                self._refuse(await opened.copy())
            finally:
                opened.exchange.abort()

    def take_refusal(self) -> HttpExchange | Refusal | SSEProxyError | None:
        """Return why the run has no head. An exchange belongs to the caller from now on."""
        refusal = self.refusal
        if isinstance(refusal, HttpExchange):
            self.refusal = None
        return refusal

    def _refuse(self, refusal: HttpExchange | Refusal | SSEProxyError) -> None:
        self.refusal = refusal
        self._task = self._open = None
        self.state.refused()
        self._over()

    def _connect(self, opened: Opened) -> None:
        """Let the body of the upstream flow into the window."""
        assert opened.head is not None
        self._task = None
        loop = self._host.loop
        intake = Intake(self._plan, self._take, now=loop.time())
        relay = self._relay = Relay(intake, _Inlet(self), clock=self._host.clock)
        if self.state.phase is RunPhase.REOPENING:
            missing = self.state.resumed()
            if missing is not None:
                self._append(missing, loop.time())
        else:
            self.state.opened(opened.head)
        if not self.opened.done():
            self.opened.set_result(None)
        self._reopening.note_success(loop.time())
        relay.start()
        opened.connect(relay)

    def _take(self, cut: Cut, now: float) -> None:
        for block in self.state.take(cut):
            self._append(block, now)

    def _append(self, entry: Entry, now: float) -> None:
        self._host.store.append(self.state.name, self.state.token, entry, self._stored, now=now)

    def _stored(self, outcome: Outcome) -> None:
        if outcome is Outcome.STORED:
            self.fanout.publish()
        else:
            raise RuntimeError(f"the store refuses an entry of a run of its own: {outcome}")

    def upstream_over(self, relay: Relay) -> None:
        """The upstream's connection is over, as its relay says."""
        if relay is not self._relay:
            return
        self._relay = None
        reason = relay.close_reason or CloseReason.INTERNAL_ERROR
        if self.is_answer:
            self._end(reason, is_clean=relay.transfer.clean)
        elif not self.attended:
            self._sleep()
        elif reason is CloseReason.KILLED:
            self._give_up(reason)
        else:
            self._try_again(reason)

    # A feed's upstream again.

    def _try_again(self, reason: CloseReason) -> None:
        delay = self._reopening.next_delay(now=self._host.loop.time(), window=self.state.window)
        if delay is None:
            self._give_up(reason)
        else:
            self.state.broken()
            self._task = self._host.spawn(self._reopen(delay))

    async def _claim(self) -> None:
        """Write with another token: whatever wrote before must not go on."""
        token = await self._host.store.claim(self.state.name, self.state.token)
        if token is None:
            self._give_up(CloseReason.UPSTREAM_ERROR)
        else:
            self.state.claimed(token)
            await self._reopen(0.0)

    async def _reopen(self, delay: float) -> None:
        assert self._open is not None
        if delay:
            await asyncio.sleep(delay)
        try:
            opened = await self._open(self.state.last_own_id)
        except Exception as error:  # noqa: BLE001 - else the readers would wait for events that never come
            release_frames(error)
            if not isinstance(error, SSEProxyError):
                self._host.loop.call_exception_handler({"message": "a feed could not be reopened", "exception": error})
            self._task = None
            self._try_again(error.reason if isinstance(error, OriginError) else CloseReason.CONNECT_ERROR)
            return
        if opened.head is not None:
            self._connect(opened)
            return
        self._task = None
        head = opened.exchange.head
        opened.exchange.abort()
        if self._reopening.is_final(head.status):
            self._end(CloseReason.UPSTREAM_END, is_clean=True)
        else:
            self._reopening.note_refusal(head.headers)
            self._try_again(CloseReason.UPSTREAM_ERROR)

    def _give_up(self, reason: CloseReason) -> None:
        """All attempts are spent: let the readers go. One that comes back has the upstream asked again."""
        error = RunBroken(reason)
        self._sleep()
        self.fanout.dismiss(error)

    def _sleep(self) -> None:
        self._release_upstream(CloseReason.ABANDONED)
        self.state.sleep()
        self._host.slept(self)

    def shut(self) -> None:
        """The process ends: whatever is under way is broken off."""
        if self.is_answer:
            self.stop(CloseReason.DRAIN)
        elif self.state.is_under_way and self.state.phase is not RunPhase.ASLEEP:
            self.drop()

    # Readers.

    def attend(self) -> Attendance:
        """Count a client, which has to `abort` its attendance."""
        self.attended += 1
        if self.attended == 1:
            self._cancel_detach()
            self._host.attended(self)
            self.left_at = None
        return Attendance(self)

    def leave(self) -> None:
        """One client has gone."""
        self.attended -= 1
        if self.attended:
            return
        if isinstance(self.refusal, HttpExchange):
            self.refusal.abort()
        self.left_at = self._host.loop.time()
        if not self.state.is_under_way:
            return
        detach = self.belongs.policy.detach
        if self.state.phase is RunPhase.OPENING and not self._may_detach():
            self._withdraw()
        elif self.is_superseded:
            self.stop(CloseReason.SUPERSEDED)
        elif detach is Detach.OFF or (self._host.is_draining and not self.is_answer):
            self.drop()
        else:
            if not isinstance(detach, Detach):
                self._detach_timer = self._host.clock.call_at(self.left_at + detach, self.drop)
            self._host.left(self)

    def join(
        self,
        sink: BodySink,
        mark: Mark,
        missing: Missing | None,
        flavour: Flavour,
        *,
        named: bytes = b"",
        has_primer: bool = False,
        on_end: Callable[[], None],
    ) -> tuple[Reader, Place]:
        """Return a reader of what is behind `mark`, and its place in the window. See `Reader`."""
        reader = Reader(sink, flavour, self._host.loop, named=named, has_primer=has_primer, on_end=on_end)
        place = reader.place(self.fanout)
        place.begin(mark, missing)
        return reader, place

    # How it ends.

    def halve(self) -> None:
        """Memory is short: keep half of what is kept."""
        self.fanout.halve()

    def forget(self) -> None:
        """Memory is short: keep nothing of a run that is spare."""
        self._host.forget(self)

    def drop(self) -> None:
        """Nobody has read the run for too long, or there are too many such runs."""
        self._cancel_detach()
        if self.is_answer:
            self.stop(CloseReason.ABANDONED)
        elif self.state.phase is RunPhase.OPENING:
            self._withdraw()
        elif self.state.phase is not RunPhase.ASLEEP:
            self._sleep()

    def supersede(self) -> None:
        """A newer run has the key."""
        self.is_superseded = True
        if not self.attended:
            self.stop(CloseReason.SUPERSEDED)

    def stop(self, reason: CloseReason = CloseReason.STOPPED) -> None:
        """End at once, and close the upstream. Nothing happens if the run has ended."""
        if self.state.is_under_way:
            self._end(reason, is_clean=row(reason).is_clean)

    def _withdraw(self) -> None:
        """The client has gone before the upstream has answered, and may not leave a run behind."""
        self._release_upstream(CloseReason.CLIENT_GONE)
        self.state.refused()
        self._over()

    def _end(self, reason: CloseReason, *, is_clean: bool) -> None:
        self._release_upstream(reason)
        end = self.state.finish(reason, is_clean=is_clean)
        self._host.spawn(self._close(self.state.token, end))
        self.fanout.end()
        self._over()

    async def _close(self, token: int, end: RunEnd) -> None:
        await self._host.store.close(self.state.name, token, end)

    def _over(self) -> None:
        self._cancel_detach()
        self._open = None
        self.ended_at = self._host.loop.time()
        if not self.opened.done():
            self.opened.set_result(None)
        self._host.ended(self)

    def _release_upstream(self, reason: CloseReason) -> None:
        self._open = None
        task, self._task = self._task, None
        relay, self._relay = self._relay, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        if relay is not None:
            relay.stop(reason)

    def _cancel_detach(self) -> None:
        if self._detach_timer is not None:
            self._detach_timer.cancel()
            self._detach_timer = None

    # What readers of an answer do to its upstream (`Held`).

    def hold(self) -> None:
        if self._relay is not None:
            self._relay.pause_writing()

    def go_on(self) -> None:
        if self._relay is not None:
            self._relay.resume_writing()


class RunBroken(OriginError):
    """The upstream of a feed is away, for `reason`. Its readers come back."""

    def __init__(self, reason: CloseReason) -> None:
        super().__init__("The stream broke off.", proxy_status="http_response_incomplete")
        self.reason = reason


class _Inlet:
    """The window, as the relay of an upstream sees it (a `Downstream`). The intake hands the events over itself."""

    __slots__ = ("_run",)

    def __init__(self, run: LiveRun) -> None:
        self._run: LiveRun | None = run

    def write(self, data: bytes) -> None:
        """Never called with anything: see `Intake`."""

    def unsent(self) -> int:
        return 0

    def acknowledged(self) -> int | None:
        return None

    def finish(self) -> None:
        self.abort()

    def abort(self) -> None:
        run, self._run = self._run, None
        if run is not None and run.relay is not None:
            run.upstream_over(run.relay)
