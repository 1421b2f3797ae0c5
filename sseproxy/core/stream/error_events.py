"""What does an error look like inside a stream whose head is already out, for each dialect?

The upstream's own words come first: its code, type, param and message, in whatever shape its error body has them.
The status that the response would have had stands beside them.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sseproxy.core.limits import ERROR_BODY
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.events import LF, LINE_END, event

#: The id of a JSON-RPC request.
RequestId = str | int | float


@dataclass(frozen=True, slots=True)
class StreamError:
    """An error that is reported to the client inside a stream.

    type: a close reason, or ``upstream_response`` for an answer that is no stream.
    status: the status that the client would have had. retry_after: the field's value, verbatim.
    body: the first bytes of the upstream's answer, at most `ERROR_BODY` of them are used.
    """

    type: str
    status: int
    detail: str
    retry_after: str | None = None
    body: bytes = b""
    _parsed: Mapping[str, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "body", self.body[:ERROR_BODY])
        object.__setattr__(self, "_parsed", _error_object(self.body))

    @property
    def text(self) -> str:
        """The upstream's own message where it has one, else its body, else the detail."""
        message = self._parsed.get("message")
        if isinstance(message, str) and message:
            return message
        return self.body.decode("utf-8", "replace").strip() or self.detail

    @property
    def upstream_kind(self) -> str | None:
        """The upstream's own error type, where it has one."""
        kind = self._parsed.get("type")
        return kind if isinstance(kind, str) and kind else None

    @property
    def kind(self) -> str:
        """The upstream's own error type where it has one, else the type of this error."""
        return self.upstream_kind or self.type

    @property
    def code(self) -> str | int | None:
        """The upstream's own code, where it has one."""
        code = self._parsed.get("code")
        return code if isinstance(code, str | int) and not isinstance(code, bool) and code != "" else None

    @property
    def param(self) -> str | None:
        """The request's member that is at fault, where the upstream names it."""
        param = self._parsed.get("param")
        return param if isinstance(param, str) else None

    @property
    def upstream_status(self) -> str | None:
        """The upstream's own status word, as Google's services have one."""
        status = self._parsed.get("status")
        return status if isinstance(status, str) and status else None

    @property
    def rpc_error(self) -> Mapping[str, Any] | None:
        """The upstream's own JSON-RPC error (JSON-RPC 2.0, section 5.1), where it has one."""
        code, message = self._parsed.get("code"), self._parsed.get("message")
        is_one = isinstance(code, int) and not isinstance(code, bool) and isinstance(message, str)
        return self._parsed if is_one else None


def _error_object(body: bytes) -> Mapping[str, Any]:
    """Return the members of the error in `body`: message, type, param, code, as far as they are there.

    Understood: ``{"error": {…}}`` (OpenAI, Anthropic, JSON-RPC; a list of it: Google), ``{"error": "text"}`` (Ollama),
    ``{"object": "error", "message": …}`` (vLLM), ``{"detail": "text"}`` (FastAPI), and each of them as an event.
    """
    parsed = _parsed_json(body) if len(body) < ERROR_BODY else _cut_members(body)
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        return {}
    error = parsed.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str) and error:
        return {**parsed, "message": parsed.get("message") or error}
    if parsed.get("object") == "error" or isinstance(parsed.get("message"), str):
        return parsed
    detail = parsed.get("detail")
    if isinstance(detail, dict):
        return detail
    return {"message": detail} if isinstance(detail, str) else {}


_MEMBER = re.compile(rb'"(message|type|param|code|status)"\s*:\s*("(?:[^"\\]|\\.){0,4096}"|-?\d{1,9}\b)')


def _cut_members(body: bytes) -> dict[str, Any]:
    """Return the members of an error in a body that was cut, and can be parsed no more: the first of each name."""
    found: dict[str, Any] = {}
    for name, value in _MEMBER.findall(body):
        try:
            found.setdefault(name.decode(), json.loads(value))
        except ValueError:
            continue
    return {"error": found} if "message" in found else {}


def _parsed_json(body: bytes) -> Any:
    """Return the JSON of `body`, or of its first event that has any."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        pass
    for block in re.split(rb"(?:\r\n|\r|\n){2}", body):
        lines = [line for line in LINE_END.split(block) if line.startswith(b"data:")]
        try:
            return json.loads(b"\n".join(line[len(b"data:") :] for line in lines))
        except (ValueError, RecursionError):
            continue
    return None


def error_event(dialect: Dialect, error: StreamError, *, request_id: RequestId | None = None, eol: bytes = LF) -> bytes:
    """Return the one event that tells a client of `dialect` about `error`.

    request_id: of the JSON-RPC request. Empty for MCP without one: no request waits for an answer.
    """
    if dialect is Dialect.MCP:
        return b"" if request_id is None else _mcp(error, eol, request_id)
    return _SHAPES[dialect](error, eol)


def _generic(error: StreamError, eol: bytes) -> bytes:
    detail = error.body.decode("utf-8", "replace").strip() or error.detail
    inner = {"message": error.text, "type": error.kind, "code": error.code or error.status}
    # The body may stand in both, so half the room is left for each.
    inner["message"] = error.text[: ERROR_BODY // 2]
    if error.param is not None:
        inner["param"] = error.param
    value = {"type": error.type, "status": error.status, "detail": detail[: ERROR_BODY // 2], "error": inner}
    return _event({**value, **_retry_after(error)}, eol, "error")


def _openai_chat(error: StreamError, eol: bytes) -> bytes:
    inner = {"message": error.text, "type": error.kind, "param": error.param, "code": error.code or error.status}
    return _event({"error": {**inner, "status": error.status, **_retry_after(error)}}, eol)


def _openai_responses(error: StreamError, eol: bytes) -> bytes:
    # The SDKs raise on a truthy "error" member; the rest is the event's own documented shape.
    # The message stands in both, so half the room is left for each.
    code = str(error.code or error.status)
    said = {"code": code, "message": error.text[: ERROR_BODY // 2], "param": error.param}
    inner = {"type": error.kind, **said, "status": error.status, **_retry_after(error)}
    return _event({"type": "error", **said, "sequence_number": 0, "error": inner}, eol, "error")


def _anthropic(error: StreamError, eol: bytes) -> bytes:
    kind = error.upstream_kind or _ANTHROPIC_TYPES.get(error.status, "api_error")
    inner = {"type": kind, "message": error.text, "status": error.status, **_retry_after(error)}
    return _event({"type": "error", "error": inner}, eol, "error")


def _gemini(error: StreamError, eol: bytes) -> bytes:
    status = error.upstream_status or _GOOGLE_STATUSES.get(error.status, "UNKNOWN")
    inner = {"code": error.status, "message": error.text, "status": status, **_retry_after(error)}
    return _event({"error": inner}, eol)


def _ollama(error: StreamError, eol: bytes) -> bytes:
    return _event({"error": error.text, "status": error.status, **_retry_after(error)}, eol)


_RPC_SERVER_ERROR = -32000  # JSON-RPC 2.0, section 5.1: for errors that the implementation defines


def _mcp(error: StreamError, eol: bytes, request_id: RequestId) -> bytes:
    own = error.rpc_error
    inner: dict[str, Any] = {"code": _RPC_SERVER_ERROR, "message": error.text}
    inner["data"] = {"status": error.status, **_retry_after(error)}
    if own is not None:
        inner["code"] = own["code"]
        if isinstance(own.get("data"), dict):
            inner["data"] = {**own["data"], **inner["data"]}
    return _event({"jsonrpc": "2.0", "id": request_id, "error": inner}, eol, "message")


def _event(value: Mapping[str, object], eol: bytes, name: str | None = None) -> bytes:
    return event(json.dumps(value), name=name, eol=eol)


def _retry_after(error: StreamError) -> dict[str, str]:
    return {} if error.retry_after is None else {"retry_after": error.retry_after}


_SHAPES: Mapping[Dialect, Callable[[StreamError, bytes], bytes]] = {
    Dialect.GENERIC: _generic,
    Dialect.OPENAI_CHAT: _openai_chat,
    Dialect.OPENAI_COMPLETIONS: _openai_chat,
    Dialect.OPENAI_RESPONSES: _openai_responses,
    Dialect.ANTHROPIC: _anthropic,
    Dialect.GEMINI: _gemini,
    Dialect.OLLAMA: _ollama,
}

# The error types of the Anthropic API, by the status that they come with.
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

# google.rpc.Code names, by the status that they come with.
_GOOGLE_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
