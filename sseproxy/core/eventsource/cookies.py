"""Which cookies does a request carry, and which of them becomes a header? (RFC 6265 sections 4.2 and 5.4)

Values are taken as they are and nothing is decoded: only the double quotes around a value are no part of it.
"""

import re
from collections.abc import Collection, Iterable, Iterator

from sseproxy.core.eventsource.policies import CookieAuth
from sseproxy.core.http.fields import Headers, get, get_all, merged, tokens, with_vary, without

_BLANKS = b" \t"
_KEPT_FROM_OTHERS = frozenset((b"no-store", b"private"))
#: With a name in it, a cookie of that name and the semicolon before it.
_PAIR = rb"(?:(?P<first>^)|;)[ \t]*+%b[ \t]*+=(?P<value>[^;]*+)"
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


def cookie_value(headers: Iterable[tuple[bytes, bytes]], name: str) -> bytes | None:
    """The value of the first cookie called `name`, without double quotes around it; ``None`` if there is none.

    Browsers put the one with the longest path first, so that it is the one that was meant.
    """
    return next(cookie_values(headers, name), None)


def cookie_values(headers: Iterable[tuple[bytes, bytes]], name: str) -> Iterator[bytes]:
    """The values of all cookies called `name`, without double quotes around them."""
    written = name.encode()
    for field in get_all(headers, b"cookie"):
        if written not in field:
            continue
        for found in re.finditer(_PAIR % re.escape(written), field):
            value = found["value"].strip(_BLANKS)
            yield value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value


def without_cookie(headers: Headers, name: str) -> Headers:
    """`headers` without each cookie called `name`; the other cookies stay as they are, byte for byte.

    A field with nothing left in it is left out.
    """
    kept: Headers = []
    for key, field in headers:
        found = _find(field, name) if key.lower() == b"cookie" else None
        if found is None:
            kept.append((key, field))
            continue
        left = found.re.sub(b"", field)
        if left.strip(b"; \t"):
            # Where the first cookie was taken, the semicolon before the next one is left over.
            kept.append((key, left[1:].lstrip(_BLANKS) if found["first"] is not None else left))
    return kept


def only_cookies(headers: Headers, names: Collection[str]) -> Headers:
    """The cookies called by one of `names`, each as it came, in one field; no field if there are none."""
    wanted, kept = {name.encode() for name in names}, []
    for field in get_all(headers, b"cookie"):
        for pair in field.split(b";") if wanted else ():
            name, is_pair, _ = pair.partition(b"=")
            if is_pair and name.strip(_BLANKS) in wanted:
                kept.append(pair.strip(_BLANKS))
    return [(b"Cookie", b"; ".join(kept))] if kept else []


def login(headers: Headers, policy: CookieAuth) -> tuple[bytes, bytes] | None:
    """The header field that the login cookie of a request becomes.

    ``None`` for a request that has the header. An empty cookie, and one with control characters, is no login.
    """
    value = cookie_value(headers, policy.cookie)
    name = policy.header.encode()
    if not value or _CONTROL.search(value) or get(headers, name.lower()) is not None:
        return None
    return name, policy.format.encode().replace(b"{value}", value)


def authenticate(headers: Headers, policy: CookieAuth) -> Headers:
    """`headers` with the login cookie in the place that `policy` gives it."""
    made = login(headers, policy)
    kept = without_cookie(headers, policy.cookie) if policy.strip_cookie else headers
    return kept if made is None else [*kept, made]


def for_caches(headers: Headers, asked: Headers, policy: CookieAuth) -> Headers:
    """The header fields of a response to a request with the fields `asked`, as caches have to see them.

    A cache sees no ``Authorization`` in such a request, with which a response is private (RFC 9111 section 3.5). So the
    response says that it is, and that it varies with the cookies. A request that has the field itself needs neither.
    """
    if get(asked, policy.header.lower().encode()) is not None:
        return headers
    said = get_all(headers, b"cache-control")
    if login(asked, policy) is not None and _KEPT_FROM_OTHERS.isdisjoint(tokens(said)):
        headers = [*without(headers, {b"cache-control"}), (b"Cache-Control", merged(said, (b"private",)))]
    return with_vary(headers, (b"Cookie",))


def _find(field: bytes, name: str) -> re.Match[bytes] | None:
    """The first cookie called `name`, in one pass: a field may hold thousands, or nothing but semicolons."""
    written = name.encode()
    return re.search(_PAIR % re.escape(written), field) if written in field else None
