"""How does a kind of service talk: which heartbeat, and what does an error look like in its stream?"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sseproxy.core.events import LF, event
from sseproxy.core.heartbeat import HeartbeatForm
from sseproxy.core.limits import ERROR_BODY
from sseproxy.core.transfer import CloseReason


class Dialect(StrEnum):
    """A bundle of defaults for one kind of service."""

    GENERIC = "generic"
    OPENAI_CHAT = "openai-chat"
    OPENAI_RESPONSES = "openai-responses"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"

    @property
    def form(self) -> HeartbeatForm:
        """The heartbeat form of a route that names none."""
        return _FORMS.get(self, HeartbeatForm.AUTO)

    @property
    def has_error_event(self) -> bool:
        """Whether clients of this dialect are known to raise on its error event."""
        return self is not Dialect.GENERIC


_FORMS = {Dialect.ANTHROPIC: HeartbeatForm.ANTHROPIC, Dialect.GEMINI: HeartbeatForm.BLANK}


@dataclass(frozen=True, slots=True)
class StreamError:
    """Something that has to be told inside a stream whose head is already out.

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
        """What to tell a person: the upstream's own message where it has one, else its body, else the detail."""
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
        """The upstream's own error type where it has one, else ours."""
        return self.upstream_kind or self.type


def _error_object(body: bytes) -> Mapping[str, Any]:
    """The ``error`` object that model services wrap their errors in, or nothing."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    error = parsed.get("error") if isinstance(parsed, dict) else None
    return error if isinstance(error, dict) else {}


def error_event(dialect: Dialect, error: StreamError, *, eol: bytes = LF) -> bytes:
    """The one event that tells a client of `dialect` about `error`."""
    return _SHAPES[dialect](error, eol)


def _generic(error: StreamError, eol: bytes) -> bytes:
    detail = error.body.decode("utf-8", "replace") or error.detail
    return _event({"type": error.type, "status": error.status, "detail": detail, **_retry_after(error)}, eol, "error")


def _openai_chat(error: StreamError, eol: bytes) -> bytes:
    return _event(
        {"error": {"message": error.text, "type": error.kind, "code": error.status, **_retry_after(error)}}, eol
    )


def _openai_responses(error: StreamError, eol: bytes) -> bytes:
    # The SDKs raise on a truthy "error" member; the rest is the event's own documented shape.
    # The message stands in both, so half the room is left for each.
    said = {"code": str(error.status), "message": error.text[: ERROR_BODY // 2], "param": None}
    inner = {"type": error.kind, **said, **_retry_after(error)}
    return _event({"type": "error", **said, "sequence_number": 0, "error": inner}, eol, "error")


def _anthropic(error: StreamError, eol: bytes) -> bytes:
    kind = error.upstream_kind or _ANTHROPIC_TYPES.get(error.status, "api_error")
    inner = {"type": kind, "message": error.text, **_retry_after(error)}
    return _event({"type": "error", "error": inner}, eol, "error")


def _gemini(error: StreamError, eol: bytes) -> bytes:
    status = _GOOGLE_STATUSES.get(error.status, "UNKNOWN")
    inner = {"code": error.status, "message": error.text, "status": status, **_retry_after(error)}
    return _event({"error": inner}, eol)


def _event(value: Mapping[str, object], eol: bytes, name: str | None = None) -> bytes:
    return event(json.dumps(value), name=name, eol=eol)


def _retry_after(error: StreamError) -> dict[str, str]:
    return {} if error.retry_after is None else {"retry_after": error.retry_after}


_SHAPES: Mapping[Dialect, Callable[[StreamError, bytes], bytes]] = {
    Dialect.GENERIC: _generic,
    Dialect.OPENAI_CHAT: _openai_chat,
    Dialect.OPENAI_RESPONSES: _openai_responses,
    Dialect.ANTHROPIC: _anthropic,
    Dialect.GEMINI: _gemini,
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


#: What a client is told of an end that is not the upstream's.
ENDS_OF_OURS: Mapping[CloseReason, StreamError] = {
    reason: StreamError(reason, status, detail)
    for reason, status, detail in (
        (CloseReason.IDLE_TIMEOUT, 504, "the stream has been silent for too long"),
        (CloseReason.MAX_DURATION, 504, "the stream has reached its maximum duration"),
        (CloseReason.DRAIN, 503, "the server is shutting down"),
        (CloseReason.RESPONSE_TIMEOUT, 504, "no response came in time"),
        (CloseReason.CONNECT_ERROR, 502, "the upstream could not be reached"),
        (CloseReason.UPSTREAM_ERROR, 502, "the upstream broke off before it answered"),
    )
}
