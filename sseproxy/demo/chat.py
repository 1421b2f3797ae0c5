"""What does a Chat Completions stream look like, and how much of one has arrived?"""

import json

from sseproxy.core.frozen import frozen

DONE = b"data: [DONE]\n\n"

_ID, _MODEL, _CREATED = "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG", "gpt-demo", 1741570283


def token(text: str) -> bytes:
    """The event that carries one token."""
    return _chunk({"content": text}, None)


def finish() -> bytes:
    """The events that end an answer: an empty delta with its reason, then ``[DONE]``."""
    return _chunk({}, "stop") + DONE


def request_body(model: str, *, user: str = "demo", stream: bool = True) -> bytes:
    """The JSON body of the classic streaming call, or of the same call for an answer in one piece."""
    messages = [{"role": "user", "content": "Why did my answer stop?"}]
    return json.dumps({"model": model, "stream": stream, "user": user, "messages": messages}).encode()


def _chunk(delta: dict[str, str], finish_reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    body = {
        "id": _ID,
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": _MODEL,
        "choices": [choice],
    }
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


@frozen
class Transcript:
    """What a client that reads line by line has made of a body.

    tokens: events with text. comments: heartbeats. done: ``[DONE]`` has come. error: the code of an error event.
    """

    tokens: int = 0
    text: str = ""
    comments: int = 0
    done: bool = False
    error: int | None = None


def transcript(body: bytes) -> Transcript:
    """Read `body` as a client would; an unfinished last line does not count (WHATWG HTML 9.2.6)."""
    lines = body.split(b"\n")[:-1]
    comments = sum(line.startswith(b":") for line in lines)
    data = [line.removeprefix(b"data:").strip() for line in lines if line.startswith(b"data:")]
    chunks = [json.loads(value) for value in data if value != b"[DONE]"]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", [])]
    texts = [text for choice in choices if (text := choice["delta"].get("content"))]
    error = next((chunk["error"].get("code") for chunk in chunks if "error" in chunk), None)
    return Transcript(len(texts), "".join(texts), comments, b"[DONE]" in data, error)
