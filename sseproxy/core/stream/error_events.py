"""What does an error look like inside a stream whose head is already out, for each dialect?

The upstream's own words come first: its code, type, param and message, in whatever shape its error body has them.
The status that the response would have had stands beside them.
"""

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from sseproxy.core.frozen import frozen
from sseproxy.core.limits import ERROR_BODY
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.error_body import read_error
from sseproxy.core.stream.events import LF, event

#: The id of a JSON-RPC request.
RequestId = str | int | float


@frozen
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
        object.__setattr__(self, "_parsed", read_error(self.body))

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


def error_event(dialect: Dialect, error: StreamError, *, request_id: RequestId | None = None, eol: bytes = LF) -> bytes:
    """Return the one event that tells a client of `dialect` about `error`.

    request_id: of the JSON-RPC request. Empty for MCP without one: no request waits for an answer.
    """
    if dialect is Dialect.MCP and request_id is None:
        return b""
    name, value = _shape(dialect, error, request_id)
    return event(json.dumps(value), name=name, eol=eol)


def error_object(dialect: Dialect, error: StreamError) -> bytes:
    """Return the JSON text that tells a client of `dialect` about `error`, where it waits for JSON."""
    if dialect is Dialect.OPENAI_RESPONSES:
        dialect = Dialect.OPENAI_CHAT  # events of this service have a shape of their own, its error bodies have not
    return json.dumps(error_value(dialect, error)).encode()


def error_value(dialect: Dialect, error: StreamError) -> dict[str, Any]:
    """Return the JSON value that tells a client of `dialect` about `error`, where it is no event."""
    return _shape(dialect, error, None)[1]


def _shape(dialect: Dialect, error: StreamError, request_id: RequestId | None) -> tuple[str | None, dict[str, Any]]:
    """Return the type of the event and its data."""
    text, kind, param, code = error.text, error.kind, error.param, error.code or error.status
    later = {} if error.retry_after is None else {"retry_after": error.retry_after}
    status = {"status": error.status, **later}
    half = ERROR_BODY // 2  # where the body may stand twice, half the room is left for each
    match dialect:
        case Dialect.OPENAI_CHAT | Dialect.OPENAI_COMPLETIONS:
            return None, {"error": {"message": text, "type": kind, "param": param, "code": code, **status}}
        case Dialect.OPENAI_RESPONSES:
            # The SDKs raise on a truthy "error" member; the rest is the event's own documented shape.
            said = {"code": str(code), "message": text[:half], "param": param}
            inner = {"type": kind, **said, **status}
            return "error", {"type": "error", **said, "sequence_number": 0, "error": inner}
        case Dialect.ANTHROPIC:
            kind = error.upstream_kind or _ANTHROPIC_TYPES.get(error.status, "api_error")
            return "error", {"type": "error", "error": {"type": kind, "message": text, **status}}
        case Dialect.GEMINI:
            word = error.upstream_status or _GOOGLE_STATUSES.get(error.status, "UNKNOWN")
            return None, {"error": {"code": error.status, "message": text, "status": word, **later}}
        case Dialect.OLLAMA:
            return None, {"error": text, **status}
        case Dialect.MCP:
            own = error.rpc_error or {}
            data = own["data"] if isinstance(own.get("data"), dict) else {}
            inner = {"code": own.get("code", _RPC_SERVER_ERROR), "message": text, "data": {**data, **status}}
            return "message", {"jsonrpc": "2.0", "id": request_id, "error": inner}
        case _:
            detail = error.body.decode("utf-8", "replace").strip() or error.detail
            inner = {"message": text[:half], "type": kind, "code": code}
            inner |= {} if param is None else {"param": param}
            outer = {"type": error.type, "status": error.status, "detail": detail[:half]}
            return "error", {**outer, "error": inner, **later}


_RPC_SERVER_ERROR = -32000  # JSON-RPC 2.0, section 5.1: for errors that the implementation defines

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
