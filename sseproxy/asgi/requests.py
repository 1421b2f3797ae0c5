"""May a request ask for a stream, on which path, and which header fields does the app get then?"""

import re
from enum import Enum

from sseproxy.asgi.options import StreamOptions
from sseproxy.asgi.types import Scope
from sseproxy.core.http.fields import by_name, get_all, said_request_id
from sseproxy.core.http.peek import BodyPeek, may_be_json
from sseproxy.core.stream.request import MCP_FIELDS, StreamRequest
from sseproxy.engine.observer import AccessRecord

_EVENT_STREAM = b"text/event-stream"
_LENGTH = len(_EVENT_STREAM)
_JSON = b"application/json"
_HOST = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,255}")
#: The name under which the streams of an app are counted and logged.
_ROUTE = "app"
_ALT_SSE = b"alt=sse"  # how Google's services are asked for a stream


def names_stream(scope: Scope) -> bool:
    """True if an ``Accept`` field names event streams, at a glance. ASGI spells the names of fields in lower case."""
    for name, value in scope["headers"]:
        if name == b"accept" and len(value) >= _LENGTH and value.lower().find(_EVENT_STREAM) >= 0:
            return True
    return False


def head_may_declare(scope: Scope) -> bool:
    """True if the head of a request may declare a stream, at a glance."""
    return names_stream(scope) or _ALT_SSE in scope.get("query_string", b"")


def has_mcp_field(scope: Scope) -> bool:
    """True if the request is one of an MCP client, whatever it accepts."""
    return any(name in MCP_FIELDS for name, _ in scope["headers"])


class BodyKind(Enum):
    """What follows the head of a request. JSON: something that may be JSON."""

    NONE = "none"
    JSON = "json"
    OTHER = "other"


def body_kind(scope: Scope) -> BodyKind:
    """Return what follows the head of a request, as far as the head says so."""
    headers = scope["headers"]
    fields = dict(headers)
    # Over HTTP/2 a length may be left out; but what has neither that nor a type is no body to look into.
    has_length = b"content-length" in fields or b"transfer-encoding" in fields
    is_typed = scope["method"] != "GET" and b"content-type" in fields
    if not (has_length or is_typed) or fields.get(b"content-length") == b"0":
        return BodyKind.NONE
    if len(fields) < len(headers):  # some field stands there more than once
        fields |= {name: b",".join(get_all(headers, name)) for name in (b"content-type", b"content-encoding")}
    media, coding = fields.get(b"content-type", b""), fields.get(b"content-encoding", b"")
    is_json = (media == _JSON and not coding) or may_be_json(media, coding)
    return BodyKind.JSON if is_json else BodyKind.OTHER


def stream_request(scope: Scope, options: StreamOptions, peek: BodyPeek | None) -> StreamRequest:
    """Return what decides how the stream of a request is treated. peek: what its body says."""
    request = StreamRequest(
        options,
        method=scope["method"],
        path=scope["path"],
        query=scope.get("query_string", b"").decode("latin-1"),
        fields=by_name(scope["headers"]),
        has_body=peek is not None,
    )
    request.peek = peek
    return request


def record_of(scope: Scope, *, now: float) -> AccessRecord:
    """Return what is known of a request for a log. No server looks into ``Host``: one that is no name is left out."""
    client, headers = scope.get("client"), scope["headers"]
    hosts = get_all(headers, b"host")
    return AccessRecord(
        str(client[0]) if client else "-",
        scope["method"],
        scope["path"],  # `raw_path` is optional, and apps that are mounted below others leave nonsense there
        now,
        said_request_id(get_all(headers, b"x-request-id")) or "",
        host=hosts[0].decode("latin-1") if len(hosts) == 1 and _HOST.fullmatch(hosts[0]) else None,
        route=_ROUTE,
        scheme=scope.get("scheme", "http"),
    )


def route_path(scope: Scope) -> str:
    """Return the path as the app's routes have it: without the ``root_path`` that it is served under, or mounted at."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] or "/" if root and f"{path}/".startswith(root + "/") else path


def without_codings(scope: Scope) -> Scope:
    """Return a request that asks for no content coding: no heartbeat can go into a compressed stream."""
    headers = [field for field in scope["headers"] if field[0] != b"accept-encoding"]
    return scope if len(headers) == len(scope["headers"]) else {**scope, "headers": headers}
