"""Does a request ask for a stream, and what is the app told of it then?"""

from sseproxy.asgi.types import Scope
from sseproxy.core.headers import Headers, get_all, without
from sseproxy.core.peek import may_be_json

_FRAMING = (b"content-length", b"transfer-encoding")


def may_declare_in_body(scope: Scope) -> bool:
    """Whether there may be a body that says ``"stream": true`` (S8)."""
    headers: Headers = list(scope["headers"])
    has_body = scope["method"] != "GET" or any(get_all(headers, name) for name in _FRAMING)
    return has_body and may_be_json(headers)


def without_codings(scope: Scope) -> Scope:
    """A copy for the app that asks for no content coding: nothing can be said in a compressed stream (S11)."""
    return {**scope, "headers": without(scope["headers"], (b"accept-encoding",))}
