"""How does a kind of service talk: which heartbeat suits it, which event is its last one, which one is an error?

How a request asks for a stream of a dialect is in `stream_request`, the shape of its errors in `stream_errors`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

from sseproxy.core.stream.heartbeat import HeartbeatForm


class Dialect(StrEnum):
    """A kind of service. `AUTO` stands in policies only: the request says which one it is."""

    AUTO = "auto"
    GENERIC = "generic"
    OPENAI_CHAT = "openai-chat"
    OPENAI_COMPLETIONS = "openai-completions"
    OPENAI_RESPONSES = "openai-responses"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    OLLAMA = "ollama"
    MCP = "mcp"

    @property
    def is_of_answers(self) -> bool:
        """True if each stream of such a service answers one request, and ends with the answer."""
        return self not in (Dialect.AUTO, Dialect.GENERIC, Dialect.MCP)

    @property
    def form(self) -> HeartbeatForm:
        """The heartbeat form of a route that names the dialect and no form."""
        return _FORMS.get(self, HeartbeatForm.AUTO)

    def understands(self, form: HeartbeatForm) -> bool:
        """True unless `form` is an event of another service: an SDK would take it for a part of the answer."""
        return self is Dialect.GENERIC or _SERVICE_OF.get(form, self) is self


_FORMS = {
    Dialect.ANTHROPIC: HeartbeatForm.ANTHROPIC,
    Dialect.GEMINI: HeartbeatForm.BLANK,
    Dialect.MCP: HeartbeatForm.COMMENT_LINE,
}

#: Forms that are events of one service.
_SERVICE_OF = {
    HeartbeatForm.ANTHROPIC: Dialect.ANTHROPIC,
    HeartbeatForm.OPENAI_CHAT: Dialect.OPENAI_CHAT,
    HeartbeatForm.OPENAI_RESPONSES: Dialect.OPENAI_RESPONSES,
}


class Finality(Enum):
    """What the last event says about the end of the stream."""

    NONE = "none"
    TERMINAL = "terminal"  # nothing follows it
    FINISHED = "finished"  # it may be the last one; that is not known before the stream ends
    ERROR = "error"  # the service has said that it failed


def finality(dialect: Dialect, name: bytes, data: bytes) -> Finality:
    """Classify the event with type `name` and `data`; of long data its two ends are enough."""
    known = _LAST_EVENTS.get(dialect)
    return Finality.NONE if known is None else known(name, data)


_DONE = b"[DONE]"
_TYPE = re.compile(rb'\s*\{\s*"type"\s*:\s*"([^"\\]{1,64})"')
#: An ``error`` member that comes first, and is not null; and the flat shape of vLLM. For data that was cut.
_ERROR_FIRST = re.compile(rb'\s*\{\s*(?:"error"\s*:\s*+(?!null\b)|"object"\s*:\s*"error")')
_GEMINI_FINISH = re.compile(rb'"finish_?[rR]eason"\s*:\s*"')
_OLLAMA_DONE = re.compile(rb'"done"\s*:\s*true\b')
_RPC_RESPONSE = re.compile(
    rb'\s*\{(?:\s*"(?:jsonrpc|id)"\s*:\s*(?:"[^"\\]{0,256}"|[\w.+-]{1,64})\s*,)*\s*"(?:result|error)"\s*:'
)
_RESPONSES_TERMINAL = frozenset((b"response.completed", b"response.failed", b"response.incomplete"))


def _type_of(name: bytes, data: bytes) -> bytes:
    """The event's type: its ``event`` field, or the ``type`` member that its data begins with."""
    if name:
        return name
    found = _TYPE.match(data)
    return b"" if found is None else found.group(1)


def _is_error(data: bytes) -> bool:
    """True if `data` is an object with an ``error`` member at its top level, or vLLM's flat error."""
    if _ERROR_FIRST.match(data):
        return True
    if b'"error"' not in data:
        return False
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and (said.get("error") is not None or said.get("object") == "error")


def _openai_chat(name: bytes, data: bytes) -> Finality:
    if data.strip() == _DONE:
        return Finality.TERMINAL
    return Finality.ERROR if name == b"error" or _is_error(data) else Finality.NONE


def _openai_responses(name: bytes, data: bytes) -> Finality:
    kind = _type_of(name, data)
    if kind in _RESPONSES_TERMINAL or data.strip() == _DONE:
        return Finality.TERMINAL
    return Finality.ERROR if kind == b"error" or _is_error(data) else Finality.NONE


def _anthropic(name: bytes, data: bytes) -> Finality:
    kind = _type_of(name, data)
    if kind == b"message_stop":
        return Finality.TERMINAL
    return Finality.ERROR if kind == b"error" else Finality.NONE


def _gemini(_: bytes, data: bytes) -> Finality:
    if _is_error(data):
        return Finality.ERROR
    return Finality.FINISHED if _GEMINI_FINISH.search(data) else Finality.NONE


def _ollama(_: bytes, data: bytes) -> Finality:
    if _is_error(data):
        return Finality.ERROR
    return Finality.TERMINAL if _OLLAMA_DONE.search(data) else Finality.NONE


def _mcp(_: bytes, data: bytes) -> Finality:
    """A JSON-RPC response is the last thing that the request waits for; an error event would be a second one."""
    return Finality.ERROR if _RPC_RESPONSE.match(data) else Finality.NONE


def _generic(name: bytes, _: bytes) -> Finality:
    return Finality.ERROR if name == b"error" else Finality.NONE


_LAST_EVENTS: Mapping[Dialect, Callable[[bytes, bytes], Finality]] = {
    Dialect.GENERIC: _generic,
    Dialect.OPENAI_CHAT: _openai_chat,
    Dialect.OPENAI_COMPLETIONS: _openai_chat,
    Dialect.OPENAI_RESPONSES: _openai_responses,
    Dialect.ANTHROPIC: _anthropic,
    Dialect.GEMINI: _gemini,
    Dialect.OLLAMA: _ollama,
    Dialect.MCP: _mcp,
}


@dataclass(frozen=True, slots=True)
class Marker:
    """The terminal event of a service that no dialect is known for: its data, or its type, as it is on the wire."""

    data: str | None = None
    event: str | None = None

    def is_event(self, name: bytes, data: bytes) -> bool:
        """True if the event with this type and data is the marker."""
        if self.event is not None:
            return name == self.event.encode()
        return self.data is not None and data == self.data.encode()
