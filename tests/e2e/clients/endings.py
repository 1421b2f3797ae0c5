"""How does a stream go on and end, in each dialect? The scripts of `ends_rig`.

A script is the pieces of a body, and whether the last chunk is sent (a clean end) or the connection just closes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tests.e2e.clients.recordings import Cutting, pieces, recording, response

#: What the error events say; a client that shows it has lost nothing.
MESSAGE = "the upstream was lost (marker-7f3)"
CODE = "context_length_exceeded"


class Position(StrEnum):
    """Before the first event: only a heartbeat has come."""

    BEFORE = "before"
    AFTER = "after"


class Cell(StrEnum):
    """What comes at the position. `bare`: no error event; `own`: in the dialect's shape; `generic`: in ours.

    close: the end is broken, and the head said ``Connection: close``. late: broken, a while after the last piece.
    busy: broken, while the client's reader is busy with an earlier event. open: not ended for a while, so that it is
    seen whether the client leaves by itself.
    """

    WHOLE = "whole"
    BARE_CLEAN = "bare-clean"
    BARE_BROKEN = "bare-broken"
    BARE_CLOSE = "bare-close"
    OWN_CLEAN = "own-clean"
    OWN_BROKEN = "own-broken"
    OWN_LATE = "own-late"
    OWN_BUSY = "own-busy"
    OWN_BUSY_LATE = "own-busylate"
    OWN_BUSY_CLEAN = "own-busyclean"
    OWN_OPEN = "own-open"
    GENERIC_CLEAN = "generic-clean"
    GENERIC_BROKEN = "generic-broken"
    CODE_CLEAN = "code-clean"
    CODE_BROKEN = "code-broken"
    TERMINAL_BROKEN = "terminal-broken"
    TERMINAL_HEARTBEAT = "terminal-heartbeat"


@dataclass(frozen=True, slots=True)
class Script:
    """clean: with the last chunk. late: seconds between the last piece and the broken end. media: of the response."""

    pieces: list[bytes]
    clean: bool
    late: float
    media: str = "text/event-stream"
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """events: all of a whole stream, the terminal one last. some: how many have come at `Position.AFTER`."""

    events: list[bytes]
    some: int
    error: bytes
    coded: bytes
    heartbeat: bytes = b": heartbeat\n"
    media: str = "text/event-stream"


def _data(value: object, event: str | None = None) -> bytes:
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(value)}\n\n".encode()


_GENERIC = {"type": "upstream_error", "status": 502, "detail": MESSAGE}
GENERIC_ERROR = _data({**_GENERIC, "error": {"message": MESSAGE, "type": "upstream_error", "code": 502}}, "error")
_OURS = {"message": MESSAGE, "type": "upstream_error", "param": None, "code": "502"}
_THEIRS = {"message": MESSAGE, "type": "invalid_request_error", "param": "messages", "code": CODE}


def _recorded(name: str) -> list[bytes]:
    return pieces(recording(name), Cutting.EVENTS)


def _openai(events: list[bytes]) -> Service:
    return Service(events, 4, _data({"error": _OURS}), _data({"error": _THEIRS}))


def _responses(events: list[bytes]) -> Service:
    def error(of: Mapping[str, object]) -> bytes:
        said = {"code": of["code"], "message": MESSAGE, "param": of["param"], "sequence_number": 0}
        return _data({"type": "error", **said, "error": of}, "error")

    return Service(events, 6, error(_OURS), error(_THEIRS))


def _anthropic_error(kind: str) -> bytes:
    return _data({"type": "error", "error": {"type": kind, "message": MESSAGE}}, "error")


def _gemini_error(status: str, code: int) -> bytes:
    return _data({"error": {"code": code, "message": MESSAGE, "status": status}})


def _completion(text: str, reason: str | None = None) -> bytes:
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}
    return _data(
        {"id": "cmpl-1", "object": "text_completion", "created": 1764000123, "model": "m", "choices": [choice]}
    )


def _mistral(text: str, reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": reason}
    return _data({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})


def _cohere(kind: str, **fields: object) -> bytes:
    return _data({"type": kind, **fields}, kind)


def _cohere_text(text: str) -> bytes:
    return _cohere("content-delta", index=0, delta={"message": {"content": {"text": text}}})


_COHERE = [
    _cohere("message-start", id="m1", delta={"message": {"role": "assistant", "content": []}}),
    _cohere("content-start", index=0, delta={"message": {"content": {"type": "text", "text": ""}}}),
    *map(_cohere_text, ("Server-sent ", "events ", "keep one ", "connection open")),
    _cohere("content-end", index=0),
    _cohere("message-end", delta={"finish_reason": "COMPLETE", "usage": {"tokens": {"input_tokens": 1}}}),
]


def _record(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _ollama(text: str, **fields: object) -> bytes:
    message = {"role": "assistant", "content": text}
    fields = {"done": False} | fields
    return _record({"model": "llama3.2", "created_at": "2026-01-01T00:00:00Z", "message": message, **fields})


_RECORDS = [
    json.dumps({"n": n, "text": text}, ensure_ascii=False).encode() + b"\n"
    for n, text in enumerate(("één", "two", " a b\t", "}\\n{"))
]
#: Written by a running Spring WebFlux: a chunk for each value of a `Flux`.
_SPRING_TYPE, _SPRING = response("spring")

#: The id of the request is filled in by the server.
REQUEST_ID = b'"REQUEST-ID"'


def _rpc(**fields: object) -> bytes:
    return _data({"jsonrpc": "2.0", **fields}, "message")


def _mcp_error(status: int, code: int) -> bytes:
    return _rpc(id="REQUEST-ID", error={"code": code, "message": MESSAGE, "data": {"status": status}})


_MCP = [
    _rpc(method="notifications/message", params={"level": "info", "data": "working"}),
    _rpc(method="notifications/message", params={"level": "info", "data": "still working"}),
    _rpc(id="REQUEST-ID", result={"content": [{"type": "text", "text": "done"}], "isError": False}),
]
_GRAPHQL = [
    _data({"data": {"n": 1}, "hasNext": True}, "next"),
    _data({"incremental": [{"path": [], "data": {"m": 2}}], "hasNext": True}, "next"),
    _data({"hasNext": False}, "next"),
    b"event: complete\ndata:\n\n",
]
_CHUNKS = ("Server-sent ", "events ", "keep one ", "connection open")
_DONE = b"data: [DONE]\n\n"

SERVICES: Mapping[str, Service] = {
    "openai-chat": _openai(_recorded("openai-chat")),
    "openai-completions": _openai([*map(_completion, _CHUNKS), _completion("", "stop"), _DONE]),
    "mistral": _openai([*map(_mistral, _CHUNKS), _mistral("", "stop"), _DONE]),
    "openai-responses": _responses(_recorded("openai-responses")),
    "anthropic": Service(
        _recorded("anthropic"), 6, _anthropic_error("api_error"), _anthropic_error("invalid_request_error")
    ),
    "gemini": Service(
        _recorded("gemini"), 2, _gemini_error("UNAVAILABLE", 502), _gemini_error("INVALID_ARGUMENT", 400), b"\n"
    ),
    "cohere": Service(_COHERE, 4, GENERIC_ERROR, GENERIC_ERROR),
    "mcp": Service(_MCP, 1, _mcp_error(502, -32000), _mcp_error(404, -32001)),
    "ollama": Service(
        [*map(_ollama, _CHUNKS), _ollama("", done=True, done_reason="stop")],
        2,
        _record({"error": MESSAGE}),
        _record({"error": MESSAGE}),
        b" ",
        "application/x-ndjson",
    ),
    "records": Service(_RECORDS, 2, b"", b"", b"\n", "application/x-ndjson"),
    "spring": Service(_SPRING, 2, b"", b"", b"\n", _SPRING_TYPE),
    "generic": Service([_data({"n": n}) for n in range(4)], 2, GENERIC_ERROR, GENERIC_ERROR),
    "graphql": Service(_GRAPHQL, 1, GENERIC_ERROR, GENERIC_ERROR),
}


#: Seconds between the last piece and the end.
_LATE = {"late": 0.2, "busylate": 1.5, "open": 5.0}


def script(service: str, position: Position, cell: Cell) -> Script:
    """What a server of `service` sends."""
    spoken = SERVICES[service]
    come = [spoken.heartbeat] if position is Position.BEFORE else [spoken.heartbeat, *spoken.events[: spoken.some]]
    whole = [spoken.heartbeat, *spoken.events]
    what, _, end = cell.partition("-")
    tails = {
        "bare": come,
        "own": [*come, spoken.error],
        "generic": [*come, GENERIC_ERROR],
        "code": [*come, spoken.coded],
        "whole": whole,
        "terminal": whole if end == "broken" else [*whole, spoken.heartbeat, spoken.heartbeat],
    }
    return Script(
        tails[what],
        clean=end in {"", "clean", "heartbeat", "busyclean"},
        late=_LATE.get(end, 0.0),
        media=spoken.media,
        fields=("Connection: close",) if end == "close" else (),
    )
