"""Is the kind of a response recognised, and does it get its head?"""

import pytest

from sseproxy.core.http.fields import get_all
from sseproxy.core.stream.kinds import (
    EVENT_STREAM,
    KINDS,
    EventStreams,
    MediaKind,
    kind_of,
    may_be_stream,
    promised_kind,
)


@pytest.mark.parametrize(("status", "expected"), [(200, True), (500, True), (204, False), (206, False), (304, False)])
def test_statuses_of_streams(status: int, expected: bool) -> None:
    assert (kind_of(status, [(b"content-type", b"text/event-stream")]) is EVENT_STREAM) is expected


@pytest.mark.parametrize("value", [b"text/html", b"", b"text/event-streams", b"*/*"])
def test_any_other_response_is_of_no_kind(value: bytes) -> None:
    assert kind_of(200, [(b"content-type", value)]) is None
    assert kind_of(200, []) is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_promised_is_recognised(kind: MediaKind) -> None:
    promised = kind.promised_head()
    assert kind_of(200, promised) is kind
    assert all(may_be_stream(value) for value in get_all(promised, b"content-type"))


class Lines(EventStreams):
    """Another kind, as far as it matters here."""

    media_type = b"application/x-ndjson"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ([b"Application/X-NDJSON"], Lines),
        ([b"application/json", b"application/x-ndjson;q=0.5"], Lines),
        ([b"text/event-stream"], EventStreams),
        ([b"application/x-ndjson, text/event-stream"], EventStreams),
        ([b"*/*"], EventStreams),
        ([], EventStreams),
    ],
)
def test_what_is_promised_is_what_the_client_names(accept: list[bytes], expected: type[MediaKind]) -> None:
    kinds = (EVENT_STREAM, Lines())
    assert type(promised_kind(accept, kinds)) is expected


def test_the_first_look_takes_any_case_and_any_bytes() -> None:
    assert may_be_stream(b"Text/Event-Stream; charset=utf-8")
    assert may_be_stream(bytearray(b"text/event-stream"))
    assert not may_be_stream(b"application/json")
