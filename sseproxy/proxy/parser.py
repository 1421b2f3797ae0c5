"""Which requests are in the bytes that a client sends? (RFC 9112)

llhttp (by httptools) reads them, as strictly as it can. What it leaves open, a head that never ends, fields without
number and length, is closed here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import httptools

from sseproxy.core.errors import BadRequest, ClientError, HeadersTooLarge
from sseproxy.core.headers import Headers, by_name
from sseproxy.core.limits import KIB
from sseproxy.proxy.content import RequestContent

#: Bytes behind a request to switch protocols that are kept until it is answered.
MAX_TAIL = 64 * 1024

#: Bytes that are read at once. Between two such pieces whoever takes the requests may say that they are enough for now.
PIECE = 32 * 1024

_BLANKS = b" \t"
_PUNCTUATION = len(b": \r\n")

#: What brings llhttp to where the body of a request in chunks begins.
_CHUNKED_HEAD = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How large a request head may be. Work on it, such as on lists and cookies, is in proportion to its size.

    size: bytes of request line and fields together, and again of trailers. fields: how many.
    """

    size: int = 64 * KIB
    fields: int = 256


def _nobody(_: object) -> None:
    """Who is called when the client has gone."""


@dataclass(slots=True, eq=False)
class ParsedRequest:
    """The head of a request as it came. version: such as ``1.1``. keeps_alive: the client says nothing against it.

    upgrades: it asks for another protocol, and nothing behind it is read as HTTP before it is answered.
    content: its body; ``None`` if nothing of one will come.
    """

    method: str
    target: str = field(repr=False)
    version: str
    headers: Headers = field(repr=False)
    keeps_alive: bool = True
    upgrades: bool = False
    content: RequestContent | None = field(default=None, repr=False)


class RequestParser:
    """One client's requests.

    on_request: called with each as soon as its head is there. on_error: called at most once, when what comes makes no
    sense, or too much of it; nothing is read any more then. hold: see `RequestContent`.
    limits: of a head; more is refused with 431.
    is_stopped: the last request asks for another protocol. is_full: set by whoever has enough requests for now; at most
    those in `PIECE` bytes follow. In either case nothing is read until `go_on`. tail: what has come since.
    """

    __slots__ = (
        "_body_left",
        "_fields_size",
        "_headers",
        "_hold",
        "_is_resuming",
        "_is_too_large",
        "_limits",
        "_llhttp",
        "_on_error",
        "_on_request",
        "_request",
        "_target",
        "_unframed",
        "_upgrading",
        "has_begun",
        "has_failed",
        "is_full",
        "is_stopped",
        "tail",
    )

    def __init__(
        self,
        on_request: Callable[[ParsedRequest], None],
        on_error: Callable[[ClientError], None],
        *,
        hold: Callable[[bool], None],
        limits: HeadLimits = HeadLimits(),
    ) -> None:
        self._limits = limits
        self._on_request = on_request
        self._on_error = on_error
        self._hold = hold
        self._llhttp: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._headers: Headers = []
        self._target = b""
        self._fields_size = 0
        self._unframed = 0  # bytes since the head, or any piece of a body
        self._request: ParsedRequest | None = None  # whose body comes
        self._upgrading: ParsedRequest | None = None  # that asks for another protocol
        self._body_left = 0  # bytes of its body
        self._is_resuming = False  # its head is read once more, in another form
        self._is_too_large = False
        self.has_failed = False
        self.has_begun = False  # a head has, and is not complete
        self.is_stopped = self.is_full = False
        self.tail = b""

    def feed(self, data: bytes | memoryview) -> None:
        """Read what came."""
        if len(data) > PIECE:
            self._feed_long(data)
            return
        left: bytes | memoryview | None = data
        while left is not None and not (self.is_stopped or self.is_full):
            left = self._read(left)
        if left:
            self._keep(bytes(left))

    def _feed_long(self, data: bytes | memoryview) -> None:
        pieces = memoryview(data)
        for at in range(0, len(pieces), PIECE):
            if self.is_stopped or self.is_full:
                self._keep(bytes(pieces[at:]))
                return
            self.feed(pieces[at : at + PIECE])

    def _read(self, data: bytes | memoryview) -> bytes | memoryview | None:
        """Read `data`, up to a request for another protocol if there is one; what is behind that is returned."""
        if self.has_failed or self._llhttp is None:
            return None
        in_head, self._unframed = self.has_begun, self._unframed + len(data)
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stop()
            return data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._fail(self._as_ours(error))
            return None
        request = self._request
        if request is not None and request.content is None:
            request.content = RequestContent(self._hold)  # its first piece will come later
        if self._unframed > self._limits.size and (request is not None or (in_head and self.has_begun)):
            self._is_too_large = True
            self._fail(self._as_ours(None))
        return None

    def go_on(self) -> None:
        """There is room for more requests, and the protocol was not switched: what has come since is read."""
        tail, self.tail = self.tail, b""
        if self.is_stopped:
            self._llhttp = httptools.HttpRequestParser(self)
        self.is_stopped = self.is_full = False
        if tail:
            self.feed(tail)

    def _stop(self) -> None:
        """The last request asks for another protocol. httptools takes all behind its head for that, its body, too.

        Where only the body's framing would tell where it ends, the wish is passed over (RFC 9110 section 7.8).
        """
        request, self._upgrading = self._upgrading, None
        assert request is not None
        fields = by_name(request.headers)
        if b"transfer-encoding" in fields:
            request.upgrades = False
            self._llhttp = httptools.HttpRequestParser(self)
            self._is_resuming = True
            self._llhttp.feed_data(_CHUNKED_HEAD)
            self._is_resuming = False
            self._request = request
            return
        self.is_stopped = True
        self._body_left = int(fields[b"content-length"][0]) if b"content-length" in fields else 0
        if self._body_left:
            self._request = request
            request.content = RequestContent(self._hold)

    def _keep(self, data: bytes) -> None:
        """What is not read is kept, but for the body of a request for another protocol."""
        if self.is_stopped and self._body_left:
            piece, data = data[: self._body_left], data[self._body_left :]
            self._body_left -= len(piece)
            self.on_body(piece)
            if not self._body_left:
                self.on_message_complete()
        self.tail += data

    def close(self) -> None:
        """Nothing more will come, and nobody is called any more but who reads a body."""
        self._llhttp = None
        self.has_failed = True
        self._on_request = self._on_error = self._hold = _nobody  # or there would be a circle of references
        self._break_body(BadRequest("The request body broke off."))

    # llhttp's calls.

    def on_message_begin(self) -> None:
        if self._is_resuming:
            return
        self.has_begun = True
        self._headers = []
        self._target = b""
        self._fields_size = self._unframed = 0

    def on_url(self, target: bytes) -> None:
        if self._is_resuming:
            return
        self._target += target
        self._limit(len(self._target) <= self._limits.size)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_begun:
            return  # a trailer: those are dropped
        self._fields_size += len(name) + len(value) + _PUNCTUATION
        self._headers.append((name, value.rstrip(_BLANKS)))  # llhttp takes off only what is before it
        limits = self._limits
        self._limit(len(self._headers) <= limits.fields and len(self._target) + self._fields_size <= limits.size)

    def on_headers_complete(self) -> None:
        llhttp = self._llhttp
        if llhttp is None or self._is_resuming:
            return
        self.has_begun = False
        self._request = ParsedRequest(
            llhttp.get_method().decode("ascii"),
            self._target.decode("ascii"),
            llhttp.get_http_version(),
            self._headers,
            llhttp.should_keep_alive(),
            llhttp.should_upgrade(),
        )
        self._headers, self._target = [], b""
        if self._request.upgrades:
            self._upgrading = self._request
        self._on_request(self._request)

    def on_body(self, piece: bytes) -> None:
        request = self._request
        assert request is not None
        self._unframed = 0
        if request.content is None:
            request.content = RequestContent(self._hold)
        request.content.feed(piece)

    def on_message_complete(self) -> None:
        request, self._request = self._request, None
        if request is not None and request.content is not None:
            request.content.end()

    # Private.

    def _limit(self, is_kept: bool) -> None:
        if not is_kept:
            self._is_too_large = True
            raise ValueError("too large")

    def _as_ours(self, error: httptools.HttpParserError | None) -> ClientError:
        """llhttp's words quote nothing of what the client has sent, which may be a secret in the wrong place."""
        if self._is_too_large:
            return HeadersTooLarge("The request line or a header field is too large.")
        is_callback = isinstance(error, httptools.HttpParserCallbackError)
        return BadRequest("The request is not valid HTTP.", cause=None if is_callback else str(error))

    def _fail(self, error: ClientError) -> None:
        """If it is the body of a request, whoever reads that has to know; else an answer has to be given."""
        self.has_failed = True
        if not self._break_body(BadRequest("The request body is malformed.")):
            self._on_error(error)

    def _break_body(self, error: ClientError) -> bool:
        """Whether there is one on its way, and somebody has been told."""
        request, self._request = self._request, None
        if request is None:
            return False
        if request.content is None:
            request.content = RequestContent(self._hold)
        request.content.fail(error)
        return True
