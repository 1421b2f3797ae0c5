"""What is in the bytes that an upstream answers with? (RFC 9112)

llhttp (by httptools) reads them, leniently (`leniency`), and `heads` says what a head means.
"""

from collections.abc import Callable
from enum import Enum

import httptools

from sseproxy.core.http.fields import Headers
from sseproxy.http1.faults import not_http, too_large
from sseproxy.http1.heads import HeadTooLarge, check_fields, read_head
from sseproxy.http1.leniency import LenientLlhttp, with_one_length
from sseproxy.http1.messages import ResponseHead

#: Bytes of a response head and of the interim ones before it; behind it, of trailers and of chunk framing.
MAX_HEAD = 64 * 1024


class Progress(Enum):
    """How far a response has come."""

    HEAD = "a head is awaited or incomplete"
    BODY = "the head is known, the body is incomplete"
    COMPLETE = "the last byte has come"
    SWITCHED = "a 101: what follows is another protocol"


class ResponseParser:
    """The bytes of one response go in; its head, its body and its end come out. Interim responses are dropped.

    to_head: the request was a HEAD, so there is no body.
    progress: how far it has come. head: of the final response, from the end of its head until it is taken.
    pieces: of the body, found and not yet taken. tail: the bytes behind a 101. ends_with_connection: the end of the
    connection completes the response. keeps_connection: false if another response cannot follow.
    feed_body: a cheaper `feed` for the steady body, or ``None`` while there is none; see rule 3.
    """

    # The plan: llhttp calls back while it reads; the callbacks only collect. The caller feeds a read, and then takes
    # what was found. So no caller's code ever runs inside llhttp.
    #
    # 1. `feed` raises for bytes that make no sense, but what was found before them stays and is valid: an upstream
    #    may answer properly and send garbage behind it.
    # 2. Until the head is complete, all bytes are kept. They are read once more if llhttp refuses them and there is
    #    exactly one way to read them (`with_one_length`); in the body nothing is ever read twice.
    # 3. `feed_body` is llhttp's own method, which spares the steady event stream a call for each read. It exists once
    #    the head has been taken and the first chunk had no extensions, and vanishes with the last byte. It raises
    #    llhttp's errors, and its caller counts framing: `unframed` is reset for body, else `limit_framing` is called.
    # 4. llhttp keeps the callbacks and is kept itself: `close` breaks the circle.
    #
    # Hazards: a head that trickles in and never ends, interim responses without number, trailers without end (all
    # limited by MAX_HEAD); a body behind a HEAD, 204 or 304, which llhttp reports only as a piece; a second response
    # behind the first (`on_message_begin`).

    __slots__ = (
        "_headers",
        "_llhttp",
        "_reason",
        "_received",
        "_to_head",
        "ends_with_connection",
        "feed_body",
        "head",
        "keeps_connection",
        "on_body",
        "pieces",
        "progress",
        "tail",
        "unframed",
    )

    def __init__(self, *, to_head: bool) -> None:
        self._to_head = to_head
        self.pieces: list[bytes] = []
        self.on_body = self.pieces.append  # called by llhttp, straight into the list
        self.feed_body: Callable[[bytes], None] | None = None
        self.head: ResponseHead | None = None
        self.progress = Progress.HEAD
        self.ends_with_connection = False
        self.keeps_connection = True
        self.tail = b""
        self.unframed = 0  # bytes since the last piece of the body
        self._received = b""  # until the head is complete
        self._reason = b""
        self._headers: Headers = []
        self._llhttp: LenientLlhttp | None = LenientLlhttp(self, self.pieces)

    def feed(self, data: bytes) -> None:
        """Read the next bytes. Raises `UpstreamBroken` if they make no sense, or if there are too many without body."""
        assert self._llhttp is not None
        if self.progress is Progress.HEAD:
            self._feed_head(self._llhttp, data)
            return
        try:
            self._llhttp.feed(data)
        except httptools.HttpParserError as error:
            raise not_http(error) from None
        self.limit_framing(len(data))
        self._choose_feed()

    def take_head(self) -> ResponseHead:
        """Return the complete head, and begin with the body. It is not kept: a stream may go on for hours."""
        head, self.head = self.head, None
        assert head is not None
        self.unframed = 0
        self._choose_feed()
        return head

    def take_body(self) -> bytes:
        """Return the body as far as it has come and was not taken before."""
        data = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
        self.pieces.clear()
        return data

    def limit_framing(self, size: int) -> None:
        """Count `size` bytes that have been read if no body was in them: httptools keeps a trailer until it is whole.

        Raises `UpstreamBroken` if there are too many.
        """
        if self.pieces or self.progress is Progress.COMPLETE:
            self.unframed = 0
            return
        self.unframed += size
        if self.unframed > MAX_HEAD:
            raise not_http("the trailers are too large", "http_response_trailer_section_size")

    def close(self) -> None:
        """Release llhttp. Nothing is read after this."""
        self._llhttp = self.feed_body = None
        self._received = b""

    # llhttp's calls.

    def on_message_begin(self) -> None:
        if self.progress is Progress.COMPLETE:
            raise ValueError("a second response, to no request")

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.progress is Progress.HEAD:  # trailers come here too, and are dropped
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        llhttp = self._llhttp
        assert llhttp is not None
        check_fields(self._reason, self._headers, max_size=MAX_HEAD)
        status = llhttp.status()
        if status < 200 and status != 101:
            self.keeps_connection = self.keeps_connection and llhttp.should_keep_alive()
            return
        self.head = head = read_head(status, self._reason, self._headers, to_head=self._to_head)
        self._received = b""
        self._headers = []
        self.ends_with_connection = head.ends_with_connection
        if head.ends_with_connection or not llhttp.should_keep_alive():
            self.keeps_connection = False
        if head.upgraded_to is not None:
            self.progress = Progress.SWITCHED
        else:
            self.progress = Progress.BODY if head.has_body else Progress.COMPLETE
        llhttp.enter_body(head)

    def on_message_complete(self) -> None:
        if self.progress is Progress.HEAD:  # an interim response ends
            self._reason = b""
            self._headers = []
        elif self.progress is Progress.BODY:
            self.progress = Progress.COMPLETE
            self.feed_body = None

    # Private.

    def _feed_head(self, llhttp: LenientLlhttp, data: bytes) -> None:
        self._received += data
        repaired: bytes | None = None
        try:
            llhttp.feed(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.tail = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            repaired = self._repaired(error)
            if repaired is None:
                return
        if repaired is not None:  # not in the handler, or this error would be the context of the next one
            self._received = self._reason = b""
            self._headers = []
            self._llhttp = LenientLlhttp(self, self.pieces)
            self._feed_head(self._llhttp, repaired)
        elif self.head is None:
            if len(self._received) > MAX_HEAD:
                raise too_large()
        elif self.pieces and not self.head.has_body:
            self.pieces.clear()
            raise not_http("a body where there can be none")

    def _repaired(self, error: httptools.HttpParserError) -> bytes | None:
        """Return the head as it can be read, if there is one way; ``None`` if only the rest of it will tell."""
        repaired = with_one_length(self._received)
        is_too_large = repaired is None and len(self._received) > MAX_HEAD
        if is_too_large or isinstance(error.__context__, HeadTooLarge):
            raise too_large() from None
        if repaired == self._received:
            raise not_http(error) from None
        return repaired

    def _choose_feed(self) -> None:
        llhttp = self._llhttp
        if llhttp is not None and self.progress is Progress.BODY and not llhttp.looks_for_extensions:
            self.feed_body = llhttp.feed_data
