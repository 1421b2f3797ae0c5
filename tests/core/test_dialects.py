"""Does an error look like the service's own to each kind of client?"""

import json
from typing import Any

import pytest

from sseproxy.core.limits import ERROR_BODY
from sseproxy.core.stream.dialects import Dialect, Finality, finality
from sseproxy.core.stream.error_events import StreamError, error_event
from sseproxy.core.stream.heartbeat import HeartbeatForm
from tests.support.whatwg import parse

TIMEOUT = StreamError("idle_timeout", 504, "silent for too long")
LIMITED = StreamError(
    "upstream_response", 429, "refused", "30", b'{"error": {"message": "slow down", "type": "rate_limit_error"}}'
)


DIALECTS = [dialect for dialect in Dialect if dialect is not Dialect.AUTO]


def told(dialect: Dialect, error: StreamError) -> tuple[str, Any]:
    """The type and the decoded data of the one event."""
    seen = parse(error_event(dialect, error, request_id=7))
    [event] = seen.events
    assert (seen.last_event_id, seen.retries) == ("", [])
    return event.type, json.loads(event.data)


@pytest.mark.parametrize(
    ("dialect", "type_", "body"),
    [
        (
            Dialect.GENERIC,
            "error",
            {
                "type": "idle_timeout",
                "status": 504,
                "detail": "silent for too long",
                "error": {"message": "silent for too long", "type": "idle_timeout", "code": 504},
            },
        ),
        *(
            (
                dialect,
                "message",
                {
                    "error": {
                        "message": "silent for too long",
                        "type": "idle_timeout",
                        "param": None,
                        "code": 504,
                        "status": 504,
                    }
                },
            )
            for dialect in (Dialect.OPENAI_CHAT, Dialect.OPENAI_COMPLETIONS)
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
                    "status": 504,
                },
            },
        ),
        (
            Dialect.ANTHROPIC,
            "error",
            {"type": "error", "error": {"type": "timeout_error", "message": "silent for too long", "status": 504}},
        ),
        (
            Dialect.GEMINI,
            "message",
            {"error": {"code": 504, "message": "silent for too long", "status": "DEADLINE_EXCEEDED"}},
        ),
        (Dialect.OLLAMA, "message", {"error": "silent for too long", "status": 504}),
        (
            Dialect.MCP,
            "message",
            {
                "jsonrpc": "2.0",
                "id": 7,
                "error": {"code": -32000, "message": "silent for too long", "data": {"status": 504}},
            },
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
            {
                "error": {
                    "message": "slow down",
                    "type": "rate_limit_error",
                    "param": None,
                    "code": 429,
                    "status": 429,
                    "retry_after": "30",
                }
            },
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
                    "status": 429,
                    "retry_after": "30",
                },
            },
        ),
        (
            Dialect.ANTHROPIC,
            {
                "type": "error",
                "error": {"type": "rate_limit_error", "message": "slow down", "status": 429, "retry_after": "30"},
            },
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
        "error": {"message": "slow down", "type": "rate_limit_error", "code": 429},
        "retry_after": "30",
    }


@pytest.mark.parametrize("dialect", DIALECTS)
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
    written = error_event(dialect, StreamError("upstream_response", 500, "refused", body=body), request_id=7, eol=eol)
    seen = parse(written)
    assert len(seen.events) == 1
    assert seen.last_event_id == ""
    assert written.endswith(eol * 2)
    assert "[DONE]" not in seen.events[0].data


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_more_than_the_limit_of_a_body_is_passed_on(dialect: Dialect) -> None:
    long = StreamError("upstream_response", 500, "refused", body=b"x" * (ERROR_BODY + 1000))
    assert error_event(dialect, long, request_id=7).count(b"x") <= ERROR_BODY + 1  # one stands in the name of a field


@pytest.mark.parametrize("reason", ["upstream_error", "connect_error", "drain", "upstream_response"])
def test_an_anthropic_client_never_sees_a_type_of_ours(reason: str) -> None:
    body = told(Dialect.ANTHROPIC, StreamError(reason, 502, "broken"))[1]
    assert body["error"]["type"] == "api_error"


def test_a_dialect_names_the_form() -> None:
    named = {dialect: dialect.form for dialect in Dialect if dialect.form is not HeartbeatForm.AUTO}
    assert named == {
        Dialect.ANTHROPIC: HeartbeatForm.ANTHROPIC,
        Dialect.GEMINI: HeartbeatForm.BLANK,
        Dialect.MCP: HeartbeatForm.COMMENT_LINE,
    }


OPENAI_BODY = (
    b'{"error": {"message": "too long", "type": "invalid_request_error", "param": "messages", '
    b'"code": "context_length_exceeded"}}'
)
VLLM_BODY = b'{"object": "error", ' + OPENAI_BODY.removeprefix(b'{"error": {').removesuffix(b"}")


@pytest.mark.parametrize(
    "body",
    [
        OPENAI_BODY,
        VLLM_BODY,
        b"data: " + OPENAI_BODY + b"\n\ndata: [DONE]\n\n",
        b": hello\r\n\r\nevent: error\r\ndata: " + OPENAI_BODY + b"\r\n\r\n",
        b"[" + OPENAI_BODY + b"]",
    ],
    ids=["OpenAI", "vLLM", "as an event", "behind a comment", "in a list"],
)
@pytest.mark.parametrize("dialect", [Dialect.OPENAI_CHAT, Dialect.OPENAI_RESPONSES, Dialect.GENERIC])
def test_the_upstreams_own_words_come_first_in_whatever_shape(dialect: Dialect, body: bytes) -> None:
    error = told(dialect, StreamError("upstream_response", 400, "refused", body=body))[1]["error"]
    assert (error["message"], error["code"], error["param"], error["type"]) == (
        "too long",
        "context_length_exceeded",
        "messages",
        "invalid_request_error",
    )


@pytest.mark.parametrize(
    "body", [b'{"error": "model not found"}', b'{"detail": "model not found"}', b"model not found"]
)
def test_a_text_is_the_message(body: bytes) -> None:
    error = StreamError("upstream_response", 404, "refused", body=body)
    assert told(Dialect.OPENAI_CHAT, error)[1]["error"]["message"] == "model not found"
    assert told(Dialect.OLLAMA, error)[1]["error"] == "model not found"


def test_the_upstreams_own_json_rpc_error_keeps_its_code() -> None:
    body = b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32001, "message": "Session not found"}}'
    told_ = told(Dialect.MCP, StreamError("upstream_response", 404, "refused", body=body))[1]
    error = {"code": -32001, "message": "Session not found", "data": {"status": 404}}
    assert told_ == {"jsonrpc": "2.0", "id": 7, "error": error}


def test_mcp_without_a_request_has_no_error_event() -> None:
    assert error_event(Dialect.MCP, TIMEOUT) == b""


RESPONSE = b'{"jsonrpc":"2.0","id":1,"result":{}}'


@pytest.mark.parametrize(
    ("dialect", "name", "data", "wanted"),
    [
        (Dialect.OPENAI_CHAT, b"", b"[DONE]", Finality.TERMINAL),
        (Dialect.OPENAI_COMPLETIONS, b"", b"[DONE]", Finality.TERMINAL),
        (Dialect.OPENAI_CHAT, b"", b" [DONE] ", Finality.TERMINAL),
        (Dialect.OPENAI_CHAT, b"", b'{"choices": [{"delta": {"content": "[DONE]"}}]}', Finality.NONE),
        (Dialect.OPENAI_CHAT, b"", b'{"error": {"message": "x"}}', Finality.ERROR),
        (Dialect.OPENAI_CHAT, b"", b'{"error": null, "choices": []}', Finality.NONE),
        (Dialect.OPENAI_CHAT, b"", b'{"object":"error","message":"x"}', Finality.ERROR),
        (Dialect.OPENAI_CHAT, b"", b'{"id":"1","choices":[],"error":{"code":502}}', Finality.ERROR),
        (Dialect.OPENAI_CHAT, b"", b'{"type":"error","error":{"message":"x"}}', Finality.ERROR),
        (Dialect.OPENAI_CHAT, b"error", b'{"message":"x"}', Finality.ERROR),
        (Dialect.OPENAI_CHAT, b"", b'{"id":"1","choices":[{"delta":{"content":"\\"error\\":1"}}]}', Finality.NONE),
        (Dialect.OPENAI_CHAT, b"", b'{"id":"1","choices":[{"error":{"code":1}}]}', Finality.NONE),
        (Dialect.OPENAI_CHAT, b"", b'{"id":"1","error":{"code":502}', Finality.NONE),
        (Dialect.OPENAI_RESPONSES, b"response.completed", b"{}", Finality.TERMINAL),
        (Dialect.OPENAI_RESPONSES, b"", b'{"type":"response.failed","response":{}}', Finality.TERMINAL),
        (Dialect.OPENAI_RESPONSES, b"response.incomplete", b"{}", Finality.TERMINAL),
        (Dialect.OPENAI_RESPONSES, b"", b"[DONE]", Finality.TERMINAL),
        (Dialect.OPENAI_RESPONSES, b"response.output_text.done", b"{}", Finality.NONE),
        (Dialect.OPENAI_RESPONSES, b"error", b"{}", Finality.ERROR),
        (Dialect.OPENAI_RESPONSES, b"", b'{"item":{"type":"mcp_call","error":"x"}}', Finality.NONE),
        (Dialect.ANTHROPIC, b"message_stop", b'{"type":"message_stop"           }', Finality.TERMINAL),
        (Dialect.ANTHROPIC, b"", b'{"type": "message_stop"}', Finality.TERMINAL),
        (Dialect.ANTHROPIC, b"message_delta", b"{}", Finality.NONE),
        (Dialect.ANTHROPIC, b"error", b"{}", Finality.ERROR),
        (Dialect.GEMINI, b"", b'{"candidates": [{"finishReason": "STOP"}]}', Finality.FINISHED),
        (Dialect.GEMINI, b"", b'{"candidates": [{"content": {}}]}', Finality.NONE),
        (Dialect.GEMINI, b"", b'{"error": {"code": 503}}', Finality.ERROR),
        (Dialect.OLLAMA, b"", b'{"done": true}', Finality.TERMINAL),
        (Dialect.OLLAMA, b"", b'{"done":false}', Finality.NONE),
        (Dialect.OLLAMA, b"", b'{"error":"x"}', Finality.ERROR),
        (Dialect.MCP, b"message", RESPONSE, Finality.ERROR),
        (Dialect.MCP, b"", b'{"result":{},"jsonrpc":"2.0","id":"a"}', Finality.ERROR),
        (Dialect.MCP, b"", b'{"jsonrpc":"2.0","method":"n","params":{"result":1}}', Finality.NONE),
        (Dialect.GENERIC, b"error", b"{}", Finality.ERROR),
        (Dialect.GENERIC, b"", b"[DONE]", Finality.NONE),
        (Dialect.GENERIC, b"message_stop", b"", Finality.NONE),
    ],
)
def test_what_the_last_event_says(dialect: Dialect, name: bytes, data: bytes, wanted: Finality) -> None:
    assert finality(dialect, name, data) is wanted


@pytest.mark.parametrize("dialect", [dialect for dialect in DIALECTS if dialect is not Dialect.MCP])
def test_an_error_of_ours_is_known_as_one(dialect: Dialect) -> None:
    """Behind another sseproxy, none follows it."""
    [event] = parse(error_event(dialect, TIMEOUT)).events
    name = b"" if event.type == "message" else event.type.encode()
    assert finality(dialect, name, event.data.encode()) is Finality.ERROR
