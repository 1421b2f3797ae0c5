"""What is a request to an upstream, and what is the head of its response?"""

from collections.abc import AsyncIterator

from sseproxy.core.frozen import frozen
from sseproxy.core.http.fields import Headers
from sseproxy.http1.framing import chunked

_WITHOUT_BODY = frozenset(("GET", "HEAD", "OPTIONS", "DELETE"))


@frozen
class RequestBody:
    """A request body that is read only as fast as the upstream takes it.

    pieces: what comes, in order; may raise a `ClientError`; or all of it, if all is here.
    length: in bytes, ``None`` if not known before.
    """

    pieces: AsyncIterator[bytes] | bytes
    length: int | None

    @property
    def framing(self) -> tuple[bytes, bytes]:
        """The header field that says where the body ends (RFC 9112 section 6)."""
        if self.length is None:
            return b"Transfer-Encoding", b"chunked"
        return b"Content-Length", b"%d" % self.length

    @property
    def framed(self) -> bytes:
        """The bytes of a body that is all here."""
        assert isinstance(self.pieces, bytes)
        return chunked(self.pieces) if self.length is None else self.pieces


@frozen
class OriginRequest:
    """A request as the upstream shall see it, but for the framing of its body."""

    method: str
    target: str
    headers: Headers
    body: RequestBody | None = None

    @property
    def is_idempotent(self) -> bool:
        """True if sending it twice does what sending it once does (RFC 9110 section 9.2.2)."""
        return self.method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")

    @property
    def may_be_misread(self) -> bool:
        """True if its body means nothing (RFC 9110 section 9.3.1), so that an upstream may not expect it.

        One that does not read it takes it for the next request on the connection.
        """
        return self.body is not None and self.body.length != 0 and self.method in _WITHOUT_BODY


@frozen
class ResponseHead:
    """The head of a response. headers: end-to-end fields only.

    length: of the body, in bytes; ``None`` if only its end will tell. has_body: false where there can be none.
    ends_with_connection: the end of the body is that of the connection.
    """

    status: int
    reason: bytes
    headers: Headers
    length: int | None
    has_body: bool
    upgraded_to: bytes | None = None
    ends_with_connection: bool = False
