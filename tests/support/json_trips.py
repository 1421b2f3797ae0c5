"""Which JSON answers, cuts and moments are the most dangerous, and what does a client get of one?"""

import json
from dataclasses import dataclass

from hypothesis import strategies as st

from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.json_answer import JSON_ANSWER, JsonAnswer
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import StreamTransfer

BOM = b"\xef\xbb\xbf"
INTERVAL = 1.0
#: JSON's own (RFC 8259 section 2), and nothing else that a parser may skip.
WHITE_SPACE = b" \t\n\r"

PLAN = JSON_ANSWER.adapted(
    StreamPlan(heartbeat=HeartbeatPolicy(interval=INTERVAL), timeouts=TimeoutPolicy(idle=900.0, write=None))
)


@dataclass(frozen=True, slots=True)
class JsonCase:
    """One answer. pieces: of its body, each with the seconds that pass before it, and whether the client takes nothing
    meanwhile. waits: seconds until the upstream's head."""

    value: object
    body: bytes
    pieces: tuple[tuple[bytes, float, bool], ...]
    waits: float

    @property
    def text(self) -> bytes:
        """What the client may parse: the body without a byte order mark."""
        return self.body.removeprefix(BOM)


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.text(st.sampled_from('a" \\\n\u20ac\ufeff'), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def json_cases(draw: st.DrawFn) -> JsonCase:
    value = draw(_values)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))).encode()
    around = st.sampled_from([b"", b"", b" ", b"\n", b" \t\r\n"])
    body = draw(st.sampled_from([b"", b"", BOM])) + draw(around) + text + draw(around)
    cuts = sorted(draw(st.sets(st.integers(0, min(len(body), 12)) | st.integers(0, len(body)), max_size=6)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    pauses = st.sampled_from([0.0, 0.2, 1.1, 2.3])
    played = tuple((piece, draw(pauses), draw(st.integers(0, 4)) == 0) for piece in pieces)
    return JsonCase(value, body, played, draw(pauses))


class JsonTrip:
    """Plays a case, and keeps the books from outside. wire: what has left for the client."""

    def __init__(self, case: JsonCase) -> None:
        self.case = case
        self.now = 100.0
        session = JSON_ANSWER.new_session(PLAN, end_message=None, responded=False, lead=0.0, now=self.now)
        assert isinstance(session, JsonAnswer)
        self.session: StreamTransfer = session
        self.wire = session.data_to_send()
        self.received = b""
        self.spaces = 1

    def run(self, most: int | None = None) -> None:
        """Play the head, and the first `most` pieces; all, and the end, if that is left out."""
        self.let_pass(self.case.waits, is_blocked=False)
        self.session.receive_json(now=self.now)
        for piece, pause, is_blocked in self.case.pieces[:most]:
            self.let_pass(pause, is_blocked=is_blocked)
            self.received += piece
            self.wire += self.session.forward(piece, self.now)
        if most is None:
            self.session.receive_eof(now=self.now)
            self.wire += self.session.data_to_send()

    def let_pass(self, seconds: float, *, is_blocked: bool) -> None:
        """Serve each deadline in these seconds. Whatever leaves meanwhile is a heartbeat."""
        if is_blocked:
            self.session.pause_writing(unsent=1, now=self.now)
        until = self.now + seconds
        while (due := self.session.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.session.handle_timeout(now=self.now)
            beat = self.session.data_to_send()
            # The rule, in words of its own: a space, as long as nothing has left but white space.
            assert beat == (b"" if is_blocked else b" ")
            assert not self.wire.strip(WHITE_SPACE), "behind the first byte of the text"
            self.spaces += len(beat)
            self.wire += beat
        self.now = until
        if is_blocked:
            self.session.resume_writing(now=self.now)
