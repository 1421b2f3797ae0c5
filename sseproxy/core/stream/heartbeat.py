"""What does a heartbeat look like, for this client and at this place of the stream?"""

import json
import re
from enum import StrEnum
from typing import Any

from sseproxy.core.frozen import frozen
from sseproxy.core.stream.events import comment, event, has_id, last_data
from sseproxy.core.stream.scanner import Position, Scanner


class HeartbeatForm(StrEnum):
    """What a heartbeat looks like; see docs/configuration.md."""

    AUTO = "auto"
    COMMENT_LINE = "comment-line"
    COMMENT_BLOCK = "comment-block"
    BLANK = "blank"
    EVENT = "event"
    ANTHROPIC = "anthropic"
    OPENAI_CHAT = "openai-chat"
    OPENAI_RESPONSES = "openai-responses"


class WhiteSpace(StrEnum):
    """What a heartbeat is in a stream of NDJSON, where a record may begin."""

    AUTO = "auto"  # a space where the last record of the service is known, so that none follows it; else nothing
    SPACE = "space"
    NEWLINE = "newline"
    OFF = "off"


@frozen
class HeartbeatPolicy:
    """When a heartbeat goes out and what it says; times in seconds, ``None`` means off.

    interval: silence towards the client after which a heartbeat goes out.
    before_response: how long a declared stream waits for the upstream's head before it is answered.
    prelude: one heartbeat goes out with the response head.
    json: how long any other request that takes JSON waits for the head before it is answered.
    ndjson: what goes into streams of NDJSON.
    """

    interval: float | None = 15.0
    form: HeartbeatForm = HeartbeatForm.AUTO
    comment: str = "heartbeat"
    event_name: str = "heartbeat"
    event_data: str = "{}"
    before_response: float | None = None
    prelude: bool = False
    json: float | None = None
    ndjson: WhiteSpace = WhiteSpace.AUTO

    @property
    def may_be_early(self) -> bool:
        """True if some requests are answered before the upstream has answered."""
        return self.before_response is not None or self.json is not None

    @property
    def fields_without_interval(self) -> tuple[str, ...]:
        """Return the names of the fields that ask for heartbeats although `interval` is off."""
        if self.interval is not None:
            return ()
        asks = {
            "before_response": self.before_response is not None,
            "prelude": self.prelude,
            "json": self.json is not None,
            "ndjson": self.ndjson in (WhiteSpace.SPACE, WhiteSpace.NEWLINE),
        }
        return tuple(name for name, is_asked in asks.items() if is_asked)

    def fields_too_late(self, response: float | None) -> tuple[str, ...]:
        """Return the names of the early answers that come no sooner than a request fails by its response timeout."""
        if response is None:
            return ()
        waits = {"before_response": self.before_response, "json": self.json}
        return tuple(name for name, wait in waits.items() if wait is not None and wait >= response)


_CHAT_CHUNK = "chat.completion.chunk"
#: An event of a response that is under way. Where the member stands in the event is the service's choice.
_IN_RESPONSE = re.compile(rb'"type"\s*:\s*"response\.(?!(?:completed|failed|incomplete)")')

#: A chat chunk has to look like the last one, and helpers refuse whatever comes before the first event of a response.
_NEED_THE_LAST_EVENT = (HeartbeatForm.OPENAI_CHAT, HeartbeatForm.OPENAI_RESPONSES)


def why_skipped(position: Position, *, is_blocked: bool, is_over: bool) -> str:
    """Return why a heartbeat that was due did not go out: the values of the label ``why``."""
    if is_blocked:
        return "backpressure"
    if is_over:
        return "at_end"
    return "mid_line" if position is Position.MID_LINE else "inside_event"


class HeartbeatWriter:
    """Writes the heartbeats of one stream, and remembers of the stream what the form needs to know.

    form: of this stream. event: name and data for the form ``event``, in place of the policy's.
    observes: whether `observe` has anything left to take note of. keeps_data: also of lines that can be no ids.
    """

    __slots__ = ("_event", "_form", "_ids_seen", "_last_data", "_policy", "keeps_data", "observes")

    def __init__(
        self, policy: HeartbeatPolicy, form: HeartbeatForm | None = None, event: tuple[str, str] | None = None
    ) -> None:
        self._policy = policy
        self._form = form or policy.form
        self._event = event
        self.keeps_data = self._form in _NEED_THE_LAST_EVENT
        self._ids_seen = False
        self._last_data: bytes | None = None
        self.observes = policy.interval is not None and (self.keeps_data or self._form is HeartbeatForm.AUTO)

    def observe(self, lines: bytes) -> None:
        """Take note of `lines`, which leave for the client and begin at a line boundary."""
        if self.keeps_data:
            self._last_data = last_data(lines, opening=b"{") or self._last_data
        if not self._ids_seen and has_id(lines):
            self._ids_seen = True
            self.observes = self.keeps_data

    def write(self, scanner: Scanner) -> bytes | None:
        """The bytes of one heartbeat for where `scanner` stands, or ``None`` if nothing may go there."""
        if scanner.position is Position.MID_LINE:
            return None
        if scanner.position is Position.LINE_BOUNDARY:
            # Nothing but a comment line; a client that is given blank lines takes comments for broken events.
            return None if self._form is HeartbeatForm.BLANK else comment(self._policy.comment, eol=scanner.eol)
        return self._between_events(scanner.eol)

    def _between_events(self, eol: bytes) -> bytes:
        match self._form:
            case HeartbeatForm.COMMENT_LINE:
                return comment(self._policy.comment, eol=eol)
            case HeartbeatForm.COMMENT_BLOCK:
                return comment(self._policy.comment, eol=eol) + eol
            case HeartbeatForm.BLANK:
                return eol
            case HeartbeatForm.EVENT:
                name, data = self._event or (self._policy.event_name, self._policy.event_data)
                return event(data, name=name, eol=eol)
            case HeartbeatForm.ANTHROPIC:
                return event('{"type": "ping"}', name="ping", eol=eol)
            case HeartbeatForm.OPENAI_RESPONSES if _IN_RESPONSE.search(self._last_data or b""):
                return event('{"type":"keepalive"}', name="keepalive", eol=eol)
            case HeartbeatForm.OPENAI_CHAT:
                chunk = _empty_chunk(self._last_data)
                return self._comment(eol) if chunk is None else event(chunk, eol=eol)
            case HeartbeatForm.AUTO | HeartbeatForm.OPENAI_RESPONSES:
                return self._comment(eol)

    def _comment(self, eol: bytes) -> bytes:
        # Blank lines end a comment for parsers that split on them; but once an id is set, the decoder that
        # several Python clients share dispatches an empty event on each.
        block = comment(self._policy.comment, eol=eol)
        return block if self._ids_seen else block + eol


def _empty_chunk(last_chunk: bytes | None) -> str | None:
    """A chat completion chunk that says nothing, like `last_chunk` in all that names the completion.

    None before the first chunk, and again after the one that finishes: over one more, helpers forget what they have
    gathered until then (usage, reason).
    """
    try:
        seen = json.loads(last_chunk or b"null")
    except (ValueError, RecursionError):
        return None
    if (
        not isinstance(seen, dict)
        or "id" not in seen
        or seen.get("object", _CHAT_CHUNK) != _CHAT_CHUNK
        or _finishes(seen)
    ):
        return None
    chunk = {key: seen[key] for key in ("id", "object", "created", "model") if key in seen}
    choice = {"index": 0, "delta": {}, "finish_reason": None}
    return json.dumps({**chunk, "object": _CHAT_CHUNK, "choices": [choice]}, separators=(",", ":"))


def _finishes(chunk: dict[str, Any]) -> bool:
    choices = chunk.get("choices")
    if not isinstance(choices, list) or not choices:
        return True
    return any(isinstance(choice, dict) and choice.get("finish_reason") is not None for choice in choices)
