"""Which requests does the proxy find in what a client sends, however it is cut? (RFC 9112)

The oracle is whoever writes the requests: what it meant has to be found, and nothing else.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.errors import BadRequest, ClientError, HeadersTooLarge, MethodUnknown
from sseproxy.http1.content import MOST_WAITING
from sseproxy.http1.policy import HeadLimits
from sseproxy.http1.requests import PIECE, ParsedRequest, RequestParser

LIMITS = HeadLimits()

TOKEN = st.text("abcXYZ019-_!~", min_size=1, max_size=12).map(str.encode)
VALUE = st.binary(max_size=20).map(lambda raw: bytes(byte for byte in raw if byte >= 0x20 and byte != 0x7F).strip(b" "))
TARGET = st.text("abc%2F/;?=&+.~:@!$'()*,-_", max_size=30).map(lambda rest: "/" + rest)


@dataclass(frozen=True)
class Meant:
    """A request that somebody writes. pieces: chunks of its body; one piece is sent with a length instead."""

    method: str
    target: str
    fields: list[tuple[bytes, bytes]]
    pieces: list[bytes] | None
    is_chunked: bool
    trailers: list[tuple[bytes, bytes]]

    def __bytes__(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1".encode(), *(b": ".join(each) for each in self.fields)]
        body = b"".join(self.pieces or [])
        if self.is_chunked:
            lines.append(b"Transfer-Encoding: chunked")
            chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in self.pieces or [] if piece]
            body = b"".join([*chunks, b"0\r\n", *(b"%b: %b\r\n" % each for each in self.trailers), b"\r\n"])
        elif self.pieces is not None:
            lines.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + body


FIELDS = st.lists(st.tuples(TOKEN.map(lambda name: b"x-" + name), VALUE), max_size=5)
REQUESTS = st.builds(
    Meant,
    method=st.sampled_from(["GET", "POST", "PUT", "PROPFIND", "QUERY"]),
    target=TARGET,
    fields=FIELDS,
    pieces=st.none() | st.lists(st.binary(max_size=40), max_size=4),
    is_chunked=st.booleans(),
    trailers=FIELDS,
)


@dataclass
class Found:
    """Everything that a parser has said. takes_one: after each request it has enough for now."""

    requests: list[ParsedRequest] = field(default_factory=list)
    errors: list[ClientError] = field(default_factory=list)
    holds: list[bool] = field(default_factory=list)
    limits: HeadLimits = LIMITS
    piece: int = PIECE
    takes_one: bool = False  # and has enough for now
    parser: RequestParser = field(init=False)

    def __post_init__(self) -> None:
        self.parser = RequestParser(
            self._take, self.errors.append, hold=self.holds.append, limits=self.limits, piece=self.piece
        )

    def _take(self, request: ParsedRequest) -> None:
        self.requests.append(request)
        self.parser.is_full = self.takes_one

    def feed(self, *pieces: bytes) -> "Found":
        for piece in pieces:
            self.parser.feed(piece)
        return self

    @property
    def heads(self) -> list[tuple[str, str]]:
        return [(each.method, each.target) for each in self.requests]

    def body(self, index: int = -1) -> bytes:
        content = self.requests[index].content
        return b"" if content is None else content.take()


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in at})
    return [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.lists(REQUESTS, min_size=1, max_size=4), st.lists(st.integers(0, 10_000), max_size=12), st.booleans())
def test_what_was_meant_is_found(meant: list[Meant], at: list[int], by_byte: bool) -> None:
    data = b"".join(map(bytes, meant))
    found = Found().feed(*([bytes([byte]) for byte in data] if by_byte else cut(data, at)))
    assert found.errors == []
    assert found.heads == [(each.method, each.target) for each in meant]
    for index, (request, each) in enumerate(zip(found.requests, meant, strict=True)):
        assert request.headers[: len(each.fields)] == each.fields
        assert len(request.headers) == len(each.fields) + (each.is_chunked or each.pieces is not None)
        assert (request.version, request.keeps_alive, request.upgrades) == ("1.1", True, False)
        assert found.body(index) == b"".join(each.pieces or [])
        assert request.content is None or request.content.is_complete


@given(st.binary(max_size=200), st.lists(st.integers(0, 10_000), max_size=6))
def test_whatever_comes_the_parser_ends_in_requests_or_in_one_error(data: bytes, at: list[int]) -> None:
    found = Found().feed(*cut(data, at))
    assert len(found.errors) <= 1
    found.parser.close()
    assert len(found.errors) <= 1


HEAD = b"POST /a HTTP/1.1\r\nHost: a\r\n"


# What llhttp would read in another way.


def by_bytes(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


@pytest.mark.parametrize(
    "before", [b"", b"\r\n", b"GET /a HTTP/1.1\r\nX: y\r\nZ: z\r\n\r\n", HEAD + b"Content-Length: 1\r\n\r\nx"]
)
@pytest.mark.parametrize("protocol", [b"RTSP/1.0", b"RTSP/1.1", b"ICE/1.0", b" RTSP/1.0", b"RTSP/2.0"])
def test_other_protocols_are_not_http(protocol: bytes, before: bytes) -> None:
    method = b"SOURCE" if protocol.startswith(b"ICE") else b"GET"
    data = before + method + b" /b " + protocol + b"\r\nHost: a\r\nX-Y: z\r\nX-Z: z\r\n\r\n"
    for pieces in ([data], by_bytes(data), *([data[:at], data[at:]] for at in range(len(data)))):
        found = Found().feed(*pieces)
        assert [target for _, target in found.heads] == ["/a"] * (len(before) > 2)
        assert [type(error) for error in found.errors] == [BadRequest]


@pytest.mark.parametrize(
    "field", [b"X: RTSP/1.0", b"X: a RTSP/1.0 ICE/1.0", b"X: GET /b RTSP/1.0", b"Via: GET /a  HTTP/1.1"]
)
def test_what_only_speaks_of_other_protocols_is_http(field: bytes) -> None:
    found = Found().feed(b"GET /a HTTP/1.1\r\n" + field + b"\r\n\r\n")
    assert (found.heads, found.errors) == ([("GET", "/a")], [])


WORDS = b"GET /a RTSP/1.0\r\nSOURCE /b ICE/1.0\r\n\r\nGET /c RTSP/1.0\r\n\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(WORDS) + WORDS,
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(WORDS), WORDS),
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: GET /a RTSP/1.0\r\n\r\n",
        b"GET /a HTTP/1.1\r\nX: GET /a RTSP/1.0\r\nY: SOURCE /b ICE/1.0\r\n\r\n",
        b"GET /RTSP/1.0 HTTP/1.1\r\n\r\n",
    ],
    ids=["body", "chunk", "trailer", "fields", "target"],
)
@pytest.mark.parametrize("behind", [b"GET /b HTTP/1.1\r\n\r\n", b"GET /b RTSP/1.0\r\n\r\n"])
def test_only_the_request_line_names_the_protocol(request_: bytes, behind: bytes) -> None:
    """Wherever the packets are cut, and whatever is in front of the line, or behind it."""
    data = request_ + b"GET /b HTTP/1.1\r\n\r\n" + behind
    meant = [request_.split()[1].decode(), "/b", *["/b"] * (b"HTTP" in behind)]
    for pieces in ([data], by_bytes(data), *([data[:at], data[at:]] for at in range(len(data)))):
        found = Found().feed(*pieces)
        assert [target for _, target in found.heads] == meant
        assert [type(error) for error in found.errors] == [BadRequest] * (b"RTSP" in behind)


class Counted(bytes):
    """Bytes that count how many of them are looked at, or copied."""

    looked_at = 0

    def _count(self, size: int) -> None:
        Counted.looked_at += size

    def __bytes__(self) -> bytes:
        self._count(len(self))
        return bytes.__getitem__(self, slice(None))

    def __contains__(self, what: object) -> bool:
        self._count(len(self))
        return super().__contains__(what)  # type: ignore[operator]

    def __getitem__(self, which: Any) -> Any:
        taken = super().__getitem__(which)
        self._count(len(taken) if isinstance(taken, bytes) else 1)
        return taken

    def find(self, what: Any, start: Any = 0, end: Any = None) -> int:
        end = len(self) if end is None else end
        place = super().find(what, start, end)
        self._count((end if place < 0 else place) - start)
        return place


@pytest.mark.parametrize("size", [1, 7, PIECE])
@pytest.mark.parametrize(
    "data",
    [
        b"GET /a HTTP/1.1\r\n\r\n" * 1500,
        b"\r\n" * 15_000 + b"GET /a HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 30_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /a" + b" " * 30_000 + b"HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nX: " + b"GET /a RTSP/1.0 " * 1800 + b"\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n7000\r\n" + b"\r\n\r\n" * 0x1C00 + b"\r\n0\r\n\r\n",
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n") * 400,
        (HEAD + b"Content-Length: 2\r\n\r\nhi") * 600,
    ],
    ids=["requests", "line breaks", "target", "blanks", "words", "empty lines in a chunk", "chunks", "lengths"],
)
def test_the_work_is_the_same_for_each_byte(data: bytes, size: int) -> None:
    assert len(data) <= PIECE
    Counted.looked_at = 0
    found = Found()
    for at in range(0, len(data), size):
        found.parser.feed(Counted(data[at : at + size]))
    assert found.errors == []
    assert found.requests
    assert Counted.looked_at <= 8 * len(data)


@pytest.mark.parametrize("method", [b"BREW", b"get", b"GETX", b"Z", b"DESCRIBE"])
def test_a_method_without_a_name_is_not_implemented(method: bytes) -> None:
    data = method + b" /a HTTP/1.1\r\nHost: a\r\n\r\n"
    for pieces in ([data], by_bytes(data), [b"GET /b HTTP/1.1\r\n\r\n" + data]):
        assert [type(error) for error in Found().feed(*pieces).errors] == [MethodUnknown]


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x00", b"SSH-2.0-OpenSSH\r\n", b"BAD\r\n\r\n", b"G(T / HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_request_has_no_method(data: bytes) -> None:
    for before in (b"", b"GET /b HTTP/1.1\r\n\r\n"):
        assert [type(error) for error in Found().feed(before + data).errors] == [BadRequest]


@pytest.mark.parametrize("by_byte", [False, True])
def test_trailers_do_not_end_a_connection(by_byte: bool) -> None:
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nConnection: close\r\n\r\n"
    data = chunked * 2 + b"GET /b HTTP/1.1\r\n\r\n"
    found = Found().feed(*(by_bytes(data) if by_byte else [data]))
    assert (found.errors, found.heads) == ([], [("POST", "/a"), ("POST", "/a"), ("GET", "/b")])
    assert [each.keeps_alive for each in found.requests] == [True] * 3


@pytest.mark.parametrize("line", [b"GET /a HTTP/1.0", b"GET /a HTTP/1.1\r\nConnection: close"])
def test_a_head_ends_a_connection(line: bytes) -> None:
    found = Found().feed(line + b"\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
    assert (found.heads, found.parser.has_failed) == ([("GET", "/a")], True)


@pytest.mark.parametrize(
    ("said", "version"), [("1.0", "1.0"), ("1.1", "1.1"), ("1.2", "1.1"), ("1.9", "1.1"), ("2.0", "2.0")]
)
def test_versions(said: str, version: str) -> None:
    found = Found().feed(f"GET /a HTTP/{said}\r\n\r\n".encode())
    assert [each.version for each in found.requests] == [version]


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        (b"X: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5", "Content-Length"),
        (b"Content-Length: 5\r\nContent-Length: 5", "Content-Length"),
        (b"X: a\r\nX-Hunter2: hunter2\x00", "Invalid header value char, in field 2"),
        (b"X: a\r\nX: b\r\nhunter2 hunter2", "Invalid header token, in field 2 of the head or next to it"),
    ],
)
def test_the_log_says_in_which_field_what_is_wrong(fields: bytes, cause: str) -> None:
    [error] = Found().feed(b"POST /a HTTP/1.1\r\n" + fields + b"\r\n\r\n").errors
    assert cause in str(error)
    for never in ("User callback", "unter2"):
        assert never not in str(error)
    assert error.detail == "The request is not valid HTTP."


def test_nothing_is_kept_of_what_comes_behind_an_error() -> None:
    found = Found().feed(b"GET /a RTSP/1.0\r\n\r\nmore", b"and more")
    assert (len(found.errors), found.parser.tail) == (1, b"")


async def test_the_log_says_what_is_wrong_with_a_body() -> None:
    found = Found().feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\nhunter2")
    content = found.requests[0].content
    assert content is not None
    with pytest.raises(BadRequest) as raised:
        await content.read()
    assert "Invalid character in chunk size" in str(raised.value)
    assert raised.value.detail == "The request body is malformed."


# Limits.


@pytest.mark.parametrize("size", [1000, 250_000])
@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * LIMITS.size + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * LIMITS.size + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * (LIMITS.fields + 1) + b"\r\n",
        b"GET / HTTP/1.1\r\n" + (b"X: " + b"a" * (LIMITS.size // 5) + b"\r\n") * 5 + b"\r\n",
        b"GET /" + b"a" * (LIMITS.size // 2) + b" HTTP/1.1\r\nX: " + b"a" * (LIMITS.size // 2) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 2 * LIMITS.size,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 2 * LIMITS.size,
    ],
    ids=["target", "field", "number", "all together", "target and field", "no end", "trailer"],
)
def test_limits(head: bytes, size: int) -> None:
    found = Found().feed(*(head[at : at + size] for at in range(0, len(head), size)))
    if not found.requests:
        assert [type(error) for error in found.errors] == [HeadersTooLarge]
    else:
        assert found.requests[0].content is not None
        assert not found.requests[0].content.is_complete
    assert found.parser.has_failed
    before = len(found.requests)
    found.feed(b"GET /more HTTP/1.1\r\n\r\n")
    assert len(found.requests) == before


def test_what_is_allowed_is_read() -> None:
    fields = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 100) for number in range(LIMITS.fields - 1))
    left = LIMITS.size - len(fields) - len(b"/Y: \r\n")
    found = Found().feed(
        b"GET /" + b"a" * (left // 2) + b" HTTP/1.1\r\n", fields, b"Y: " + b"b" * (left // 2) + b"\r\n\r\n"
    )
    assert found.errors == []
    assert len(found.requests[0].headers) == LIMITS.fields


@pytest.mark.parametrize(
    ("head", "is_read"),
    [
        (b"GET /" + b"a" * 89 + b" HTTP/1.1\r\nX: abc\r\n\r\n", True),
        (b"GET /" + b"a" * 95 + b" HTTP/1.1\r\nX: abc\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\n" + b"X:\r\n" * 3 + b"\r\n", True),
        (b"GET / HTTP/1.1\r\n" + b"X:\r\n" * 4 + b"\r\n", False),
    ],
)
def test_smaller_limits(head: bytes, is_read: bool) -> None:
    found = Found(limits=HeadLimits(size=100, fields=3)).feed(head)
    assert len(found.requests) == is_read
    assert [type(error) for error in found.errors] == ([] if is_read else [HeadersTooLarge])


def test_a_long_body_has_no_limit_here() -> None:
    found = Found().feed(HEAD + b"Content-Length: %d\r\n\r\n" % (4 * LIMITS.size))
    for _ in range(8):
        found.feed(bytes(LIMITS.size // 2))
        assert len(found.body()) == LIMITS.size // 2
    assert found.errors == []
    content = found.requests[0].content
    assert content is not None
    assert content.is_complete


def test_the_end_of_a_long_body_is_not_counted_to_the_head_behind_it() -> None:
    found = Found().feed(HEAD + b"Content-Length: %d\r\n\r\n" % LIMITS.size)
    found.feed(bytes(LIMITS.size) + b"GET /next HTTP/1.1\r\nX: ", b"a" * 1000 + b"\r\n\r\n")
    assert found.heads == [("POST", "/a"), ("GET", "/next")]
    assert found.errors == []


# Enough for now.


def test_no_more_requests_are_made_than_those_of_one_piece() -> None:
    data = b"GET /a HTTP/1.1\r\n\r\n" * 20_000
    found = Found(takes_one=True)
    whole = found.requests
    found.feed(data[:PIECE], data[PIECE:])
    assert 0 < len(whole) <= PIECE
    rounds = 0
    while found.parser.is_full:
        before = len(whole)
        found.parser.go_on()
        assert len(whole) - before <= PIECE // 19 + 1
        rounds += 1
    assert (len(whole), rounds > 1, found.parser.tail) == (20_000, True, b"")


@given(st.lists(REQUESTS, min_size=1, max_size=4), st.lists(st.integers(0, 10_000), max_size=6), st.integers(1, 40))
def test_whoever_has_enough_gets_the_rest_later(meant: list[Meant], at: list[int], piece: int) -> None:
    found = Found(takes_one=True, piece=piece).feed(*cut(b"".join(map(bytes, meant)), at))
    while found.parser.is_full:
        found.parser.go_on()
    assert found.errors == []
    assert found.heads == [(each.method, each.target) for each in meant]
    for index, each in enumerate(meant):
        assert found.body(index) == b"".join(each.pieces or [])


def test_what_is_behind_a_wish_for_another_protocol_waits_for_its_answer_only() -> None:
    found = Found(takes_one=True)
    found.feed(UPGRADE + b"\r\nGET /b HTTP/1.1\r\n\r\n" + b"x" * 2 * PIECE)
    assert (found.heads, found.parser.is_full, found.parser.is_stopped) == ([("POST", "/a")], True, True)
    assert len(found.parser.tail) == 19 + 2 * PIECE


# Bodies that are not read.


def test_a_body_that_nobody_takes_is_held_and_let_go() -> None:
    found = Found().feed(HEAD + b"Content-Length: %d\r\n\r\n" % (3 * MOST_WAITING))
    found.feed(bytes(MOST_WAITING))
    assert found.holds == []
    found.feed(b"x")
    assert found.holds == [True]
    found.feed(b"x")
    assert found.holds == [True]
    assert len(found.body()) == MOST_WAITING + 2
    assert found.holds == [True, False]


def test_a_body_that_is_dropped_is_not_kept() -> None:
    found = Found().feed(HEAD + b"Content-Length: %d\r\n\r\n" % (3 * MOST_WAITING), bytes(2 * MOST_WAITING))
    content = found.requests[0].content
    assert content is not None
    content.drop()
    found.feed(bytes(MOST_WAITING))
    assert found.holds == [True, False]
    assert content.is_complete
    assert content.take() == b""


async def test_a_body_that_breaks_is_not_used() -> None:
    found = Found().feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz")
    content = found.requests[0].content
    assert content is not None
    for _ in range(2):
        with pytest.raises(BadRequest):
            await content.read()
    assert found.errors == []


async def test_a_client_that_leaves_breaks_its_body() -> None:
    found = Found().feed(HEAD + b"Content-Length: 5\r\n\r\n")
    found.parser.close()
    content = found.requests[0].content
    assert content is not None
    with pytest.raises(BadRequest):
        await content.read()


async def test_a_body_that_was_whole_stays_so() -> None:
    found = Found().feed(HEAD + b"Content-Length: 5\r\n\r\nhello")
    found.parser.close()
    content = found.requests[0].content
    assert content is not None
    assert await content.read() == b"hello"
    assert await content.read() == b""


# Other protocols.

UPGRADE = HEAD + b"Connection: Upgrade\r\nUpgrade: x\r\n"


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_nothing_behind_a_wish_for_another_protocol_is_read(size: int) -> None:
    data = UPGRADE + b"\r\nGET /b HTTP/1.1\r\n\r\n"
    found = Found().feed(*(data[at : at + size] for at in range(0, len(data), size)))
    assert found.heads == [("POST", "/a")]
    assert found.requests[0].upgrades
    assert found.parser.tail == b"GET /b HTTP/1.1\r\n\r\n"
    found.parser.go_on()
    assert found.heads == [("POST", "/a"), ("GET", "/b")]
    assert (found.parser.tail, found.parser.is_stopped) == (b"", False)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_the_body_of_such_a_request_is_its_body(size: int) -> None:
    data = UPGRADE + b"Content-Length: 5\r\n\r\nhelloraw"
    found = Found().feed(*(data[at : at + size] for at in range(0, len(data), size)))
    content = found.requests[0].content
    assert content is not None
    assert content.is_complete
    assert (found.body(), found.parser.tail, found.requests[0].upgrades) == (b"hello", b"raw", True)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_with_a_body_in_chunks_the_wish_is_passed_over(size: int) -> None:
    """Where the body ends, and the other protocol would begin, httptools does not tell."""
    data = (
        UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\nGET /b HTTP/1.1\r\nY: 1\r\n\r\n"
    )
    found = Found().feed(*(data[at : at + size] for at in range(0, len(data), size)))
    assert found.heads == [("POST", "/a"), ("GET", "/b")]
    assert not found.requests[0].upgrades
    assert found.body(0) == b"hello"
    assert found.requests[1].headers == [(b"Y", b"1")]
    assert not found.parser.is_stopped
