"""What may a route do for a browser's `EventSource`, which can only GET, sets no headers and reconnects for ever?

Policies only; ``None`` in place of one means that the route does not do it.
"""

from enum import StrEnum

from sseproxy.core.frozen import frozen
from sseproxy.core.http.fields import FORWARDING, belongs_to_connection
from sseproxy.core.limits import MIB

#: Bytes of a request body that can be kept at most, however large the store is: a body is kept in one piece.
MOST_BODY = 32 * MIB


class TicketBinding(StrEnum):
    """Who may open a ticket besides knowing its id."""

    NONE = "none"  # any client that has the id
    COOKIE = "cookie"  # a client that has the same value of a cookie
    ADDRESS = "address"  # a client at the same address


class Reopen(StrEnum):
    """What a further GET of a ticket that was opened once does."""

    NEVER = "never"  # 204, which ends the reconnecting of an `EventSource`
    ALWAYS = "always"  # the request is sent again


@frozen
class TicketPolicy:
    """Requests that are kept and sent when their ticket is opened.

    path: a request to this path and the real target behind it is kept; never ends with a slash. ttl: seconds until a
    ticket that is not opened is gone. max_body: bytes of a request body, up to `MOST_BODY`. bind_cookie: the name, for
    `COOKIE` only.
    """

    path: str = "/_tickets"
    ttl: float = 60.0
    max_body: int = MIB
    bind: TicketBinding = TicketBinding.NONE
    bind_cookie: str = ""
    reopen: Reopen = Reopen.NEVER


#: Request fields (lower case) that the proxy reads before the cookie would become one of them.
_READ_BY_PROXY = frozenset(("host", "cookie", "expect", "origin", "last-event-id"))


@frozen
class CookieAuth:
    """A login cookie that becomes a request header, where the request has none of that name.

    format: the header's value, with ``{value}`` for the cookie's. strip_cookie: the cookie itself does not go on.
    """

    cookie: str
    header: str = "Authorization"
    format: str = "Bearer {value}"
    strip_cookie: bool = True

    def sets(self, name: str) -> bool:
        """True if `name`, in any case, is the field that the cookie becomes."""
        return name.lower() == self.header.lower()

    @property
    def is_header_reserved(self) -> bool:
        """True if the connection or the proxy itself goes by `header`, so that no cookie may become it."""
        name = self.header.lower()
        return belongs_to_connection(name) or name in _READ_BY_PROXY or name.encode() in FORWARDING


#: Forbidden response-header names (Fetch standard, section 2.2.2).
_NEVER_READ = frozenset(("set-cookie", "set-cookie2"))


@frozen
class CorsPolicy:
    """Which pages of other origins may read the responses (Fetch standard, CORS protocol).

    origins: serialized origins such as ``https://app.example``, or ``*`` alone. credentials: with cookies.
    expose: names of response fields that pages may read; ``*`` for all, where there are no credentials.
    """

    origins: frozenset[str]
    credentials: bool = False
    expose: tuple[str, ...] = ()

    @property
    def any_origin(self) -> bool:
        return "*" in self.origins

    @property
    def names_more_than_all(self) -> bool:
        """True if ``*`` stands beside other origins."""
        return self.any_origin and len(self.origins) > 1

    @property
    def too_open_for_credentials(self) -> str | None:
        """Return the origin, ``*`` or ``null``, by which any page could read in the name of a user; else ``None``."""
        if not self.credentials:
            return None
        return next((origin for origin in ("*", "null") if origin in self.origins), None)

    @property
    def exposes_a_star(self) -> bool:
        """True if ``*`` in `expose` names a field instead of all of them (Fetch standard, section 3.2.4)."""
        return self.credentials and "*" in self.expose

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Those of `expose` that no browser lets a page read."""
        return tuple(name for name in self.expose if name.lower() in _NEVER_READ)

    def says(self, name: str) -> bool:
        """True if the policy writes the response field `name`, in any case."""
        return name.lower().startswith("access-control-")
