"""How does a kind of service talk: which heartbeat suits it, which event is its last one, which one is an error?

How a request asks for a stream of a dialect is in `request`, the shape of its errors in `error_events`.
"""

import json
import re
from collections.abc import Mapping
from enum import Enum, StrEnum

from sseproxy.core.frozen import frozen
from sseproxy.core.http.json_members import MemberScanner, NoValue
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
    def knows_records(self) -> bool:
        """True if the service sends NDJSON, and its last record and its errors are known; see `record_finality`."""
        return self is Dialect.OLLAMA

    @property
    def form(self) -> HeartbeatForm:
        """The heartbeat form of a route that names the dialect and no form."""
        return _FORMS.get(self, HeartbeatForm.AUTO)

    def understands(self, form: HeartbeatForm) -> bool:
        """True unless `form` is an event of another service: an SDK would take it for a part of the answer."""
        return self is Dialect.GENERIC or _SERVICE_OF.get(form, self) is self


#: What Ollama answers with NDJSON, unless the body says otherwise; its other answers are short, or begin at once.
OLLAMA_STREAMS = ("/api/chat", "/api/generate")

#: How paths of POST requests end, by the service that they are for.
PATH_ENDINGS: tuple[tuple[str, Dialect], ...] = (
    ("/chat/completions", Dialect.OPENAI_CHAT),
    ("/completions", Dialect.OPENAI_COMPLETIONS),
    ("/responses", Dialect.OPENAI_RESPONSES),
    (":streamGenerateContent", Dialect.GEMINI),
)


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


_TYPE = re.compile(rb'\s*\{\s*"type"\s*:\s*"([^"\\]{1,64})"')
#: An ``error`` member that comes first, and is not null; and the flat shape of vLLM. For data that was cut.
_ERROR_FIRST = re.compile(rb'\s*\{\s*(?:"error"\s*:\s*+(?!null\b)|"object"\s*:\s*"error")')
_GEMINI_FINISH = re.compile(rb'"finish_?[rR]eason"\s*:\s*"')
_OLLAMA_DONE = re.compile(rb'"done"\s*:\s*true\b')
_RPC_RESPONSE = re.compile(
    rb'\A\s*\{(?:\s*"(?:jsonrpc|id)"\s*:\s*(?:"[^"\\]{0,256}"|[\w.+-]{1,64})\s*,)*\s*"(?:result|error)"\s*:'
)


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


@frozen
class _LastEvents:
    """What tells the last events of a service. What is left out tells nothing.

    types: of terminal events. reads_type: an event without a type has it in its data. done: data ``[DONE]`` is
    terminal. is_named_error: the type ``error`` is one. has_error_member: see `_is_error`. meaning: of data that
    `pattern` matches.
    """

    types: frozenset[bytes] = frozenset()
    reads_type: bool = False
    done: bool = False
    is_named_error: bool = False
    has_error_member: bool = False
    pattern: re.Pattern[bytes] | None = None
    meaning: Finality = Finality.NONE

    def finality(self, name: bytes, data: bytes) -> Finality:
        kind = _type_of(name, data) if self.reads_type else name
        if kind in self.types or (self.done and data.strip() == b"[DONE]"):
            return Finality.TERMINAL
        if (self.is_named_error and kind == b"error") or (self.has_error_member and _is_error(data)):
            return Finality.ERROR
        return self.meaning if self.pattern is not None and self.pattern.search(data) else Finality.NONE


_OPENAI_CHAT = _LastEvents(done=True, is_named_error=True, has_error_member=True)

_LAST_EVENTS: Mapping[Dialect, _LastEvents] = {
    Dialect.GENERIC: _LastEvents(is_named_error=True),
    Dialect.OPENAI_CHAT: _OPENAI_CHAT,
    Dialect.OPENAI_COMPLETIONS: _OPENAI_CHAT,
    Dialect.OPENAI_RESPONSES: _LastEvents(
        frozenset((b"response.completed", b"response.failed", b"response.incomplete")),
        reads_type=True,
        done=True,
        is_named_error=True,
        has_error_member=True,
    ),
    Dialect.ANTHROPIC: _LastEvents(frozenset((b"message_stop",)), reads_type=True, is_named_error=True),
    Dialect.GEMINI: _LastEvents(has_error_member=True, pattern=_GEMINI_FINISH, meaning=Finality.FINISHED),
    Dialect.OLLAMA: _LastEvents(has_error_member=True, pattern=_OLLAMA_DONE, meaning=Finality.TERMINAL),
    # A JSON-RPC response is the last thing that the request waits for; an error event would be a second one.
    Dialect.MCP: _LastEvents(pattern=_RPC_RESPONSE, meaning=Finality.ERROR),
}


def finality(dialect: Dialect, name: bytes, data: bytes) -> Finality:
    """Classify the event with type `name` and `data`; of long data its two ends are enough."""
    known = _LAST_EVENTS.get(dialect)
    return Finality.NONE if known is None else known.finality(name, data)


#: Members of a record that tell whether another one follows.
_ERROR, _DONE = RECORD_MEMBERS = ("error", "done")


def record_finality(record: MemberScanner) -> Finality:
    """Classify a record of NDJSON that has been read, for `RECORD_MEMBERS`, to its end.

    It is the whole record, whatever its length: of Ollama the last one may hold the numbers of a whole conversation.
    """
    if record.value(_ERROR) not in (None, NoValue.ABSENT):
        return Finality.ERROR
    return Finality.TERMINAL if record.value(_DONE) is True else Finality.NONE


@frozen
class Marker:
    """The terminal event of a service that no dialect is known for: its data, or its type, as it is on the wire."""

    data: str | None = None
    event: str | None = None

    def is_event(self, name: bytes, data: bytes) -> bool:
        """True if the event with this type and data is the marker."""
        if self.event is not None:
            return name == self.event.encode()
        return self.data is not None and data == self.data.encode()
