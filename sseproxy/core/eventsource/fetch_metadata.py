"""Whose page has brought a request about, and what for, as far as the browser tells? (W3C Fetch Metadata)

Browsers say it to secure origins and to this machine; no script can change it.
"""

from sseproxy.core.http.fields import Headers, get_all, tokens

#: What ``Sec-Fetch-Site`` says of requests that no page of another origin has brought about.
_OWN_SITE = frozenset((b"same-origin", b"none"))

#: Where a navigation leads if it is none: into a plugin of a page.
_PLUGINS = frozenset((b"object", b"embed"))


def words(headers: Headers, name: bytes) -> list[bytes]:
    """The lower-case members of a field, without their parameters."""
    return [word.partition(b";")[0].strip() for word in tokens(get_all(headers, name))]


def tells_site(headers: Headers) -> bool:
    """True if the browser says whose page it is."""
    return bool(words(headers, b"sec-fetch-site"))


def is_cross_origin(headers: Headers) -> bool:
    """True if the browser says that a page of another origin asks (section 2.3)."""
    return not _OWN_SITE.issuperset(words(headers, b"sec-fetch-site"))


def is_cross_site(headers: Headers) -> bool:
    """True if the browser says that a page of another site asks: it leaves out cookies that are `SameSite` there."""
    return words(headers, b"sec-fetch-site") == [b"cross-site"]


def is_navigation(method: str, headers: Headers) -> bool:
    """True if the browser goes to the page that it asks for (sections 2.1 and 2.2): a link, an address that was typed.

    A form that is sent to another site is a navigation too, but one that does something: with POST it counts as none.
    """
    return (
        method in ("GET", "HEAD")
        and words(headers, b"sec-fetch-mode") == [b"navigate"]
        and _PLUGINS.isdisjoint(words(headers, b"sec-fetch-dest"))
    )
