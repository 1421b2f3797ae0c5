"""What does a client ask for, and may it be passed on? (RFC 9112 sections 3 and 6, RFC 9110 section 7.6)"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

from sseproxy.core.authorization import with_identity
from sseproxy.core.errors import BadRequest, MethodRefused
from sseproxy.core.eventsource.cookies import authenticate, for_caches, login
from sseproxy.core.eventsource.end_id import without_ends
from sseproxy.core.http.fields import (
    MOST_MEMBERS,
    PSEUDONYM,
    Headers,
    Peer,
    apply_rules,
    as_in_cgi,
    by_name,
    end_to_end,
    forwarding,
    has_forbidden_bytes,
    without,
)
from sseproxy.core.http.paths import UNSENT, normalized, unusual
from sseproxy.core.http.peek import BodyPeek, may_be_json
from sseproxy.core.http.via import instances, is_loop, signed
from sseproxy.core.journal.passing import passed_fields
from sseproxy.core.routes import ABSOLUTE_FORM, Route
from sseproxy.core.stream.plan import StreamMode
from sseproxy.core.stream.request import StreamRequest
from sseproxy.http1.content import RequestContent
from sseproxy.http1.requests import ParsedRequest
from sseproxy.proxy.request_fields import Fields, read_expectation, read_framing, read_max_forwards, read_upgrade

_NONE: Sequence[bytes] = ()
_NO_IDENTITY: Mapping[str, bytes] = MappingProxyType({})
#: In a query, where JSON and templates are written raw, more is allowed than in a path (`UNSENT`).
_NOT_IN_TARGET = re.compile(r"[\x00-\x20\x7f#\"<>]")
#: RFC 3986 section 3.2.2. Without the comma, which would make one field look like two.
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+;=-]*)(:[0-9]*)?")

#: Fields of a request that are made anew for the upstream.
_REPLACED = frozenset((b"content-length", b"expect", b"host", b"x-request-id"))
_REPLACED_IF_STREAM = _REPLACED | {b"accept-encoding"}
#: And of one that is traced (W3C Trace Context).
_TRACE = frozenset((b"traceparent", b"tracestate"))


@dataclass(frozen=True, slots=True, eq=False)
class InboundRequest:
    """A request that is fit to be passed on. path: normalised. headers: all fields as they came; fields: by name.

    opened_with: if it was kept until a ticket was opened, the fields, by name, of the request that did so.
    opened_at: and its target.
    is_last_hop: it must not be passed on, but be answered here (``Max-Forwards: 0``).
    """

    method: str
    target: str = field(repr=False)
    path: str = field(repr=False)
    host: bytes
    headers: Headers = field(repr=False)
    fields: Fields = field(repr=False)
    body_length: int | None = None
    has_body: bool = False
    expects_continue: bool = False
    upgrade: bytes | None = None
    opened_with: Fields | None = field(default=None, repr=False)
    opened_at: str = field(default="", repr=False)
    is_last_hop: bool = False

    @property
    def client_fields(self) -> Fields:
        """The fields of the request that the response answers: they say who reads it."""
        return self.fields if self.opened_with is None else self.opened_with

    @property
    def client_query(self) -> str:
        """The query of that request."""
        return (self.target if self.opened_with is None else self.opened_at).partition("?")[2]

    @property
    def passed(self) -> list[bytes]:
        """The instances of sseproxy that the request has passed."""
        return instances(self.fields.get(b"via", _NONE))

    def has_passed(self, instance: bytes) -> bool:
        """Return whether the request has been at `instance` before, or at too many others."""
        return is_loop(self.passed, instance)

    def stream_request(self, route: Route) -> StreamRequest:
        """Return what decides how the stream of this request is treated, if it gets one."""
        wanted = StreamRequest(
            route,
            method=self.method,
            path=self.path,
            query=self.target.partition("?")[2],
            fields=self.fields,
            client_fields=self.opened_with,
            has_body=self.has_body
            and may_be_json(
                *(b",".join(self.fields.get(name, _NONE)) for name in (b"content-type", b"content-encoding"))
            ),
            looks_into_body=route.journal is not None,
        )
        if self.has_body and (members := wanted.wanted_members):
            wanted.peek = BodyPeek(members)
        return wanted

    def is_logged_in(self, route: Route) -> bool:
        """Return whether the upstream hears of a login that the client has in a cookie only."""
        return route.auth is not None and login(self.headers, route.auth) is not None

    def for_caches(self, headers: Headers, route: Route) -> Headers:
        """Return the fields of the response, as caches have to see them that know nothing of the route's login."""
        return headers if route.auth is None else for_caches(headers, self.headers, route.auth)

    def credentials(self, route: Route) -> Headers:
        """Return the fields that say to a service who the client is, the login of the route's `auth` among them."""
        names, fields = {b"authorization", b"cookie"}, self.headers
        if route.auth is not None:
            names.add(route.auth.header.lower().encode())
            fields = authenticate(fields, route.auth)
        return [field for field in fields if field[0].lower() in names]

    def upstream_headers(
        self,
        route: Route,
        peer: Peer,
        *,
        accepts_stream: bool,
        via: bytes = PSEUDONYM,
        identity: Mapping[str, bytes] = _NO_IDENTITY,
        known_as: Sequence[tuple[bytes, bytes]] = (),
    ) -> Headers:
        """Return the fields for the upstream, without the framing of the body.

        accepts_stream: ``Accept`` names event streams. via: the name of this instance. identity: see `ClientRequest`.
        known_as: the field with the id of the request and, if it is traced, those of the trace.
        The route must have an upstream.
        """
        may_stream = route.stream is StreamMode.ALWAYS or (
            route.stream is StreamMode.AUTO and (accepts_stream or self.method not in ("GET", "HEAD"))
        )
        replaced = _REPLACED_IF_STREAM if may_stream else _REPLACED
        replaced = replaced | _TRACE if len(known_as) > 1 else replaced
        fields = end_to_end(self.headers, but=replaced, keep=route.named_fields)
        if route.journal is not None:
            fields = passed_fields(fields, route.journal, route.auth, method=self.method)
        elif route.auth is not None:
            fields = authenticate(fields, route.auth)
        write = str.encode
        if route.authorize is not None:  # behind the login cookie: what it becomes may be a taken field, too
            taken, write = route.authorize.taken, partial(with_identity, identity=identity)
            fields = [field for field in fields if as_in_cgi(field[0]) not in taken]
        if route.end is not None:
            fields = without_ends(fields)
        if may_stream:
            fields.append((b"Accept-Encoding", b"identity"))
        # A name-based virtual host behind TLS answers to its own name only; behind plain HTTP sits our own service.
        assert route.upstream is not None
        use_own = route.upstream.scheme == "https" or not self.host
        host = route.upstream.authority.encode() if use_own else self.host
        fields = [(b"Host", host), *forwarding(fields, peer, host=self.host), *known_as]
        if self.upgrade is not None:
            fields += [(b"Connection", b"upgrade"), (b"Upgrade", self.upgrade)]
        rules = route.request_headers
        if rules.set or rules.remove or b"via" in self.fields:
            return signed(apply_rules(fields, rules, write), self.passed, via)
        fields.append((b"Via", b"1.1 " + via))
        return fields


@dataclass(frozen=True, slots=True, eq=False)
class ClientRequest:
    """A request, and who sends it.

    content: its body, as it comes or, if it was kept, as a whole; ``None`` if there is none. peer: who is connected;
    for a request that was kept, who sent it then. client: the address of the client behind the trusted proxies.
    identity: what the service says of the client that the route's `authorize` asks, by the names of its `take`.
    """

    inbound: InboundRequest
    content: RequestContent | bytes | None
    peer: Peer
    client: str
    identity: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def drop_body(self) -> None:
        """Nothing reads the body."""
        if isinstance(self.content, RequestContent):
            self.content.drop()


def read_request(request: ParsedRequest) -> InboundRequest:
    """Check what the parser has read, and take from it what the proxy needs. Raises `ClientError`."""
    headers = request.headers
    if request.version not in ("1.0", "1.1"):
        raise BadRequest("The version of HTTP is not supported.")
    if request.method in ("CONNECT", "TRACE"):
        raise MethodRefused(f"{request.method} is refused.")
    if has_forbidden_bytes(headers):
        number = next(number for number, each in enumerate(headers, 1) if has_forbidden_bytes([each]))
        raise BadRequest("A header field contains a control character.", cause=f"field {number} of the head")
    is_11 = request.version == "1.1"
    fields = by_name(headers)
    if b"connection" in fields and b"".join(fields[b"connection"]).count(b",") >= MOST_MEMBERS:
        raise BadRequest("The request has too many connection options.")
    target, host = _read_target(request.method, request.target, fields.get(b"host", _NONE), is_11=is_11)
    has_body = b"content-length" in fields or b"transfer-encoding" in fields
    length = read_framing(fields, is_11=is_11) if has_body else None
    hops = read_max_forwards(fields) if request.method == "OPTIONS" and b"max-forwards" in fields else None
    if hops:
        headers = [*without(headers, {b"max-forwards"}), (b"Max-Forwards", b"%d" % (hops - 1))]
    path = target.partition("?")[0]
    return InboundRequest(
        method=request.method,
        target=target,
        path=normalized(path) if unusual(path) else path,
        host=host,
        headers=headers,
        fields=fields,
        body_length=length,
        has_body=has_body,
        expects_continue=b"expect" in fields and read_expectation(fields[b"expect"]),
        upgrade=read_upgrade(fields) if request.upgrades and is_11 else None,  # RFC 9110 section 7.8
        is_last_hop=hops == 0,
    )


def _read_target(method: str, raw: str, hosts: Sequence[bytes], *, is_11: bool) -> tuple[str, bytes]:
    """Return target and host (RFC 9112 section 3.2).

    Origin form is kept as it is, absolute form reduced to it, or to ``*`` (section 3.2.4).
    """
    if len(hosts) > 1:
        raise BadRequest("The request has several Host fields.")
    host = hosts[0].strip() if hosts else b""
    if not _HOST.fullmatch(host):
        raise BadRequest("The Host field is malformed.")
    absolute = None if raw.startswith("/") else ABSOLUTE_FORM.fullmatch(raw)
    if absolute is not None:
        # A Host field that says otherwise is ignored (RFC 9112 section 3.2.2): the upstream gets the target's.
        host, raw = absolute.group(1).encode(), absolute.group(2)
        if not host or not _HOST.fullmatch(host):
            raise BadRequest("The host in the request target is malformed.")
        if not raw.startswith("/"):
            raw = "*" if method == "OPTIONS" and not raw else "/" + raw
    if not (raw.startswith("/") or (raw == "*" and method == "OPTIONS")):
        raise BadRequest("The request target has to be a path.")
    if _NOT_IN_TARGET.search(raw) or UNSENT.search(raw.partition("?")[0]):
        raise BadRequest("The request target contains a character that has to be encoded.")
    if is_11 and not hosts:
        raise BadRequest("The request has no Host field.")
    return raw, host
