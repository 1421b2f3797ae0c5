"""Is each heartbeat written in its form, at its place?"""

import json
from dataclasses import replace

import pytest

from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy, HeartbeatWriter
from sseproxy.core.stream.scanner import Scanner
from tests.support.whatwg import Event, parse

FORMS = pytest.mark.parametrize("form", HeartbeatForm)
CHUNK = (
    b'data: {"id":"c-1","object":"chat.completion.chunk","created":7,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
)


def beat(form: HeartbeatForm, stream: bytes = b"", **policy: str) -> bytes | None:
    """What is written for a stream of which `stream` has left."""
    writer, scanner = HeartbeatWriter(HeartbeatPolicy(form=form, **policy)), Scanner()  # type: ignore[arg-type]
    if stream:
        writer.observe(stream)
        scanner.feed(stream)
    return writer.write(scanner)


KEEPALIVE, COMMENT = b'event: keepalive\ndata: {"type":"keepalive"}\n\n', b": heartbeat\n\n"


@pytest.mark.parametrize(
    ("form", "stream", "written"),
    [
        (HeartbeatForm.COMMENT_LINE, b"", b": heartbeat\n"),
        (HeartbeatForm.COMMENT_BLOCK, b"", b": heartbeat\n\n"),
        (HeartbeatForm.COMMENT_BLOCK, b"id: 1\ndata: x\n\n", b": heartbeat\n\n"),
        (HeartbeatForm.BLANK, b"", b"\n"),
        (HeartbeatForm.EVENT, b"", b"event: heartbeat\ndata: {}\n\n"),
        (HeartbeatForm.ANTHROPIC, b"", b'event: ping\ndata: {"type": "ping"}\n\n'),
        (HeartbeatForm.OPENAI_RESPONSES, b"", b": heartbeat\n\n"),
        (HeartbeatForm.OPENAI_RESPONSES, b'data: {"type":"response.created"}\n\n', KEEPALIVE),
        (HeartbeatForm.OPENAI_RESPONSES, b'data: {"response":{}, "type" : "response.in_progress"}\n\n', KEEPALIVE),
        (HeartbeatForm.OPENAI_RESPONSES, b'data: {"response":{},"type":"response.completed"}\n\n', COMMENT),
        (HeartbeatForm.OPENAI_RESPONSES, b'data: {"object":"chat.completion.chunk"}\n\n', COMMENT),
        (HeartbeatForm.OPENAI_CHAT, b"", b": heartbeat\n\n"),
        (HeartbeatForm.OPENAI_CHAT, b"id: 1\ndata: x\n\n", b": heartbeat\n"),
        (HeartbeatForm.AUTO, b"", b": heartbeat\n\n"),
        (HeartbeatForm.AUTO, b"data: x\n\n", b": heartbeat\n\n"),
        (HeartbeatForm.AUTO, b"id: 1\ndata: x\n\n", b": heartbeat\n"),
        (HeartbeatForm.AUTO, b"id\n\n", b": heartbeat\n"),
        (HeartbeatForm.AUTO, b"data: x\r\rid: 1\r\r", b": heartbeat\r"),
    ],
)
def test_between_events_the_form_is_what_is_written(form: HeartbeatForm, stream: bytes, written: bytes) -> None:
    assert beat(form, stream) == written


@FORMS
def test_inside_an_event_only_a_comment_line_and_never_for_clients_that_reject_comments(form: HeartbeatForm) -> None:
    assert beat(form, b"data: x\n") == (None if form is HeartbeatForm.BLANK else b": heartbeat\n")


@FORMS
def test_inside_a_line_nothing_ever(form: HeartbeatForm) -> None:
    assert beat(form, b"data: x") is None


@FORMS
@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_the_line_ends_are_those_of_the_stream(form: HeartbeatForm, eol: bytes) -> None:
    written = beat(form, CHUNK.replace(b"\n", eol))
    assert written is not None
    assert written.endswith(eol)
    assert set(written.replace(eol, b"")).isdisjoint(b"\r\n")


@FORMS
def test_no_heartbeat_carries_an_id_or_a_retry(form: HeartbeatForm) -> None:
    seen = parse(b"id: 7\n" + CHUNK + (beat(form, b"id: 7\n" + CHUNK) or b""))
    assert (seen.last_event_id, seen.retries) == ("7", [])


def test_comment_and_event_are_configurable() -> None:
    assert beat(HeartbeatForm.COMMENT_LINE, comment="still here") == b": still here\n"
    assert beat(HeartbeatForm.COMMENT_LINE, comment="") == b":\n"
    written = beat(HeartbeatForm.EVENT, event_name="tick", event_data="a\nb")
    assert written is not None
    assert parse(written).events == [Event("tick", "a\nb", "")]


def test_a_known_client_has_a_form_of_its_own() -> None:
    policy = HeartbeatPolicy(form=HeartbeatForm.AUTO)
    assert HeartbeatWriter(policy, HeartbeatForm.COMMENT_LINE).write(Scanner()) == b": heartbeat\n"
    assert HeartbeatWriter(policy, HeartbeatForm.BLANK).write(Scanner()) == b"\n"


class TestOpenAIChat:
    """A chunk that says nothing, like the last one in all that names the completion."""

    @staticmethod
    def chunk(stream: bytes) -> object:
        written = beat(HeartbeatForm.OPENAI_CHAT, stream)
        assert written is not None
        events = parse(written).events
        return json.loads(events[0].data) if events else None

    def test_it_names_the_same_completion(self) -> None:
        assert self.chunk(CHUNK) == {
            "id": "c-1",
            "object": "chat.completion.chunk",
            "created": 7,
            "model": "m",
            "choices": [{"index": 0, "delta": {}, "finish_reason": None}],
        }

    def test_the_last_chunk_counts_also_behind_something_else(self) -> None:
        later = CHUNK.replace(b"c-1", b"c-2")
        for stream in (CHUNK + later, later + b"data: [DONE]\n\n", later + b": c\n\n", later + b"data: x\n\n"):
            chunk = self.chunk(stream)
            assert isinstance(chunk, dict)
            assert chunk["id"] == "c-2"

    @pytest.mark.parametrize(
        "data",
        [
            b"[DONE]",
            b"{",
            b"{}",
            b'{"error": {"message": "no"}}',
            b'{"id": "\xff"}',
            b'{"id": ' + b"[" * 50_000,  # deeper than the parser's recursion limit
            b'{"id": ' + b"9" * 5_000 + b"}",  # more digits than Python converts
            b'["id"]',
            b'{"id": "c", "choices": []}',  # the usage, behind the last chunk
            b'{"id": "c", "choices": [{"finish_reason": "stop"}]}',
        ],
        ids=lambda data: data[:20].decode("ascii", "replace"),
    )
    def test_what_is_no_chunk_gives_a_comment(self, data: bytes) -> None:
        assert beat(HeartbeatForm.OPENAI_CHAT, b"data: " + data + b"\n\n") == b": heartbeat\n\n"


@pytest.mark.parametrize(
    ("policy", "fields"),
    [
        (HeartbeatPolicy(before_response=1.0, prelude=True), ()),
        (HeartbeatPolicy(interval=None), ()),
        (HeartbeatPolicy(interval=None, before_response=1.0), ("before_response",)),
        (HeartbeatPolicy(interval=None, prelude=True), ("prelude",)),
        (HeartbeatPolicy(interval=None, before_response=1.0, prelude=True), ("before_response", "prelude")),
    ],
)
def test_what_asks_for_heartbeats_that_are_off_is_named(policy: HeartbeatPolicy, fields: tuple[str, ...]) -> None:
    assert policy.fields_without_interval == fields


@pytest.mark.parametrize(
    ("before_response", "response", "is_late"),
    [(None, 5.0, False), (4.9, 5.0, False), (5.0, 5.0, True), (6.0, 5.0, True), (6.0, None, False)],
)
def test_an_answer_has_to_come_before_the_timeout(
    before_response: float | None, response: float | None, is_late: bool
) -> None:
    policy = HeartbeatPolicy(before_response=before_response)
    assert policy.fields_too_late(response) == (("before_response",) if is_late else ())
    assert replace(policy, before_response=None, json=before_response).fields_too_late(response) == (
        ("json",) if is_late else ()
    )
