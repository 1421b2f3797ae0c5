"""What is a ticket called, who may open it, and what must its answer never do in a browser?

A ticket's URL lies in the site's own origin, and what is behind it was written by the client that stored it. So its
answer is for scripts only: never a page, a frame, an image or a script of that origin.
"""

import base64
import re

from sseproxy.core.eventsource.fetch_metadata import words
from sseproxy.core.http.fields import Headers, get_all, is_event_stream, merged, without
from sseproxy.core.stream.kinds import is_of_a_kind

#: Random bytes of an id.
ID_BYTES = 16

_PREFIX = "tkt_"
_ID = re.compile(r"tkt_[A-Za-z0-9_-]{22}")
#: An id in whatever spelling, and most of one.
_SECRET = re.compile(r"(?:t|%[57]4)(?:k|%[46]b)(?:t|%[57]4)(?:_|%5f)(?:[a-z0-9_-]|%[0-9a-f]{2}){12,}", re.IGNORECASE)

#: Segments of a path that lead nowhere.
_NOWHERE = frozenset(("", ".", "%2e"))

_NO_PAGE = frozenset((b"cache-control", b"set-cookie", b"x-content-type-options"))


def ticket_id(random: bytes) -> str:
    """Return the id that `ID_BYTES` of randomness make."""
    return _PREFIX + base64.urlsafe_b64encode(random).decode().rstrip("=")


def is_ticket_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def names_ticket(path: str) -> bool:
    """True if a path is nothing but the id of a ticket, with slashes and dots that lead nowhere."""
    segments = [segment for segment in path.split("/") if segment.lower() not in _NOWHERE]
    return len(segments) == 1 and is_ticket_id(segments[0])


def masked(text: str) -> str:
    """`text` as it may be logged: with ``-`` for all that is the id of a ticket, or most of one."""
    return _SECRET.sub("-", text)


def is_for_script(headers: Headers) -> bool:
    """True if a script gets the answer, as far as the browser tells (Fetch Metadata, sections 2.1, 2.2 and 2.5).

    Not so: pages, frames, images and the like, and what is loaded in advance, before a script asks for it.
    """
    return (
        b"navigate" not in words(headers, b"sec-fetch-mode")
        and set(words(headers, b"sec-fetch-dest")) <= {b"empty"}
        and b"prefetch" not in words(headers, b"sec-purpose")
    )


def opened_answer(headers: Headers) -> Headers:
    """The fields of what a ticket brought about: never stored, and no page of this origin unless it is events."""
    said = b"no-store"
    if is_of_a_kind(headers):  # what else it says keeps gateways from holding it back
        said = merged(get_all(headers, b"cache-control"), (said,))
    if is_event_stream(headers):
        return [*without(headers, {b"cache-control"}), (b"Cache-Control", said)]
    return [
        *without(headers, _NO_PAGE),
        (b"Cache-Control", said),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Content-Security-Policy", b"sandbox"),
    ]
