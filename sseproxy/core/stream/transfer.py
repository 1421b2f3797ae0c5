"""How does any response body travel: its clocks, its backpressure, and its one end?"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import StrEnum

from sseproxy.core.stream.delivery import DeliveryWatch
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.error_events import StreamError
from sseproxy.core.stream.tally import Sum, Tally
from sseproxy.core.stream.timeouts import TimeoutPolicy, Timer, TimerTable


class CloseReason(StrEnum):
    """Why a stream ended. There is exactly one for each stream; what it means is a row of `ends`."""

    UPSTREAM_END = "upstream_end"
    UPSTREAM_ERROR = "upstream_error"
    INTERNAL_ERROR = "internal_error"
    IDLE_TIMEOUT = "idle_timeout"
    MAX_DURATION = "max_duration"
    RESPONSE_TIMEOUT = "response_timeout"
    CONNECT_ERROR = "connect_error"
    CLIENT_GONE = "client_gone"
    CLIENT_ERROR = "client_error"
    CLIENT_STALLED = "client_stalled"
    DRAIN = "drain"
    KILLED = "killed"
    STOPPED = "stopped"
    BEHIND = "behind"
    SUPERSEDED = "superseded"
    ABANDONED = "abandoned"


@dataclass(slots=True)
class TransferStats:
    """What happened so far. Times are the driver's clock, in seconds; sizes are bytes. closed_at: when it ended."""

    opened_at: float
    last_upstream_at: float
    first_byte_at: float | None = None
    closed_at: float | None = None
    longest_silence: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    events: int = 0
    heartbeats: int = 0
    heartbeats_before_response: int = 0
    heartbeats_skipped: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of_whole(cls, size: int, *, now: float) -> "TransferStats":
        """Of a body of `size` bytes that came, and goes, in one piece."""
        first = now if size else None
        return cls(opened_at=now, last_upstream_at=now, first_byte_at=first, bytes_in=size, bytes_out=size)

    def received(self, size: int, *, now: float) -> None:
        """Count `size` bytes of the upstream."""
        self.bytes_in += size
        self.heard(now=now)
        if self.first_byte_at is None:
            self.first_byte_at = now

    def heard(self, *, now: float) -> None:
        """The upstream has said something: a silence is over."""
        self.heard_last(now=now)
        self.last_upstream_at = now

    def heard_last(self, *, now: float) -> None:
        """The stream ends: the silence that has lasted until now counts, too."""
        self.longest_silence = max(self.longest_silence, now - self.last_upstream_at)

    def skipped(self, why: str) -> None:
        self.heartbeats_skipped[why] = self.heartbeats_skipped.get(why, 0) + 1


class Transfer:
    """A response body on its way, changed in nothing. Bytes and time go in; bytes and a deadline come out.

    Used as it is for all that is not an event stream. is_answer: see `TimeoutPolicy.idle_of`.
    After every call, send what `data_to_send` gives, then look at `close_reason`: once it is set, end the body,
    cleanly if `clean` is true and by breaking the connection otherwise. `now` is the driver's monotonic clock in
    seconds.
    """

    # 1. No method does I/O, reads a clock or calls the driver: a test plays both ends with numbers.
    # 2. Timers are lazy. Bytes only note when they came; deadlines are computed when the driver asks for the next one,
    #    so nothing is armed anew for each piece.
    # 3. `close` comes once. The first reason counts, and behind it every call does nothing.
    # 4. While the client is blocked, the upstream is paused, and its silence is not its own: the idle timeout stands
    #    still, and begins again with what was left of it.
    #
    # A kind of body extends `set_timers` and `close`, calls what it extends, and decides itself what `expire` does.

    __slots__ = (
        "_idle",
        "_last_received",
        "_out",
        "_timers",
        "clean",
        "close_reason",
        "delivery",
        "stats",
    )

    def __init__(self, timeouts: TimeoutPolicy, *, is_answer: bool = False, now: float) -> None:
        self.close_reason: CloseReason | None = None
        self.clean = False
        self.stats = TransferStats(opened_at=now, last_upstream_at=now)
        self._idle = timeouts.idle_of(is_answer=is_answer)
        self._timers = TimerTable()
        self._out: list[bytes] = []
        self._last_received = now
        self.delivery = DeliveryWatch(timeouts.write, now=now)

    # Receiving from upstream.

    def receive_data(self, data: bytes, *, now: float) -> None:
        """Take bytes of the upstream's body."""
        if self.close_reason is None and data:
            self.stats.received(len(data), now=now)
            self._last_received = now
            self._send(data)

    def forward(self, data: bytes, now: float) -> bytes:
        """`receive_data` and `data_to_send` in one call."""
        self.receive_data(data, now=now)
        return self.data_to_send()

    def forward_events(self, data: bytes, events: int, now: float) -> bytes:
        """`forward` for `events` whole events in canonical form: LF, and one blank line behind each."""
        return self.forward(data, now)

    def may_bypass(self, tally: Tally) -> bool:
        """Return whether `forward_events` would change nothing but counters for any piece of `tally`, from now on.

        That holds until another method is called. Then `count` comes first.
        """
        return False

    def count(self, passed: Sum) -> None:
        """Take note of what `forward_events` would have forwarded. Called only behind `may_bypass`."""

    def receive_eof(self, *, now: float) -> None:
        """The upstream's body is complete."""
        self.close(CloseReason.UPSTREAM_END, clean=True, now=now)

    def receive_error(self, reason: CloseReason, *, now: float) -> None:
        """Something broke, on either side; what has not arrived will not."""
        self.close(reason, clean=False, now=now)

    def stop(self, reason: CloseReason, *, now: float) -> None:
        """End soon, where the body can end. An ordinary body cannot end early."""
        self.receive_error(reason, now=now)

    # Backpressure.

    def pause_writing(self, *, unsent: int, now: float) -> None:
        """The client does not take bytes as fast as they come: `unsent` wait in the driver's buffers."""
        self.delivery.block(unsent=unsent, now=now)

    def resume_writing(self, *, now: float) -> None:
        """No bytes wait any more. The upstream was paused meanwhile: that time is no silence of its own."""
        self._last_received = min(self._last_received + self.delivery.unblock(now=now), now)

    # Time.

    def next_deadline(self) -> float | None:
        """When `handle_timeout` wants to be called; asking again after any other call is allowed, not required,
        except after `drain`, `pause_writing`, `resume_writing` and `receive_response`, which can bring it forward.

        The driver calls `delivery.look` before `handle_timeout`, and also by itself, at `delivery.next_look`.
        """
        if self.close_reason is not None:
            return None
        self.set_timers()
        return self._timers.next_deadline()

    def handle_timeout(self, *, now: float) -> None:
        """Do what is due. A spurious call does nothing."""
        if self.close_reason is not None:
            return
        self.set_timers()
        stalls_at = None if self.delivery.is_blocked else self.delivery.stalls_at()
        if stalls_at is not None and stalls_at <= now:  # whatever else is due: a vanished client takes no last words
            self.close(CloseReason.CLIENT_STALLED, clean=False, now=now)
            return
        for timer in self._timers.expired(now=now):
            self.expire(timer, now=now)
            if self.close_reason is not None:
                return

    def drain(self, *, at: float | None, deadline: float | None, retry: int | None = None) -> None:
        """Come to an end by `deadline`. An ordinary body has no place to stop early, so it may go on until then."""
        self._timers.set(Timer.DRAIN_DEADLINE, deadline)

    # Sending.

    def data_to_send(self) -> bytes:
        """All bytes that are due to the client, in the order in which they were decided."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    # What a kind of body extends.

    def set_timers(self) -> None:
        """Compute the deadlines; a kind of body adds its own. Called before the timers are looked at."""
        idle = None if self.delivery.is_blocked else self._idle
        self._timers.set(Timer.IDLE, None if idle is None else self._last_received + idle)
        self._timers.set(Timer.WRITE, self.delivery.stalls_at())

    def expire(self, timer: Timer, *, now: float) -> None:
        """Do what is due when `timer` expires."""
        match timer:
            case Timer.IDLE:
                self.close(CloseReason.IDLE_TIMEOUT, clean=False, now=now)
            case Timer.WRITE:
                self.close(CloseReason.CLIENT_STALLED, clean=False, now=now)
            case Timer.DRAIN_DEADLINE:
                self.close(CloseReason.DRAIN, clean=False, now=now)

    def close(self, reason: CloseReason, *, clean: bool, now: float) -> None:
        """End the body, without another word. clean: as if it were complete."""
        if self.close_reason is None:
            if not self.delivery.is_blocked:  # else the upstream was paused, and could not be heard
                self.stats.heard_last(now=now)
            self.stats.closed_at = now
            self.close_reason = reason
            self.clean = clean
            self._timers.stop_all()

    # Private.

    def _send(self, data: bytes) -> None:
        self._out.append(data)
        self.stats.bytes_out += len(data)


class StreamTransfer(Transfer, ABC):
    """A stream that is kept alive: what a kind of stream makes for each response (`kinds`).

    A client may have been promised it before the upstream has answered. Then one of these calls follows, or an error.
    """

    __slots__ = ()

    @abstractmethod
    def receive_response(self, *, now: float) -> None:
        """The upstream has answered with a stream of this kind, whose body follows."""

    @abstractmethod
    def receive_json(self, *, status: int = 200, now: float) -> None:
        """The upstream has answered `status` with JSON, whose body follows: it becomes one item of the stream."""

    @abstractmethod
    def receive_refusal(
        self,
        error: StreamError | None,
        reason: CloseReason = CloseReason.UPSTREAM_END,
        *,
        end_message: EndMessage | None = None,
        now: float,
    ) -> None:
        """The upstream has answered with something else: write `error` as this kind does, and end.

        reason: by default the upstream has answered. end_message: for a client that would come back for the same
        answer; behind it the end is clean.
        """
