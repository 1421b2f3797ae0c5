"""Does an error look like the service's own to each kind of client? (S8, S10)"""

import json
from typing import Any

import pytest

from sseproxy.core.dialects import Dialect, StreamError, error_event
from sseproxy.core.heartbeat import HeartbeatForm
from sseproxy.core.limits import ERROR_BODY
from tests.support.whatwg import parse

TIMEOUT = StreamError("idle_timeout", 504, "silent for too long")
LIMITED = StreamError(
    "upstream_response", 429, "refused", "30", b'{"error": {"message": "slow down", "type": "rate_limit_error"}}'
)


def told(dialect: Dialect, error: StreamError) -> tuple[str, Any]:
    """The type and the decoded data of the one event."""
    seen = parse(error_event(dialect, error))
    [event] = seen.events
    assert (seen.last_event_id, seen.retries) == ("", [])
    return event.type, json.loads(event.data)


@pytest.mark.parametrize(
    ("dialect", "type_", "body"),
    [
        (Dialect.GENERIC, "error", {"type": "idle_timeout", "status": 504, "detail": "silent for too long"}),
        (
            Dialect.OPENAI_CHAT,
            "message",
            {"error": {"message": "silent for too long", "type": "idle_timeout", "code": 504}},
        ),
        (
            Dialect.OPENAI_RESPONSES,
            "error",
            {
                "type": "error",
                "code": "504",
                "message": "silent for too long",
                "param": None,
                "sequence_number": 0,
                "error": {
                    "type": "idle_timeout",
                    "code": "504",
                    "message": "silent for too long",
                    "param": None,
                },
            },
        ),
        (
            Dialect.ANTHROPIC,
            "error",
            {"type": "error", "error": {"type": "timeout_error", "message": "silent for too long"}},
        ),
        (
            Dialect.GEMINI,
            "message",
            {"error": {"code": 504, "message": "silent for too long", "status": "DEADLINE_EXCEEDED"}},
        ),
    ],
)
def test_an_end_of_ours(dialect: Dialect, type_: str, body: object) -> None:
    assert told(dialect, TIMEOUT) == (type_, body)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (
            Dialect.OPENAI_CHAT,
            {"error": {"message": "slow down", "type": "rate_limit_error", "code": 429, "retry_after": "30"}},
        ),
        (
            Dialect.OPENAI_RESPONSES,
            {
                "type": "error",
                "code": "429",
                "message": "slow down",
                "param": None,
                "sequence_number": 0,
                "error": {
                    "type": "rate_limit_error",
                    "code": "429",
                    "message": "slow down",
                    "param": None,
                    "retry_after": "30",
                },
            },
        ),
        (
            Dialect.ANTHROPIC,
            {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down", "retry_after": "30"}},
        ),
        (
            Dialect.GEMINI,
            {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED", "retry_after": "30"}},
        ),
    ],
)
def test_the_upstreams_own_error_comes_through(dialect: Dialect, body: object) -> None:
    assert told(dialect, LIMITED)[1] == body


def test_generic_passes_the_body_on_as_it_is() -> None:
    assert told(Dialect.GENERIC, LIMITED)[1] == {
        "type": "upstream_response",
        "status": 429,
        "detail": LIMITED.body.decode(),
        "retry_after": "30",
    }


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"plain text",
        b"<html>\r\n\r\n</html>\n",
        b"data: x\n\nid: 7\n\n",
        b"\xff\xfe\0",
        b'{"error": "a string"}',
        b'{"error": {"message": "\\ud800", "type": 7}}',
        b"[" * 50_000,
        "\u2028é".encode(),
    ],
    ids=lambda body: repr(body[:12]),
)
@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_whatever_the_body_it_is_one_event(dialect: Dialect, body: bytes, eol: bytes) -> None:
    written = error_event(dialect, StreamError("upstream_response", 500, "refused", body=body), eol=eol)
    seen = parse(written)
    assert len(seen.events) == 1
    assert seen.last_event_id == ""
    assert written.endswith(eol * 2)
    assert "[DONE]" not in seen.events[0].data


@pytest.mark.parametrize("dialect", Dialect)
def test_no_more_than_the_limit_of_a_body_is_passed_on(dialect: Dialect) -> None:
    long = StreamError("upstream_response", 500, "refused", body=b"x" * (ERROR_BODY + 1000))
    assert error_event(dialect, long).count(b"x") <= ERROR_BODY + 1  # one stands in the name of a field


@pytest.mark.parametrize("reason", ["upstream_error", "connect_error", "drain", "upstream_response"])
def test_an_anthropic_client_never_sees_a_type_of_ours(reason: str) -> None:
    body = told(Dialect.ANTHROPIC, StreamError(reason, 502, "broken"))[1]
    assert body["error"]["type"] == "api_error"


def test_a_dialect_names_the_form() -> None:
    assert {dialect: dialect.form for dialect in Dialect} == {
        Dialect.GENERIC: HeartbeatForm.AUTO,
        Dialect.OPENAI_CHAT: HeartbeatForm.AUTO,
        Dialect.OPENAI_RESPONSES: HeartbeatForm.AUTO,
        Dialect.ANTHROPIC: HeartbeatForm.ANTHROPIC,
        Dialect.GEMINI: HeartbeatForm.BLANK,
    }
    assert [dialect for dialect in Dialect if not dialect.has_error_event] == [Dialect.GENERIC]
