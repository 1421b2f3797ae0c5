"""What is measured: how the service behaves, through which nginx the client asks, and when it leaves."""

from collections.abc import Mapping
from dataclasses import dataclass

from sseproxy.demo.chat import finish, token
from sseproxy.demo.model import Begin, Die, Script, Send, Silence, Step
from sseproxy.demo.shapes import EVENTS, LINES, TEXT, Shape, completion, last_record, record

#: nginx's read timeout in the configuration files, in seconds; everything here is a multiple of it.
READ_TIMEOUT = 60.0

_SILENCE = 1.5 * READ_TIMEOUT
_WORDS = [f" word{number}" for number in range(12)]
_LONG = 24


@dataclass(frozen=True, slots=True)
class Case:
    """One row. direct, through: the ports in the configuration files. leaves: when the client goes, in seconds.

    tokens: how many the service means to send. gzip: the client accepts gzip. shape: of the answer.
    """

    name: str
    behaviour: str
    direct: int = 8001
    through: int = 8002
    leaves: float | None = None
    tokens: int = len(_WORDS)
    gzip: bool = False
    shape: Shape = EVENTS


TWO_HOPS, GZIP, HTTP10, JSON = (8003, 8004), (8005, 8006), (8007, 8008), (8001, 8011)

CASES = (
    Case("silent before the response head", "silent before head"),
    Case("silent after the first event", "silent after first"),
    Case("silent in the middle of a line", "silent in line"),
    Case("silent between two lines of an event", "silent between lines"),
    Case("long, never silent", "long", tokens=_LONG),
    Case("service dies half-way", "dies"),
    Case("service dies before the head, after 30 s", "dies thinking"),
    Case("client leaves before the head", "silent before head", leaves=20),
    Case("client leaves while the service is silent", "silent after first", leaves=20),
    Case("two hops: silent before the head", "silent before head", *TWO_HOPS),
    Case("two hops: silent after the first event", "silent after first", *TWO_HOPS),
    Case("two hops, the outer with gzip: long, never silent", "long", *TWO_HOPS, tokens=_LONG, gzip=True),
    Case("gzip: long, never silent", "long", *GZIP, tokens=_LONG, gzip=True),
    Case("gzip: silent after the first event", "silent after first", *GZIP, gzip=True),
    Case("HTTP/1.0 to the service: silent before the head", "silent before head", *HTTP10),
    Case("HTTP/1.0 to the service: silent after the first event", "silent after first", *HTTP10),
    Case("HTTP/1.0 to the service: service dies half-way", "dies", *HTTP10),
    Case("HTTP/1.0 to the service: client leaves while silent", "silent after first", *HTTP10, leaves=20),
    Case("JSON lines (Ollama): silent before the response head", "lines silent before head", shape=LINES),
    Case("JSON lines (Ollama): silent after the first record", "lines silent after first", shape=LINES),
    Case("JSON lines (Ollama): service dies half-way", "lines die", shape=LINES),
    Case("JSON, no stream: silent before the response head", "text silent before head", *JSON, shape=TEXT),
    Case("JSON, no stream: service dies before the head, after 30 s", "dies thinking", *JSON, shape=TEXT),
)


def behaviours(scale: float) -> Mapping[str, Script]:
    """What the service does, by the name of the behaviour, with all times divided by `scale`."""
    silence, pause = Silence(_SILENCE / scale), Silence(1 / scale)
    words: list[list[Step]] = [[Send(token(word)), pause] for word in _WORDS]
    first, second, third = words[:3]
    end: list[Step] = [*(step for word in words[3:] for step in word), Send(finish())]
    begin: list[Step] = [Begin(), *first, *second]
    long: list[Step] = [Send(token(" word")), Silence(6 / scale)] * _LONG
    split = token(_WORDS[2])
    half = len(split) // 2
    lines: list[list[Step]] = [[Send(record(word)), pause] for word in _WORDS]
    rest: list[Step] = [*(step for line in lines[1:] for step in line), Send(last_record())]
    return {
        "silent before head": [silence, *begin, *third, *end],
        "silent after first": [Begin(), *first, silence, *second, *third, *end],
        "silent in line": [*begin, Send(split[:half]), silence, Send(split[half:]), *end],
        "silent between lines": [*begin, Send(b"event: message\n"), silence, *third, *end],
        "long": [Begin(), *long, Send(finish())],
        "dies": [*begin, *third, Die()],
        "dies thinking": [Silence(30 / scale), Die()],
        "lines silent before head": [silence, Begin(LINES.media_type), *lines[0], *rest],
        "lines silent after first": [Begin(LINES.media_type), *lines[0], silence, *rest],
        "lines die": [Begin(LINES.media_type), *lines[0], *lines[1], *lines[2], Die()],
        "text silent before head": [silence, Begin(TEXT.media_type), Send(completion("".join(_WORDS).strip()))],
    }
