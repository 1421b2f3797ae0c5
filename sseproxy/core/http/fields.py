"""Which header fields go on, which are added, and how is a message head written?

Fields are pairs of bytes as they came, in their order, so that nothing about them changes on the way
(several ``Set-Cookie``, obs-text, spelling). Follows RFC 9110 sections 5 and 7.6, RFC 9112, RFC 7239.
"""

import itertools
import re
from collections.abc import Callable, Collection, Iterable, Sequence

from sseproxy.core.frozen import frozen
from sseproxy.core.http.known_fields import is_end_to_end

Headers = list[tuple[bytes, bytes]]


@frozen
class HeaderRules:
    """Header fields to set (replacing all of that name) and to remove; names in any case, ``-`` and ``_`` alike."""

    set: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()

    def first_spelling(self, name: str) -> str | None:
        """The first name in `set` that is `name` in any case; ``None`` if the rules do not set it."""
        return next((known for known, _ in self.set if known.lower() == name.lower()), None)


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


def belongs_to_connection(name: str) -> bool:
    """True for fields that only the connection itself may write: hop-by-hop, and the length of the body."""
    return name.lower() == "content-length" or name.lower().encode() in HOP_BY_HOP


#: The fields in which proxies say where a request came from.
FORWARDING = frozenset((b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"))

#: These and all others of proxies, in lower case; for CGI and WSGI ``X_Forwarded_For`` is the same variable.
_SAID_BY_PROXIES = re.compile(rb"x[-_]forwarded[-_].*|x[-_]real[-_]ip|forwarded|via", re.DOTALL)

#: Fields by which a gateway shows itself. Not ``Via``, which proxies of clients send too.
_SAID_BY_GATEWAYS = re.compile(rb"x-forwarded-.*|x-real-ip|forwarded", re.IGNORECASE | re.DOTALL)

#: Members of a list that are looked at, where a client decides how many there are.
MOST_MEMBERS = 200

#: The name under which this proxy signs ``Proxy-Status``, and ``Via`` with what tells its instances apart.
PSEUDONYM = b"sseproxy"

#: The methods that this proxy passes on (RFC 9110 section 10.2.1).
ALLOW = (b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")

#: By this field client, proxies and services speak of the same request. No standard has it; many gateways write it.
REQUEST_ID = b"X-Request-Id"

#: What clients and gateways write there: UUIDs, hashes, ARNs, words. What is longer, or holds what a log, a shell or a
#: page could misread, is no id.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@~-]{1,128}")

#: Fields of a response that are made anew for an event stream, or that no longer hold when heartbeats go into it.
_OF_THE_BYTES = frozenset(
    (
        b"accept-ranges",
        b"cache-control",
        b"content-digest",
        b"content-length",
        b"content-md5",
        b"digest",
        b"repr-digest",
        b"x-accel-buffering",
    )
)

_BLANKS = b" \t\r\n"
#: A member of a comma-separated list, in which a comma between quotes separates nothing.
_MEMBER = re.compile(rb'(?:[^,"]|"(?:[^"\\]|\\.)*(?:"|\\?\Z))+', re.DOTALL)
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(_TOKEN + rb"/" + _TOKEN)

_FORBIDDEN_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def get_all(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """The values of all fields called `name` (lower case)."""
    size = len(name)  # cheaper to compare than a name in lower case is to make
    return [value for key, value in headers if len(key) == size and key.lower() == name]


def by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """The values of all fields, by name (lower case)."""
    fields: dict[bytes, list[bytes]] = {}
    for key, value in headers:
        name = key.lower()
        if name in fields:
            fields[name].append(value)
        else:
            fields[name] = [value]
    return fields


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


def said_request_id(values: Sequence[bytes]) -> str | None:
    """Return the id that a client, or a gateway in front, has given its request; ``None`` if what it says is none."""
    value = values[0].strip(_BLANKS) if len(values) == 1 else b""
    return value.decode() if _REQUEST_ID.fullmatch(value) else None


def with_request_id(headers: Iterable[tuple[bytes, bytes]], request_id: str) -> Headers:
    """`headers` of a response with the id of its request, unless the upstream has named one."""
    fields = list(headers)
    if request_id and get(fields, REQUEST_ID.lower()) is None:
        fields.append((REQUEST_ID, request_id.encode()))
    return fields


def without(headers: Iterable[tuple[bytes, bytes]], names: Collection[bytes]) -> Headers:
    """All but the fields with these lower-case `names`."""
    return [(key, value) for key, value in headers if key.lower() not in names]


def end_to_end(
    headers: Iterable[tuple[bytes, bytes]],
    *,
    but: frozenset[bytes] = frozenset(),
    keep: Collection[bytes] = (),
) -> Headers:
    """What may go on: without hop-by-hop fields, those that ``Connection`` names, and those with the names in `but`.

    A connection option that names a field for all recipients, or one of `keep`, is ignored (RFC 9110 section 7.6.1).
    """
    left_out = HOP_BY_HOP | but
    kept: Headers = []
    options: list[bytes] = []
    for field in headers:
        name = field[0].lower()
        if name not in left_out:
            kept.append(field)
        elif name == b"connection":
            options.append(field[1])
    named = {name for name in tokens(options) if not (name in keep or is_end_to_end(name))} if options else ()
    return without(kept, named) if named else kept


def has_forbidden_bytes(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a field would break the head that it is written into (control characters, RFC 9110 section 5.5)."""
    return _FORBIDDEN_IN_VALUE.search(b"".join(itertools.chain.from_iterable(headers))) is not None


def apply_rules(headers: Headers, rules: HeaderRules, write: Callable[[str], bytes] = str.encode) -> Headers:
    """`headers` as the route wants them: fields removed, then fields set in place of all of that name.

    write: makes the bytes of a field from what the rules say.

    Hazard: ``X_Team`` is another name, but not for CGI and WSGI, which would read it together with the one that is set.
    """
    if not rules.set and not rules.remove:
        return headers
    names = {as_in_cgi(name.encode()) for name in itertools.chain(rules.remove, (name for name, _ in rules.set))}
    kept = [field for field in headers if as_in_cgi(field[0]) not in names]
    return kept + [(name.encode(), write(value)) for name, value in rules.set]


def as_in_cgi(name: bytes) -> bytes:
    """The name of a field as CGI and WSGI tell it from others: in lower case, ``_`` and ``-`` alike."""
    return name.lower().replace(b"_", b"-")


_UNSAID: Sequence[bytes] = ()


@frozen
class Peer:
    """Who sent a request. address: of the connection, without port, empty for a unix socket."""

    address: str
    scheme: str
    trusted: bool


def forwarded_addresses(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """What ``X-Forwarded-For`` says, from the client to the last proxy; only as true as the peer that sent it.

    Some gateways add the port, and then brackets around an IPv6 address; both are taken off. Of more than
    `MOST_MEMBERS` only the last are read: those that the nearest proxies have added.
    """
    members = b",".join(get_all(headers, b"x-forwarded-for")).rsplit(b",", MOST_MEMBERS)[-MOST_MEMBERS:]
    return [_bare_address(word.decode("latin-1")) for word in tokens(members)]


def _bare_address(text: str) -> str:
    if text.startswith("["):
        return as_ipv4(text[1:].partition("]")[0])
    return text.partition(":")[0] if text.count(":") == 1 else as_ipv4(text)


def as_ipv4(address: str) -> str:
    """Without what a socket for both families puts before an IPv4 address: ``::ffff:192.0.2.1``."""
    prefix, _, rest = address.rpartition(":")
    return rest if prefix.lower() == "::ffff" and "." in rest else address


def forwarding(headers: Headers, peer: Peer, *, host: bytes) -> Headers:
    """`headers` with ``X-Forwarded-*`` and ``Forwarded`` that say where the request came from.

    What an untrusted peer says is dropped: also ``Via``, ``X-Forwarded-Prefix``, ``X-Real-IP`` and their like, which
    are not written here. What a trusted one says is appended to, or goes on.
    """
    fields: Headers = []
    said: dict[bytes, list[bytes]] = {}
    for field in headers:
        name = field[0].lower()
        if not _SAID_BY_PROXIES.fullmatch(name):
            fields.append(field)
        elif peer.trusted and name in FORWARDING:
            said.setdefault(name, []).append(field[1])
        elif peer.trusted and name.replace(b"_", b"-") not in FORWARDING:
            fields.append(field)
    scheme = peer.scheme.encode()
    chain = [*said.get(b"x-forwarded-for", _UNSAID), *([peer.address.encode()] if peer.address else _UNSAID)]
    if chain:
        fields.append((b"X-Forwarded-For", b", ".join(chain)))
    # The client's own scheme and host are what the outermost proxy saw, so its word holds.
    fields.append((b"X-Forwarded-Proto", b", ".join(said.get(b"x-forwarded-proto", _UNSAID)) or scheme))
    if named := b", ".join(said.get(b"x-forwarded-host", _UNSAID)) or host:
        fields.append((b"X-Forwarded-Host", named))
    fields.append((b"Forwarded", b", ".join([*said.get(b"forwarded", _UNSAID), _forwarded_element(peer, host)])))
    for value in said.get(b"via", _UNSAID):
        fields.append((b"Via", value))
    return fields


#: Not ``None`` for a lower-case name of a field in which gateways say where a request came from.
names_origin = _SAID_BY_GATEWAYS.fullmatch


def forwarding_names(headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """The names of all fields in which gateways say where a request came from, as they were written."""
    return [key for key, _ in headers if key[:1] in b"XxFf" and _SAID_BY_GATEWAYS.fullmatch(key)]


def _forwarded_element(peer: Peer, host: bytes) -> bytes:
    """RFC 7239 section 4: an IPv6 address goes into brackets and quotes, a host into quotes."""
    address = peer.address.encode() or b"unknown"
    node = b'"[' + address + b']"' if b":" in address else address
    quoted = host.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    said_host = b';host="' + quoted + b'"' if host else b""
    return b"for=" + node + said_host + b";proto=" + peer.scheme.encode()


def is_event_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """True if the media type is ``text/event-stream``; see `media_type`."""
    return media_type(headers) == b"text/event-stream"


def media_type(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Return the media type of a message, in lower case and without parameters; ``None`` if none makes sense.

    Of several types the last that makes sense counts, as it does for browsers (Fetch standard, "extract a MIME type").
    """
    said = get_all(headers, b"content-type")
    if len(said) == 1 and b"," not in said[0]:
        return _essence(said[0])
    types = [essence for value in _MEMBER.findall(b",".join(said)) if (essence := _essence(value)) is not None]
    return types[-1] if types else None


def _essence(value: bytes) -> bytes | None:
    """Type and subtype in lower case; ``None`` if the value is no media type, or names none."""
    essence = value.partition(b";")[0].strip(_BLANKS).lower()
    return essence if essence != b"*/*" and _MEDIA_TYPE.fullmatch(essence) else None


def is_json(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """True if the media type is JSON, or a format that is written in it (RFC 6839 section 3.1)."""
    media = media_type(headers)
    return media is not None and (media == b"application/json" or media.endswith(b"+json"))


def event_stream(headers: Headers, *, decoded: bool) -> Headers:
    """Return the head of a stream that is kept alive on its way to the client, from end-to-end `headers`.

    What speaks of the upstream's very bytes does not hold for the bytes that leave: lengths, ranges and digests go,
    and a strong validator becomes a weak one (RFC 9110 section 8.8.1).
    """
    dropped = _OF_THE_BYTES | {b"content-encoding"} if decoded else _OF_THE_BYTES
    said = b", ".join(value for value in get_all(headers, b"cache-control") if value.strip())
    missing = [word for word in (b"no-cache", b"no-transform") if word not in tokens([said])]
    return [
        *[_weakened(field) for field in without(headers, dropped)],
        (b"Cache-Control", b", ".join([said, *missing] if said else missing)),
        (b"X-Accel-Buffering", b"no"),
    ]


def _weakened(field: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = field
    is_strong = len(name) == 4 and name.lower() == b"etag" and not value.lstrip(_BLANKS).startswith(b"W/")
    return (name, b"W/" + value.lstrip(_BLANKS)) if is_strong else field
