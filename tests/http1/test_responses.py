"""Which response does the parser find in what an upstream sends, however it is cut? (RFC 9112)

The oracle is the writer of the responses: what it meant has to be found, and nothing else.
"""

import gc
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.http1.responses import MAX_HEAD, Progress, ResponseParser
from tests.http1.response_reader import Reader, cuts

TOKEN = st.text("abcXYZ019-_!~", min_size=1, max_size=12).map(str.encode)
VALUE = st.binary(max_size=20).map(lambda raw: bytes(byte for byte in raw if byte >= 0x20 and byte != 0x7F).strip(b" "))
FIELDS = st.lists(st.tuples(TOKEN.map(lambda name: b"x-" + name), VALUE), max_size=5)


@dataclass(frozen=True)
class Meant:
    """A response as its writer means it. framing: how its body ends."""

    status: int
    reason: bytes
    fields: list[tuple[bytes, bytes]]
    pieces: list[bytes]
    framing: str
    interim: int
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def content(self) -> bytes:
        return b"" if self.status in (204, 304) else b"".join(self.pieces)

    def __bytes__(self) -> bytes:
        lines = [b"HTTP/1.1 %d %b" % (self.status, self.reason), *(b": ".join(each) for each in self.fields)]
        body = self.content
        if self.framing == "chunks":
            lines.append(b"Transfer-Encoding: chunked")
            if self.status not in (204, 304):
                chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in self.pieces if piece]
                body = b"".join([*chunks, b"0\r\n", *(b"%b: %b\r\n" % each for each in self.trailers), b"\r\n"])
        elif self.framing == "length":
            lines.append(b"Content-Length: %d" % len(body))
        interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * self.interim
        return interim + b"\r\n".join(lines) + b"\r\n\r\n" + body


RESPONSES = st.builds(
    Meant,
    status=st.sampled_from([200, 204, 304, 404, 500, 599]),
    reason=st.sampled_from([b"OK", b"", b"Not so good", b"\xe9"]),
    fields=FIELDS,
    pieces=st.lists(st.binary(max_size=40), max_size=4),
    framing=st.sampled_from(["chunks", "length", "close"]),
    interim=st.integers(0, 2),
    trailers=FIELDS,
)


@given(RESPONSES, st.lists(st.integers(0, 10_000), max_size=12), st.booleans())
def test_what_was_meant_is_found(meant: Meant, at: list[int], by_byte: bool) -> None:
    data = bytes(meant)
    places = sorted({place % (len(data) + 1) for place in at})
    pieces = [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]
    found = Reader().feed(*([bytes([byte]) for byte in data] if by_byte else [piece for piece in pieces if piece]))
    assert found.error is None
    assert found.head is not None
    assert (found.head.status, found.head.reason) == (meant.status, meant.reason)
    assert found.parser.head is None  # a stream goes on for hours
    assert found.fields[: len(meant.fields)] == meant.fields
    assert found.content == meant.content
    ends_with_connection = meant.framing == "close" and meant.status not in (204, 304)
    assert found.has_ended is not ends_with_connection
    assert found.parser.ends_with_connection is ends_with_connection
    assert found.parser.keeps_connection is not ends_with_connection


@given(st.binary(max_size=200), st.lists(st.integers(0, 10_000), max_size=6))
def test_whatever_comes_ends_in_a_response_or_in_an_error_of_ours(data: bytes, at: list[int]) -> None:
    places = sorted({place % (len(data) + 1) for place in at})
    for begin in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        cut = [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
        Reader().feed(*(piece for piece in [begin, *cut] if piece))


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

#: What no response may be. What llhttp reads leniently, and what it must not, is in `test_leniency`.
HOSTILE = {
    "another protocol": b"SSH-2.0-OpenSSH\r\n",
    "a request": b"GET / HTTP/1.1\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a status that is no number": b"HTTP/1.1 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a field without a name": b"HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 5\r\n\r\nhello",
    "a field without a colon": b"HTTP/1.1 200 OK\r\nX\r\nContent-Length: 5\r\n\r\nhello",
    "NUL in a field": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 5\r\n\r\nhello",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    "a hexadecimal length": b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello",
    "a negative chunk": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "a chunk without a size": CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "a chunk of 2**64": CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a switch to no protocol": b"HTTP/1.1 101 Switch\r\n\r\n",
    "a switch without a Connection option": b"HTTP/1.1 101 Switch\r\nUpgrade: websocket\r\n\r\n",
    "too many fields": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 257 + b"\r\n",
}


@pytest.mark.parametrize("response", HOSTILE.values(), ids=HOSTILE)
def test_what_makes_no_sense_is_refused(response: bytes) -> None:
    for pieces in [[response], [bytes([byte]) for byte in response]] if len(response) > 500 else cuts(response):
        found = Reader().feed(*pieces)
        assert found.error is not None
        assert found.error.proxy_status == "http_protocol_error"
        assert not found.has_ended


@pytest.mark.parametrize("size", [1000, 250_000])
@pytest.mark.parametrize(
    ("data", "proxy_status"),
    [
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_HEAD + b"\r\n\r\n", "http_response_header_section_size"),
        (b"HTTP/1.1 200 " + b"a" * 2 * MAX_HEAD, "http_response_header_section_size"),
        (CHUNKED + b"0\r\nX: " + b"a" * 2 * MAX_HEAD, "http_response_trailer_section_size"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n" + b"X: a\r\n" * MAX_HEAD, "http_response_trailer_section_size"),
    ],
    ids=["field", "reason without end", "trailer without end", "trailers without end"],
)
def test_what_is_no_body_has_a_limit(data: bytes, proxy_status: str, size: int) -> None:
    found = Reader().feed(*(data[at : at + size] for at in range(0, len(data), size)))
    if found.error is None:  # one read is read as a whole, whatever its length
        assert size > len(data)
    else:
        assert found.error.proxy_status == proxy_status
        assert not found.has_ended


def test_many_small_chunks_are_no_trailers() -> None:
    found = Reader().feed(CHUNKED, *([b"1", b"\r", b"\n", b"x", b"\r", b"\n"] * (MAX_HEAD // 3)))
    assert (found.error, len(found.content)) == (None, MAX_HEAD // 3)


@pytest.mark.parametrize("status", [200, 204, 304])
def test_a_response_to_head_ends_with_its_head(status: int) -> None:
    for pieces in cuts(b"HTTP/1.1 %d Fine\r\nContent-Length: 5\r\n\r\n" % status):
        found = Reader(to_head=True).feed(*pieces)
        assert (found.error, found.has_ended, found.may_be_kept) == (None, True, True)


@pytest.mark.parametrize("to_head", [True, False])
def test_a_body_where_there_can_be_none_is_refused(to_head: bool) -> None:
    status = 200 if to_head else 304
    found = Reader(to_head=to_head).feed(b"HTTP/1.1 %d Fine\r\nContent-Length: 5\r\n\r\nhello" % status)
    assert (found.content, found.may_be_kept) == (b"", False)


def test_what_was_valid_before_an_error_stays() -> None:
    found = Reader().feed(CHUNKED + b"5\r\nhello\r\nbroken")
    assert found.head is not None
    assert (found.content, found.has_ended) == (b"hello", False)
    assert found.error is not None


def test_behind_a_switch_of_protocols_nothing_is_read_as_http() -> None:
    head = b"HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    for behind in (b"", b"\x81\x05hello", b"HTTP/1.1 200 OK\r\n\r\n"):
        found = Reader().feed(head + behind)
        assert (found.error, found.parser.progress, found.parser.tail) == (None, Progress.SWITCHED, behind)
        assert found.head is not None
        assert found.head.upgraded_to == b"websocket"


@pytest.mark.parametrize("chunk", [b"5\r\nhello\r\n", b"5;a=b\r\nhello\r\n", b"5; a\r\nhello\r\n"])
def test_the_cheap_way_is_there_where_nothing_has_to_be_looked_for(chunk: bytes) -> None:
    parser = ResponseParser(to_head=False)
    parser.feed(CHUNKED)
    assert parser.feed_body is None
    parser.take_head()
    assert parser.feed_body is None
    parser.feed(chunk)
    assert (parser.feed_body is None) is (b";" in chunk)
    assert parser.take_body() == b"hello"
    if parser.feed_body is not None:
        parser.feed_body(chunk + b"0\r\n\r\n")
        assert (parser.take_body(), parser.progress, parser.feed_body) == (b"hello", Progress.COMPLETE, None)


def test_a_closed_parser_is_no_circle() -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            parser = ResponseParser(to_head=False)
            parser.feed(CHUNKED + b"5\r\nhello\r\n")
            parser.take_head()
            parser.close()
            del parser
        assert not [found for found in gc.get_objects() if isinstance(found, ResponseParser)]
    finally:
        gc.enable()
