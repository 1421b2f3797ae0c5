"""Which rules of `EventSource` are there, and what does each make a page see? (WHATWG HTML section 9.2)

A story is what the service answers, what the page is told, and which `Last-Event-ID` each request brings. Where a story
has no more answers the service says 204, and that ends it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.e2e.browser.pages import AGAIN, CLOSED, OPEN, Log, broke_off, message
from tests.e2e.browser.stage import STREAM, Answer, End

#: The shortest reconnection time, so that nobody waits for the browser's own of some seconds.
QUICK = b"retry: 1\n\n"


@dataclass(frozen=True, slots=True)
class Story:
    """last_event_ids: those of all requests, in order; None for none. log_through: the log with sseproxy between."""

    name: str
    answers: tuple[Answer, ...]
    log: Log
    last_event_ids: tuple[str | None, ...]
    log_through: Log | None = None


def one_stream(name: str, *pieces: bytes, events: Sequence[list[str]], last: str | None = None) -> Story:
    """A stream, its end, the reconnect. events: what is told between open and end."""
    return Story(name, (Answer(pieces),), [OPEN, *events, AGAIN, CLOSED], (None, last))


def broken(
    name: str, *pieces: bytes, events: Sequence[list[str]], last: str | None = None, is_told: bool = True
) -> Story:
    """The same with a broken end. is_told: it is between two events, where sseproxy can tell of it."""
    told = [broke_off(last or "")] if is_told else []
    log, through = [OPEN, *events, AGAIN, CLOSED], [OPEN, *events, *told, AGAIN, CLOSED]
    return Story(name, (Answer(pieces, End.BROKEN),), log, (None, last), through)


def quick(name: str, *pieces: bytes, events: Sequence[list[str]], last: str | None = None) -> Story:
    """The same, with a reconnection time before everything."""
    return one_stream(name, QUICK + pieces[0], *pieces[1:], events=events, last=last)


def refused(name: str, status: str = "200 OK", fields: tuple[str, ...] = (STREAM,)) -> Story:
    """An answer that is no event stream: the connection fails for good."""
    answer = Answer((QUICK + b"data: no\n\n",), status=status, fields=fields, heartbeats=0)
    return Story(name, (answer,), [CLOSED], (None,))


def accepted(name: str, content_type: str) -> Story:
    answer = Answer((QUICK + b"data: h\xc3\xa9\n\n",), fields=(f"Content-Type: {content_type}",))
    return Story(name, (answer,), [OPEN, message("hé"), AGAIN, CLOSED], (None, None))


_ONE = (message("1"),)
_LONG = "x" * 200_000
_BOM = b"\xef\xbb\xbf"

_PARSING = (
    quick("one", b"data: 1\n\n", events=_ONE),
    quick("several", b"data: 1\n\n", b"data: 2\n\ndata: 3\n\n", events=[message("1"), message("2"), message("3")]),
    quick("multi-line", b"data: 1\n", b"data\n", b"data:3\n", b"\n", events=[message("1\n\n3")]),
    quick("no-space", b"data:1\n\ndata:  2 \n\n", events=[message("1"), message(" 2 ")]),
    quick("empty-data", b"data\n\n", b"data:\n\n", b"data: \n\n", events=[message("")] * 3),
    quick("no-data", b"event: token\n\n", b"\n\n", b"data: 1\n\n", events=_ONE),
    quick("comments", b": a\n\n:\n", b"data: 1\n: b\n", b":data: 2\n", b"\n", events=_ONE),
    quick("unknown-fields", b"foo: 1\nDATA: 2\n data: 3\n", b"data : 4\ndata: 1\n\n", events=_ONE),
    quick("colons", b"data: a:b: c\n\n", events=[message("a:b: c")]),
    quick("types", b"event: token\ndata: 1\n\n", b"data: 2\n\n", events=[message("1", type_="token"), message("2")]),
    quick("types-empty", b"event: token\nevent:\ndata: 1\n\n", events=_ONE),
    quick("types-case", b"event: Token\n", b"data: 1\n\n", events=[message("1", type_="Token")]),
    quick("types-words", b"event: two words\ndata: 1\n\n", events=[message("1", type_="two words")]),
    quick("types-unicode", b"event: \xc3", b"\xa9\ndata: 1\n\n", events=[message("1", type_="é")]),
    quick("types-open", b"event: open\ndata: 1\n\n", events=[message("1", type_="open")]),
    quick("types-error", b"event: error\ndata: 1\n\n", events=[message("1", type_="error")]),
    quick("unfinished-line", b"data: 1\n\ndata: 2", events=_ONE),
    quick("unfinished-event", b"data: 1\n\n", b"id: 2\ndata: 2\n", events=_ONE),
    quick("null-data", b"data: a\x00b\n\n", events=[message("a\0b")]),
    quick("null-line", b"\x00data: 2\ndata: 1\n\n", events=_ONE),
    quick("utf-8-split", b"data: \xf0\x9f", b"\x98\x80 \xe2", b"\x82", b"\xac\n\n", events=[message("😀 €")]),
    quick("utf-8-broken", b"data: a\xff\xc3", b"(\n\n", events=[message("a\ufffd\ufffd(")]),
    quick("long-line", b"data: " + _LONG.encode() + b"\n\n", b"data: 1\n\n", events=[message(_LONG), *_ONE]),
    quick("many-lines", b"data: 1\n" * 5000, b"\n", events=[message("\n".join(["1"] * 5000))]),
    quick("byte-by-byte", *(bytes([byte]) for byte in b"data: 1\nid: 7\n\n"), events=[message("1", "7")], last="7"),
    quick("in-one-piece", b"id: 7\nevent: token\ndata: 1\n\n", events=[message("1", "7", "token")], last="7"),
    one_stream("nothing-but-retry", QUICK, events=()),
)

_LINE_ENDS = (
    one_stream("lf", b"retry: 1\n", b"data: 1\n", b"\n", b"data: 2\n\n", events=[message("1"), message("2")]),
    one_stream(
        "crlf", b"retry: 1\r\n", b"data: 1\r\n", b"\r\n", b"data: 2\r\n\r\n", events=[message("1"), message("2")]
    ),
    one_stream("cr", b"retry: 1\r", b"data: 1\r", b"\r", b"data: 2\r\r", events=[message("1"), message("2")]),
    one_stream("cr-lf-split", b"retry: 1\r", b"\ndata: 1\r", b"\ndata: 2\r", b"\n\r", b"\n", events=[message("1\n2")]),
    one_stream("cr-then-lf-line", b"retry: 1\rdata: 1\r", b"\n\n", b"data: 2\r\r", events=[message("1"), message("2")]),
    one_stream(
        "mixed", b"retry: 1\r\n\n", b"data: 1\r", b"data: 2\n", b"data: 3\r\n", b"\r", events=[message("1\n2\n3")]
    ),
    quick(
        "other-breaks", "data: 1\v2\f3\u0085\u2028\u2029\n\n".encode(), events=[message("1\v2\f3\u0085\u2028\u2029")]
    ),
)

_BOMS = (
    one_stream("bom", _BOM + b"data: 1\n\n", QUICK, events=_ONE),
    one_stream("bom-split", _BOM[:1], _BOM[1:2], _BOM[2:] + b"data: 1\n\n", QUICK, events=_ONE),
    one_stream("bom-alone", _BOM, b"data: 1\n\n", QUICK, events=_ONE),
    one_stream("two-boms", _BOM + _BOM + b"data: 2\n", b"data: 1\n\n", QUICK, events=_ONE),
    quick("late-bom", _BOM + b"data: 2\n", b"data: 1\n\n", events=_ONE),
    quick("bom-in-data", b"data: " + _BOM + b"1\n\n", events=[message("\ufeff1")]),
)

_IDS = (
    quick("id", b"id: 1\n", b"data: a\n\n", events=[message("a", "1")], last="1"),
    quick("id-sticks", b"id: 1\ndata: a\n\n", b"data: b\n\n", events=[message("a", "1"), message("b", "1")], last="1"),
    quick("id-alone", b"data: a\n\n", b"id: 5\n\n", b"data: b\n\n", events=[message("a"), message("b", "5")], last="5"),
    quick("id-without-event", b"id: 5\n\n", events=(), last="5"),
    quick("id-unfinished", b"id: 1\ndata: a\n\n", b"id: 2\n", events=[message("a", "1")], last="1"),
    quick("id-resets", b"id: 1\ndata: a\n\n", b"id\ndata: b\n\n", events=[message("a", "1"), message("b")]),
    quick("id-resets-colon", b"id: 1\ndata: a\n\n", b"id:\ndata: b\n\n", events=[message("a", "1"), message("b")]),
    quick("id-null", b"id: 1\n\nid: 2\x00\n", b"data: a\n\n", events=[message("a", "1")], last="1"),
    quick("id-null-first", b"id: \x00\ndata: a\n\n", events=[message("a")]),
    quick("id-unicode", "id: …é\n".encode(), b"data: a\n\n", events=[message("a", "…é")], last="…é"),
    quick("id-two", b"id: 1\nid: 2\n", b"data: a\n\n", events=[message("a", "2")], last="2"),
    quick("id-spaces", b"id:  1 2\ndata: a\n\n", events=[message("a", " 1 2")], last="1 2"),
    Story(
        "id-outlives-streams",
        (
            Answer((QUICK + b"id: 1\ndata: a\n\n",)),
            Answer((b"data: b\n\n",), End.BROKEN),
            Answer((b"id\ndata: c\n\n",)),
        ),
        [OPEN, message("a", "1"), AGAIN, OPEN, message("b", "1"), AGAIN, OPEN, message("c"), AGAIN, CLOSED],
        (None, "1", "1", None),
        [
            *(OPEN, message("a", "1"), AGAIN),
            *(OPEN, message("b", "1"), broke_off("1"), AGAIN),
            *(OPEN, message("c"), AGAIN, CLOSED),
        ],
    ),
)

#: None of them counts, or the browser would come back after ten minutes.
_NO_TIMES = {
    "letters": "600000x",
    "minus": "-600000",
    "plus": "+600000",
    "point": "600000.0",
    "inner-space": "600 000",
    "two-spaces": "  600000",
    "trailing-space": "600000 ",
    "hexadecimal": "0x927c0",
    "exponent": "6e5",
    "other-digits": "٦٠٠٠٠٠",
}

_RETRY = (
    *(quick(f"retry-{name}", f"retry: {value}\n\n".encode(), events=()) for name, value in _NO_TIMES.items()),
    quick("retry-case", b"Retry: 600000\n\n", events=()),
    one_stream("retry-last-counts", b"retry: 600000\n", b"retry: 1\n", events=()),
    one_stream("retry-no-blank-line", b"data: 1\n\n", b"retry: 1\n", events=_ONE),
    one_stream("retry-zeros", b"retry: 0001\n\n", events=()),
    one_stream("retry-zero", b"retry: 0\n\n", events=()),
    Story(
        "retry-outlives-streams",
        (Answer((QUICK,)), Answer((b"data: 1\n\n",)), Answer((b"data: 2\n\n",))),
        [OPEN, AGAIN, OPEN, message("1"), AGAIN, OPEN, message("2"), AGAIN, CLOSED],
        (None, None, None, None),
    ),
)

_ENDS = (
    Story("nothing-at-all", (), [CLOSED], (None,)),
    one_stream("clean-end", QUICK + b"id: 1\ndata: 1\n\n", events=[message("1", "1")], last="1"),
    broken("broken-end", QUICK + b"id: 1\ndata: 1\n\n", events=[message("1", "1")], last="1"),
    broken("broken-in-event", QUICK + b"data: 1\n\n", b"id: 2\ndata: 2\n", events=_ONE, is_told=False),
    broken("broken-in-line", QUICK + b"data: 1\n\n", b"data: 2", events=_ONE),
    broken("broken-in-character", QUICK + b"data: 1\n\n", b"data: \xe2\x82", events=_ONE),
    Story(
        "204-after-streams",
        (Answer((QUICK + b"data: 1\n\n",)), Answer((b"data: 2\n\n",))),
        [OPEN, message("1"), AGAIN, OPEN, message("2"), AGAIN, CLOSED],
        (None, None, None),
    ),
    Story(
        "500-after-a-stream",
        (Answer((QUICK + b"id: 1\n\n",)), Answer((b"no",), status="500 No", heartbeats=0)),
        [OPEN, AGAIN, CLOSED],
        (None, "1"),
    ),
)

_STATUSES = (
    *(refused(f"status-{code}", f"{code} No") for code in (201, 202, 203, 206, 400, 401, 403, 404, 405, 410, 418)),
    *(refused(f"status-{code}", f"{code} No") for code in (429, 451, 500, 501, 502, 503, 504, 599)),
    refused("status-503-retry-after", "503 No", (STREAM, "Retry-After: 0")),
)

_CONTENT_TYPES = (
    refused("type-none", fields=()),
    *(
        refused(f"type-{name}", fields=(f"Content-Type: {value}",))
        for name, value in {
            "plain": "text/plain",
            "html": "text/html; charset=utf-8",
            "json": "application/json",
            "plural": "text/event-streams",
            "prefix": "x-text/event-stream",
            "octets": "application/octet-stream",
        }.items()
    ),
    accepted("type-charset", "text/event-stream;charset=utf-8"),
    accepted("type-charset-case", "text/event-stream; charset=UTF-8"),
    accepted("type-case", "Text/Event-STREAM"),
    accepted("type-parameters", "text/event-stream; x=y; charset=utf-8; z"),
    accepted("type-empty-parameter", "text/event-stream;"),
    accepted("type-blank", "text/event-stream ;charset=utf-8"),
    # The standard decodes as UTF-8 whatever is declared; Chromium fails where anything else is.
    *(refused(f"type-{name}", fields=(f"{STREAM}; charset={name}",)) for name in ("windows-1251", "utf-16", "bogus")),
)

STORIES = (*_PARSING, *_LINE_ENDS, *_BOMS, *_IDS, *_RETRY, *_ENDS, *_STATUSES, *_CONTENT_TYPES)
