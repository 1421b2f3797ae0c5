"""What does a request say in the places of which a journal makes keys and logins?"""

from collections.abc import Sequence

from sseproxy.core.eventsource.cookies import cookie_values, login
from sseproxy.core.http.fields import as_in_cgi, names_origin
from sseproxy.core.http.json_members import MemberScanner
from sseproxy.core.http.paths import decoded
from sseproxy.core.http.peek import may_be_json
from sseproxy.core.http.query import parameters
from sseproxy.core.journal.identity import encoded
from sseproxy.core.journal.positions import without_position
from sseproxy.core.journal.rules import Part, PartKind
from sseproxy.core.limits import MIB
from sseproxy.core.routes import Route
from sseproxy.proxy.inbound import ClientRequest

#: Bytes of a body up to which its members can be parts of a key.
MOST_BODY = MIB


class RequestParts:
    """The places of one request on `route`. Its `values` are a `Lookup`.

    body: all of it, if the key has members of it, and it is no larger than `MOST_BODY`.
    """

    # Invariant: a part says what the upstream hears. If it could hear something else, from a second value, a field that
    # it never gets or a spelling that only some services take for the same, the part is missing. Else a client could
    # fill, under the key of others, a run with what they have not asked for.

    def __init__(self, request: ClientRequest, route: Route, body: bytes | None = None) -> None:
        self._request = request
        self._inbound = request.inbound
        self._route = route
        self._body = body

    def values(self, part: Part) -> Sequence[bytes]:
        """Return all values of a part."""
        match part.kind:
            case PartKind.URL:
                return (self._url(),)
            case PartKind.QUERY:
                return parameters(self._inbound.target.partition("?")[2], part.name)
            case PartKind.HEADER:
                return self._field(part.name.lower().encode())
            case PartKind.COOKIE:
                return tuple(cookie_values(self._inbound.headers, part.name))
            case PartKind.AUTH:
                said = self._request.identity.get(part.name)
                return () if said is None else (said,)
            case PartKind.BODY:
                return self._member(part.name)
            case PartKind.RUN:
                return ()

    def _url(self) -> bytes:
        """Return host, path and query as one.

        Escapes of unreserved characters are decoded. Slashes and dot segments stay: services differ in them. The host
        that a trusted proxy names is part of it, too.
        """
        inbound = self._inbound
        path, _, query = inbound.target.partition("?")
        said = inbound.fields.get(b"x-forwarded-host", ()) if self._request.peer.trusted else ()
        return encoded([(inbound.host.lower(), decoded(path).encode(), without_position(query.encode())), said])

    def _field(self, name: bytes) -> Sequence[bytes]:
        plain, authorize, auth = as_in_cgi(name), self._route.authorize, self._route.auth
        if authorize is not None and plain in authorize.taken:
            return ()  # what the client says in it does not go upstream
        if names_origin(plain) and not self._request.peer.trusted:
            return ()  # nor that
        found = [(key, value) for key, value in self._inbound.headers if as_in_cgi(key) == plain]
        if any(key.lower() != name for key, _ in found):
            return ()  # ``X_User``, which some services take for ``X-User``
        if not found and auth is not None and auth.header.lower().encode() == name:
            made = login(self._inbound.headers, auth)
            return () if made is None else (made[1],)
        return [value for _, value in found]

    def _member(self, name: str) -> Sequence[bytes]:
        """Return a member of a JSON body, as text: a string, a whole number, or ``true`` and ``false``."""
        kinds = (b",".join(self._inbound.fields.get(each, ())) for each in (b"content-type", b"content-encoding"))
        if self._body is None or not may_be_json(*kinds):
            return ()
        scanner = MemberScanner((name,))
        scanner.feed(self._body)
        value = scanner.value(name)
        if scanner.has_repeats or not isinstance(value, str | int):
            return ()
        if isinstance(value, bool):
            return (b"true" if value else b"false",)
        return (str(value).encode(errors="surrogatepass"),)
