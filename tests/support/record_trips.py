"""Which streams of NDJSON, cuts and moments are dangerous, and what does a session do with them, seen from outside?

Like `trips`, for records: a `RecordTrip` keeps the books and states the rules in words of its own.
"""

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from sseproxy.core.limits import MINIMUM_LINE, LimitPolicy
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.heartbeat import HeartbeatPolicy, WhiteSpace
from sseproxy.core.stream.kinds import NDJSON
from sseproxy.core.stream.ndjson import NdjsonSession
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import CloseReason
from tests.support.trips import BOM, Insertion, Move, Then, moves

#: JSON texts, each on one line. None of them is the last word of any service.
RECORDS = (
    b'{"a":1}', b'{"b": "x y"}', b"[1, 2]", b"7", b'"s"', b"null", b'{"n": {"done": true, "error": "x"}}',
    b'{"done": false}', b'{"long": "' + b"l" * 40 + b'"}', b'{"s": "\\n{\\""}', b' {"blank": 1}\t',
    b'{"cr":\r1}', '{"é": "\u2028"}'.encode(), b'{"error": null}', b"{}", b'{"done": "true"}',
)  # fmt: skip
DONE = b'{"done": true}'
LONG_DONE = b'{"context": [' + b"1, " * 20 + b'2], "done": true, "s": "x"}'
FAILED = b'{"error": "out of memory"}'
LAST = (DONE, LONG_DONE, FAILED, b'{"n": [{"done": false}], "done":true}')
_NO_RECORDS = (b"", b"", b" ", b"not json", b"\xff\xe2", b'{"half', BOM + b'{"bom": 1}', b"\r")
_ENDS = (b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"\n \n")


@dataclass(frozen=True, slots=True)
class RecordCase:
    """One example; see `trips.Case`. white_space, dialect: which heartbeats there are."""

    stream: bytes
    moves: tuple[Move, ...]
    white_space: WhiteSpace = WhiteSpace.SPACE
    dialect: Dialect = Dialect.GENERIC
    early: int | None = None
    line: int = MINIMUM_LINE
    interval: float | None = 1.0
    timeouts: TimeoutPolicy = TimeoutPolicy(idle=None, write=None)

    @property
    def heartbeat(self) -> bytes:
        """What a heartbeat is; empty if there are none."""
        if self.interval is None:
            return b""
        if self.white_space is WhiteSpace.AUTO:
            return b" " if self.dialect is Dialect.OLLAMA else b""
        return {WhiteSpace.SPACE: b" ", WhiteSpace.NEWLINE: b"\n", WhiteSpace.OFF: b""}[self.white_space]

    def session(self) -> NdjsonSession:
        plan = StreamPlan(
            heartbeat=HeartbeatPolicy(interval=self.interval, ndjson=self.white_space),
            timeouts=self.timeouts,
            limits=LimitPolicy(line=self.line),
            dialect=self.dialect,
            is_answer=True,
        )
        session = NDJSON.new_session(
            NDJSON.adapted(plan), end_message=None, responded=self.early is None, lead=0.0, now=0.0
        )
        assert isinstance(session, NdjsonSession)
        return session


def _stream(bom: bool, program: bytes, last: bytes | None, has_end: bool) -> bytes:
    """One of records alone. last: of the service."""
    lines = [RECORDS[code % len(RECORDS)] + _ENDS[code // len(RECORDS) % len(_ENDS)] for code in program]
    stream = (BOM if bom else b"") + b"".join(lines) + (b"" if last is None else last + b"\n")
    return stream if has_end else stream.removesuffix(b"\n")


def _any_stream(program: bytes) -> bytes:
    bodies = (*RECORDS, *_NO_RECORDS, *LAST)
    ends = (*_ENDS, b"")
    return b"".join(bodies[code % len(bodies)] + ends[code // len(bodies) % len(ends)] for code in program)


#: Streams of records that any reader takes.
record_streams = st.builds(
    _stream, st.sampled_from([False, False, True]), st.binary(max_size=10), st.none(), st.booleans()
)
#: Streams of a service whose last word is known.
told_streams = st.builds(
    _stream, st.sampled_from([False, False, True]), st.binary(max_size=10), st.sampled_from(LAST), st.just(True)
)
any_streams = st.one_of(st.binary(max_size=12).map(_any_stream), record_streams, told_streams)


def record_cases(streams: st.SearchStrategy[bytes]) -> st.SearchStrategy[RecordCase]:
    """Cases of these streams, with all heartbeats that there may be."""
    return st.builds(
        RecordCase,
        stream=streams,
        moves=moves,
        white_space=st.sampled_from(WhiteSpace),
        dialect=st.sampled_from([Dialect.GENERIC, Dialect.OLLAMA, Dialect.OLLAMA, Dialect.OPENAI_CHAT]),
        early=st.sampled_from([None, None, None, 0, 1, 2]),
        line=st.sampled_from([MINIMUM_LINE, 64 * 1024]),
    )


# Three readers.


def by_line(body: bytes) -> list[Any]:
    """A reader that passes over blank lines."""
    text = body.decode("utf-8-sig")
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def strictly_by_line(body: bytes) -> list[Any]:
    """A reader that parses each line, whatever is in it."""
    text = body.decode("utf-8-sig")
    return [json.loads(line) for line in text.removesuffix("\n").split("\n")]


def in_a_row(body: bytes) -> list[Any]:
    """A reader that knows no lines: one JSON text behind the other, with white space between them."""
    text, decoder, found = body.decode("utf-8-sig").lstrip(" \t\r\n"), json.JSONDecoder(), []
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip(" \t\r\n")
    return found


def lines_with_text(gone: bytes) -> list[bytes]:
    """Whole lines that are records."""
    return [line for line in gone.split(b"\n")[:-1] if line.strip(b" \t\r")]


def last_word(gone: bytes) -> str | None:
    """Return ``done`` or ``error``, if the last record that has left is the last word of Ollama.

    What may follow it on its line, against all rules, does not count.
    """
    if not gone.endswith(b"\n"):
        return None
    lines = lines_with_text(gone.removeprefix(BOM))
    try:
        said, _ = json.JSONDecoder().raw_decode(lines[-1].decode().lstrip()) if lines else (None, 0)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    if said.get("error") is not None:
        return "error"
    return "done" if said.get("done") is True else None


class RecordTrip:
    """One session, its driver, and the books. Every deviation from the books is an AssertionError."""

    def __init__(self, case: RecordCase) -> None:
        self.case = case
        self.now = 0.0
        self.wire = bytearray()  # what the client has got
        self.received = b""  # what the upstream has sent
        self.left = 0  # how much of that has left, or was dropped (a BOM)
        self.dropped = b""
        self.insertions: list[Insertion] = []
        self.skipped: dict[str, int] = {}
        self.blocked = False
        self.session = case.session()
        self._take_heartbeat(is_due=case.early is not None and bool(case.heartbeat))

    @property
    def gone(self) -> bytes:
        return self.received[: self.left]

    def run(self) -> None:
        """The whole case, to the upstream's clean end, unless its last word has ended it before."""
        if self.case.early is not None:
            self.sleep(self.case.early)
            self.session.receive_response(now=self.now)
        stream, steps = self.case.stream, self.case.moves or (Move(len(self.case.stream), Then.NOTHING),)
        turn = 0
        while len(self.received) < len(stream) and self.session.close_reason is None:
            move = steps[turn % len(steps)]
            rest = stream[len(self.received) :]
            self.receive(rest[: move.cut(rest)])
            self.then(move.then)
            turn += 1
        if self.session.close_reason is None:
            self.session.receive_eof(now=self.now)
            self.take(self.session.data_to_send())

    def then(self, then: Then) -> None:
        """What a move says comes behind its bytes."""
        if then is Then.BLOCK:
            self._block(not self.blocked)
            return
        if then is Then.BLOCKED:
            self._block(True)
        self.sleep({Then.NOTHING: 0, Then.BEAT: 1, Then.BEATS: 2.5, Then.BLOCKED: 1}[then])
        if then is Then.BLOCKED:
            self._block(False)

    def receive(self, piece: bytes) -> None:
        self.received += piece
        self.session.receive_data(piece, now=self.now)
        self.take(self.session.data_to_send())
        if self.session.close_reason is None:
            self._check_held()

    def sleep(self, seconds: float) -> None:
        """Be on time for each deadline."""
        end = self.now + seconds
        while (deadline := self.session.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            before = self.session.stats.heartbeats + sum(self.skipped.values())
            self.session.handle_timeout(now=self.now)
            if self.session.close_reason is not None:
                self._check_end()
                return
            after = self.session.stats.heartbeats + sum(self.session.stats.heartbeats_skipped.values())
            self._take_heartbeat(is_due=after > before)
        self.now = end

    # The books.

    def _block(self, blocked: bool) -> None:
        self.blocked = blocked
        if blocked:
            self.session.pause_writing(unsent=1, now=self.now)
        else:
            self.session.resume_writing(now=self.now)

    def take(self, data: bytes) -> None:
        """`data` must be the next bytes of the upstream; a BOM goes behind something inserted."""
        leaves = bool(data) or self.session.close_reason is CloseReason.UPSTREAM_END
        if self.left == 0 and self.insertions and self.received.startswith(BOM) and leaves:
            self.left, self.dropped = len(BOM), BOM
        end = self.left + len(data)
        assert data == self.received[self.left : end]
        self.left = end
        self.wire += data

    def _take_heartbeat(self, *, is_due: bool) -> None:
        """A deadline was a heartbeat's: it is sent, or counted as skipped."""
        out = self.session.data_to_send()
        if not is_due:
            assert not out, out
            return
        why = self._why_not()
        if why is None:
            assert out == self.case.heartbeat, out
            self.insertions.append(Insertion(self.left, out))
            self.wire += out
        else:
            assert not out, (why, out)
            self.skipped[why] = self.skipped.get(why, 0) + 1
        assert self.session.stats.heartbeats_skipped == self.skipped

    def _why_not(self) -> str | None:
        gone = self.gone
        if self.blocked:
            return "backpressure"
        if self.case.dialect is Dialect.OLLAMA and last_word(gone):
            return "at_end"
        if gone and not gone.endswith(b"\n"):
            assert len(gone.split(b"\n")[-1]) > self.case.line, "a line was let through that is not too long"
            return "mid_line"
        return None

    def _check_held(self) -> None:
        held = self.received[self.left :]
        if self.case.heartbeat:
            assert b"\n" not in held, held
            assert len(held) <= self.case.line, held
        else:
            assert not held or (not self.left and BOM.startswith(held)), held

    def _check_end(self) -> None:
        """An end by the clock: only behind the terminal record."""
        assert self.session.clean
        assert self.case.dialect is Dialect.OLLAMA
        assert last_word(self.gone) == "done"
        assert not self.session.data_to_send()
