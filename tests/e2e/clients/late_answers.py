"""How does a service answer a request for JSON that takes it long: well, with an error, with half an answer?

An answer is what `EndsUpstream` does with one request: ``/RUN/SERVICE/answer/NAME/…``.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tests.e2e.clients.exchange import Exchange
from tests.e2e.clients.scenes import Gate

#: What the whole answer says, and what the service says of its failure.
TEXT = "Server-sent events keep one connection open."
WORDS = "The service has refused this (marker-5c1)"


class LateAnswer(StrEnum):
    """GATED: whole, when the test says so. HALF: the head and half of the body, then nothing but the broken end.

    SILENT: nothing at all. PAGE: a page of a gateway, which is no JSON. NOTHING: 204.
    """

    WHOLE = "whole"
    E400 = "400"
    E401 = "401"
    E429 = "429"
    E500 = "500"
    PAGE = "page"
    NOTHING = "nothing"
    HALF = "half"
    CRASH = "crash"
    SILENT = "silent"
    GATED = "gated"


_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>(marker-5c1)</body></html>"
_REASONS = {"400": "Bad Request", "401": "Unauthorized", "429": "Too Many Requests", "500": "Internal Server Error"}

# What each service calls its errors.
_OPENAI = {
    "400": "invalid_request_error",
    "401": "authentication_error",
    "429": "rate_limit_error",
    "500": "server_error",
}
_ANTHROPIC = {**_OPENAI, "500": "api_error"}
_GOOGLE = {"400": "INVALID_ARGUMENT", "401": "UNAUTHENTICATED", "429": "RESOURCE_EXHAUSTED", "500": "INTERNAL"}

_USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
_CHOICE = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
_COMPLETION = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1764000123,
    "model": "m",
    "choices": [_CHOICE],
    "usage": _USAGE,
}
_WHOLE: Mapping[str, object] = {
    "openai-chat": _COMPLETION,
    "mistral": _COMPLETION,
    "openai-responses": {
        "id": "resp_1",
        "object": "response",
        "created_at": 1764000123,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "m",
        "output": [
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": TEXT, "annotations": []}],
            }
        ],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": 5,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 12,
        },
    },
    "anthropic": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 7},
    },
    "gemini": {
        "candidates": [{"content": {"role": "model", "parts": [{"text": TEXT}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7, "totalTokenCount": 12},
        "modelVersion": "m",
    },
    "cohere": {
        "id": "m1",
        "finish_reason": "COMPLETE",
        "message": {"role": "assistant", "content": [{"type": "text", "text": TEXT}]},
        "usage": {"tokens": {"input_tokens": 5, "output_tokens": 7}},
    },
    "ollama": {
        "model": "m",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": TEXT},
        "done": True,
        "done_reason": "stop",
    },
}


@dataclass(slots=True)
class Promises:
    """The targets whose clients the proxy has promised an answer. It says so in its log, at level debug.

    is_late: the service waits for that. Otherwise it answers at once.
    """

    is_late: bool = False
    _targets: set[str] = field(default_factory=set)
    _read: int = 0

    def read_log(self, lines: list[str]) -> int:
        """Take the lines of a log that are new. Return how many promises there are."""
        for line in lines[self._read :]:
            entry = json.loads(line)
            if entry.get("message") == "start":
                self._targets.add(entry["path"])
        self._read = len(lines)
        return len(self._targets)

    async def made(self, target: str) -> None:
        """Wait until the client of `target` has been promised an answer."""
        while self.is_late and target not in self._targets:  # noqa: ASYNC110 - the log is read on another thread
            await asyncio.sleep(0.02)


async def answer(what: LateAnswer, exchange: Exchange, gate: Gate, promises: Promises) -> bool:
    """Answer late, as `what` says. Return True if the connection takes another request."""
    if what is LateAnswer.GATED:
        await gate.passed()
    await promises.made(exchange.request.target)
    whole = json.dumps(_WHOLE[exchange.request.service]).encode()
    match what:
        case LateAnswer.WHOLE | LateAnswer.GATED:
            await exchange.send_json("200 OK", whole)
        case LateAnswer.PAGE:
            await exchange.send("502 Bad Gateway", _PAGE, "Content-Type: text/html")
        case LateAnswer.NOTHING:
            exchange.writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        case LateAnswer.HALF:
            await exchange.send_half_json(whole)
            return False
        case LateAnswer.CRASH:
            return False
        case LateAnswer.SILENT:
            await exchange.linger(60.0)
            return False
        case _:
            await exchange.send_json(f"{what} {_REASONS[what]}", error_body(exchange.request.service, what))
    return True


def error_body(service: str, status: str) -> bytes:
    """The error of `status` as `service` writes it."""
    openai = {"error": {"message": WORDS, "type": _OPENAI[status], "param": None, "code": None}}
    shapes: Mapping[str, object] = {
        "anthropic": {"type": "error", "error": {"type": _ANTHROPIC[status], "message": WORDS}, "request_id": "req_1"},
        "gemini": {"error": {"code": int(status), "message": WORDS, "status": _GOOGLE[status]}},
        "ollama": {"error": WORDS},
        "cohere": {"id": "m1", "message": WORDS},
    }
    return json.dumps(shapes.get(service, openai)).encode()
