"""Is the kind of a response recognised, and does it get its head?"""

import pytest

from sseproxy.core.http.fields import get_all
from sseproxy.core.stream.kinds import (
    EVENT_STREAM,
    KINDS,
    NDJSON,
    MediaKind,
    is_of_a_kind,
    kind_of,
    may_be_stream,
    names_records,
)

OF_RECORDS = [
    b"application/x-ndjson",
    b"application/ndjson",
    b"application/jsonl",
    b"application/x-jsonlines",
    b"application/stream+json",
]


@pytest.mark.parametrize(("status", "expected"), [(200, True), (500, True), (204, False), (206, False), (304, False)])
def test_statuses_of_streams(status: int, expected: bool) -> None:
    assert (kind_of(status, [(b"content-type", b"text/event-stream")]) is EVENT_STREAM) is expected


@pytest.mark.parametrize(
    "value", [b"text/html", b"", b"text/event-streams", b"*/*", b"application/json", b"application/x-ndjson2"]
)
def test_any_other_response_is_of_no_kind(value: bytes) -> None:
    assert kind_of(200, [(b"content-type", value)]) is None
    assert kind_of(200, []) is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_promised_is_recognised(kind: MediaKind) -> None:
    promised = kind.promised_head()
    assert kind_of(200, promised) is kind
    assert all(may_be_stream(value) for value in get_all(promised, b"content-type"))


@pytest.mark.parametrize("media", OF_RECORDS)
def test_the_media_types_of_ndjson(media: bytes) -> None:
    value = media.title() + b"; charset=utf-8"
    assert kind_of(200, [(b"Content-Type", value)]) is NDJSON
    assert kind_of(206, [(b"Content-Type", value)]) is None
    assert is_of_a_kind([(b"Content-Type", value)])
    assert may_be_stream(value)


def test_ndjson_is_promised_as_what_most_clients_know() -> None:
    assert get_all(NDJSON.promised_head(), b"content-type") == [b"application/x-ndjson"]


def test_the_head_of_ndjson_is_that_of_a_stream() -> None:
    head = NDJSON.head([(b"Content-Type", OF_RECORDS[1]), (b"Content-Length", b"7"), (b"ETag", b'"a"')], decoded=False)
    assert head == [
        (b"Content-Type", OF_RECORDS[1]),
        (b"ETag", b'W/"a"'),
        (b"Cache-Control", b"no-cache, no-transform"),
        (b"X-Accel-Buffering", b"no"),
    ]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ([b"Application/X-NDJSON"], True),
        ([b"application/json", b"application/jsonl;q=0.5"], True),
        ([b"text/event-stream"], False),
        ([b"application/x-ndjson, text/event-stream"], False),
        ([b"*/*"], False),
        ([], False),
    ],
)
def test_which_clients_ask_for_ndjson(accept: list[bytes], expected: bool) -> None:
    assert names_records(accept) is expected


def test_the_first_look_takes_any_case_and_any_bytes() -> None:
    assert may_be_stream(b"Text/Event-Stream; charset=utf-8")
    assert may_be_stream(bytearray(b"text/event-stream"))
    assert not may_be_stream(b"application/json")
