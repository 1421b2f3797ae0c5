"""How does a service behave that makes its clients wait, fails late, or ends badly?

A scene is what `EndsUpstream` does with one request: ``/RUN/SERVICE/scene/NAME/…``. A function that plays one returns
whether the connection takes another request.
"""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum

from tests.e2e.clients.endings import CODE, SERVICES, Cell, Position, Script, script
from tests.e2e.clients.exchange import Exchange

#: Seconds; longer than the proxy's ``before_response``.
LATE = 0.5
#: Seconds of silence within a stream: room for several heartbeats.
PAUSE = 0.3
#: The same, for heartbeats of 20 ms.
CUT = 0.07
#: What the service itself says.
TOO_MANY = "Too many tokens per minute (marker-429)"
TOO_LONG = "This prompt is too long (marker-400)"
LOST = "Session not found (marker-404)"


class Scene(StrEnum):
    """GATED: half of the answer, and the rest when the test says so. STAYS: the whole answer, and no end.

    LATE_GET: MCP's GET is refused late, and a tool is done when the test says so.

    PAUSES: silence before the head, before the first event, between two, and behind the last.

    CUTS: silence before, between and within all events. CUTS_ENDING: the same, and behind the last.
    """

    GATED = "gated"
    LATE_WHOLE = "late-whole"
    PAUSES = "pauses"
    CUTS = "cuts"
    CUTS_ENDING = "cuts-ending"
    LATE_JSON = "late-json"
    LATE_INITIALIZE = "late-initialize"
    LATE_GET = "late-get"
    LATE_429 = "late-429"
    LATE_400 = "late-400"
    LATE_404 = "late-404"
    LATE_CRASH = "late-crash"
    SILENT = "silent"
    BREAKS = "breaks"
    STAYS = "stays"


class Gate:
    """Closed until a test opens it, from another thread."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrivals = threading.Semaphore(0)

    def await_arrival(self, seconds: float) -> bool:
        """Block until one more request has come, for `seconds` at most. Returns whether it has."""
        return self._arrivals.acquire(timeout=seconds)

    def open(self) -> None:
        """Let all through."""
        assert self._loop is not None, "nobody waits"
        self._loop.call_soon_threadsafe(self._open.set)

    async def passed(self) -> None:
        """Wait for it."""
        self._loop = asyncio.get_running_loop()
        self._arrivals.release()
        await self._open.wait()


_ERRORS: Mapping[Scene, tuple[str, str, str]] = {
    Scene.LATE_429: ("429 Too Many Requests", TOO_MANY, "rate_limit_exceeded"),
    Scene.LATE_400: ("400 Bad Request", TOO_LONG, CODE),
    Scene.LATE_404: ("404 Not Found", LOST, "not_found"),
}
_GOOGLE = {"429": "RESOURCE_EXHAUSTED", "400": "INVALID_ARGUMENT", "404": "NOT_FOUND"}
_ANTHROPIC = {"429": "rate_limit_error", "400": "invalid_request_error", "404": "not_found_error"}


async def play(scene: Scene, exchange: Exchange, gate: Gate) -> bool:
    """Play `scene`. Returns whether the connection takes another request."""
    if scene.startswith("late"):
        await asyncio.sleep(LATE)
    if scene in _ERRORS:
        return await _error(scene, exchange)
    if scene is Scene.GATED:
        return await _gated(exchange, gate)
    if scene is Scene.LATE_GET:
        await gate.passed()
        return await _late_json(exchange)
    return await _PLAYS[scene](exchange)


async def refuse(scene: Scene, exchange: Exchange) -> None:
    """Refuse the request late, as `scene` does."""
    await asyncio.sleep(LATE)
    await _error(scene, exchange)


async def _error(scene: Scene, exchange: Exchange) -> bool:
    body = _error_body(exchange.request.service, scene, exchange.request_id)
    await exchange.send_json(_ERRORS[scene][0], body, "Retry-After: 7")
    return True


async def _gated(exchange: Exchange, gate: Gate) -> bool:
    whole, some = _whole(exchange), 1 + SERVICES[exchange.request.service].some
    await exchange.send_head(whole)
    await exchange.send_pieces(whole.pieces[:some])
    await gate.passed()
    await exchange.send_pieces(whole.pieces[some:], end=True)
    return True


async def _late_whole(exchange: Exchange) -> bool:
    await exchange.send_script(_whole(exchange))
    return True


async def _pauses(exchange: Exchange) -> bool:
    spoken = SERVICES[exchange.request.service]
    await asyncio.sleep(LATE)
    await exchange.send_head(_whole(exchange))
    for events in (spoken.events[: spoken.some], spoken.events[spoken.some :]):
        await asyncio.sleep(PAUSE)
        await exchange.send_pieces(events)
    await asyncio.sleep(PAUSE)
    await exchange.send_end()
    return True


async def _cuts(exchange: Exchange, *, ending: float = 0.0) -> bool:
    await exchange.send_head(_whole(exchange))
    events = SERVICES[exchange.request.service].events
    pieces = [half for event in events for half in (event[: len(event) // 2], event[len(event) // 2 :])]
    for number, piece in enumerate(pieces, start=1):
        await asyncio.sleep(CUT)
        await exchange.send_pieces([piece], end=number == len(pieces) and not ending)
    if ending:
        await asyncio.sleep(ending)
        await exchange.send_end()
    return True


async def _cuts_ending(exchange: Exchange) -> bool:
    return await _cuts(exchange, ending=PAUSE)


async def _late_json(exchange: Exchange) -> bool:
    await exchange.send_json("200 OK", _json_body(exchange.request.service, exchange.request_id))
    return True


async def _late_initialize(exchange: Exchange) -> bool:
    if not exchange.request.field("Mcp-Session-Id"):
        await exchange.send("400 Bad Request", b"no session")
        return True
    return await _late_json(exchange)


async def _late_crash(exchange: Exchange) -> bool:
    exchange.writer.close()
    return False


async def _breaks(exchange: Exchange) -> bool:
    spoken = SERVICES[exchange.request.service]
    await exchange.send_head(_whole(exchange))
    await exchange.send_pieces(spoken.events[: spoken.some])
    return False


async def _stays(exchange: Exchange) -> bool:
    whole = _whole(exchange)
    await exchange.send_head(whole)
    await exchange.send_pieces(whole.pieces)
    return False


async def _silent(_: Exchange) -> bool:
    return False


_PLAYS: Mapping[Scene, Callable[[Exchange], Awaitable[bool]]] = {
    Scene.LATE_WHOLE: _late_whole,
    Scene.PAUSES: _pauses,
    Scene.CUTS: _cuts,
    Scene.CUTS_ENDING: _cuts_ending,
    Scene.LATE_JSON: _late_json,
    Scene.LATE_INITIALIZE: _late_initialize,
    Scene.LATE_CRASH: _late_crash,
    Scene.BREAKS: _breaks,
    Scene.STAYS: _stays,
    Scene.SILENT: _silent,
}

#: Those in which the service does not close the connection, and the seconds for which it waits for its client to.
STAYING: Mapping[Scene, float] = {Scene.STAYS: 30.0, Scene.SILENT: 30.0}


def _whole(exchange: Exchange) -> Script:
    return script(exchange.request.service, Position.AFTER, Cell.WHOLE)


def _error_body(service: str, scene: Scene, request_id: object) -> bytes:
    """The error of `scene` as `service` writes it."""
    status, message, code = _ERRORS[scene]
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


def _json_body(service: str, request_id: object) -> bytes:
    """A whole answer without a stream."""
    shapes: Mapping[str, object] = {
        "mcp": {"jsonrpc": "2.0", "id": request_id, "result": {"content": [{"type": "text", "text": "done"}]}},
        "graphql": {"data": {"n": 1}},
    }
    return json.dumps(shapes[service]).encode()
