"""Did the client get what the service meant to say, and if not, what did it get?"""

from sseproxy.core.frozen import frozen
from sseproxy.demo.chat import Transcript
from sseproxy.demo.exchange import Answer, Ending
from sseproxy.demo.shapes import EVENTS, Shape

# Tokens that took this share of the whole time or less to arrive came in one go.
_LUMP = 0.1


@frozen
class Verdict:
    """An answer held against the number of tokens that it should have had."""

    answer: Answer
    expected: int
    shape: Shape = EVENTS

    @property
    def transcript(self) -> Transcript:
        """What the client made of the body."""
        return self.shape.transcript(self.answer.body) if self.answer.status == 200 else Transcript()

    @property
    def whole(self) -> bool:
        """Whether everything came, and the end was clean."""
        read = self.transcript
        return read.done and read.tokens == self.expected and self.answer.ending is Ending.CLEAN

    @property
    def in_one_go(self) -> bool:
        """Whether all tokens came together, though they were sent one by one."""
        times = [piece.at for piece in self.answer.pieces if b'"content"' in piece.data]
        return (
            self.shape.streams
            and self.expected > 1
            and bool(times)
            and times[-1] - times[0] < _LUMP * self.answer.seconds
        )

    def __str__(self) -> str:
        answer, read = self.answer, self.transcript
        if answer.status is None:
            return str(answer.ending)
        if answer.status != 200:
            return f"{answer.status}"
        if self.whole:
            return "200, whole" + (", all at once" if self.in_one_go else "")
        got = f"{read.tokens} of {self.expected} tokens"
        if read.error is not None:
            return f"200, {got}, error {self.shape.unit} {read.error}, {answer.ending}"
        return f"200, {got}, {answer.ending}"
