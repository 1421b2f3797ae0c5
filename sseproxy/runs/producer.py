"""How do the events of an upstream come into a run, and what happens when its connection is over?"""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeAlias

from sseproxy.core.errors import InternalError, OriginError, SSEProxyError
from sseproxy.core.frames import release_frames
from sseproxy.core.journal.cutter import Cut
from sseproxy.core.journal.intake import Intake
from sseproxy.core.journal.run import RunPhase, RunState
from sseproxy.core.journal.window import Block
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.relay import Relay
from sseproxy.journal.fanout import Fanout
from sseproxy.origins.http import HttpExchange
from sseproxy.runs.reopening import Reopening
from sseproxy.runs.terms import Opened, OpenUpstream, ResponseCopy, Surroundings
from sseproxy.runs.traffic import Traffic
from sseproxy.stores.journal import Outcome

_STORED = Outcome.STORED  # looked up once, and not for each event

#: Why a run has no head: the exchange, for its one client; a copy of its beginning, for several; an error.
Refused: TypeAlias = HttpExchange | ResponseCopy | SSEProxyError


class Run(Protocol):
    """The run of a producer."""

    @property
    def attended(self) -> int:
        """How many clients read it, or wait for its head."""

    @property
    def fanout(self) -> Fanout:
        """Where its window is read."""

    def note_head(self) -> None:
        """The upstream has answered with a stream, for the first time or again."""

    def refuse(self, refused: Refused) -> None:
        """The upstream has answered with something else, or not at all."""

    def end(self, reason: CloseReason, *, is_clean: bool) -> None:
        """Nothing comes any more."""

    def sleep(self) -> None:
        """No client reads the feed, and its upstream is gone."""

    def give_up(self, reason: CloseReason) -> None:
        """The upstream cannot be reached again."""


class Producer:
    """What writes one run. most: attempts to reach the upstream again, for a feed; ``None``: it is an answer.

    relay: moves the bytes of the upstream while it is connected. plan: how it is listened to. traffic: what has come.
    """

    # Plan: a task asks the upstream (`_task`), and a relay with an `Intake` moves what it sends (`relay`). Behind the
    # relay's end an answer has ended; a feed has another task, or sleeps.
    #
    # Invariants:
    # 1. There is a task, or a relay, or neither. `release` ends either, and what they still say is not heard.
    # 2. Events are in the store before the run hears of them, all in the call stack in which they came.
    # 3. The request of an answer is forgotten when it was sent; that of a feed when the feed sleeps or ends.
    #
    # Hazards: a task that is cancelled in the moment in which the upstream answers. The opening aborts its exchange
    # then; no wait comes between the two. A task that is cancelled before its first step asks nothing (`_discard`).

    def __init__(self, state: RunState, run: Run, around: Surroundings, *, most: int | None) -> None:
        self.relay: Relay | None = None
        self.plan = StreamPlan()
        self.traffic = Traffic()
        self._state = state
        self._run = run
        self._around = around
        self._is_feed = most is not None
        self._reopening = Reopening(most or 0, around.chance)
        self._newest: Block | None = None  # what the store is given
        self._open: OpenUpstream | None = None
        self._discard: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        """True if the upstream was asked, or is connected."""
        return self._task is not None or self.relay is not None

    def begin(self, plan: StreamPlan, open_upstream: OpenUpstream, *, discard: Callable[[], None]) -> None:
        """Ask the upstream. discard: called if `release` comes before that."""
        self._note(plan, open_upstream)
        self._discard = discard
        self._task = self._around.spawn(self._bring(open_upstream))

    def adopt(self, plan: StreamPlan, opened: Opened, open_upstream: OpenUpstream) -> None:
        """Go on with a stream that is open already."""
        self._note(plan, open_upstream)
        self._connect(opened)

    def wake(self, plan: StreamPlan, open_upstream: OpenUpstream) -> None:
        """Ask the upstream of a feed that has slept, from behind what is kept."""
        self._note(plan, open_upstream)
        self._reopening.renew()
        self._task = self._around.spawn(self._claim())

    def release(self, reason: CloseReason) -> None:
        """Ask for nothing more, and close the upstream."""
        self._open = None
        discard, self._discard = self._discard, None
        if discard is not None:
            discard()
        task, self._task = self._task, None
        relay, self.relay = self.relay, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        if relay is not None:
            relay.stop(reason)

    def close(self) -> None:
        """The run is forgotten, and has no upstream. Nothing may be called after it but `release`."""
        del self._run  # which leads back here: a circle would keep its window until the garbage collector comes

    # What readers of an answer do (`Held`).

    def hold(self) -> None:
        if self.relay is not None:
            self.relay.pause_writing()

    def go_on(self) -> None:
        if self.relay is not None:
            self.relay.resume_writing()

    # The upstream's body.

    def over(self, relay: Relay) -> None:
        """The upstream's connection is over, as its relay says."""
        if relay is not self.relay:
            return
        self.relay = None
        reason = relay.close_reason or CloseReason.INTERNAL_ERROR
        if not self._is_feed:
            self._run.end(reason, is_clean=relay.transfer.clean)
        elif not self._run.attended:
            self._run.sleep()
        elif reason is CloseReason.KILLED:
            self._run.give_up(reason)
        else:
            self._try_again(reason)

    def _take(self, cut: Cut, now: float) -> None:
        state, store, stored = self._state, self._around.store, self._stored
        for block in state.take(cut):
            self._newest = block
            store.append(state.name, state.token, block, stored, now=now)

    def _stored(self, outcome: Outcome) -> None:
        if outcome is not _STORED:
            raise RuntimeError(f"the store refuses an entry of a run of its own: {outcome}")
        if self._newest is None:
            self._run.fanout.publish()
        else:
            self._run.fanout.publish_block(self._newest)

    def _connect(self, opened: Opened) -> None:
        """Let the body of the upstream flow into the window."""
        assert opened.head is not None
        self._task = None
        now, state = self._around.loop.time(), self._state
        inlet = _Inlet(self)
        inlet.relay = relay = self.relay = Relay(
            Intake(self.plan, self._take, self.traffic.loose, now=now), inlet, clock=self._around.clock
        )
        self.traffic.follow(relay.stats)
        if state.phase is RunPhase.REOPENING:
            missing = state.resumed()
            if missing is not None:
                self._newest = None
                self._around.store.append(state.name, state.token, missing, self._stored, now=now)
        else:
            state.opened(opened.head)
        self._around.store.lend(state.name, state.token, self.traffic.loose)
        self._run.note_head()
        self._reopening.note_success(now)
        relay.start()
        opened.connect(relay)

    # The upstream's answer.

    def _note(self, plan: StreamPlan, open_upstream: OpenUpstream) -> None:
        self.plan = plan
        self._open = open_upstream if self._is_feed else None

    async def _bring(self, open_upstream: OpenUpstream) -> None:
        """Wait for the answer to the first request."""
        self._discard = None
        try:
            opened = await open_upstream(None)
        except Exception as error:  # noqa: BLE001 - else the clients would wait for ever
            release_frames(error)
            self._refuse(error if isinstance(error, SSEProxyError) else self._report(error))
            return
        if opened.head is not None:
            self._connect(opened)
        elif self._run.attended == 1:
            self._refuse(opened.exchange)
        else:
            try:
                self._refuse(await opened.copy())
            finally:
                opened.exchange.abort()

    def _refuse(self, refused: Refused) -> None:
        self._task = self._open = None
        self._run.refuse(refused)

    async def _claim(self) -> None:
        """Write with another token: what has written before must not go on."""
        token = await self._around.store.claim(self._state.name, self._state.token)
        if token is None:
            self._run.give_up(CloseReason.UPSTREAM_ERROR)
            return
        self._state.claimed(token)
        await self._reopen(0.0)

    def _try_again(self, reason: CloseReason) -> None:
        delay = self._reopening.next_delay(now=self._around.loop.time(), window=self._state.window)
        if delay is None:
            self._run.give_up(reason)
        else:
            self._state.broken()
            self._task = self._around.spawn(self._reopen(delay))

    async def _reopen(self, delay: float) -> None:
        assert self._open is not None
        if delay:
            await asyncio.sleep(delay)
        try:
            opened = await self._open(self._state.last_own_id)
        except Exception as error:  # noqa: BLE001 - else the readers would wait for events that never come
            release_frames(error)
            known = error if isinstance(error, SSEProxyError) else self._report(error)
            self._task = None
            self._try_again(known.reason if isinstance(known, OriginError) else CloseReason.CONNECT_ERROR)
            return
        if opened.head is not None:
            self._connect(opened)
            return
        self._task = None
        head = opened.exchange.head
        opened.exchange.abort()
        if self._reopening.is_final(head.status):
            self._run.end(CloseReason.UPSTREAM_END, is_clean=True)
        else:
            self._reopening.note_refusal(head.headers)
            self._try_again(CloseReason.UPSTREAM_ERROR)

    def _report(self, error: Exception) -> InternalError:
        context = {"message": "unexpected error while the upstream of a run was asked", "exception": error}
        self._around.loop.call_exception_handler(context)
        return InternalError("An internal error occurred.", cause=repr(error))


class RunBroken(OriginError):
    """The upstream of a feed is away, for `reason`. Its readers come back."""

    def __init__(self, reason: CloseReason) -> None:
        super().__init__("The stream broke off.", proxy_status="http_response_incomplete")
        self.reason = reason


class _Inlet:
    """The window, as the relay of an upstream sees it (a `Downstream`). The intake hands the events over itself."""

    __slots__ = ("_producer", "relay")

    def __init__(self, producer: Producer) -> None:
        self._producer: Producer | None = producer
        self.relay: Relay | None = None

    def write(self, data: bytes) -> None:
        """Never called with anything: see `Intake`."""

    def unsent(self) -> int:
        return 0

    def acknowledged(self) -> int | None:
        return None

    def finish(self) -> None:
        self.abort()

    def abort(self) -> None:
        producer, self._producer = self._producer, None
        relay, self.relay = self.relay, None
        if producer is not None and relay is not None:
            producer.over(relay)
