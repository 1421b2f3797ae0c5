"""How are responses and bodies written? (RFC 9112 sections 4 to 7)"""

import functools
from email.utils import formatdate
from enum import Enum

from sseproxy.core.http.fields import Headers

#: One chunk: ``CHUNK % (len(data), data)``. Formats, not functions: each event of a stream is a chunk, and a call costs
#: as much as the rest of its framing.
CHUNK = b"%x\r\n%b\r\n"

#: The same in three pieces, for data that is too long to be copied: ``CHUNK_SIZE % len(data)``, data, ``CHUNK_END``.
CHUNK_SIZE = b"%x\r\n"
CHUNK_END = b"\r\n"


class NewestChunk:
    """newest: a piece, and its chunk. Readers of a feed get the same piece, so mostly only the first frames it."""

    # One tuple, since event loops of several threads may share this. Identity is enough: bytes never change, and a
    # piece that is kept here lends its address to no other.

    __slots__ = ("newest",)

    def __init__(self) -> None:
        self.newest: tuple[bytes, bytes] = (b"", CHUNK % (0, b""))


NEWEST_CHUNK = NewestChunk()

#: Behind the last chunk, without trailers.
LAST_CHUNK = b"0\r\n\r\n"

#: The same with one trailer field: ``LAST_CHUNK_WITH % (name, value)`` (RFC 9112 section 7.1.2).
LAST_CHUNK_WITH = b"0\r\n%b: %b\r\n\r\n"


class Framing(Enum):
    """How the client will know the end of the body."""

    NONE = "no body"
    LENGTH = "Content-Length"
    CHUNKED = "chunked"
    CLOSE = "the connection closes"


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def chunked(body: bytes) -> bytes:
    """Return a whole body in chunks."""
    return CHUNK % (len(body), body) + LAST_CHUNK if body else LAST_CHUNK


#: Formats one field.
FIELD = b"%b: %b\r\n"


def response_head(status: int, reason: bytes, headers: Headers) -> bytes:
    """Return the head of an HTTP/1.1 response (RFC 9112 section 4: also to a client that speaks 1.0)."""
    return b"".join((b"HTTP/1.1 %d %b\r\n" % (status, reason), *map(FIELD.__mod__, headers), b"\r\n"))


@functools.lru_cache(maxsize=1)
def http_date(now: int) -> bytes:
    """`now`, in seconds since 1970, as a field value. To write it costs more than the rest of a head: once a second."""
    return formatdate(now, usegmt=True).encode()
