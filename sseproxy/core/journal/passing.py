"""What of a client's request does the upstream of a route with a journal get? (contract section 6, J2 and J10)"""

from collections.abc import Callable

from sseproxy.core.eventsource.cookies import authenticate, login, only_cookies, without_cookie
from sseproxy.core.eventsource.policies import CookieAuth
from sseproxy.core.http.fields import Headers, as_in_cgi
from sseproxy.core.journal.identity import is_ours
from sseproxy.core.journal.positions import without_position
from sseproxy.core.journal.rules import JournalPolicy, PartKind

#: Fields in which a client says who it is.
_CREDENTIALS = frozenset((b"authorization", b"cookie", b"proxy-authorization"))

_POSITION = b"last-event-id"


def is_shared(policy: JournalPolicy, method: str) -> bool:
    """True if what the upstream answers to a request is for other clients, too."""
    return not policy.is_answer and method == "GET"


def passed_fields(headers: Headers, policy: JournalPolicy, auth: CookieAuth | None, *, method: str) -> Headers:
    """Return the fields of a request without a position of a run, with the login that `auth` makes of its cookie.

    What is shared is asked for with the credentials that its login and key name, and no others: those of the client
    that came first would decide what all the others see.
    """
    fields = [field for field in headers if as_in_cgi(field[0]) != _POSITION or not is_ours(field[1])]
    if not is_shared(policy, method):
        return fields if auth is None else authenticate(fields, auth)
    parts = (*policy.login, *policy.key)
    named = {part.name.lower().encode() for part in parts if part.kind is PartKind.HEADER}
    cookies = {part.name for part in parts if part.kind is PartKind.COOKIE}
    credentials = _CREDENTIALS if auth is None else _CREDENTIALS | {as_in_cgi(auth.header.encode())}
    kept = [field for field in fields if as_in_cgi(field[0]) not in credentials or field[0].lower() in named]
    if b"cookie" in named:
        return kept if auth is None else authenticate(kept, auth)
    if auth is None:
        return kept + only_cookies(headers, cookies)
    # A login that is named as the header may come as the cookie. A cookie that is named becomes the header, in place of
    # one that the client has written itself.
    is_named = auth.header.lower().encode() in named
    made = login(kept + only_cookies(headers, {*cookies, auth.cookie} if is_named else cookies), auth)
    left = only_cookies(headers, cookies)
    if auth.strip_cookie:
        left = without_cookie(left, auth.cookie)
    return kept + left + ([] if made is None else [made])


def passed_target(target: str, is_taken_off: Callable[[bytes], bool] | None = is_ours) -> str:
    """Return the target of a request without positions of runs; all else stays as it is, byte for byte.

    is_taken_off: true of the positions that go; ``None``: all do.
    """
    path, mark, query = target.partition("?")
    if not query:
        return target
    left = without_position(query.encode(), is_taken_off).decode()
    return path + mark + left if left else path
