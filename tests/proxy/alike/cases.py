"""What does a client ask, and what does the upstream answer, in one case of many that are drawn at random?"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from random import Random

Fields = tuple[tuple[bytes, bytes], ...]

#: Says to the upstream which answer of its case is meant; goes through every route.
ANSWER = b"X-Answer"


class Framing(Enum):
    """What says where a body ends?"""

    NONE = "there is none"
    LENGTH = "its length"
    CHUNKED = "its last chunk"
    CLOSE = "the end of the connection"


class Leaving(Enum):
    """When does the client close its connection?"""

    BEHIND = "behind the response"
    IN_BODY = "in the middle of its body"
    IN_RESPONSE = "in the middle of the response"


class Ending(Enum):
    """How does the upstream end its answer?"""

    WHOLE = "as it was framed"
    CUT = "by closing the connection before"
    RESET = "by a reset before"
    NEVER = "not at all, until the proxy leaves"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request. target: may name ``{location}``, the URL in the last response that had one, and ``{id}``, an event's.

    pieces: of the body, each a chunk, if there are any. cuts: where the bytes on the wire are cut into writes.
    expects: the body is sent when it is asked for.
    """

    method: str = "GET"
    target: str = "/plain"
    fields: Fields = ()
    pieces: tuple[bytes, ...] = ()
    framing: Framing = Framing.NONE
    cuts: tuple[int, ...] = ()
    version: str = "1.1"
    expects: bool = False
    leaves: Leaving = Leaving.BEHIND

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def head(self, number: int, target: str, last_id: bytes) -> bytes:
        """Write the head. number: of its answer."""
        fields = [(b"Host", b"a.test"), (ANSWER, b"%d" % number), *self.fields]
        if self.framing is Framing.LENGTH:
            fields.append((b"Content-Length", b"%d" % len(self.body)))
        elif self.framing is Framing.CHUNKED:
            fields.append((b"Transfer-Encoding", b"chunked"))
        if self.expects:
            fields.append((b"Expect", b"100-continue"))
        first = b"%b %b HTTP/%b\r\n" % (self.method.encode(), target.encode("latin-1"), self.version.encode())
        return first + b"".join(b"%b: %b\r\n" % each for each in fields).replace(b"{id}", last_id) + b"\r\n"

    @property
    def framed_body(self) -> bytes:
        return _framed(self.pieces, self.framing, whole=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of the upstream. before: seconds of silence before its head. pieces: of its body, each a chunk."""

    status: int = 200
    reason: bytes = b"OK"
    fields: Fields = ()
    pieces: tuple[bytes, ...] = ()
    framing: Framing = Framing.LENGTH
    before: float = 0.0
    ending: Ending = Ending.WHOLE
    interim: bytes = b""

    def head(self, *, to_head: bool) -> bytes:
        fields = list(self.fields)
        if self.framing is Framing.LENGTH:
            length = sum(map(len, self.pieces)) + (7 if self.ending is not Ending.WHOLE else 0)
            fields.append((b"Content-Length", b"%d" % length))
        elif self.framing is Framing.CHUNKED and not to_head:
            fields.append((b"Transfer-Encoding", b"chunked"))
        first = b"HTTP/1.1 %d %b\r\n" % (self.status, self.reason)
        return self.interim + first + b"".join(b"%b: %b\r\n" % each for each in fields) + b"\r\n"

    @property
    def framed_body(self) -> bytes:
        return _framed(self.pieces, self.framing, whole=self.ending is Ending.WHOLE)

    @property
    def closes(self) -> bool:
        """Whether the upstream closes the connection behind it."""
        return self.framing is Framing.CLOSE or self.ending is not Ending.WHOLE


@dataclass(frozen=True, slots=True)
class Case:
    """What one client does, one request after the other, on one connection as long as that is kept."""

    seed: str
    exchanges: tuple[tuple[Ask, Answer], ...]

    def smaller(self) -> Iterator["Case"]:
        """Cases with one thing less."""
        for number, (ask, answer) in enumerate(self.exchanges):
            before, after = self.exchanges[:number], self.exchanges[number + 1 :]
            if before or after:
                yield replace(self, exchanges=before + after)
            for less in _smaller_asks(ask):
                yield replace(self, exchanges=(*before, (less, answer), *after))
            for shorter in _smaller_answers(answer):
                yield replace(self, exchanges=(*before, (ask, shorter), *after))


def _smaller_asks(ask: Ask) -> Iterator[Ask]:
    if ask.cuts:
        yield replace(ask, cuts=())
    if ask.pieces:
        yield replace(ask, pieces=ask.pieces[1:], expects=ask.expects and len(ask.pieces) > 1)
        half = tuple(each[: len(each) // 2] for each in ask.pieces)
        yield replace(ask, pieces=half, expects=ask.expects and any(half))
    elif ask.framing is not Framing.NONE:
        yield replace(ask, framing=Framing.NONE, expects=False)
    if "?" in ask.target:
        yield replace(ask, target=ask.target.partition("?")[0])
    for number in range(len(ask.fields)):
        yield replace(ask, fields=ask.fields[:number] + ask.fields[number + 1 :])


def _smaller_answers(answer: Answer) -> Iterator[Answer]:
    if answer.interim:
        yield replace(answer, interim=b"")
    if answer.pieces:
        yield replace(answer, pieces=answer.pieces[1:])
    for number in range(len(answer.fields)):
        yield replace(answer, fields=answer.fields[:number] + answer.fields[number + 1 :])


def _framed(pieces: tuple[bytes, ...], framing: Framing, *, whole: bool) -> bytes:
    if framing is Framing.NONE:
        return b""
    if framing is not Framing.CHUNKED:
        return b"".join(pieces)
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces if each) + (b"0\r\n\r\n" if whole else b"")


# What is drawn.

#: Each is sent with any request. No ``Upgrade``, which no ASGI server passes on: tests of tunnels say so.
_ASKED_FIELDS: Fields = (
    (b"Accept", b"text/event-stream"),
    (b"Accept", b"*/*"),
    (b"accept", b"application/json, text/event-stream;q=0.9"),
    (b"Accept-Encoding", b"gzip, br;q=0.5"),
    (b"Accept-Encoding", b"identity"),
    (b"Cache-Control", b"no-cache"),
    (b"Connection", b"keep-alive"),
    (b"Connection", b"X-Dropped, keep-alive"),
    (b"X-Dropped", b"not passed on if Connection names it"),
    (b"Keep-Alive", b"timeout=5"),
    (b"Proxy-Connection", b"keep-alive"),
    (b"TE", b"trailers"),
    (b"TE", b"gzip"),
    (b"Cookie", b"a=1; token=secret"),
    (b"cookie", b"b=2"),
    (b"Authorization", b"Bearer abc"),
    (b"Forwarded", b"for=192.0.2.1;proto=https"),
    (b"X-Forwarded-For", b"192.0.2.1, 192.0.2.2"),
    (b"x-forwarded-proto", b"https"),
    (b"X-Forwarded-Host", b"evil.test"),
    (b"X-Forwarded-Port", b"1"),
    (b"X_Forwarded_For", b"192.0.2.3"),
    (b"X-Real-IP", b"192.0.2.4"),
    (b"Via", b"1.1 other"),
    (b"Range", b"bytes=0-3"),
    (b"If-None-Match", b'"a", W/"b"'),
    (b"If-Modified-Since", b"Tue, 15 Nov 1994 08:12:31 GMT"),
    (b"If-Match", b"*"),
    (b"User-Agent", b"OpenAI/Python 1.99.0"),
    (b"User-Agent", b"Mozilla/5.0 (X11)"),
    (b"X-Stainless-Lang", b"python"),
    (b"anthropic-version", b"2023-06-01"),
    (b"Mcp-Session-Id", b"s1"),
    (b"MCP-Protocol-Version", b"2025-06-18"),
    (b"Last-Event-ID", b"17"),
    (b"Last-Event-ID", b""),
    (b"Origin", b"https://app.example"),
    (b"Origin", b"https://other.example"),
    (b"Sec-Fetch-Site", b"cross-site"),
    (b"Sec-Fetch-Site", b"same-origin"),
    (b"Sec-Fetch-Mode", b"cors"),
    (b"Access-Control-Request-Method", b"POST"),
    (b"Referer", b"https://app.example/?q=1"),
    (b"X-Request-Id", b"from-the-client"),
    (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    (b"tracestate", b"a=1"),
    (b"X-Latin", b"caf\xe9"),
    (b"X-UTF-8", "Grüße".encode()),
    (b"X-Empty", b""),
    (b"X-Tab", b"a\tb"),
    (b"X-Blanks", b"  around  "),
    (b"x-ODD.name!#$%&'*+^_`|~", b"1"),
    (b"X-Repeated", b"1"),
    (b"x-repeated", b"2"),
    (b"X-REPEATED", b"1"),
    (b"Content-Type", b"application/json"),
    (b"Content-Type", b"text/plain; charset=utf-8"),
    (b"Content-Language", b"de"),
    (b"Max-Forwards", b"3"),
    (b"Prefer", b"wait=10"),
    (b"Trailer", b"X-Late"),
    (b"Date", b"Tue, 15 Nov 1994 08:12:31 GMT"),
    (b"Priority", b"u=1, i"),
    (b"X-Long", b"x" * 3000),
)

_PATHS = ("", "/a", "/a/b;c=d/", "//double", "/%2F%20x", "/~user/+", "/a=b&c", "/%c3%a9", "/x:y@z", "/..%2F", "/%2e/a")
_QUERIES = (
    "",
    "",
    "?",
    "?a=1",
    "?a=1&a=2&b",
    "?q=%20+x",
    "?url=http://x/?y=1",
    "?last-event-id=3",
    "?alt=sse",
    "?[x]={y}|z",
)

_ANSWERED_FIELDS: Fields = (
    (b"Set-Cookie", b"a=1; Path=/"),
    (b"Set-Cookie", b"b=2; HttpOnly"),
    (b"set-cookie", b"c=3"),
    (b"Server", b"upstream/1"),
    (b"Date", b"Tue, 15 Nov 1994 08:12:31 GMT"),
    (b"ETag", b'"strong"'),
    (b"ETag", b'W/"weak"'),
    (b"Last-Modified", b"Tue, 15 Nov 1994 08:12:31 GMT"),
    (b"Cache-Control", b"private, max-age=3"),
    (b"Vary", b"Accept"),
    (b"Vary", b"Cookie"),
    (b"Connection", b"X-Inner"),
    (b"X-Inner", b"not passed on if Connection names it"),
    (b"Keep-Alive", b"timeout=9"),
    (b"Proxy-Authenticate", b"Basic"),
    (b"WWW-Authenticate", b'Basic realm="a, b"'),
    (b"Location", b"/elsewhere?x=1"),
    (b"Link", b"</a>; rel=preload"),
    (b"Link", b"</b>; rel=next"),
    (b"Via", b"1.0 inner"),
    (b"X-Latin", b"caf\xe9"),
    (b"X-Empty", b""),
    (b"X-Odd_Name", b"1"),
    (b"Accept-Ranges", b"bytes"),
    (b"Content-Language", b"de, en"),
    (b"Content-Disposition", b'attachment; filename="a.txt"'),
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Retry-After", b"3"),
    (b"X-Accel-Buffering", b"yes"),
    (b"Alt-Svc", b'h3=":443"'),
    (b"Strict-Transport-Security", b"max-age=1"),
    (b"X-Request-Id", b"from-the-upstream"),
)

_STATUSES = (
    *((200, b"OK"), (200, b"OK"), (200, b"Fine"), (201, b"Created"), (202, b"Accepted"), (204, b"No Content")),
    *((206, b"Partial Content"), (302, b"Found"), (304, b"Not Modified"), (400, b"Bad Request")),
    *((401, b"Unauthorized"), (404, b"Not Found"), (409, b""), (418, b"Teapot"), (429, b"Slow"), (500, b"Oh")),
    *((503, b"Busy"), (599, b"X")),
)

#: Of the routes of `routes`.
_PLACES = ("/plain", "/plain", "/plain", "/heartbeats", "/rewritten/x", "/browser", "/small", "/declared", "/nowhere")

_BYTES = (b"a", b"{}", b"\x00\xff", b"data: x\n\n", b"\r\n", b"0\r\n\r\n", "ü".encode())

_LINES = (
    *(b"data: one\n", b"data:two\r\n", b"event: x\n", b"id: 7\n", b"retry: 10\n", b": comment\n"),
    *(b"\n", b"\r\n", b"\n", b"data: [DONE]\n", b"data: \xc3\xbc\n", b"data\n", b"id\n"),
)

_RECORDS = (b'{"a": 1}\n', b'{"b": "\xc3\xbc"}\r\n', b'{"done": true}\n', b"\n", b'{"cut": ')


def draw(seed: int, number: int) -> Case:
    """Return the case with this number. The same for each machine and each run."""
    name = f"{seed}:{number}"
    random = Random(name)
    play = random.choices(
        (_alone, _one_after_the_other, _a_ticket, _a_run, _a_break, _a_late_head), (8, 6, 1, 1, 2, 1)
    )[0]
    return Case(name, play(random))


def _alone(random: Random) -> tuple[tuple[Ask, Answer], ...]:
    return ((_ask(random), _answer(random)),)


def _one_after_the_other(random: Random) -> tuple[tuple[Ask, Answer], ...]:
    return tuple((_ask(random), _answer(random)) for _ in range(random.randint(2, 5)))


def _a_ticket(random: Random) -> tuple[tuple[Ask, Answer], ...]:
    kept = replace(_ask(random), version="1.1")
    target = kept.target.partition("?")[0].partition("/..")[0]
    kept = replace(
        kept, target=f"/_tickets/tickets{random.choice(('', '/a', '?a=1'))}" if random.random() < 0.9 else target
    )
    opened = Ask("GET", "{location}", _some(random, _ASKED_FIELDS, 3))
    again = Ask("GET", "{location}", ((b"Accept", b"text/event-stream"),))
    ended = Ask("DELETE", "{location}", ((b"Origin", b"http://a.test"),))
    stream = random.choice((_stream, _answer))(random)
    exchanges = [(kept, stream), (opened, stream), (again, stream), (ended, stream)]
    return tuple(exchanges[: random.randint(2, 4)])


def _a_run(random: Random) -> tuple[tuple[Ask, Answer], ...]:
    """A journalled answer, which is resumed."""
    takes_ids = ((b"Accept", b"text/event-stream"),)
    body = b'{"id": "c%d"}' % random.randint(1, 3)
    asked = Ask("POST", "/run", (*takes_ids, (b"Content-Type", b"application/json")), (body,), Framing.LENGTH)
    resumed = Ask(
        "GET", "{location}", ((*takes_ids, (b"Last-Event-ID", b"{id}")) if random.random() < 0.7 else takes_ids)
    )
    stopped = Ask("DELETE", "{location}", ((b"Origin", b"http://a.test"),))
    stream = _stream(random)
    stream = replace(stream, status=200, ending=Ending.WHOLE, fields=((b"Content-Type", b"text/event-stream"),))
    exchanges = [(asked, stream), (resumed, stream), (stopped, stream)]
    return tuple(exchanges[: random.randint(1, 3)])


def _a_break(random: Random) -> tuple[tuple[Ask, Answer], ...]:
    """One of the three ends in the middle: the client's body, the response, or the client's patience with it."""
    place = random.choice(("/plain", "/heartbeats", "/declared"))
    if random.random() < 0.3:
        sent = Ask("POST", place, _some(random, _ASKED_FIELDS, 3), (b"x" * 50, b"y" * 50), random.choice(_BODIES))
        return ((replace(sent, leaves=Leaving.IN_BODY), Answer()),)
    answer = random.choice((_stream, _answer))(random)
    pieces = answer.pieces or (b"data: x\n\n",)
    framing = Framing.CHUNKED if answer.framing in (Framing.NONE, Framing.CLOSE) else answer.framing
    answer = replace(answer, status=200, pieces=pieces, framing=framing)
    asked = replace(_ask(random), target=place, expects=False)
    if random.random() < 0.5:
        return ((replace(asked, leaves=Leaving.IN_RESPONSE, method="POST"), replace(answer, ending=Ending.NEVER)),)
    ending = random.choice((Ending.CUT, Ending.RESET))
    return ((asked, replace(answer, ending=ending)), (_ask(random), _answer(random)))


def _a_late_head(random: Random) -> tuple[tuple[Ask, Answer], ...]:
    """Heartbeats go out before the upstream has said anything."""
    asked = _ask(random)
    fields = (*asked.fields, *random.choice((((b"Accept", b"text/event-stream"),), ())))
    answer = random.choice((_stream, _answer))(random)
    return ((replace(asked, target="/declared", fields=fields), replace(answer, before=0.3)),)


_BODIES = (Framing.LENGTH, Framing.CHUNKED)


def _ask(random: Random) -> Ask:
    method = random.choice(
        ("GET", "GET", "GET", "POST", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND")
    )
    place = random.choice(_PLACES)
    target = place + random.choice(_PATHS) + random.choice(_QUERIES)
    if random.random() < 0.03:
        target = f"http://b.test{target}"  # absolute form
    elif method == "OPTIONS" and random.random() < 0.2:
        target = "*"
    has_body = method in ("POST", "PUT", "PATCH") or random.random() < 0.05
    framing = random.choice(_BODIES) if has_body else Framing.NONE
    is_10 = random.random() < 0.05 and framing is not Framing.CHUNKED
    ask = Ask(
        method,
        target,
        _some(random, _ASKED_FIELDS, random.choice((0, 2, 5, 12))),
        _pieces(random) if has_body else (),
        framing,
        version="1.0" if is_10 else "1.1",
    )
    if ask.body and not is_10 and random.random() < 0.1:
        ask = replace(ask, expects=True)  # RFC 9110 section 10.1.1: only with a body
    size = len(ask.head(0, ask.target, b"")) + len(ask.framed_body)
    cuts = random.sample(range(1, size), min(size - 1, random.choice((0, 0, 1, 3))))
    return replace(ask, cuts=tuple(sorted(cuts)))


def _answer(random: Random) -> Answer:
    if random.random() < 0.35:
        return _stream(random)
    status, reason = random.choice(_STATUSES)
    kind = random.choice(((), ((b"Content-Type", b"application/json"),), ((b"Content-Type", b"text/html"),)))
    has_body = status not in (204, 304)
    return Answer(
        status,
        reason,
        kind + _some(random, _ANSWERED_FIELDS, random.choice((0, 2, 5))),
        _pieces(random) if has_body else (),
        random.choice((Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE)) if has_body else Framing.NONE,
        interim=b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" if random.random() < 0.05 else b"",
    )


def _stream(random: Random) -> Answer:
    if random.random() < 0.2:
        kind = random.choice((b"application/x-ndjson", b"application/jsonl"))
        text = b"".join(random.choices(_RECORDS, k=random.randint(0, 20)))
    else:
        kind = random.choice((b"text/event-stream", b"text/event-stream; charset=utf-8", b"Text/Event-Stream"))
        text = b"".join(random.choices(_LINES, k=random.randint(0, 20)))
        if random.random() < 0.8:
            text += b"data: last\n\n"
    cuts = sorted(random.sample(range(len(text) + 1), min(len(text) + 1, random.choice((0, 1, 4)))))
    pieces = tuple(text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))
    fields = ((b"Content-Type", kind), *_some(random, _ANSWERED_FIELDS, random.choice((0, 1, 4))))
    framing = random.choice((Framing.CHUNKED, Framing.CHUNKED, Framing.CLOSE, Framing.LENGTH))
    return Answer(200, b"OK", fields, tuple(filter(None, pieces)), framing)


def _some(random: Random, fields: Fields, count: int) -> Fields:
    return tuple(random.sample(fields, count))


def _pieces(random: Random) -> tuple[bytes, ...]:
    most = random.choice((0, 10, 100, 100, 3000)) if random.random() < 0.97 else 100_000
    return tuple(random.choice(_BYTES) * random.randint(1, most) for _ in range(random.randint(1, 4))) if most else ()
