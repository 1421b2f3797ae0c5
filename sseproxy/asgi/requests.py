"""Does a request ask for a stream, by which path, and what is the app told of it then?"""

from sseproxy.asgi.types import Scope
from sseproxy.core.headers import accepts_event_stream
from sseproxy.core.peek import may_be_json

_EVENT_STREAM = b"text/event-stream"
_LENGTH = len(_EVENT_STREAM)
_JSON = b"application/json"


def asks(scope: Scope) -> bool | None:
    """Whether a request asks for a stream, as far as its head can tell (S8); ``None``: its body may.

    At a glance for nearly every request. ASGI spells the names of fields in lower case.
    """
    headers = scope["headers"]
    fields = dict(headers)
    accept = fields.get(b"accept", b"")
    seems_to = len(accept) >= _LENGTH and accept.lower().find(_EVENT_STREAM) >= 0
    if (seems_to or len(fields) != len(headers)) and accepts_event_stream(headers):  # there may be several
        return True
    if scope["method"] == "GET" and b"content-length" not in fields and b"transfer-encoding" not in fields:
        return False
    return None if fields.get(b"content-type") == _JSON or may_be_json(headers) else False


def route_path(scope: Scope) -> str:
    """The path as the app's own routes have it: without the ``root_path`` that it is served under, or mounted at."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] or "/" if root and f"{path}/".startswith(root + "/") else path


def for_app(scope: Scope) -> Scope:
    """What the app is to see: a request that seems to ask for a stream asks for no content coding."""
    for name, value in scope["headers"]:
        if name == b"accept" and len(value) >= _LENGTH and value.lower().find(_EVENT_STREAM) >= 0:
            return without_codings(scope)
    return scope


def without_codings(scope: Scope) -> Scope:
    """A request that asks for no content coding: nothing can be said in a compressed stream (S11)."""
    headers = [field for field in scope["headers"] if field[0] != b"accept-encoding"]
    return scope if len(headers) == len(scope["headers"]) else {**scope, "headers": headers}
