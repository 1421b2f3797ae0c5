"""What event does a message become? One table, and the library that flask-sse's users publish with as an oracle."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.journal.policy import Format
from sseproxy.origins.redis.formats import Event, Unreadable, event_of_entry, event_of_message
from tests.support.whatwg import Event as Dispatched
from tests.support.whatwg import parse

flask_sse = pytest.importorskip("flask_sse")

MOST = 1 << 20

MESSAGES = [
    # (format, message, text, own id)
    ("text", b"hello", b"data: hello\n\n", None),
    ("text", b"", b"data: \n\n", None),
    ("text", b"two\nlines", b"data: two\ndata: lines\n\n", None),
    ("text", b"a\r\nb\rc\n", b"data: a\ndata: b\ndata: c\ndata: \n\n", None),
    ("text", "π \u2028 \0".encode(), "data: π \u2028 \0\n\n".encode(), None),
    ("text", b'{"data": 1}', b'data: {"data": 1}\n\n', None),
    ("text", b" leading", b"data:  leading\n\n", None),
    ("json", b'{"data": "x"}', b"data: x\n\n", None),
    ("json", b'{"data": ""}', b"data: \n\n", None),
    ("json", b'{"data": "a\\nb"}', b"data: a\ndata: b\n\n", None),
    ("json", b'{"data": {"a": [1, "\\u03c0"]}}', 'data: {"a":[1,"π"]}\n\n'.encode(), None),
    ("json", b'{"data": null}', b"data: null\n\n", None),
    ("json", b'{"data": false, "event": null}', b"data: false\n\n", None),
    (
        "json",
        b'{"data": "x", "event": "e", "id": "7", "retry": 3000}',
        b"event: e\ndata: x\nretry: 3000\n\n",
        b"7",
    ),
    ("json", b'{"data": "x", "id": 57, "retry": "5"}', b"data: x\nretry: 5\n\n", b"57"),
    ("json", b'{"data": "x", "event": "", "id": ""}', b"data: x\n\n", None),
    ("json", b'{"data": "x", "retry": -1}', b"data: x\n\n", None),
    ("json", b'{"data": "x", "retry": true}', b"data: x\n\n", None),
    ("json", b'{"data": "x", "retry": 1.5}', b"data: x\n\n", None),
    ("json", '{"data": "x", "retry": "٣"}'.encode(), b"data: x\n\n", None),
    ("json", b'{"data": "x", "type": "t", "other": 1}', b"data: x\n\n", None),
    ("flask-sse", b'{"data": {"a": 1}, "type": "t"}', b'event: t\ndata: {"a": 1}\n\n', None),
    ("flask-sse", b'{"data": "\\u03c0"}', "data: π\n\n".encode(), None),
    ("flask-sse", b'{"data": ["\\u03c0"]}', b'data: ["\\u03c0"]\n\n', None),
    ("flask-sse", b'{"data": "x", "id": "5", "retry": 10}', b"data: x\nretry: 10\n\n", b"5"),
    ("flask-sse", b'{"data": "x", "event": "e"}', b"data: x\n\n", None),
]

UNREADABLE = [
    ("text", b"\xff", "UTF-8"),
    ("json", b"", "JSON"),
    ("json", b"{", "JSON"),
    ("json", b"\xff", "UTF-8"),
    ("json", b"[1]", "object"),
    ("json", b'"data"', "object"),
    ("json", b"{}", "no data"),
    ("json", b'{"event": "e"}', "no data"),
    ("json", b'{"data": "x", "event": "a\\nb"}', "line end"),
    ("json", b'{"data": "x", "event": "a\\rb"}', "line end"),
    ("json", b'{"data": "x", "event": "a\\u0000"}', "NUL"),
    ("json", b'{"data": "x", "id": "1\\n2"}', "line end"),
    ("json", b'{"data": "x", "id": "1\\u0000"}', "NUL"),
    ("json", b'{"data": "x", "id": [1]}', "id is"),
    ("json", b'{"data": "x", "id": true}', "id is"),
    ("json", b'{"data": "x", "event": 1.5}', "event is"),
    ("json", b'{"data": "\\ud800"}', "Unicode"),
    ("json", b'{"data": ["\\ud800"]}', "Unicode"),
    ("json", b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "JSON"),
    ("json", b'{"data": ' + b"9" * 5000 + b"}", "JSON"),
    ("flask-sse", b'{"type": "t"}', "no data"),
    ("flask-sse", b'{"data": "x", "type": "a\\nb"}', "line end"),
]

ENTRIES = [
    ("text", [b"data", b"hello", b"event", b"e", b"id", b"1"], Event(b"data: hello\n\n")),
    ("text", [b"data", b"old", b"data", b"new"], Event(b"data: new\n\n")),
    ("json", [b"data", b'{"a": 1}'], Event(b'data: {"a": 1}\n\n')),
    (
        "json",
        [b"event", b"e", b"data", b"a\nb", b"id", b"9", b"retry", b"100", b"x", b"\xff"],
        Event(b"event: e\ndata: a\ndata: b\nretry: 100\n\n", b"9"),
    ),
    ("json", [b"data", b"x", b"retry", b"\xb2", b"id", b""], Event(b"data: x\n\n")),
]

UNREADABLE_ENTRIES = [
    ("text", [b"message", b"x"], "no data"),
    ("text", [b"data", b"\xff"], "UTF-8"),
    ("json", [b"data", b"x", b"event", b"a\nb"], "line end"),
    ("json", [b"data", b"x", b"id", b"\xff"], "UTF-8"),
]


@pytest.mark.parametrize(("form", "message", "text", "own_id"), MESSAGES)
def test_a_message_becomes_an_event(form: str, message: bytes, text: bytes, own_id: bytes | None) -> None:
    assert event_of_message(Format(form), message, MOST) == Event(text, own_id)


@pytest.mark.parametrize(("form", "message", "reason"), UNREADABLE, ids=range(len(UNREADABLE)))
def test_a_message_that_is_no_event_says_why(form: str, message: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        event_of_message(Format(form), message, MOST)


@pytest.mark.parametrize(("form", "fields", "event"), ENTRIES)
def test_an_entry_becomes_an_event(form: str, fields: list[bytes], event: Event) -> None:
    assert event_of_entry(Format(form), fields, MOST) == event


@pytest.mark.parametrize(("form", "fields", "reason"), UNREADABLE_ENTRIES)
def test_an_entry_that_is_no_event_says_why(form: str, fields: list[bytes], reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        event_of_entry(Format(form), fields, MOST)


@pytest.mark.parametrize("form", Format)
def test_a_message_may_be_as_large_as_the_limit_and_no_larger(form: Format) -> None:
    message = b"x" * 100 if form is Format.TEXT else json.dumps({"data": "x" * 100}).encode()
    most = max(len(message), len(event_of_message(form, message, MOST).text))
    assert event_of_message(form, message, most).text
    with pytest.raises(Unreadable, match="larger"):
        event_of_message(form, message, most - 1)


def test_lines_count_with_what_is_put_before_them() -> None:
    with pytest.raises(Unreadable, match="larger"):
        event_of_message(Format.TEXT, b"\n" * 100, 500)
    with pytest.raises(Unreadable, match="larger"):
        event_of_entry(Format.TEXT, [b"data", b"\n" * 100], 500)


def test_a_reason_holds_nothing_of_the_message() -> None:
    with pytest.raises(Unreadable) as caught:
        event_of_message(Format.JSON, b'{"secret', MOST)
    assert "secret" not in str(caught.value)


# What flask-sse splits lines at beyond the line ends of an event stream; here such a character stays in its line.
# And it writes no space behind the colon, so that a client takes one of the data for it.
PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])).filter(lambda text: text[:1] != " ")
IN_A_LINE = PLAIN.filter(bool)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3),
)


@given(JSON, st.none() | IN_A_LINE, st.none() | st.integers(1, 10**6))
def test_flask_sse_is_read_as_its_own_view_would_write_it(data: object, kind: str | None, retry: int | None) -> None:
    message = flask_sse.Message(data, type=kind, retry=retry)
    event = event_of_message(Format.FLASK_SSE, json.dumps(message.to_dict()).encode(), MOST)
    here, there = parse(event.text), parse(str(message).encode())
    # Of empty data the library makes no line, so that no page gets an event.
    assert here.events == there.events or data == ""
    assert here.retries == there.retries


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_reaches_the_client_as_it_is(data: str) -> None:
    event = event_of_message(Format.TEXT, data.encode(), MOST)
    assert parse(event.text).events[0] == Dispatched("message", data.replace("\r\n", "\n").replace("\r", "\n"), "")


@given(st.sampled_from(Format), st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_is_an_event_or_unreadable(form: Format, message: bytes) -> None:
    try:
        text = event_of_message(form, message, MOST).text
    except Unreadable:
        return
    assert text.endswith(b"\n\n")
    assert b"\r" not in text
    assert b"\n\n" not in text[:-2]
