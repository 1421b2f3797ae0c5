"""Which streams, cuts and moments are the most dangerous, and what does a session do with them, seen from outside?

A `Case` is one example; `cases` makes them, biased to the hazards. A `Trip` feeds it to a session and keeps the books
from outside: which of the upstream's bytes have left, and what was put between them. It states the rules for heartbeats
in words of its own.
"""

import re
from dataclasses import dataclass
from enum import Enum

from hypothesis import strategies as st

from sseproxy.core.limits import MINIMUM_LINE, LimitPolicy
from sseproxy.core.stream.dialects import Dialect, Marker
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.timeouts import TimeoutPolicy

BOM = b"\xef\xbb\xbf"

_CHUNK = b'data: {"id":"c","choices":[{}]}'
_LONG_CHUNK = b'data: {"id":"d","model":"m","choices":[{"delta":{}}]}'
_LAST_CHUNK = b'data: {"id":"c","choices":[{"finish_reason":"stop"}]}'
_RESPONSE = b'data: {"response":{},"type":"response.created"}'
#: Terminal in the dialect of its service: an end that falls due behind it is one of the upstream.
LAST_RESPONSE_DATA = '{"type":"response.completed"}'
_LAST_RESPONSE = b"data: " + LAST_RESPONSE_DATA.encode()
_BODIES = (
    b"", b"", b"", b"data: x", b"data:y", b"data", b"data:", b": c", b"id: 7", b"id", b"id: 8\0", b"retry: 10",
    b"retry: x", b"event: e", b"\xff\xe2", BOM + b"data: b", _CHUNK, _LONG_CHUNK, _LAST_CHUNK,
    _RESPONSE, _LAST_RESPONSE,
    b"data: " + b"l" * 20 + b"data:" + b"i" * 20, b"l" * 18 + b"id:" * 6, b"unknown: f", b" data: s",
    "data: \u2028é".encode(),
)  # fmt: skip
_MIXED = (b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\r\n\n", b"\n\r\n", b"\r\r\n", b"\r\n\r", b"")
_ENDS = {
    "lf": (b"\n", b"\n\n", b"\n", b"\n\n\n", b""),
    "crlf": (b"\r\n", b"\r\n\r\n", b"\r\n", b"\r\n\r\n\r\n", b""),
    "cr": (b"\r", b"\r\r", b"\r", b"\r\r\r", b""),
    "mixed": _MIXED,
    "cr, then mixed": _MIXED,
}


class Then(Enum):
    """What happens after a piece has arrived."""

    BEAT = "a heartbeat falls due"
    NOTHING = "nothing"
    BEATS = "two heartbeats fall due"
    BLOCKED = "a heartbeat falls due while the client takes nothing"
    BLOCK = "the client takes nothing from now on, or takes everything again"


class Size(Enum):
    """How much arrives, where that depends on what comes."""

    PAST_CR = "up to and with the next CR"
    PAST_LF = "up to and with the next LF"
    BEFORE_ID = "up to the next that looks like an id"
    PAST_EVENT = "up to and with the next LF LF, or CRLF CRLF"
    PAST_EVENTS = "up to and with the one after that"


_SIZES = (
    1, 1, 2, 7, 60, Size.PAST_CR, Size.PAST_CR, Size.PAST_LF, Size.BEFORE_ID, Size.PAST_EVENT, Size.PAST_EVENT,
    Size.PAST_EVENTS,
)  # fmt: skip
_THENS = (Then.BEAT, Then.BEAT, Then.BEAT, Then.NOTHING, Then.NOTHING, Then.BEATS, Then.BLOCKED, Then.BLOCK)


@dataclass(frozen=True, slots=True)
class Move:
    size: int | Size
    then: Then

    def cut(self, rest: bytes) -> int:
        if isinstance(self.size, int):
            return self.size
        if self.size is Size.BEFORE_ID:
            return max(rest.find(b"id", 1), 0) or len(rest)
        if self.size in (Size.PAST_EVENT, Size.PAST_EVENTS):
            boundary = b"\r\n\r\n" if b"\r\n\r\n" in rest else b"\n\n"
            events = rest.split(boundary, 1 if self.size is Size.PAST_EVENT else 2)
            return len(rest) - len(events[-1]) or 1
        return rest.find(b"\r" if self.size is Size.PAST_CR else b"\n") + 1 or len(rest)


@dataclass(frozen=True, slots=True)
class Case:
    """One example. moves: repeated until the stream is over; none: all of it at once.

    early: how many heartbeats fall due before the upstream's head, None if the response was there first.
    """

    stream: bytes
    moves: tuple[Move, ...]
    form: HeartbeatForm = HeartbeatForm.COMMENT_LINE
    prelude: bool = False
    early: int | None = None
    line: int = MINIMUM_LINE
    interval: float | None = 1.0
    timeouts: TimeoutPolicy = TimeoutPolicy(idle=None, write=None)
    dialect: Dialect = Dialect.GENERIC
    end_message: EndMessage | None = None
    marker: str | None = None
    comes_back: bool = False

    def session(self) -> StreamSession:
        plan = StreamPlan(
            heartbeat=HeartbeatPolicy(interval=self.interval, form=self.form, prelude=self.prelude),
            timeouts=self.timeouts,
            limits=LimitPolicy(line=self.line),
            dialect=self.dialect,
            form=self.form,
            marker=None if self.marker is None else Marker(data=self.marker),
            comes_back=self.comes_back,
        )
        return StreamSession(plan, end_message=self.end_message, responded=self.early is None, now=0.0)


# A program of one byte for each line or move: hypothesis draws and shrinks bytes faster than anything else.


def _stream(style: str, bom: bool, program: bytes) -> bytes:
    ends = _ENDS[style]
    lines = [_BODIES[code % len(_BODIES)] + ends[code // len(_BODIES) % len(ends)] for code in program]
    opening = b"data: o\rdata: p\r" if style.startswith("cr,") else b""
    return (BOM if bom else b"") + opening + b"".join(lines)


def _moves(program: bytes) -> tuple[Move, ...]:
    return tuple(Move(_SIZES[code % len(_SIZES)], _THENS[code // len(_SIZES) % len(_THENS)]) for code in program)


streams = st.builds(
    _stream, st.sampled_from(sorted(_ENDS)), st.sampled_from([False, False, True]), st.binary(max_size=14)
)
moves = st.binary(max_size=10).map(_moves)
cases = st.builds(
    Case,
    stream=streams,
    moves=moves,
    form=st.sampled_from(HeartbeatForm),
    prelude=st.booleans(),
    early=st.sampled_from([None, None, None, 0, 1, 2]),
    line=st.sampled_from([MINIMUM_LINE, 64 * 1024]),
)


class Place(Enum):
    """Where a stream that ends here stands, in words of its own."""

    EVENT_BOUNDARY = "event boundary"
    LINE_BOUNDARY = "line boundary"
    MID_LINE = "mid-line"


def lines_of(stream: bytes) -> list[bytes]:
    """The lines of `stream`; the last one is unfinished, and empty after a line end."""
    return stream.removeprefix(BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")


def place_of(stream: bytes) -> Place:
    *finished, unfinished = lines_of(stream)
    if unfinished:
        return Place.MID_LINE
    return Place.LINE_BOUNDARY if finished and finished[-1] else Place.EVENT_BOUNDARY


_OF_NO_EVENT = re.compile(rb"(?:(?!(?:data|event|id)(?:[:\r\n]))[^\r\n]+(?:\r\n|\r|\n))*")


def is_between_events(received: bytes) -> bool:
    """Whether nothing of an event is under way at its end: what is behind the last blank line says nothing of one."""
    if place_of(received) is Place.EVENT_BOUNDARY:
        return True
    last = re.split(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)+", received.removeprefix(BOM))[-1]
    return _OF_NO_EVENT.fullmatch(re.sub(rb"\A[\r\n]+", b"", last)) is not None


def next_boundary(stream: bytes, start: int) -> int:
    """Where the event that is under way at `start` ends."""
    for at in range(start + 1, len(stream) + 1):
        if stream[at - 1] in b"\r\n" and place_of(stream[:at]) is Place.EVENT_BOUNDARY:
            return at + (stream[at - 1 : at + 1] == b"\r\n")
    return len(stream)


@dataclass(frozen=True, slots=True)
class Insertion:
    """Bytes of ours. at: how many of the upstream's bytes are before it."""

    at: int
    data: bytes


class Trip:
    """One session, its driver, and the books. Every deviation from the books is an AssertionError."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.now = 0.0
        self.wire = bytearray()  # what the client has got
        self.received = b""  # what the upstream has sent
        self.left = 0  # how much of that has left, or was dropped (a second half of a CRLF, a BOM)
        self.dropped: list[int] = []  # the places of what was dropped
        self.insertions: list[Insertion] = []
        self.skipped: dict[str, int] = {}  # heartbeats that were due and may not be sent
        self.blocked = False
        self.answered = True  # nothing has ended the stream before the upstream's head
        self.session = case.session()
        opening = self.session.data_to_send()
        assert bool(opening) == (case.prelude or case.early is not None)
        if opening:
            self._check_beat(opening)
            self._insert(opening)

    # What happens.

    def run(self) -> None:
        """The whole case, to the upstream's clean end."""
        self.answer()
        self.travel()
        self.eof()

    def answer(self) -> None:
        if self.case.early is not None:
            self.sleep(self.case.early)
            self.answered = self.session.close_reason is None
            self.session.receive_response(now=self.now)

    def travel(self) -> None:
        """All of the stream, cut and interrupted as the case says."""
        stream, moves = self.case.stream, self.case.moves or (Move(len(self.case.stream), Then.NOTHING),)
        turn = 0
        while len(self.received) < len(stream) and self.session.close_reason is None:
            move = moves[turn % len(moves)]
            rest = stream[len(self.received) :]
            self.receive(rest[: move.cut(rest)])
            self.then(move.then)
            turn += 1

    def then(self, then: Then) -> None:
        if then is Then.BEAT:
            self.sleep(1)
        elif then is Then.BEATS:
            self.sleep(2.5)
        elif then is Then.BLOCKED:
            self._block(True)
            self.sleep(1)
            self._block(False)
        elif then is Then.BLOCK:
            self._block(not self.blocked)

    def receive(self, piece: bytes) -> None:
        self.received += piece
        self.session.receive_data(piece, now=self.now)
        self._drop()
        self._pass(self.session.data_to_send())
        if self.session.close_reason is None:
            self._check_held()

    def eof(self) -> None:
        self.session.receive_eof(now=self.now)
        self._drop()
        self._pass(self.session.data_to_send())

    def sleep(self, seconds: float) -> None:
        """Be on time for each deadline."""
        end = self.now + seconds
        while (deadline := self.session.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.timeout()
        self.now = end

    def timeout(self) -> None:
        """With nothing but heartbeats to wait for, each deadline is one: sent, or counted as skipped."""
        why = self._why_not()
        self.session.handle_timeout(now=self.now)
        out = self.session.data_to_send()
        if why is None:
            self._check_beat(out)
            self._insert(out)
        else:
            assert not out, (why, out)
            self.skipped[why] = self.skipped.get(why, 0) + 1
        assert self.session.stats.heartbeats_skipped == self.skipped

    # How it gets to the client.

    def write_upstream(self, data: bytes) -> None:
        self.wire += data

    def write_heartbeat(self, data: bytes) -> None:
        self.wire += data

    # The books.

    def _block(self, blocked: bool) -> None:
        self.blocked = blocked
        if blocked:
            self.session.pause_writing(unsent=1, now=self.now)
        else:
            self.session.resume_writing(now=self.now)

    def _insert(self, data: bytes) -> None:
        self.insertions.append(Insertion(self.left, data))
        self.write_heartbeat(data)

    def _pass(self, data: bytes) -> None:
        """`data` must be the next bytes of the upstream; where the session has ended in it, with its last words."""
        end = self.left + len(data)
        if self.session.close_reason is not None and data:
            end = min(end, next_boundary(self.received, self.left))
        passed = data[: end - self.left]
        assert passed == self.received[self.left : end]
        self.left = end
        self.write_upstream(passed)
        if len(passed) < len(data):
            self._insert(data[len(passed) :])

    def _drop(self) -> None:
        """A BOM behind ours, or an LF that completes a CRLF in which something of ours ends with an LF."""
        last = self.insertions[-1] if self.insertions else None
        if last is None or last.at != self.left:
            return
        if self.left == 0 and self.received.startswith(BOM):
            self._skip(len(BOM))
        elif self.received[self.left - 1 : self.left + 1] == b"\r\n" and not last.data.endswith(b"\r"):
            self._skip(1)

    def _skip(self, count: int) -> None:
        self.dropped += range(self.left, self.left + count)
        self.left += count

    # The rules.

    def _check_held(self) -> None:
        """What is not there yet is one unfinished line, and not too much of it."""
        held = self.received[self.left :]
        assert b"\n" not in held, held
        assert b"\r" not in held, held
        assert len(held) <= self.case.line, held

    def _why_not(self) -> str | None:
        """Why a heartbeat that is due now may not go out, or None."""
        gone = self.received[: self.left]
        place = place_of(gone)
        if self.blocked:
            return "backpressure"
        if place is Place.MID_LINE:
            held_back = lines_of(b"\n" + gone)[-1]  # with its BOM: that was held, too
            assert len(held_back) > self.case.line, "a line was let through that is not too long"
            return "mid_line"
        if place is Place.LINE_BOUNDARY and self.case.form is HeartbeatForm.BLANK:
            return "inside_event"
        return None

    def _check_beat(self, beat: bytes) -> None:
        """The form, or a comment line inside an event."""
        gone = self.received[: self.left]
        shape = _COMMENT_LINE if place_of(gone) is Place.LINE_BOUNDARY else self._shape(gone)
        assert shape.fullmatch(beat), (shape.pattern, beat)

    def _shape(self, gone: bytes) -> re.Pattern[bytes]:
        fields = [line.partition(b":")[0] for line in lines_of(gone)[:-1]]
        comment = _COMMENT_LINE if b"id" in fields else _COMMENT_BLOCK
        if self.case.form is HeartbeatForm.OPENAI_CHAT:
            return self._chat_shape(gone) or comment
        if self.case.form is HeartbeatForm.OPENAI_RESPONSES:
            return self._response_shape(gone) or comment
        return _SHAPES.get(self.case.form, comment)

    def _response_shape(self, gone: bytes) -> re.Pattern[bytes] | None:
        """An event of its own while a response is under way, as the last event says; see `_chat_shape`."""
        events = [line for line in lines_of(b"\n" + gone) if line.removeprefix(BOM).startswith(b"data: {")]
        if events and len(events[-1]) > self.case.line:
            return _KEEPALIVE_OR_COMMENT
        return _KEEPALIVE if events and b'"type":"response.created"' in events[-1] else None

    def _chat_shape(self, gone: bytes) -> re.Pattern[bytes] | None:
        """Like the last chunk; but of one that was let through in pieces nothing need be known."""
        chunks = [line for line in lines_of(b"\n" + gone) if line.removeprefix(BOM).startswith(b"data: {")]
        if chunks and len(chunks[-1]) > self.case.line:
            return _CHAT_OR_COMMENT
        return _CHAT.get(chunks[-1].removeprefix(BOM)) if chunks else None


class TripWithoutRules(Trip):
    """Keeps the books, but leaves it to the client to notice."""

    def _check_held(self) -> None:
        """Whatever is held."""

    def _check_beat(self, beat: bytes) -> None:
        """Whatever a heartbeat looks like."""

    def timeout(self) -> None:
        self.session.handle_timeout(now=self.now)
        out = self.session.data_to_send()
        if out:
            self._insert(out)


_EOL = rb"(?:\r\n|\r|\n)"
_COMMENT_LINE = re.compile(rb": heartbeat" + _EOL)
_COMMENT_BLOCK = re.compile(rb": heartbeat(\r\n|\r|\n)\1")
_SHAPES = {
    HeartbeatForm.COMMENT_LINE: _COMMENT_LINE,
    HeartbeatForm.COMMENT_BLOCK: _COMMENT_BLOCK,
    HeartbeatForm.BLANK: re.compile(_EOL),
    HeartbeatForm.EVENT: re.compile(rb"event: heartbeat(\r\n|\r|\n)data: \{\}\1\1"),
    HeartbeatForm.ANTHROPIC: re.compile(rb'event: ping(\r\n|\r|\n)data: \{"type": "ping"\}\1\1'),
}
_KEEPALIVE = re.compile(rb'event: keepalive(\r\n|\r|\n)data: \{"type":"keepalive"\}\1\1')
_KEEPALIVE_OR_COMMENT = re.compile(_KEEPALIVE.pattern + b"|: heartbeat" + _EOL + b"{1,2}")
_CHAT_TAIL = rb',"object":"chat\.completion\.chunk","choices":\[\{"index":0,"delta":\{\},"finish_reason":null\}\]\}'
_CHAT = {
    _CHUNK: re.compile(rb'data: \{"id":"c"' + _CHAT_TAIL + rb"(\r\n|\r|\n)\1"),
    _LONG_CHUNK: re.compile(rb'data: \{"id":"d","model":"m"' + _CHAT_TAIL + rb"(\r\n|\r|\n)\1"),
}
_CHAT_OR_COMMENT = re.compile(
    rb'(?:data: \{"id":"."(?:,"model":"m")?' + _CHAT_TAIL + _EOL + rb"|: heartbeat)" + _EOL + rb"{1,2}"
)
