"""Does a request ask for a stream, and what is the app told of it then?"""

from enum import Enum, auto

from sseproxy.asgi.types import Scope
from sseproxy.core.headers import accepts_event_stream, without
from sseproxy.core.peek import may_be_json


class Asks(Enum):
    """Whether a request asks for a stream, as far as its head can tell (S8)."""

    NO = auto()
    YES = auto()
    MAYBE = auto()  # its body may say ``"stream": true``


def asks(scope: Scope) -> Asks:
    """At a glance for nearly every request. ASGI spells the names of fields in lower case."""
    headers = scope["headers"]
    fields = dict(headers)
    if fields.get(b"accept", b"").lower().find(b"event-stream") >= 0 and accepts_event_stream(headers):
        return Asks.YES
    has_body = scope["method"] != "GET" or b"content-length" in fields or b"transfer-encoding" in fields
    return Asks.MAYBE if has_body and may_be_json(headers) else Asks.NO


def without_codings(scope: Scope) -> Scope:
    """A copy for the app that asks for no content coding: nothing can be said in a compressed stream (S11)."""
    return {**scope, "headers": without(scope["headers"], (b"accept-encoding",))}
