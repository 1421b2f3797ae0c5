"""Which header fields go on, which are added, and how is a message head written?

Fields are pairs of bytes as they came, in their order, so that nothing about them changes on the way
(several ``Set-Cookie``, obs-text, spelling). Follows RFC 9110 sections 5 and 7.6, RFC 9112, RFC 7239.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sseproxy.core.routes import HeaderRules

Headers = list[tuple[bytes, bytes]]

#: RFC 9110 section 7.6.1, and the fields of proxies and connections that older software sends.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)

#: The fields in which proxies say where a request came from.
FORWARDING = frozenset((b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"))

#: The name under which this proxy signs ``Via`` and ``Proxy-Status``.
PSEUDONYM = b"sseproxy"

_FORBIDDEN_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def get_all(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """The values of all fields called `name` (lower case)."""
    size = len(name)  # cheaper to compare than a name in lower case is to make
    return [value for key, value in headers if len(key) == size and key.lower() == name]


def get(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The value of the first field called `name` (lower case)."""
    size = len(name)
    for key, value in headers:
        if len(key) == size and key.lower() == name:
            return value
    return None


def tokens(values: Iterable[bytes]) -> list[bytes]:
    """The lower-case members of a comma-separated list (RFC 9110 section 5.6.1)."""
    return [token for value in values for part in value.split(b",") if (token := part.strip().lower())]


def merged(said: Iterable[bytes], words: Iterable[bytes]) -> bytes:
    """What the fields of a comma-separated list say, and then those of `words` that they do not, as one value."""
    values = [value.strip() for value in said if value.strip()]
    known = tokens(values)
    return b", ".join([*values, *(word for word in words if word.lower() not in known)])


def with_vary(headers: Headers, names: Iterable[bytes]) -> Headers:
    """`headers` whose ``Vary`` names `names` too, in one field (RFC 9110 section 12.5.5)."""
    said = get_all(headers, b"vary")
    if b"*" in tokens(said):
        return headers
    return [*without(headers, {b"vary"}), (b"Vary", merged(said, names))]


def without(headers: Iterable[tuple[bytes, bytes]], names: Collection[bytes]) -> Headers:
    """All but the fields with these lower-case `names`."""
    return [(key, value) for key, value in headers if key.lower() not in names]


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """What may go on: without hop-by-hop fields and without those that ``Connection`` names.

    The length of the body is none of them, whatever ``Connection`` says (RFC 9110 section 7.6.1).
    """
    fields = list(headers)
    named = tokens(get_all(fields, b"connection"))
    return without(fields, HOP_BY_HOP.union(named) - {b"content-length"} if named else HOP_BY_HOP)


def has_forbidden_bytes(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a field would break the head that it is written into (control characters, RFC 9110 section 5.5)."""
    return _FORBIDDEN_IN_VALUE.search(b"".join([part for field in headers for part in field])) is not None


def apply_rules(headers: Headers, rules: HeaderRules) -> Headers:
    """`headers` as the route wants them: fields removed, then fields set in place of all of that name."""
    if not rules.set and not rules.remove:
        return headers
    names = {name.lower().encode() for name in rules.remove} | {name.lower().encode() for name, _ in rules.set}
    return without(headers, names) + [(name.encode(), value.encode()) for name, value in rules.set]


@dataclass(frozen=True, slots=True)
class Peer:
    """Who sent a request. address: of the connection, without port, empty for a unix socket."""

    address: str
    scheme: str
    trusted: bool


def forwarded_addresses(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """What ``X-Forwarded-For`` says, from the client to the last proxy; only as true as the peer that sent it.

    Some gateways add the port, and then brackets around an IPv6 address; both are taken off.
    """
    return [_bare_address(word.decode("latin-1")) for word in tokens(get_all(headers, b"x-forwarded-for"))]


def _bare_address(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def forwarding(headers: Headers, peer: Peer, *, host: bytes) -> Headers:
    """`headers` with ``X-Forwarded-*``, ``Forwarded`` and ``Via`` that say where the request came from.

    What an untrusted peer says about itself is dropped; what a trusted one says is appended to.
    """
    said = {name: get_all(headers, name) if peer.trusted else [] for name in FORWARDING}
    via = b"1.1 " + PSEUDONYM
    chain = said[b"x-forwarded-for"] + ([peer.address.encode()] if peer.address else [])
    return [
        *without(headers, FORWARDING),
        *([(b"X-Forwarded-For", b", ".join(chain))] if chain else []),
        (b"X-Forwarded-Proto", _first(said[b"x-forwarded-proto"], peer.scheme.encode())),
        *([(b"X-Forwarded-Host", named)] if (named := _first(said[b"x-forwarded-host"], host)) else []),
        (b"Forwarded", b", ".join([*said[b"forwarded"], _forwarded_element(peer, host)])),
        (b"Via", b", ".join([*said[b"via"], via])),
    ]


def _first(said: list[bytes], ours: bytes) -> bytes:
    """The client's own scheme and host are what the outermost proxy saw, so the first word holds."""
    return b", ".join(said) if said else ours


def _forwarded_element(peer: Peer, host: bytes) -> bytes:
    """RFC 7239 section 4: an IPv6 address goes into brackets and quotes, a host into quotes."""
    address = peer.address.encode() or b"unknown"
    node = b'"[' + address + b']"' if b":" in address else address
    quoted = host.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    said_host = b';host="' + quoted + b'"' if host else b""
    return b"for=" + node + said_host + b";proto=" + peer.scheme.encode()


def is_event_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the media type is ``text/event-stream``, with whatever parameters, in whatever case."""
    value = get(headers, b"content-type") or b""
    return value.partition(b";")[0].strip().lower() == b"text/event-stream"


def accepts_event_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether ``Accept`` names ``text/event-stream``; a wildcard is no declaration."""
    ranges = tokens(get_all(headers, b"accept"))
    return any(media.partition(b";")[0].strip() == b"text/event-stream" for media in ranges)


def event_stream(headers: Headers, *, decoded: bool) -> Headers:
    """The head of an event stream that is on its way to the client (contract S12), from end-to-end `headers`."""
    dropped = {b"content-length", b"cache-control", b"x-accel-buffering"}
    if decoded:
        dropped |= {b"content-encoding"}
    said = b", ".join(value for value in get_all(headers, b"cache-control") if value.strip())
    missing = [word for word in (b"no-cache", b"no-transform") if word not in tokens([said])]
    return [
        *without(headers, dropped),
        (b"Cache-Control", b", ".join([said, *missing] if said else missing)),
        (b"X-Accel-Buffering", b"no"),
    ]


def request_head(method: str, target: str, headers: Headers) -> bytes:
    """The head of an HTTP/1.1 request; `target` goes out as it came in."""
    line = f"{method} {target} HTTP/1.1".encode("utf-8", "surrogateescape")
    return _head(line, headers)


def response_head(status: int, reason: bytes, headers: Headers) -> bytes:
    """The head of an HTTP/1.1 response (RFC 9112 section 4: also to a client that speaks 1.0)."""
    return _head(b"HTTP/1.1 %d %b" % (status, reason), headers)


def _head(line: bytes, headers: Headers) -> bytes:
    return b"".join([line, b"\r\n", *[b"%b: %b\r\n" % field for field in headers], b"\r\n"])
