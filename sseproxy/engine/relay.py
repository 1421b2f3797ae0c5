"""How does a body move from the upstream to the client, and what happens while neither side sends anything?"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from sseproxy.core.errors import OriginError
from sseproxy.core.flow import BodySource, Bypass, Writable
from sseproxy.core.frames import release_frames
from sseproxy.core.stream.tally import Sum, Tally
from sseproxy.core.stream.transfer import CloseReason, Transfer, TransferStats
from sseproxy.timers import Clock, Timer


class Downstream(Writable, Protocol):
    """The client's side of a body. No call may raise. Within `write` the relay may hear that the client is behind."""

    def unsent(self) -> int:
        """How many bytes are kept."""

    def acknowledged(self) -> int | None:
        """Bytes acknowledged since the connection opened; ``None`` if none are outstanding, or it is not known."""

    def finish(self) -> None:
        """The body is complete."""

    def abort(self) -> None:
        """End a body that is not complete so that the client cannot take it for a complete one."""


class Relay:
    """One `Transfer` on an asyncio clock, between a `BodySource` and a `Downstream`.

    ended: done with the reason when the body has ended. error: what the upstream did wrong, if it did.

    clock: the event loop, or `Timers` that many relays share.
    """

    # A driver: it moves bytes and wakes up. What leaves, when and how it ends is decided by the transfer.
    #
    # 1. Push: `receive_data` runs from the upstream's read to the client's write in one call stack. No task, no queue,
    #    and no timer that is touched.
    # 2. The timer is lazy: armed for the earliest deadline; when it fires, the transfer tells what is left. It is armed
    #    anew only where a deadline can have come nearer, and may fire too early, which does no harm.
    # 3. `ended` is set once, before source and downstream are closed, since both may call back.
    # 4. A defect of the transfer ends the body with INTERNAL_ERROR. If even its last words fail, it ends without.
    # 5. While `_bypass` is set, pieces go to the downstream that the transfer has not counted. Whatever decides by the
    #    transfer takes it from `transfer`, which ends the bypass first. `receive_data` and `receive_events` do not: the
    #    source has ended it before it calls them.
    #
    # Hazards: a client that blocks within the `write` that gives it the last bytes; a client that leaves within its own
    # `abort`; a source that connects after the end; a deadline that was computed while the client was blocked has no
    # idle timeout in it (`_idle_missed`).

    __slots__ = (
        "_bypass",
        "_clock",
        "_downstream",
        "_due",
        "_idle_missed",
        "_source",
        "_time",
        "_timer",
        "_transfer",
        "ended",
        "error",
    )

    def __init__(self, transfer: Transfer, downstream: Downstream, *, clock: Clock | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._clock: Clock = loop if clock is None else clock
        self._time = loop.time
        self._downstream = downstream
        self._source: BodySource | None = None
        self._timer: Timer | None = None
        self._due = 0.0  # when the timer expires
        self._idle_missed = False  # the clock was read while the client was behind: without the idle timeout
        self._transfer = transfer
        self._bypass: Bypass | None = None
        self.error: OriginError | None = None
        self.ended: asyncio.Future[CloseReason] = loop.create_future()

    @property
    def transfer(self) -> Transfer:
        """What decides about the body, after it has counted all that the client got. Ends the bypass."""
        self.close_bypass()
        return self._transfer

    @property
    def stats(self) -> TransferStats:
        """What the client got so far. To read this every now and then costs the next event nothing."""
        if self._bypass is not None:
            self._count(self._bypass.passed())
        return self._transfer.stats

    @property
    def close_reason(self) -> CloseReason | None:
        return self._transfer.close_reason

    def start(self) -> None:
        """Send what is due already, and begin to watch the clock."""
        self._transmit()
        self._arm()

    # The upstream's side (a `BodySink`).

    def connect(self, source: BodySource) -> None:
        """The body comes from `source`, which is paused and aborted as need be."""
        self._source = source
        if self.ended.done():
            self._source = None
            source.abort()
        elif self.transfer.delivery.is_blocked:
            source.pause()

    def receive_data(self, data: bytes) -> None:
        transfer = self._transfer
        try:
            out = transfer.forward(data, self._time())
        except Exception as error:  # noqa: BLE001 - else the caller would take a defect for the upstream's fault
            self._fail(error)
            return
        if out:
            self._downstream.write(out)
        if transfer.close_reason is not None:
            self._end()

    def receive_events(self, data: bytes, events: int, now: float) -> None:
        """`receive_data` for what is known to be whole events (an `EventSink`)."""
        transfer = self._transfer
        try:
            out = transfer.forward_events(data, events, now)
        except Exception as error:  # noqa: BLE001 - as in `receive_data`
            self._fail(error)
            return
        if out:
            self._downstream.write(out)
        if transfer.close_reason is not None:
            self._end()

    def open_bypass(self, bypass: Bypass, tally: Tally) -> Writable | None:
        if not self._transfer.may_bypass(tally):
            return None
        self._bypass = bypass
        return self._downstream

    def close_bypass(self) -> None:
        bypass, self._bypass = self._bypass, None
        if bypass is not None:
            self._count(bypass.end_bypass())

    def receive_eof(self) -> None:
        try:
            self.transfer.receive_eof(now=self._time())
        except Exception as error:  # noqa: BLE001 - else the client would wait for an end that has come
            self._fail(error)
            return
        self._transmit()

    def receive_error(self, error: OriginError) -> None:
        self.error = error
        self.stop(error.reason)

    def stop(self, reason: CloseReason) -> None:
        """End for a reason that neither bytes nor time brought about."""
        try:
            self.transfer.receive_error(reason, now=self._time())
        except Exception as error:  # noqa: BLE001 - the transfer cannot even end: break the body off without words
            _report(error)
            self.transfer.close(CloseReason.INTERNAL_ERROR, clean=False, now=self._time())
        self._transmit()

    def stop_soon(self, reason: CloseReason) -> None:
        """End where the body can end: an event stream at the next event boundary."""
        self.apply(lambda: self.transfer.stop(reason, now=self._time()))

    # The client's side.

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self.transfer.pause_writing(unsent=self._downstream.unsent(), now=self._time())
        if self._source is not None:
            self._source.pause()
        look = self.transfer.delivery.next_look()
        if look is not None:
            self._arm_for(look)

    def resume_writing(self) -> None:
        """The client has taken all there was."""
        self.transfer.resume_writing(now=self._time())
        if self._source is not None and not self.ended.done():
            self._source.resume()
        if self._idle_missed:
            self._idle_missed = False
            self._arm()

    def connection_lost(self) -> None:
        """The client is gone."""
        self.stop(CloseReason.CLIENT_GONE)

    # Time.

    def drain(self, *, at: float | None, deadline: float | None, retry: int | None = None) -> None:
        """Come to an end; see `Transfer.drain`. Times are the event loop's."""
        self.apply(lambda: self.transfer.drain(at=at, deadline=deadline, retry=retry))

    def apply(self, change: Callable[[], None]) -> None:
        """Call `change`, which does something to the transfer that can bring a deadline forward.

        A defect in it ends the body, as one in the way of bytes does: the caller may be a callback of the event loop.
        """
        try:
            self.close_bypass()  # `change` may have the transfer at hand
            change()
        except Exception as error:  # noqa: BLE001 - else the client would wait for an end that never comes
            self._fail(error)
            return
        self.rearm()

    def rearm(self) -> None:
        """Look at the clock again, after something was done to the transfer that can bring a deadline forward."""
        self._transmit()
        self._arm()

    def _arm(self) -> None:
        deadline, look = self.transfer.next_deadline(), self.transfer.delivery.next_look()
        if self.transfer.delivery.is_blocked:
            self._idle_missed = True
        if look is not None:
            deadline = look if deadline is None else min(deadline, look)
        if deadline is not None:
            self._arm_for(deadline)

    def _arm_for(self, deadline: float) -> None:
        """Wake up then, or earlier: to look at the clock too often does no harm, and costs less than a new timer."""
        if self._timer is not None:
            if self._due <= deadline:
                return
            self._timer.cancel()
            self._timer = None
        if not self.ended.done():
            self._due = deadline
            self._timer = self._clock.call_at(deadline, self._wake_up)

    def _wake_up(self) -> None:
        self._timer = None
        now = self._time()
        downstream = self._downstream
        try:
            self.transfer.delivery.look(unsent=downstream.unsent(), acknowledged=downstream.acknowledged(), now=now)
            self.transfer.handle_timeout(now=now)
        except Exception as error:  # noqa: BLE001 - else the stream would stay open without a clock
            self._fail(error)
            return
        self._transmit()
        self._arm()

    # Private.

    def _fail(self, error: Exception) -> None:
        """End the body after a defect of sseproxy."""
        _report(error)
        self.stop(CloseReason.INTERNAL_ERROR)

    def _count(self, passed: Sum | None) -> None:
        if passed is not None:
            self._transfer.count(passed)

    def _transmit(self) -> None:
        out = self._transfer.data_to_send()
        if out:
            self._downstream.write(out)
        if self._transfer.close_reason is not None:
            self._end()

    def _end(self) -> None:
        reason = self._transfer.close_reason
        if reason is None or self.ended.done():
            return
        self.ended.set_result(reason)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        source, self._source = self._source, None  # which leads back here
        if source is not None:
            source.abort()
        if self._transfer.clean:
            self._downstream.finish()
        else:
            self._downstream.abort()


def _report(error: Exception) -> None:
    """Hand a defect of sseproxy to the event loop, which logs it."""
    loop = asyncio.get_running_loop()
    loop.call_exception_handler({"message": "unexpected error in the body of a response", "exception": error})
    release_frames(error)
