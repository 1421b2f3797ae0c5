"""How does a test talk to a session, so that it reads like a conversation?

    Playbook(session) >> data(b"data: x\\n") >> sleep(15) << sent(b": heartbeat\\n")

`>>` is what happens to the session, `<<` is what it must do then. A step without `<<` has an expectation too:
data goes straight through, everything else is answered with nothing. So nothing that leaves can go unnoticed,
provided that the script is finished: `playbooks` in tests/core/conftest.py does it at the end of each test.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from sseproxy.core.limits import LimitPolicy
from sseproxy.core.stream.dialects import Dialect, Marker
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.ends import row
from sseproxy.core.stream.error_events import StreamError, error_event
from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy, WhiteSpace
from sseproxy.core.stream.kinds import NDJSON
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import CloseReason, StreamTransfer, Transfer

#: More timeouts than this in one sleep, and the session is asking for the same moment for ever.
_TIMEOUTS_PER_SLEEP = 10_000

#: Bytes that wait for a client when it begins to block.
_UNSENT = 1_000_000

Action = Callable[["Playbook"], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens. through: what leaves if the session changes nothing and has nothing to say."""

    text: str
    action: Action
    through: bytes = b""


@dataclass(frozen=True, slots=True)
class Sent:
    """The session sends exactly this, all in all, in answer to the last step."""

    data: bytes

    def __str__(self) -> str:
        return f"sent({self.data!r})" if self.data else "nothing"


@dataclass(frozen=True, slots=True)
class Closed:
    """The last step has ended the stream."""

    reason: CloseReason
    clean: bool

    def __str__(self) -> str:
        return f"closed({self.reason}, clean={self.clean})"


def data(received: bytes) -> Step:
    """The upstream sends `received`."""
    return Step(f"data({received!r})", lambda book: book.session.receive_data(received, now=book.now), received)


def eof() -> Step:
    """The upstream's body is complete."""
    return Step("eof()", lambda book: book.session.receive_eof(now=book.now))


def error(reason: CloseReason) -> Step:
    """Something breaks."""
    return Step(f"error({reason})", lambda book: book.session.receive_error(reason, now=book.now))


def stop(reason: CloseReason) -> Step:
    """The stream has to end soon."""
    return Step(f"stop({reason})", lambda book: book.session.stop(reason, now=book.now))


def response() -> Step:
    """The upstream's head arrives, of an event stream."""
    return Step("response()", lambda book: _stream(book).receive_response(now=book.now))


def refusal(status: int, *, retry_after: str | None = None, body: bytes = b"") -> Step:
    """The upstream's head arrives, of something else."""
    told = StreamError("upstream_response", status, "the upstream refused", retry_after, body)
    return Step(f"refusal({status})", lambda book: _stream(book).receive_refusal(told, now=book.now))


def blocked() -> Step:
    """The client takes no more."""
    return Step("blocked()", lambda book: book.session.pause_writing(unsent=_UNSENT, now=book.now))


def progressed() -> Step:
    """The client has taken something, but not all."""

    def take_one(book: "Playbook") -> None:
        delivery = book.session.delivery
        delivery.look(unsent=delivery.unsent - 1, acknowledged=None, now=book.now)

    return Step("progressed()", take_one)


def unblocked() -> Step:
    """The client has taken all there was."""
    return Step("unblocked()", lambda book: book.session.resume_writing(now=book.now))


def drain(*, after: float | None = 0.0, within: float = 25.0, retry: int | None = None) -> Step:
    """The proxy shuts down: the stream should look for its end in `after` seconds, and has `within` seconds."""
    return Step(
        f"drain(after={after}, within={within}, retry={retry})",
        lambda book: book.session.drain(
            at=None if after is None else book.now + after, deadline=book.now + within, retry=retry
        ),
    )


def sleep(seconds: float) -> Step:
    """Time passes: the session is called at each of its deadlines, exactly then."""
    return Step(f"sleep({seconds:g})", lambda book: book.pass_time(seconds))


def late(seconds: float) -> Step:
    """Time passes unnoticed: the driver comes once, when all of it is over."""
    return Step(f"late({seconds:g})", lambda book: book.oversleep(seconds))


def sent(*parts: bytes) -> Sent:
    return Sent(b"".join(parts))


nothing = Sent(b"")


def error_of(reason: CloseReason, dialect: Dialect = Dialect.GENERIC, eol: bytes = b"\n") -> bytes:
    """The error event of an end of ours."""
    end = row(reason)
    return error_event(dialect, StreamError(reason, end.status, end.detail), eol=eol)


def closed(reason: CloseReason, *, clean: bool = True) -> Closed:
    return Closed(reason, clean)


def _nothing_happens(book: "Playbook") -> None:
    """The session was opened, and may have had something to say at once."""


def json_response() -> Step:
    """The upstream's head arrives, of JSON."""
    return Step("json_response()", lambda book: _stream(book).receive_json(now=book.now))


def _stream(book: "Playbook") -> StreamTransfer:
    assert isinstance(book.session, StreamTransfer)
    return book.session


def stream(
    *,
    interval: float | None = 15.0,
    form: HeartbeatForm = HeartbeatForm.COMMENT_LINE,
    prelude: bool = False,
    heartbeat: HeartbeatPolicy | None = None,
    timeouts: TimeoutPolicy = TimeoutPolicy(idle=None, write=None),
    dialect: Dialect = Dialect.GENERIC,
    line: int = 64 * 1024,
    end_message: EndMessage | None = None,
    marker: str | Marker | None = None,
    responded: bool = True,
    lead: float = 0.0,
    **plan: Any,
) -> StreamSession:
    """A session that begins at time 0 and, unless told otherwise, does nothing but heartbeats. plan: more of it."""
    policy = heartbeat or HeartbeatPolicy(interval=interval, form=form, prelude=prelude)
    return StreamSession(
        StreamPlan(
            heartbeat=policy,
            form=policy.form,
            timeouts=timeouts,
            limits=LimitPolicy(line=line),
            dialect=dialect,
            marker=Marker(data=marker) if isinstance(marker, str) else marker,
            **plan,
        ),
        end_message=end_message,
        responded=responded,
        lead=lead,
        now=0.0,
    )


def records(
    *,
    dialect: Dialect = Dialect.OLLAMA,
    white_space: WhiteSpace = WhiteSpace.AUTO,
    interval: float | None = 15.0,
    timeouts: TimeoutPolicy = TimeoutPolicy(idle=None, write=None),
    line: int = 64 * 1024,
    responded: bool = True,
    lead: float = 0.0,
    **plan: Any,
) -> StreamTransfer:
    """The same for a stream of NDJSON."""
    said = StreamPlan(
        heartbeat=HeartbeatPolicy(interval=interval, ndjson=white_space),
        timeouts=timeouts,
        limits=LimitPolicy(line=line),
        dialect=dialect,
        **plan,
    )
    return NDJSON.new_session(NDJSON.adapted(said), end_message=None, responded=responded, lead=lead, now=0.0)


def error_record(reason: CloseReason) -> bytes:
    """What Ollama's clients get for an end of sseproxy's own."""
    end = row(reason)
    return json.dumps({"error": end.detail, "status": end.status}).encode() + b"\n"


@dataclass(slots=True)
class _Turn:
    """One step with its answer, and what was expected of it."""

    at: float
    step: Step
    answer: bytes
    ended: Closed | None
    wanted: Sent | None = None
    wanted_end: Closed | None = None

    def is_met(self) -> bool:
        wanted = self.step.through if self.wanted is None else self.wanted.data
        return self.answer == wanted and self.ended == self.wanted_end

    def __str__(self) -> str:
        expected = [str(part) for part in (self.wanted, self.wanted_end) if part is not None]
        return f"{self.at:8g}  >> {self.step.text}" + "".join(f" << {part}" for part in expected)


@dataclass(slots=True)
class Playbook:
    """A script that is checked while it is written. An AssertionError shows all of it."""

    session: Transfer
    now: float = 0.0
    _turns: list[_Turn] = field(default_factory=list)
    _was_closed: bool = False
    _failed: bool = False

    def __post_init__(self) -> None:
        self >> Step("open()", _nothing_happens)

    def __rshift__(self, step: Step) -> Self:
        self._check_last()
        began = self.now
        step.action(self)
        self._turns.append(_Turn(began, step, self.session.data_to_send(), self._end_of_this_step()))
        return self

    def __lshift__(self, expected: Sent | Closed) -> Self:
        turn = self._turns[-1]
        if isinstance(expected, Closed):
            turn.wanted_end = expected
        else:
            turn.wanted = expected
        if expected == Sent(b"") or isinstance(expected, Closed):
            return self
        self._compare(turn.answer == expected.data)
        return self

    def finish(self) -> None:
        """No step may be left whose answer nobody looked at."""
        if not self._failed:
            self._check_last()

    def pass_time(self, seconds: float) -> None:
        """Call the session at each of its deadlines until `seconds` are over."""
        end = self.now + seconds
        for _ in range(_TIMEOUTS_PER_SLEEP):
            deadline = self.session.next_deadline()
            if deadline is None or deadline > end:
                self.now = end
                return
            self.now = max(self.now, deadline)
            self.session.handle_timeout(now=self.now)
        raise AssertionError(f"handle_timeout does not help: {self.session.next_deadline()} at {self.now}")

    def oversleep(self, seconds: float) -> None:
        self.now += seconds
        self.session.handle_timeout(now=self.now)

    def _end_of_this_step(self) -> Closed | None:
        reason = self.session.close_reason
        if reason is None or self._was_closed:
            return None
        self._was_closed = True
        return Closed(reason, self.session.clean)

    def _check_last(self) -> None:
        if self._turns:
            self._compare(self._turns[-1].is_met())

    def _compare(self, met: bool) -> None:
        if not met:
            self._failed = True
            raise AssertionError(self._story())

    def _story(self) -> str:
        turn = self._turns[-1]
        ended = "" if turn.ended is None else f" << {turn.ended}"
        wanted = turn.wanted or Sent(turn.step.through)
        wanted_end = "" if turn.wanted_end is None else f" << {turn.wanted_end}"
        script = "\n".join(str(each) for each in self._turns)
        return (
            f"the script up to here (seconds first):\n{script}\n"
            f"expected  {wanted}{wanted_end}\n"
            f"happened  {Sent(turn.answer)}{ended}"
        )


#: The fixture that makes playbooks and finishes them.
Play = Callable[[Transfer], Playbook]
