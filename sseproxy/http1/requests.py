"""Which requests are in the bytes that a client sends? (RFC 9112)

llhttp (by httptools) reads them, as strictly as it can, with two exceptions. It reads any version, so that HTTP/1.2 can
be served as 1.1 (RFC 9110 section 2.5); `inbound` refuses the others. And it reads what follows a request although the
trailers say ``Connection: close``, which belongs into the head (RFC 9110 section 6.5.1).

What llhttp leaves open is closed here: a head that never ends, fields without number and length, other protocols.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import httptools

from sseproxy.core.errors import BadRequest, ClientError, HeadersTooLarge, MethodUnknown
from sseproxy.core.http.fields import Headers, get
from sseproxy.core.limits import KIB
from sseproxy.http1.boundaries import EmptyLine, RequestLine, behind_line_breaks
from sseproxy.http1.content import RequestContent

#: Bytes behind a request to switch protocols that are kept until it is answered.
MAX_TAIL = 64 * 1024

#: Bytes that are read at once. Between two such pieces whoever takes the requests may say that they are enough for now.
PIECE = 32 * 1024

_BLANKS = b" \t"
_PUNCTUATION = len(b": \r\n")

#: What brings llhttp to where the body of a request in chunks begins.
_CHUNKED_HEAD = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


#: How llhttp begins to say that a method is unknown.
_UNKNOWN_METHOD = ("Invalid method encountered", "Invalid method for HTTP", "Expected space after method")


def _new_llhttp(owner: "RequestParser") -> httptools.HttpRequestParser:
    llhttp = httptools.HttpRequestParser(owner)
    llhttp.set_dangerous_leniencies(lenient_version=True, lenient_keep_alive=True)
    return llhttp


def _reason_of(error: httptools.HttpParserError) -> str:
    """What llhttp says, which quotes nothing of what has come; of an error in one of our callbacks, what that says."""
    is_callback = isinstance(error, httptools.HttpParserCallbackError)
    return str(error.__context__ if is_callback and error.__context__ is not None else error)


def _served_as(version: str) -> str:
    """Return the version of HTTP in which a request is answered (RFC 9110 section 2.5)."""
    return "1.1" if version.startswith("1.") and version != "1.0" else version


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
        "_empty_line",
        "_fields_size",
        "_headers",
        "_hold",
        "_is_last",
        "_is_resuming",
        "_is_too_large",
        "_limits",
        "_line",
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
        self._llhttp: httptools.HttpRequestParser | None = _new_llhttp(self)
        self._headers: Headers = []
        self._target = b""
        self._fields_size = 0
        self._unframed = 0  # bytes since the head, or any piece of a body
        self._request: ParsedRequest | None = None  # whose body comes
        self._upgrading: ParsedRequest | None = None  # that asks for another protocol
        self._body_left = 0  # bytes of a body that has a length
        self._is_resuming = False  # its head is read once more, in another form
        self._is_too_large = False
        self._is_last = False  # the last head says that no other follows
        self._line = RequestLine()
        self._empty_line = EmptyLine()
        self.has_failed = False
        self.has_begun = False  # a head has, and is not complete
        self.is_stopped = self.is_full = False
        self.tail = b""

    def feed(self, data: bytes) -> None:
        """Read what came."""
        if len(data) > PIECE:
            self._feed_long(data)
            return
        at = 0
        if not self.is_full:
            while at < len(data) and not (self.is_stopped or self.has_failed):
                at = self._read_next(data, at)
        if at < len(data) and not self.has_failed:
            self._keep(data[at:])

    def _feed_long(self, data: bytes) -> None:
        pieces = memoryview(data)
        for at in range(0, len(pieces), PIECE):
            if self.is_stopped or self.is_full:
                self._keep(bytes(pieces[at:]))
                return
            self.feed(bytes(pieces[at : at + PIECE]))

    def _read_next(self, data: bytes, at: int) -> int:
        """Read `data[at:]`, at most to the end of a request, and return where that is."""
        if not self.has_begun and self._request is None:
            at = behind_line_breaks(data, at)
            if at == len(data):
                return at
            self._line.begin()
            self._empty_line.reset()
        if self._body_left:
            end = min(at + self._body_left, len(data))
            self._body_left -= end - at
        else:
            end = self._empty_line.end(data, at)
            self._line.take(data, at, end)
        self._read(data[at:end])
        return end

    def _read(self, data: bytes) -> None:
        """Read `data`, which holds nothing behind the end of a request."""
        if self._llhttp is None:
            return
        in_head, self._unframed = self.has_begun, self._unframed + len(data)
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._stop()
        except httptools.HttpParserError as error:
            reason = _reason_of(error)
            self._fail(self._as_ours(reason), reason)
            return
        request = self._request
        if request is not None and request.content is None:
            request.content = RequestContent(self._hold)  # its first piece will come later
            self._body_left = int(get(request.headers, b"content-length") or 0)
            self._empty_line.reset()
        if self._unframed > self._limits.size and (request is not None or (in_head and self.has_begun)):
            self._is_too_large = True
            self._fail(self._as_ours(""), "too much that is no body")

    def go_on(self) -> None:
        """There is room for more requests, and the protocol was not switched: what has come since is read."""
        tail, self.tail = self.tail, b""
        if self.is_stopped:
            self._llhttp = _new_llhttp(self)
        self.is_stopped = self.is_full = False
        if tail:
            self.feed(tail)

    def _stop(self) -> None:
        """The last request asks for another protocol. httptools takes all behind its head for that, its body, too.

        Where only the body's framing would tell where it ends, the wish is passed over (RFC 9110 section 7.8).
        """
        request, self._upgrading = self._upgrading, None
        assert request is not None
        if get(request.headers, b"transfer-encoding") is not None:
            request.upgrades = False
            self._llhttp = _new_llhttp(self)
            self._is_resuming = True
            self._llhttp.feed_data(_CHUNKED_HEAD)
            self._is_resuming = False
            self._request = request
            return
        self.is_stopped = True
        if int(get(request.headers, b"content-length") or 0):
            self._request = request

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
        if self._is_last:
            raise ValueError("a request behind the last one")
        if not self._line:
            raise ValueError("a request where none may begin")
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
        request = ParsedRequest(
            llhttp.get_method().decode("ascii"),
            self._target.decode("ascii"),
            _served_as(llhttp.get_http_version()),
            self._headers,
            llhttp.should_keep_alive(),
            llhttp.should_upgrade(),
        )
        if not self._line.is_http:
            raise ValueError("the protocol is not HTTP")
        self._request = request
        self._is_last = not request.keeps_alive
        self._headers, self._target = [], b""
        self._line.forget()
        if request.upgrades:
            self._upgrading = request
        self._on_request(request)

    def on_body(self, piece: bytes) -> None:
        request = self._request
        assert request is not None
        assert request.content is not None
        self._unframed = 0
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

    def _as_ours(self, reason: str) -> ClientError:
        """What is wrong, and in which field, counted from 1. Nothing is quoted that came: it may be a secret."""
        if self._is_too_large:
            return HeadersTooLarge("The request line or a header field is too large.")
        if self.has_begun and reason.startswith(_UNKNOWN_METHOD) and self._line.begins_with_method:
            return MethodUnknown("The method is not known.")
        where = f", in field {len(self._headers) + 1} of the head or next to it" if self.has_begun else ""
        return BadRequest("The request is not valid HTTP.", cause=reason + where)

    def _fail(self, error: ClientError, reason: str) -> None:
        """If it is the body of a request, whoever reads that has to know; else an answer has to be given."""
        self.has_failed = True
        if not self._break_body(BadRequest("The request body is malformed.", cause=reason)):
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
