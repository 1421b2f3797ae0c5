"""Which requests are in the bytes that a client sends? (RFC 9112)

llhttp (by httptools) reads them, as strictly as it can, with two exceptions. It reads any version, so that HTTP/1.2 can
be served as 1.1 (RFC 9110 section 2.5); `proxy/inbound` refuses the others. And it reads what follows a request
although the trailers say ``Connection: close``, which belongs into the head (RFC 9110 section 6.5.1).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import httptools

from sseproxy.core.errors import BadRequest, ClientError, HeadersTooLarge, MethodUnknown
from sseproxy.core.http.fields import Headers, get
from sseproxy.http1.boundaries import RequestBoundary, behind_line_breaks
from sseproxy.http1.content import RequestContent
from sseproxy.http1.policy import HeadLimits

#: Bytes that are read at once. Between two such pieces the connection may say that it has enough requests for now.
PIECE = 32 * 1024

_BLANKS = b" \t"
_LINE_BREAKS = b"\r\n"
_PUNCTUATION = len(b": \r\n")

#: What brings llhttp to where the body of a request in chunks begins.
_CHUNKED_HEAD = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


#: How llhttp begins to say that a method is unknown.
_UNKNOWN_METHOD = ("Invalid method encountered", "Invalid method for HTTP", "Expected space after method")


def _new_llhttp(owner: "RequestParser") -> httptools.HttpRequestParser:
    llhttp = httptools.HttpRequestParser(owner)
    llhttp.set_dangerous_leniencies(lenient_version=True, lenient_keep_alive=True)
    return llhttp


class _TooLarge(ValueError):
    """A head that is larger than its limits."""


def _ignore(_: object) -> None:
    """Stand in for the callbacks of a connection that has closed."""


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


class _State(Enum):
    """What the next byte belongs to."""

    BETWEEN = "a request that may begin, or line breaks before it"
    BEGINNING = "a request of which llhttp has not seen the first byte"
    HEAD = "a head"
    BODY = "a body"
    RESUMING = "no request: a head that brings another llhttp to where a body begins"
    LAST = "nothing: the last request has said that no other follows"
    FAILED = "nothing: what came makes no sense, or the connection has closed"


class RequestParser:
    """One client's requests.

    on_request: called with each as soon as its head is there. on_error: called at most once, when what comes makes no
    sense, or too much of it; nothing is read any more then. hold: see `RequestContent`.
    limits: of a head; more is refused with 431.
    is_stopped: the last request asks for another protocol. is_full: set by the caller who has enough requests for now;
    at most those in `piece` bytes follow. In either case nothing is read until `go_on`. tail: what has come since.
    """

    # The plan: cut what comes at the places where a request may end (`boundaries`), feed each part to llhttp, and
    # move through `_State` as llhttp calls back. A request is handed on with its head; its body follows in `content`.
    #
    # 1. BEGINNING is entered here, by position, and HEAD by llhttp. If llhttp finds a request where none was begun, the
    #    two disagree about where the last one ended, and nothing more is believed (request smuggling).
    # 2. `_request` is the request whose body is incomplete; it has a `content` once a read has passed its head. An
    #    error goes to the body's reader if there is one, otherwise to `on_error`; never to both.
    # 3. A head, and what is no body between two pieces of one, has a limit: `_unframed` counts it for each read, the
    #    callbacks for each field. llhttp itself keeps whatever comes.
    # 4. Nothing behind a request to switch protocols is given to llhttp before the request has been answered.
    #
    # Hazards: a head that never ends; fields without number; RTSP and ICE, which llhttp reads as HTTP; a body behind a
    # request to switch protocols, which httptools hands over as if it were the other protocol (`_stop`).

    __slots__ = (
        "_body_left",
        "_boundary",
        "_head_size",
        "_headers",
        "_hold",
        "_limits",
        "_llhttp",
        "_on_error",
        "_on_request",
        "_piece",
        "_request",
        "_state",
        "_target",
        "_unframed",
        "_upgrading",
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
        piece: int = PIECE,
    ) -> None:
        self._limits = limits
        self._piece = piece
        self._on_request = on_request
        self._on_error = on_error
        self._hold = hold
        self._llhttp: httptools.HttpRequestParser | None = _new_llhttp(self)
        self._state = _State.BETWEEN
        self._boundary = RequestBoundary()
        self._headers: Headers = []
        self._target = b""
        self._head_size = 0  # bytes of target and fields
        self._unframed = 0  # bytes since the head, or any piece of a body
        self._request: ParsedRequest | None = None  # whose body comes
        self._upgrading: ParsedRequest | None = None  # that asks for another protocol
        self._body_left = 0  # bytes of a body that has a length
        self.is_stopped = self.is_full = False
        self.tail = b""

    @property
    def has_begun(self) -> bool:
        """True if a head has begun and is not complete."""
        return self._state is _State.HEAD

    @property
    def has_failed(self) -> bool:
        """True if nothing is read any more."""
        return self._state is _State.FAILED

    def feed(self, data: bytes) -> None:
        """Read what came."""
        piece = self._piece
        if len(data) > piece:
            pieces = memoryview(data)
            for begin in range(0, len(pieces), piece):
                if self.is_stopped or self.is_full:
                    self._keep(bytes(pieces[begin:]))
                    return
                self.feed(bytes(pieces[begin : begin + piece]))
            return
        at = 0
        if not self.is_full:
            while at < len(data) and not (self.is_stopped or self._state is _State.FAILED):
                at = self._read_next(data, at)
        if at < len(data) and self._state is not _State.FAILED:
            self._keep(data[at:])

    def _read_next(self, data: bytes, at: int) -> int:
        """Read `data[at:]`, at most to the end of a request, and return where that is."""
        if self._body_left:
            end = min(at + self._body_left, len(data))
            self._body_left -= end - at
        elif self._state is _State.BODY:
            end = self._boundary.empty_line_end(data, at)
        elif self._state is _State.HEAD:
            end = self._boundary.continue_head(data, at)
        else:
            if data[at] in _LINE_BREAKS:
                at = behind_line_breaks(data, at)
                if at == len(data):
                    return at
            if self._state is _State.BETWEEN:
                self._state = _State.BEGINNING
            end = self._boundary.begin_request(data, at)
        self._read(data[at:end])
        return end

    def _read(self, data: bytes) -> None:
        """Read `data`, which holds nothing behind the end of a request."""
        if self._llhttp is None:
            return
        was_in_head = self._state is _State.HEAD
        self._unframed += len(data)
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._stop()
        except httptools.HttpParserError as error:
            self._reject(error)
            return
        request = self._request
        if request is not None and request.content is None:
            request.content = RequestContent(self._hold)  # its first piece will come later
            self._body_left = int(get(request.headers, b"content-length") or 0)
            self._boundary.begin_body()
        if self._unframed > self._limits.size and (request or (was_in_head and self._state is _State.HEAD)):
            self._fail(_too_large(), "too much that is no body")

    def go_on(self) -> None:
        """Read what has come since: there is room for more requests, and the protocol was not switched."""
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
            self._state = _State.RESUMING
            self._llhttp.feed_data(_CHUNKED_HEAD)
        else:
            self.is_stopped = True
            if not int(get(request.headers, b"content-length") or 0):
                return
        self._state = _State.BODY
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
        """Read nothing more, and call nothing but the reader of a body."""
        self._llhttp = None
        self._state = _State.FAILED
        self._on_request = self._on_error = self._hold = _ignore  # or there would be a circle of references
        self._break_body(BadRequest("The request body broke off."))

    # llhttp's calls.

    def on_message_begin(self) -> None:
        if self._state is _State.RESUMING:
            return
        if self._state is _State.LAST:
            raise ValueError("a request behind the last one")
        if self._state is not _State.BEGINNING:
            raise ValueError("a request where none may begin")
        self._state = _State.HEAD
        self._headers = []
        self._target = b""
        self._head_size = self._unframed = 0

    def on_url(self, target: bytes) -> None:
        if self._state is not _State.HEAD:
            return
        self._target += target
        self._head_size += len(target)
        if self._head_size > self._limits.size:
            raise _TooLarge

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._state is not _State.HEAD:
            return  # a trailer: those are dropped
        self._headers.append((name, value.rstrip(_BLANKS)))  # llhttp takes off only what is before it
        self._head_size += len(name) + len(value) + _PUNCTUATION
        if self._head_size > self._limits.size or len(self._headers) > self._limits.fields:
            raise _TooLarge

    def on_headers_complete(self) -> None:
        llhttp = self._llhttp
        if llhttp is None or self._state is not _State.HEAD:
            return
        self._state = _State.BODY
        if not self._boundary.end_head():
            raise ValueError("the protocol is not HTTP")
        version = llhttp.get_http_version()
        self._request = request = ParsedRequest(
            llhttp.get_method().decode("ascii"),
            self._target.decode("ascii"),
            # HTTP/1.2 is answered in HTTP/1.1 (RFC 9110 section 2.5).
            "1.1" if version.startswith("1.") and version != "1.0" else version,
            self._headers,
            llhttp.should_keep_alive(),
            llhttp.should_upgrade(),
        )
        self._headers, self._target = [], b""
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
        if request is not None:
            self._state = _State.BETWEEN if request.keeps_alive else _State.LAST
            if request.content is not None:
                request.content.end()

    # Errors.

    def _reject(self, error: httptools.HttpParserError) -> None:
        """Say what is wrong, and in which field, counted from 1. Nothing is quoted that came: it may be a secret."""
        cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None
        reason = str(error if cause is None else cause)
        is_in_head = self._state is _State.HEAD
        if isinstance(cause, _TooLarge):
            self._fail(_too_large(), reason)
        elif is_in_head and reason.startswith(_UNKNOWN_METHOD) and self._boundary.begins_with_method:
            self._fail(MethodUnknown("The method is not known."), reason)
        else:
            where = f", in field {len(self._headers) + 1} of the head or next to it" if is_in_head else ""
            self._fail(BadRequest("The request is not valid HTTP.", cause=reason + where), reason)

    def _fail(self, error: ClientError, reason: str) -> None:
        """Give the error to the reader of the body that is under way, or else answer with it."""
        self._state = _State.FAILED
        if not self._break_body(BadRequest("The request body is malformed.", cause=reason)):
            self._on_error(error)

    def _break_body(self, error: ClientError) -> bool:
        """Return whether a body is under way, which then ends with `error`."""
        request, self._request = self._request, None
        if request is None:
            return False
        if request.content is None:
            request.content = RequestContent(self._hold)
        request.content.fail(error)
        return True


def _too_large() -> HeadersTooLarge:
    return HeadersTooLarge("The request line or a header field is too large.")
