"""What may a route do for a browser's `EventSource`, which can only GET, sets no headers and reconnects for ever?

Policies only; ``None`` in place of one means that the route does not do it.
"""

from dataclasses import dataclass
from enum import StrEnum

from sseproxy.core.limits import MIB

#: Bytes of a request body that can be kept at most: half of what the store in memory holds.
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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class CookieAuth:
    """A login cookie that becomes a request header, where the request has none of that name.

    format: the header's value, with ``{value}`` for the cookie's. strip_cookie: the cookie itself does not go on.
    """

    cookie: str
    header: str = "Authorization"
    format: str = "Bearer {value}"
    strip_cookie: bool = True


@dataclass(frozen=True, slots=True)
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
