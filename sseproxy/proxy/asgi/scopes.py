"""Which request does an ASGI scope describe, and would our own server have passed it on?

A server in front may be laxer than `http1/requests`, and over HTTP/2 there are ways to say what HTTP/1.1 cannot. What
our own parser refuses before `proxy/inbound` sees it is refused here.
"""

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

from sseproxy.asgi.types import Scope
from sseproxy.core.errors import BadRequest, HeadersTooLarge, MethodUnknown
from sseproxy.core.http.fields import Headers, as_ipv4
from sseproxy.http1.policy import HeadLimits
from sseproxy.http1.requests import ParsedRequest

#: The methods that llhttp reads in HTTP, so that every door passes the same ones on.
METHODS = frozenset(
    (
        *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "QUERY", "PURGE", "SEARCH"),
        *("COPY", "LOCK", "MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "UNLOCK", "BIND", "REBIND", "UNBIND", "ACL"),
        *("REPORT", "MKACTIVITY", "CHECKOUT", "MERGE", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE"),
        *("MKCALENDAR", "LINK", "UNLINK", "SOURCE"),
    )
)
#: Versions in which frames say where a message ends, and no field does.
_FRAMED = frozenset(("2", "2.0", "3", "3.0"))

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_METHOD = re.compile(_TOKEN.decode())
#: Names of fields, each in a line of its own. A name with a line break in it is left to `has_forbidden_bytes`.
_NAMES = re.compile(rb"(?:" + _TOKEN + rb"\n)*")
_BLANKS = b" \t"
_PUNCTUATION = len(b": \r\n")
#: RFC 9113 section 8.2.2: a request that has one of them is malformed.
_OF_HTTP1 = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
#: What is left as it is in a path that a server has decoded (RFC 3986 section 3.3).
_IN_PATH = "/:@!$&'()*+,;=-._~"
#: Addresses, and names that a test client goes by. A server may take it from a field, and it is written into one.
_ADDRESS = re.compile(r"[0-9A-Za-z._:%-]{1,64}")


def read_scope(scope: Scope, limits: HeadLimits) -> ParsedRequest:
    """Return the request of an ``http`` scope, without its body. Raises `ClientError`.

    Its fields do not say yet that there is a body, where the client has no length for it over HTTP/2.
    """
    method, version = scope["method"], scope.get("http_version", "1.1")
    if method not in METHODS:
        if _METHOD.fullmatch(method):
            raise MethodUnknown("The method is not known.")
        raise BadRequest("The method is malformed.")
    headers = [(bytes(name), bytes(value).strip(_BLANKS)) for name, value in scope["headers"]]
    target = read_target(scope)
    size = len(target) + sum(len(name) + len(value) + _PUNCTUATION for name, value in headers)
    if size > limits.size or len(headers) > limits.fields:
        raise HeadersTooLarge("The request line or a header field is too large.")
    if not _NAMES.fullmatch(b"".join([name + b"\n" for name, _ in headers])):
        raise BadRequest("The name of a header field is malformed.")
    if version in _FRAMED:
        return ParsedRequest(method, target, "1.1", _as_http1(headers))
    return ParsedRequest(method, target, "1.0" if version == "1" else version, headers)  # granian says "1"


def speaks_http1(scope: Scope) -> bool:
    """Return whether the client speaks a version in which fields may be about the connection."""
    return scope.get("http_version", "1.1") not in _FRAMED


def read_target(scope: Scope) -> str:
    """Return the request target as the client sent it, as far as the server knows it. Raises `BadRequest`.

    A mount keeps it whole. Where an app in front has changed ``path`` alone, that is the target, encoded anew.
    """
    path: str = scope["path"]
    raw = bytes(scope.get("raw_path") or b"").partition(b"?")[0]  # some servers leave the query there
    try:
        # Hazard: what a server puts in place of bytes that are no UTF-8 is nothing that was sent.
        target = raw.decode("ascii")
        if not raw or not ("\ufffd" in path or _names_path(target, path, scope.get("root_path", ""))):
            target = quote(path, safe=_IN_PATH, errors="replace")
        query = bytes(scope.get("query_string") or b"").decode("ascii")
    except UnicodeDecodeError:
        raise BadRequest("The request target contains a character that has to be encoded.") from None
    return f"{target}?{query}" if query else target


def _names_path(raw: str, path: str, root: str) -> bool:
    """Return whether `raw` is what `path` was decoded from; some frameworks have taken `root` off when they mount."""
    decoded = unquote(raw) if "%" in raw else raw
    return decoded in (path, root + path)


def client_address(scope: Scope) -> str:
    """Return where the client's connection comes from, without a port; empty if that is no address."""
    client = scope.get("client")
    address = as_ipv4(str(client[0])) if client and client[0] else ""
    return address if _ADDRESS.fullmatch(address) else ""


def is_unix(scope: Scope) -> bool:
    """Return whether the client came over a unix socket, as far as the server says so."""
    server = scope.get("server")
    return server is not None and server[1] is None and not scope.get("client")


def _as_http1(headers: Headers) -> Headers:
    """Return the fields of a request over HTTP/2 or 3. Raises `BadRequest` for those that only HTTP/1.1 may have."""
    names = {name.lower() for name, _ in headers}
    if names & _OF_HTTP1:
        raise BadRequest("The request has a field that HTTP/2 does not have.")
    return list(_with_one_host(headers)) if b"host" in names else headers


def _with_one_host(headers: Headers) -> Iterable[tuple[bytes, bytes]]:
    """Yield the fields. ``:authority`` comes as ``host``, also beside a ``host`` that says the same."""
    said: set[bytes] = set()
    for name, value in headers:
        if name.lower() == b"host":
            if value in said:
                continue
            said.add(value)
        yield name, value
