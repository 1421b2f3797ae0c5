"""Which keys say how streams are treated: heartbeats, timeouts, limits, and what a stream is at all?

Defaults are those of the policies.
"""

import warnings
from typing import Any

from pydantic import Field

from sseproxy.config.fields import (
    VARIABLE,
    AnyText,
    Boolean,
    CountOrOff,
    DeclaredValue,
    Duration,
    EventName,
    FormWord,
    IdleDuration,
    KindWord,
    Size,
    SizeOrOff,
    TextLine,
    WhiteSpaceWord,
)
from sseproxy.config.sections import Section
from sseproxy.config.values import BadValue, describe
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.plan import StreamKind, StreamMode
from sseproxy.core.stream.timeouts import TimeoutPolicy

_HEARTBEAT, _TIMEOUTS, _LIMITS = HeartbeatPolicy(), TimeoutPolicy(), LimitPolicy()


class HeartbeatEventSection(Section):
    """The event of the form `event`."""

    name: EventName = Field(default=_HEARTBEAT.event_name, description="Its type, for addEventListener().")
    data: AnyText = Field(default=_HEARTBEAT.event_data, description="Its data; may have several lines.")


with warnings.catch_warnings():
    # A key has the name of a deprecated method of pydantic's, which says so.
    warnings.filterwarnings("ignore", 'Field name "json"', UserWarning)

    class HeartbeatSection(Section):
        """What a silent stream is kept alive with."""

        interval: Duration = Field(
            default=_HEARTBEAT.interval,
            description="Silence towards the client after which a heartbeat goes out; off: none.",
        )
        form: FormWord = Field(
            default=_HEARTBEAT.form, description="What a heartbeat looks like; auto: what suits client and service."
        )
        comment: TextLine = Field(default=_HEARTBEAT.comment, description="The text of a comment.")
        event: HeartbeatEventSection = Field(
            default=HeartbeatEventSection.model_construct(), description="The event of the form `event`."
        )
        before_response: Duration = Field(
            default=_HEARTBEAT.before_response,
            description="A declared stream without a response head so long after the request's end is answered 200 and "
            "kept alive. It trades status line and header fields for the connection.",
        )
        prelude: Boolean = Field(default=_HEARTBEAT.prelude, description="Send one heartbeat with the response head.")
        json: Duration = Field(  # type: ignore[assignment]  # pydantic's method of that name is not used
            default=_HEARTBEAT.json,
            description="A request that declares no stream, takes JSON, is no GET, and has no response head so long "
            "after its end is answered 200 and kept alive with white space. It trades status line and header fields.",
        )
        ndjson: WhiteSpaceWord = Field(
            default=_HEARTBEAT.ndjson,
            description="What a heartbeat is between the records of NDJSON; auto: a space for Ollama, else nothing.",
        )


class TimeoutsSection(Section):
    """How long to wait."""

    connect: Duration = Field(
        default=_TIMEOUTS.connect, description="Until the upstream connection stands, TLS included."
    )
    connect_retry: Duration = Field(
        default=_TIMEOUTS.connect_retry,
        description="A connection that is refused, or a name that is not known, is tried again for so long.",
    )
    response: Duration = Field(default=_TIMEOUTS.response, description="From there until the upstream's response head.")
    idle: IdleDuration = Field(
        default=_TIMEOUTS.idle,
        description="Silence of the upstream inside a response; auto: 15m for an answer, off for a feed, a tunnel and "
        "a body that is no stream.",
    )
    write: Duration = Field(
        default=_TIMEOUTS.write,
        description="A client that takes nothing while bytes wait for it; on Linux also one that has vanished.",
    )
    max_duration: Duration = Field(default=_TIMEOUTS.max_duration, description="The age of an event stream.")
    request_body: Duration = Field(
        default=_TIMEOUTS.request_body,
        description="From a request's head until the end of its body; a client that takes longer gets a 400.",
    )


class LimitsSection(Section):
    """How much to take."""

    streams: CountOrOff = Field(
        default=_LIMITS.streams, description="Open event streams of the route, for each worker."
    )
    streams_per_client: CountOrOff = Field(
        default=_LIMITS.streams_per_client,
        description="Open event streams of one client (an address, of IPv6 a /64), for each worker.",
    )
    line: Size = Field(default=_LIMITS.line, description="Bytes of an unfinished line that are held back.")
    request_body: SizeOrOff = Field(
        default=_LIMITS.request_body, description="Bytes of a request body; more is refused: 413."
    )
    event: Size = Field(
        default=_LIMITS.event,
        description="Bytes of an event that is kept; a larger one ends its run. One that comes out of Redis is "
        "skipped.",
    )
    detached: CountOrOff = Field(
        default=_LIMITS.detached,
        description="Runs of the route without a reader, for each process; one more, and the one that has waited "
        "longest is stopped, or, if it is a feed, sleeps.",
    )
    detached_per_client: CountOrOff = Field(
        default=_LIMITS.detached_per_client,
        description="The same for one login, or, without a login, for one client.",
    )


class StreamSection(Section):
    """Which requests are for streams, and for which kind of them."""

    declared: DeclaredValue = Field(
        default=StreamMode.AUTO,
        description="Is a request for a stream? auto: it says so; always; never: responses are not touched; "
        "{json: NAME, equals: VALUE} or {query: NAME}: that says so, too.",
    )
    kind: KindWord = Field(
        default=StreamKind.AUTO,
        description="answer: finite; feed: endless; auto: an answer unless it is a GET of an unknown service.",
    )


def stream_of_word(value: object) -> object:
    """The section for one of the words of `StreamSection.declared`."""
    if isinstance(value, bool | int | float | list):
        # Who knows `before_response` and its like expects a switch here.
        hint = {True: "always", False: "never"}[value] if isinstance(value, bool) else ""
        raise BadValue(f"expected auto, always, never or a mapping, got {describe(value)}", hint)
    return {"declared": value} if isinstance(value, str) else value


#: The words that may stand in place of a `StreamSection`, for the JSON Schema.
STREAM_WORDS = {"type": "string", "enum": [mode.value for mode in StreamMode]}


def may_be_a_word(schema: dict[str, Any], *, word: dict[str, Any], default: str) -> None:
    """Let editors accept a word in place of a section. word: the schema of such words."""
    schema["anyOf"] = [{"$ref": schema.pop("$ref")}, word, VARIABLE]
    schema["default"] = default
