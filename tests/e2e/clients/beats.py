"""Where does a heartbeat of which form go into a stream? The scripts of ``ends_rig --forms``."""

import re
from enum import StrEnum

from tests.e2e.clients.endings import SERVICES, Script


class Phase(StrEnum):
    """IDS: between two events of a stream whose events have ids. INSIDE: between two lines of an event."""

    BEFORE = "before"
    BETWEEN = "between"
    IDS = "ids"
    INSIDE = "inside"
    BEHIND = "behind"


class Form(StrEnum):
    """The forms of `heartbeat.form`, and none."""

    NONE = "none"
    LINE = "line"
    BLOCK = "block"
    BLANK = "blank"
    KEEPALIVE = "keepalive"
    PING = "ping"
    CHUNK = "chunk"


_BYTES = {
    Form.NONE: b"",
    Form.LINE: b": heartbeat\n",
    Form.BLOCK: b": heartbeat\n\n",
    Form.BLANK: b"\n",
    Form.KEEPALIVE: b'event: keepalive\ndata: {"type":"keepalive"}\n\n',
    Form.PING: b'event: ping\ndata: {"type": "ping"}\n\n',
    Form.CHUNK: b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":null}]}\n\n',
}
_TIMES = 3  # heartbeats at each place


def beaten(service: str, phase: Phase, form: Form) -> Script:
    """The whole stream of `service` with heartbeats of `form` in it."""
    spoken = SERVICES[service]
    beats = [_BYTES[form]] * _TIMES if form is not Form.NONE else []
    events = list(spoken.events)
    at = max(1, spoken.some)
    match phase:
        case Phase.BEFORE:
            sent = [*beats, *events]
        case Phase.BETWEEN:
            sent = [*events[:at], *beats, *events[at:]]
        case Phase.IDS:
            named = [_with_id(event, number) for number, event in enumerate(events)]
            sent = [*named[:at], *beats, *named[at:]]
        case Phase.INSIDE:
            first, rest = events[at].split(b"\n", 1)
            sent = [*events[:at], first + b"\n", *beats, rest, *events[at + 1 :]]
        case _:
            sent = [*events, *beats]
    return Script(sent, clean=True, late=0.0, media=spoken.media)


def _with_id(event: bytes, number: int) -> bytes:
    return b"id: evt_%d\n" % number + event if re.search(rb"^data", event, re.MULTILINE) else event
