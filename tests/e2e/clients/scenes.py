"""How does a service behave that makes its clients wait, fails late, or ends badly?

A scene is what `EndsUpstream` does with one request: ``/RUN/SERVICE/scene/NAME/…``.
"""

import asyncio
import json
from collections.abc import Mapping
from enum import StrEnum

from tests.e2e.clients.endings import CODE, SERVICES

#: Seconds; longer than the proxy's ``before_response``.
LATE = 0.5
#: What the service itself says.
TOO_MANY = "Too many tokens per minute (marker-429)"
TOO_LONG = "This prompt is too long (marker-400)"
LOST = "Session not found (marker-404)"


class Scene(StrEnum):
    """GATED: half of the answer, and the rest when the test says so. STAYS: the whole answer, and no end."""

    GATED = "gated"
    LATE_WHOLE = "late-whole"
    LATE_JSON = "late-json"
    LATE_INITIALIZE = "late-initialize"
    LATE_429 = "late-429"
    LATE_400 = "late-400"
    LATE_404 = "late-404"
    LATE_CRASH = "late-crash"
    SILENT = "silent"
    BREAKS = "breaks"
    STAYS = "stays"


class Gate:
    """Closed until a test opens it, from another thread. waiting: how many requests have come to it."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self.waiting = 0

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let all through."""
        loop.call_soon_threadsafe(self._open.set)

    async def passed(self) -> None:
        """Wait for it."""
        self.waiting += 1
        await self._open.wait()


ERRORS: Mapping[Scene, tuple[str, str, str]] = {
    Scene.LATE_429: ("429 Too Many Requests", TOO_MANY, "rate_limit_exceeded"),
    Scene.LATE_400: ("400 Bad Request", TOO_LONG, CODE),
    Scene.LATE_404: ("404 Not Found", LOST, "not_found"),
}
_GOOGLE = {"429": "RESOURCE_EXHAUSTED", "400": "INVALID_ARGUMENT", "404": "NOT_FOUND"}
_ANTHROPIC = {"429": "rate_limit_error", "400": "invalid_request_error", "404": "not_found_error"}


def error_body(service: str, scene: Scene, request_id: object) -> bytes:
    """The error of `scene` as `service` writes it."""
    status, message, code = ERRORS[scene]
    number = status.partition(" ")[0]
    openai = {"error": {"message": message, "type": "invalid_request_error", "param": "messages", "code": code}}
    shapes: Mapping[str, object] = {
        "anthropic": {"type": "error", "error": {"type": _ANTHROPIC[number], "message": message}},
        "gemini": {"error": {"code": int(number), "message": message, "status": _GOOGLE[number]}},
        "ollama": {"error": message},
        "cohere": {"message": message},
        "mcp": {"jsonrpc": "2.0", "id": request_id, "error": {"code": -32001, "message": message}},
        "graphql": {"errors": [{"message": message}]},
    }
    return json.dumps(shapes.get(service, openai)).encode()


def json_body(service: str, request_id: object) -> bytes:
    """A whole answer without a stream."""
    text = "done"
    shapes: Mapping[str, object] = {
        "mcp": {"jsonrpc": "2.0", "id": request_id, "result": {"content": [{"type": "text", "text": text}]}},
        "graphql": {"data": {"n": 1}},
    }
    return json.dumps(shapes[service]).encode()


def some_events(service: str) -> list[bytes]:
    """What has come when a stream breaks."""
    spoken = SERVICES[service]
    return spoken.events[: spoken.some]
