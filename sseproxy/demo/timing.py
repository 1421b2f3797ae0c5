"""How long does the gateway wait, how long does the model think, and how often does sseproxy speak?"""

from collections.abc import Mapping
from dataclasses import fields

from sseproxy.core.frozen import frozen
from sseproxy.demo.chat import finish, token
from sseproxy.demo.model import Begin, Script, Send, Silence
from sseproxy.demo.shapes import LINES, TEXT, completion, last_record, record

_ANSWER = (
    "Nothing was wrong with the model. It was thinking, and while it thought, no byte crossed the wire. "
    "The gateway counted the seconds of silence and gave up. "
    "With sseproxy in between, a comment crosses the wire now and then; "
    "the reader skips it, and the gateway starts to count again."
)
_BEFORE_PAUSE = 12


#: Seconds that nginx waits by default (`proxy_read_timeout`).
STOCK_PATIENCE = 60.0


@frozen
class Timing:
    """All in seconds. `patience` is the gateway's read timeout, `silence` how long the model thinks at a time."""

    patience: float = 2.0
    silence: float = 3.0
    between_tokens: float = 0.06
    heartbeat: float = 0.5
    before_response: float = 0.7

    @property
    def faster(self) -> float:
        """How many times faster all of it runs than with a stock nginx."""
        return STOCK_PATIENCE / self.patience

    @property
    def facts(self) -> dict[str, float]:
        """The figures by name, for the page."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**named, "stock": STOCK_PATIENCE, "faster": self.faster}

    @property
    def json_after(self) -> str:
        """How long a request for plain JSON waits before it is answered: as long as one for a stream."""
        return f"{self.before_response * 1000:.0f}ms"

    @property
    def flags(self) -> list[str]:
        """What sseproxy is started with."""
        return [
            f"--heartbeat={self.heartbeat * 1000:.0f}ms",
            f"--before-response={self.json_after}",
        ]

    @property
    def limit(self) -> float:
        """When a whole answer must long be over."""
        return 10 * (self.silence + len(tokens()) * self.between_tokens)


def tokens() -> list[str]:
    """The words of the answer, each with the space before it."""
    first, *rest = _ANSWER.split(" ")
    return [first, *(f" {word}" for word in rest)]


def scripts(timing: Timing) -> Mapping[str, Script]:
    """What the model does, by the model's name that the request asks for."""
    words = [step for word in tokens() for step in (Send(token(word)), Silence(timing.between_tokens))]
    cut = 2 * _BEFORE_PAUSE
    thinking = Silence(timing.silence)
    answer: Script = [*words[:cut], thinking, *words[cut:], Send(finish())]
    lines = [step for word in tokens() for step in (Send(record(word)), Silence(timing.between_tokens))]
    return {
        "thinks-first": [thinking, Begin(), *answer],
        "thinks-between": [Begin(), *answer],
        "lines": [Begin(LINES.media_type), *lines[:cut], thinking, *lines[cut:], Send(last_record())],
        "text": [thinking, Begin(TEXT.media_type), Send(completion("".join(tokens())))],
    }
