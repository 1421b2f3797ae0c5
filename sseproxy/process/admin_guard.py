"""May this request be answered by the admin listener, or does it come from a page that has no business here?"""

import ipaddress
from collections.abc import Collection

from sseproxy.core.eventsource.fetch_metadata import is_cross_origin, is_navigation, words
from sseproxy.core.http.fields import Headers, get_all

#: A name under which a browser reaches its own machine only, whatever a name server says.
_LOCAL = "localhost"


def is_own_host(headers: Headers, names: Collection[str]) -> bool:
    """True if ``Host`` is an address, ``localhost`` or one of `names`, or is not there, as from HTTP/1.0 checks.

    Any other name may be one that leads a browser's page here by its owner's name server (DNS rebinding).
    """
    said = get_all(headers, b"host")
    if not said:
        return True
    host = said[0].decode("latin-1").strip().lower()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    else:
        host = host.rpartition(":")[0] or host if host.count(":") == 1 else host
    host = host.removesuffix(".")
    if len(said) == 1 and (host == _LOCAL or host in names):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return len(said) == 1


def opens_page(method: str, path: str, headers: Headers) -> bool:
    """True if a browser goes to the dashboard in a window of its own, wherever the link was.

    The page holds no data, and it may not be framed: a link in a chat can open it, and do nothing else.
    """
    return path == "/" and is_navigation(method, headers) and words(headers, b"sec-fetch-dest") == [b"document"]


def refusal(method: str, path: str, headers: Headers, names: Collection[str]) -> tuple[int, str] | None:
    """Return the status and the words with which a request is refused; ``None``: it may go on."""
    if not is_own_host(headers, names):
        return 421, "This name is not one of the admin listener's: see admin.hosts.\n"
    if is_cross_origin(headers) and not opens_page(method, path, headers):
        return 403, "The admin listener does not answer pages of other sites.\n"
    return None
