"""What happens to one run of this process: who reads it, and when is it over?"""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final, Protocol

from sseproxy.core.journal.positions import Mark
from sseproxy.core.journal.rules import Detach
from sseproxy.core.journal.run import RunEnd, RunPhase, RunState
from sseproxy.core.journal.window_policy import WindowLimits, WindowPolicy
from sseproxy.core.stream.ends import row
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.run_record import RunRecord
from sseproxy.journal.fanout import Fanout
from sseproxy.origins.http import HttpExchange
from sseproxy.runs.producer import Producer, Refused, RunBroken
from sseproxy.runs.terms import Belonging, Opened, OpenUpstream, Surroundings
from sseproxy.timers import Timer

#: Behind this mark a run begins.
FIRST_MARK: Final[Mark] = (1, 0)


class Host(Surroundings, Protocol):
    """The desk, as its runs see it."""

    @property
    def is_draining(self) -> bool: ...

    def left(self, run: "LiveRun") -> None:
        """The last reader of `run` has gone, and it goes on without."""

    def emptied(self, run: "LiveRun") -> None:
        """The last reader of `run` has gone, and it does not go on: it counts no longer if it is forgotten."""

    def attended(self, run: "LiveRun") -> None:
        """`run` has a reader."""

    def slept(self, run: "LiveRun") -> None:
        """`run` sleeps."""

    def ended(self, run: "LiveRun") -> None:
        """`run` is over: it has ended, or was refused."""

    def forget(self, run: "LiveRun") -> None:
        """Drop `run`, which is over or sleeps."""


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

    belongs: to which stream and login. number: by which operators know it. attended: clients that read it or wait for
    its head; readers: that have done so far. unread: seconds for which it has gone on without one. grace: for which it
    waits for its second client at least, since the first has only asked for its URL. opened: done once it has a head,
    was refused, or has ended. producer: what writes it. fanout: where it is read. share: of the memory of all runs.
    is_superseded: a newer run has its key. rested_at: when it has ended or fallen asleep, in seconds of the event loop.
    """

    # Plan: the phases are those of `RunState`. What writes is the `Producer`; readers only see the fan-out.
    #
    #   OPENING ──head──► OPEN ──end──► ENDED
    #      │               │ ▲            ▲                       only a feed is reopened, and sleeps:
    #      └─► REFUSED     ▼ │ reopened   │ 204, 4xx
    #                   REOPENING ────────┴──attempts spent──► ASLEEP ──reader──► REOPENING
    #
    # A feed also falls asleep, from OPEN or REOPENING, when it has had no reader for `detach`.
    #
    # Invariants:
    # 1. The first end counts. Readers hear of it when they have all that was before it.
    # 2. A run without a reader is stopped, put to sleep, or goes on, by `detach` and the limits of the host alone.
    #
    # Hazards: a client that leaves while the upstream is asked; a refused exchange whose one client leaves before it
    # has taken it; a reader that comes while the run is being left.

    def __init__(self, state: RunState, belongs: Belonging, host: Host, number: int) -> None:
        keep = belongs.policy.keep
        self.state = state
        self.belongs = belongs
        self.number = number
        self.attended = self.readers = 0
        self.unread = 0.0
        self.grace = 0.0
        self.is_superseded = False
        self.opened: asyncio.Future[None] = host.loop.create_future()
        self.producer = Producer(state, self, host, most=None if belongs.policy.is_answer else belongs.policy.reopen)
        self.first_mark = state.window.base
        self.started_at = host.loop.time()
        self.rested_at: float | None = None
        self._host = host
        is_answer = belongs.policy.is_answer
        events = inf if keep.events is None else keep.events
        limits = WindowLimits(events, keep.bytes, inf if is_answer else keep.age)
        policy = WindowPolicy(limits, limits, WindowLimits(events=1), is_counted=True, is_held=is_answer)
        self.share = host.budget.share(self)
        held = self.producer if is_answer else None
        self.fanout = Fanout(state.window, host.loop, policy, host.catching_up, budget=self.share, held=held)
        self._refused: Refused | None = None
        self._may_detach: Callable[[], bool] | None = None  # until the upstream has answered: it leads to the request
        self._detach_timer: Timer | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._host.loop

    @property
    def name(self) -> bytes:
        return self.state.name

    @property
    def is_begun(self) -> bool:
        """True once the upstream was asked, or has answered."""
        return self.producer.is_busy or self.state.phase is not RunPhase.OPENING

    @property
    def is_answer(self) -> bool:
        return self.belongs.policy.is_answer

    @property
    def is_spare(self) -> bool:
        """True if nothing comes any more, for now or for ever, and no client reads it."""
        return not self.attended and self.state.phase in (RunPhase.ENDED, RunPhase.ASLEEP)

    @property
    def is_asleep(self) -> bool:
        """True for a feed whose upstream is asked when the next reader comes."""
        return self.state.phase is RunPhase.ASLEEP

    @property
    def end_reason(self) -> CloseReason:
        """Why the run has ended."""
        return CloseReason.INTERNAL_ERROR if self.state.end is None else self.state.end.reason

    # The upstream.

    def begin(
        self,
        plan: StreamPlan,
        open_upstream: OpenUpstream,
        *,
        may_detach: Callable[[], bool],
        discard: Callable[[], None] = lambda: None,
    ) -> None:
        """Ask the upstream.

        may_detach: whether the run may go on without its client before there is a head. discard: called if the run
        is over before the upstream was asked.
        """
        self._may_detach = may_detach
        self.producer.begin(plan, open_upstream, discard=discard)

    def adopt(self, plan: StreamPlan, opened: Opened, open_upstream: OpenUpstream) -> None:
        """Go on with a stream that a client has opened without asking for one."""
        self.producer.adopt(plan, opened, open_upstream)

    def wake(self, plan: StreamPlan, open_upstream: OpenUpstream) -> None:
        """Ask the upstream of a feed that sleeps; nothing happens if it does not."""
        if self.state.phase is RunPhase.ASLEEP:
            self.state.wake()
            self._host.attended(self)
            self.producer.wake(plan, open_upstream)

    def take_refused(self) -> Refused | None:
        """Return why the run has no head. An exchange belongs to the caller from now on."""
        refused = self._refused
        if isinstance(refused, HttpExchange):
            self._refused = None
        return refused

    def restore(self, *, rested_at: float) -> None:
        """The run is one of the process before: it had ended, or slept."""
        self.first_mark = FIRST_MARK
        self.rested_at = rested_at
        self.note_head()
        if self.state.end is not None:
            self.fanout.end()
        self.fanout.tidy()

    # The producer's side (`producer.Run`).

    def note_head(self) -> None:
        self._may_detach = None
        if not self.opened.done():
            self.opened.set_result(None)

    def refuse(self, refused: Refused | None) -> None:
        self._refused = refused
        self.state.refused()
        self._over()

    def end(self, reason: CloseReason, *, is_clean: bool) -> None:
        self.producer.release(reason)
        end = self.state.finish(reason, is_clean=is_clean)
        _ = self._host.spawn(self._close(self.state.token, end))
        self.fanout.end()
        self._over()

    def sleep(self) -> None:
        self.producer.release(CloseReason.ABANDONED)
        self.state.sleep()
        self.rested_at = self._host.loop.time()
        self._host.slept(self)

    def give_up(self, reason: CloseReason) -> None:
        self.sleep()
        self.fanout.dismiss(RunBroken(reason))

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
        self.readers += 1
        if self.readers > 1:
            self.grace = 0.0
        if self.attended == 1:
            self._cancel_detach()
            self._host.attended(self)
        return Attendance(self)

    def leave(self) -> None:
        """One client has gone."""
        self.attended -= 1
        if self.attended:
            return
        if isinstance(self._refused, HttpExchange):
            self._refused.abort()
        if not self.state.is_under_way or self.state.phase is RunPhase.ASLEEP:
            self._host.emptied(self)
            return
        detach = self.belongs.policy.detach
        if not isinstance(detach, Detach) or (detach is Detach.OFF and self.grace):
            detach = max(self.grace, 0.0 if isinstance(detach, Detach) else detach)
        if self.state.phase is RunPhase.OPENING and self._may_detach is not None and not self._may_detach():
            self._cancel_opening()
        elif self.is_superseded:
            self.stop(CloseReason.SUPERSEDED)
        elif detach is Detach.OFF or (self._host.is_draining and not self.is_answer):
            self.drop()
        else:
            if not isinstance(detach, Detach):
                self._detach_timer = self._host.clock.call_at(self._host.loop.time() + detach, self.drop)
            self._host.left(self)

    # How it ends.

    def halve(self) -> None:
        """Memory is short: keep half of what is kept."""
        self.fanout.halve()

    def forget(self) -> None:
        """Memory is short: keep nothing of a run that is spare."""
        self._host.forget(self)

    def drop(self) -> None:
        """Stop an answer, or let a feed sleep: no client has read it for too long, or too many runs have no reader."""
        self._cancel_detach()
        if self.is_answer:
            self.stop(CloseReason.ABANDONED)
        elif self.state.phase is RunPhase.OPENING:
            self._cancel_opening()
        elif self.state.phase is not RunPhase.ASLEEP:
            self.sleep()

    def supersede(self) -> None:
        """A newer run has the key."""
        self.is_superseded = True
        if not self.attended:
            self.stop(CloseReason.SUPERSEDED)

    def stop(self, reason: CloseReason = CloseReason.STOPPED) -> None:
        """End at once, and close the upstream. Nothing happens if the run has ended."""
        if self.state.is_under_way:
            self.end(reason, is_clean=row(reason).is_clean)

    def record(self, reason: CloseReason) -> RunRecord:
        """Return what the log says of the run, which is over for `reason`."""
        traffic, seconds = self.producer.traffic, self._host.loop.time() - self.started_at
        return RunRecord(
            self.belongs.route,
            self.number,
            reason,
            traffic.events,
            traffic.bytes,
            seconds,
            self.readers,
            self.unread,
        )

    # Private.

    def _cancel_opening(self) -> None:
        """The client has gone before the upstream has answered, and may not leave a run behind."""
        self.producer.release(CloseReason.CLIENT_GONE)
        self.refuse(None)

    async def _close(self, token: int, end: RunEnd) -> None:
        await self._host.store.close(self.state.name, token, end)

    def _over(self) -> None:
        self._cancel_detach()
        self.rested_at = self._host.loop.time()
        self.note_head()
        self._host.ended(self)

    def _cancel_detach(self) -> None:
        if self._detach_timer is not None:
            self._detach_timer.cancel()
            self._detach_timer = None
