"""Which pages of other origins may read a response? (Fetch standard, section 3.2, "CORS protocol")

The policy is the route's; what the upstream says about it is replaced. A browser asks before an unusual request, with
a *preflight*: an OPTIONS with an ``Origin`` and an ``Access-Control-Request-Method``.
"""

import re
from collections.abc import Iterable

from sseproxy.core.eventsource.fetch_metadata import is_cross_origin, tells_site
from sseproxy.core.eventsource.policies import CorsPolicy
from sseproxy.core.frozen import frozen
from sseproxy.core.http.fields import Headers, get, get_all, merged, tokens, with_vary, without

#: Seconds for which a browser may remember the answer to a preflight.
MAX_AGE = 600

#: What the upstream may say about CORS in a response.
_ANSWERS = frozenset(
    (
        b"access-control-allow-credentials",
        b"access-control-allow-headers",
        b"access-control-allow-methods",
        b"access-control-allow-origin",
        b"access-control-expose-headers",
        b"access-control-max-age",
    )
)

#: Fields of sseproxy's own responses that a page could not read otherwise.
_EXPOSED = (b"Location", b"Content-Location", b"Retry-After")

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}

_PREFLIGHT_VARY = (b"Origin", b"Access-Control-Request-Method", b"Access-Control-Request-Headers")


def preflight_method(method: str, headers: Headers) -> str | None:
    """The method that a preflight asks for (Fetch section 4.8); ``None`` if this is none."""
    wanted = get(headers, b"access-control-request-method")
    if method != "OPTIONS" or wanted is None or get(headers, b"origin") is None:
        return None
    return wanted.decode("ascii") if _TOKEN.fullmatch(wanted) else None


@frozen
class CrossOrigin:
    """What one request may expect. origin: what it names as its own, or ``None``."""

    policy: CorsPolicy
    origin: bytes | None

    @classmethod
    def of(cls, policy: CorsPolicy, headers: Headers) -> "CrossOrigin":
        """For a request with `headers`. Several origins are none (Fetch section 3.1)."""
        named = get_all(headers, b"origin")
        return cls(policy, named[0] if len(named) == 1 else None)

    @property
    def is_allowed(self) -> bool:
        """True if pages of this origin may read. A comparison of bytes (Fetch section 3.2.5)."""
        return self.origin is not None and (
            self.policy.any_origin or self.origin in {origin.encode() for origin in self.policy.origins}
        )

    def response_fields(self, headers: Headers) -> Headers:
        """Return a response's `headers` with the route's word about CORS in place of the upstream's."""
        exposed = get_all(headers, b"access-control-expose-headers")
        kept = without(headers, _ANSWERS)
        if not self._answers_all:
            kept = with_vary(kept, (b"Origin",))
        if not (self.is_allowed or self._answers_all):
            return kept
        named = (*_EXPOSED, *(name.encode() for name in self.policy.expose))
        return [*kept, *self._allowed(), (b"Access-Control-Expose-Headers", merged(exposed, named))]

    def preflight_fields(self, headers: Headers) -> Headers:
        """The answer to a preflight with `headers` from an allowed origin: what it asks for is allowed (section 3.2.3).

        What the route's upstream refuses, it refuses when the request itself comes.
        """
        wanted = [
            name for name in tokens(get_all(headers, b"access-control-request-headers")) if _TOKEN.fullmatch(name)
        ]
        fields = [
            *self._allowed(),
            (b"Access-Control-Allow-Methods", get(headers, b"access-control-request-method") or b""),
        ]
        if wanted:
            fields.append((b"Access-Control-Allow-Headers", b", ".join(wanted)))
        fields.append((b"Access-Control-Max-Age", b"%d" % MAX_AGE))
        return with_vary(fields, _PREFLIGHT_VARY[self._answers_all :])

    @property
    def _answers_all(self) -> bool:
        """True if the answer is the same for every origin, so that a cache may give it to any client."""
        return self.policy.any_origin and not self.policy.credentials

    def _allowed(self) -> Headers:
        origin = b"*" if self._answers_all or self.origin is None else self.origin
        fields = [(b"Access-Control-Allow-Origin", origin)]
        if self.policy.credentials:
            fields.append((b"Access-Control-Allow-Credentials", b"true"))
        return fields


def is_foreign(headers: Headers, policy: CorsPolicy | None, *, hosts: Iterable[bytes], logs_in: bool) -> bool:
    """True if a page of another origin, one that `policy` does not let in, has brought about a request.

    A browser sends some of these without asking first (Fetch section 4.8), and with the cookies of this site: also
    without ``Origin``, for images and scripts. hosts: under what names the client may know us, with port. logs_in: a
    cookie logs the request in; then an origin that any page can have is not enough.
    """
    if policy is not None and lets_in(policy, headers, logs_in=logs_in):
        return False
    if tells_site(headers):
        return is_cross_origin(headers)
    origins = get_all(headers, b"origin")
    return len(origins) > 1 or (len(origins) == 1 and not _is_at(origins[0], hosts))


def lets_in(policy: CorsPolicy, headers: Headers, *, logs_in: bool) -> bool:
    """True if a page of the origin that a request names may do something with it. logs_in: see `is_foreign`."""
    cross_origin = CrossOrigin.of(policy, headers)
    is_any_page = policy.any_origin or cross_origin.origin == b"null"
    return cross_origin.is_allowed and not (logs_in and is_any_page)


def _is_at(origin: bytes, hosts: Iterable[bytes]) -> bool:
    """True if an origin is at one of `hosts`, where the port of its scheme may be left out."""
    scheme, _, authority = origin.lower().partition(b"://")
    port = _DEFAULT_PORTS.get(scheme, b"")
    return authority.removesuffix(port) in {host.lower().removesuffix(port) for host in hosts if host}
