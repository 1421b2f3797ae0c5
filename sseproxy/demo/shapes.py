"""In which shapes may a model's answer cross the wire: events, JSON lines, or one JSON text?"""

import json
from collections.abc import Callable

from sseproxy.core.frozen import frozen
from sseproxy.demo import chat
from sseproxy.demo.chat import Transcript

_BLANKS = b" \n"


@frozen
class Shape:
    """unit: what an error in it is. path: where it is asked for. user_agent: of a client that does. streams: in pieces.

    transcript: what a client makes of a body, heartbeats as `comments`.
    """

    unit: str
    path: str
    media_type: str
    user_agent: str
    streams: bool
    token: Callable[[str], bytes]
    transcript: Callable[[bytes], Transcript]

    def request_body(self, model: str, *, user: str = "demo") -> bytes:
        """The JSON body of the call."""
        return chat.request_body(model, user=user, stream=self.streams)


def record(text: str) -> bytes:
    """The line of Ollama's own API that carries one token."""
    return _line(text, done=False)


def last_record() -> bytes:
    """The line that ends an answer of Ollama."""
    return _line("", done=True)


def _line(text: str, *, done: bool) -> bytes:
    message = {"role": "assistant", "content": text}
    fields = {"model": "llama-demo", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": done}
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def completion(text: str) -> bytes:
    """The whole answer of a Chat Completions call that asked for no stream."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"object": "chat.completion", "model": "gpt-demo", "choices": [choice]}).encode()


def _read_lines(body: bytes) -> Transcript:
    """Read as a client of Ollama does, line by line; blanks before a record are heartbeats."""
    *lines, _unfinished = body.split(b"\n")
    records = [json.loads(line) for line in lines if line.strip(_BLANKS)]
    texts = [text for record in records if (text := record.get("message", {}).get("content"))]
    error = next((record.get("status", 0) for record in records if "error" in record), None)
    done = any(record.get("done") for record in records)
    return Transcript(len(texts), "".join(texts), _beats(lines), done, error)


def _read_json(body: bytes) -> Transcript:
    """Read as `json.loads` does. A word is a token; blanks before the text are heartbeats."""
    beats = _beats([body])
    try:
        said = json.loads(body)
    except ValueError:
        return Transcript(comments=beats)
    if "error" in said:
        return Transcript(comments=beats, done=True, error=said["error"].get("code"))
    text = said["choices"][0]["message"]["content"]
    return Transcript(len(text.split()), text, beats, done=True)


def _beats(lines: list[bytes]) -> int:
    return sum(len(line) - len(line.lstrip(_BLANKS)) for line in lines)


_CHAT, _CURL = "/v1/chat/completions", "curl/8.5.0"

#: What SDKs of model services read.
EVENTS = Shape("event", _CHAT, "text/event-stream", _CURL, True, chat.token, chat.transcript)
#: What Ollama's own API sends.
LINES = Shape("record", "/api/chat", "application/x-ndjson", "ollama-python/0.6.3", True, record, _read_lines)
#: What a client gets that asks for no stream.
TEXT = Shape("object", _CHAT, "application/json", _CURL, False, completion, _read_json)
