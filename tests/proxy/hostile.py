"""Which requests must never reach an upstream, and how are they answered?

Each is malformed, ambiguous or refused on purpose; the names say what is wrong. Everything else about them is right.
"""

from collections.abc import Iterator
from dataclasses import dataclass

#: Follows each hostile request: whatever a parser takes for its end, this must not be served.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Hostile:
    """One request that has to be refused with `status`."""

    name: str
    data: bytes
    status: int = 400


def request(
    *fields: bytes, line: bytes = b"POST /a HTTP/1.1", host: bytes = b"Host: a.test", body: bytes = b""
) -> bytes:
    """A request with these lines, whatever they are."""
    lines = [line, *([host] if host else []), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


_CL, _TE = b"Content-Length: 5", b"Transfer-Encoding: chunked"
_CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"


def heads() -> Iterator[Hostile]:
    """All that can be refused when the head has been read."""
    yield from _framing()
    yield from _fields()
    yield from _hosts()
    yield from _request_lines()
    yield from _limits()


def _framing() -> Iterator[Hostile]:
    yield Hostile("length then coding", request(_CL, _TE, body=_CHUNKS))
    yield Hostile("coding then length", request(_TE, _CL, body=_CHUNKS))
    yield Hostile("length 0 and coding", request(b"Content-Length: 0", _TE, body=_CHUNKS))
    yield Hostile("equal lengths", request(_CL, _CL, body=b"hello"))
    yield Hostile("different lengths", request(_CL, b"Content-Length: 6", body=b"hello!"))
    for value in (
        b"+5", b"-5", b"5,5", b"5, 5", b"5;5", b"0x5", b"5.0", b"5e0", b"5 5", b"", b" ", b"five", b"\xd9\xa5",
        b"\xef\xbc\x95", b"\xb2", b"5_0", b"18446744073709551621", b"9" * 40, b"5\x00", b"5\x0b", b"'5'", b'"5"',
    ):  # fmt: skip
        yield Hostile(f"length {value!r}", request(b"Content-Length: " + value, body=b"hello"))
    for value in (
        b"gzip, chunked", b"chunked, chunked", b"xchunked", b"chunked123", b"\x0bchunked", b"chunked\x0b", b"chunked,",
        b",chunked", b"chunked;q=1", b"identity", b"gzip", b"chunked, identity", b"chunked\x00", b'"chunked"', b"",
        b"chun ked", b"\x85chunked", b"\xa0chunked", b"chunke\xc4\x8f",
    ):  # fmt: skip
        yield Hostile(f"coding {value!r}", request(b"Transfer-Encoding: " + value, body=_CHUNKS))
    yield Hostile("two codings", request(_TE, _TE, body=_CHUNKS))
    yield Hostile("two codings, the last unknown", request(_TE, b"Transfer-Encoding: x", body=_CHUNKS))
    yield Hostile("two codings, the first unknown", request(b"Transfer-Encoding: x", _TE, body=_CHUNKS))
    yield Hostile("coding to HTTP/1.0", request(_TE, line=b"POST /a HTTP/1.0", body=_CHUNKS))
    yield Hostile("coding behind a folded line", request(b"Transfer-Encoding:\r\n chunked", body=_CHUNKS))
    yield Hostile("coding before the colon", request(b"Transfer-Encoding : chunked", body=_CHUNKS))
    yield Hostile("coding with underscore and length", request(b"Transfer-Encoding\x00: chunked", _CL, body=b"hello"))


def _fields() -> Iterator[Hostile]:
    for byte in range(32):
        if byte not in (0x09, 0x0A, 0x0D):
            yield Hostile(f"control character {byte:#04x} in a value", request(b"X-A: a" + bytes([byte]) + b"b"))
            yield Hostile(f"control character {byte:#04x} in a name", request(b"X-A" + bytes([byte]) + b": b"))
    for name in (
        b"X A",
        b"X\tA",
        b"",
        b"X\x7fA",
        b"X(A)",
        b"X\xe9",
        b"X/A",
        b"X[A",
        b"X@A",
        b'X"A',
        b"X{A",
        b"X,A",
        b"X;A",
    ):
        yield Hostile(f"field name {name!r}", request(name + b": b"))
    yield Hostile("DEL in a value", request(b"X-A: a\x7fb"))
    yield Hostile("space before the colon", request(b"X-A : b"))
    yield Hostile("tab before the colon", request(b"X-A\t: b"))
    yield Hostile("no colon", request(b"X-A"))
    yield Hostile("bare CR in a value", request(b"X-A: a\rb"))
    yield Hostile("bare CR at the end of a line", request(b"X-A: a\rX-B: b"))
    yield Hostile("bare LF at the end of a line", request(b"X-A: a\nX-B: b"))
    yield Hostile("bare LF in front of a coding", request(b"X-A: a\nTransfer-Encoding: chunked", body=_CHUNKS))
    yield Hostile("CR CR LF", request(b"X-A: a\r"))
    yield Hostile("folded line", request(b"X-A: a\r\n b"))
    yield Hostile("folded line with a tab", request(b"X-A: a\r\n\tb"))
    yield Hostile("space in front of the first field", request(host=b" Host: a.test"))
    yield Hostile("head that ends with bare LF", b"POST /a HTTP/1.1\r\nHost: a.test\r\n\n")
    yield Hostile("head of bare LF", b"POST /a HTTP/1.1\nHost: a.test\n\n")
    yield Hostile("unknown expectation", request(b"Expect: something", _CL, body=b"hello"), 417)
    yield Hostile("two expectations", request(b"Expect: 100-continue, something", _CL, body=b"hello"), 417)


def _hosts() -> Iterator[Hostile]:
    yield Hostile("no Host", request(host=b""))
    yield Hostile("two Hosts", request(b"Host: b.test"))
    yield Hostile("the same Host twice", request(b"Host: a.test"))
    for value in (
        b"a.test/b", b"a b", b"a.test,b.test", b"user@a.test", b"a.test:x", b"a.test:80:80", b"[::1", b"::1",
        b"a.test#", b"a.test?", b"a\\b", b"a.test:+80", b"[a.test]", b"a.test\x00", b"<a>", b'a"b',
    ):  # fmt: skip
        yield Hostile(f"Host {value!r}", request(host=b"Host: " + value))
    for target in (b"http://user@a.test/", b"http:///a", b"https://", b"http://a.test:x/"):
        yield Hostile(f"target {target!r} for Host a.test", request(line=b"GET " + target + b" HTTP/1.1"))
    for target in (b"http://a b/", b'http://a"b/', b"http://[/", b"http:///a", b"http://a,b/"):
        yield Hostile(f"target {target!r} and no Host", request(line=b"GET " + target + b" HTTP/1.0", host=b""))


def _request_lines() -> Iterator[Hostile]:
    yield Hostile("CONNECT", b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n", 405)
    yield Hostile("TRACE", request(line=b"TRACE /a HTTP/1.1"), 405)
    for version in (b"HTTP/0.9", b"HTTP/2.0", b"HTTP/2.1", b"HTTP/3.0", b"HTTP/9.9", b"HTTP/1", b"HTTP/1.10",
                    b"HTTP/01.1", b"http/1.1", b"HTTPS/1.1", b"ICY/1.1", b"RTSP/1.0", b"RTSP/1.1",
                    b" RTSP/1.0", b"RTSP/2.0", b"ICE/1.0", b"HTTP /1.1", b"HTTP/ 1.1", b"HTTP/1,1",
                    b""):  # fmt: skip
        yield Hostile(f"version {version!r}", request(line=b"GET /a " + version))
    yield Hostile("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    for target in (b"/a#b", b"#", b"/a b", b"/a\tb", b"/a\x01", b"/a\x7f", b"/a\x00", b"/caf\xc3\xa9", b"/?\xe9",
                   b"a",
                   b'/"', b"/<", b"/>", b"/\\", b"/`", b"/{", b"/}", b'/?"', b"/?<", b"/?>",
                   b"http://a.test/<", b"*", b"", b"?x", b"ftp://a.test/", b"mailto:x", b"a.test:80",
                   b"\\a"):  # fmt: skip
        yield Hostile(f"target {target!r}", request(line=b"GET " + target + b" HTTP/1.1"))
    yield Hostile("SOURCE of ICE", request(line=b"SOURCE /a ICE/1.0"))
    yield Hostile("SETUP of RTSP", request(line=b"SETUP /a RTSP/1.0"))
    for method in (b"get", b"BREW", b"GETX", b"G", b"SETUP", b"X-A_B!~"):
        yield Hostile(f"method {method!r}", request(line=method + b" /a HTTP/1.1"), 501)
    for line in (b"G\x01T /a HTTP/1.1", b" GET /a HTTP/1.1", b"GET\t/a\tHTTP/1.1",
                 b"GET:/a HTTP/1.1", b"GET /a HTTP/1.1 x", b"\x16\x03\x01\x02\x00\x01\x00",
                 b"GET /a HTTP/1.1\rX"):  # fmt: skip
        yield Hostile(f"request line {line!r}", request(line=line))


def _limits() -> Iterator[Hostile]:
    big = b"x" * 70_000
    yield Hostile("too long a target", request(line=b"GET /" + big + b" HTTP/1.1"), 431)
    yield Hostile("too long a value", request(b"X-A: " + big), 431)
    yield Hostile("too long a name", request(big + b": a"), 431)
    yield Hostile("too many fields", request(*[b"X-%d: a" % number for number in range(300)]), 431)


def bodies() -> Iterator[tuple[str, bytes]]:
    """Malformed chunked bodies, by name."""
    for line in (
        b"0x5", b"-5", b"+5", b" 5", b"5 ", b"5 5", b"g", b"", b"5,", b"\xd9\xa5", b"5\x00", b"5\x0b", b"5_0", b"_5",
        b"ffffffffffffffff5", b"10000000000000000", b"5;a\nb", b"5;\n", b"5;a=\x00", b"5;a=\x01b", b"5;a=b\rc", b"5\n",
        b"5\r",
    ):  # fmt: skip
        yield f"chunk size {line!r}", line + b"\r\nhello\r\n0\r\n\r\n"
    for end in (b"", b"\n", b"\r", b"\rX", b"X\r\n", b"\n\r", b"  ", b"\r\r\n"):
        yield f"chunk that ends with {end!r}", b"5\r\nhello" + end + b"5\r\nworld\r\n0\r\n\r\n"
    yield "chunk that is longer than it says", b"5\r\nhello!\r\n0\r\n\r\n"
    yield "bare LF for everything", b"5\nhello\n0\n\n"
    yield "last chunk with bare LF", b"5\r\nhello\r\n0\n\n"
    yield "end of the body with bare LF", b"5\r\nhello\r\n0\r\n\n"
    yield "trailer without a colon", b"5\r\nhello\r\n0\r\nX\r\n\r\n"
    yield "trailer with a control character", b"5\r\nhello\r\n0\r\nX: \x01\r\n\r\n"
    yield "trailer with a length", b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n"
    yield "trailer that is folded", b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n"
    yield "trailer with a bare CR", b"5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n"
