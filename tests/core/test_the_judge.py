"""Does our independent parser read event streams as the standard says? (WHATWG HTML section 9.2)"""

import pytest

from tests.support.whatwg import Event, EventStreamParser, parse

#: The examples of sections 9.2.1 and 9.2.6, with what their text says about them.
EXAMPLES = {
    "two messages with a type each": (
        b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n",
        [Event("add", "73857293", ""), Event("remove", "2153", ""), Event("add", "113411", "")],
    ),
    "several data lines are one message": (
        b"data: YHOO\ndata: +2\ndata: 10\n\n",
        [Event("message", "YHOO\n+2\n10", "")],
    ),
    "four blocks; the last still has to end with a blank line": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
        [Event("message", "first event", "1"), Event("message", "second event", "")],
    ),
    "four blocks, with the blank line": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [
            Event("message", "first event", "1"),
            Event("message", "second event", ""),
            Event("message", " third event", ""),
        ],
    ),
    "an empty string, a single newline, and a block that is discarded": (
        b"data\n\ndata\ndata\n\ndata:",
        [Event("message", "", ""), Event("message", "\n", "")],
    ),
    "the space behind the colon is ignored": (
        b"data:test\n\ndata: test\n\n",
        [Event("message", "test", ""), Event("message", "test", "")],
    ),
}


@pytest.mark.parametrize(("stream", "events"), EXAMPLES.values(), ids=EXAMPLES)
@pytest.mark.parametrize("eol", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
def test_the_examples_of_the_standard(stream: bytes, events: list[Event], eol: bytes) -> None:
    assert parse(stream.replace(b"\n", eol)).events == events


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"\xef\xbb\xbfdata: x\n\n", [Event("message", "x", "")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", []),
        (b"data: a\n\n\xef\xbb\xbfdata: x\n\n", [Event("message", "a", "")]),
        (b": c\n\xef\xbb\xbfdata: x\n\n", []),
        (b"data: \xff\n\n", [Event("message", "\N{REPLACEMENT CHARACTER}", "")]),
        (b"data: \xe2\n\n", [Event("message", "\N{REPLACEMENT CHARACTER}", "")]),
        ("data: a\u2028b\x85c\n\n".encode(), [Event("message", "a\u2028b\x85c", "")]),
        (b"event: e\n\ndata: x\n\n", [Event("message", "x", "")]),
        (b"id: 1\n\ndata: x\n\n", [Event("message", "x", "1")]),
        (b"id: 1\0\ndata: x\n\n", [Event("message", "x", "")]),
        (b"DATA: x\n\n data: y\n\nfoo: z\n\n", []),
        (b"data: a\r\rdata: b\r\n\r\ndata: c\r\n\n", [Event("message", each, "") for each in "abc"]),
        (b"data: a\r\n", []),
        (b"data: a:b\n\n", [Event("message", "a:b", "")]),
    ],
)
def test_what_is_easily_read_wrongly(stream: bytes, events: list[Event]) -> None:
    assert parse(stream).events == events
    in_pieces = EventStreamParser()
    for at in range(len(stream)):
        in_pieces.feed(stream[at : at + 1])
    assert in_pieces.events == events


def test_retry_takes_ascii_digits_only() -> None:
    stream = "retry: 10\nretry: x\nretry: -1\nretry: 1 \nretry: \u0663\nretry:\nretry:20\nretry: 007\nretry: 30"
    assert parse(stream.encode()).retries == [10, 20, 7]


def test_the_last_event_id_outlives_its_event() -> None:
    parser = parse(b"id: 1\ndata: x\n\ndata: y\n\nid: 2\n\nid: 3\n")
    assert [event.last_event_id for event in parser.events] == ["1", "1"]
    assert parser.last_event_id == "2"
