"""Are the clients of the table known by what they really send?

The header fields below were recorded from the published clients, at the versions that they name.
"""

import json
from collections.abc import Mapping

import pytest

from sseproxy.core.stream.clients import KNOWN_CLIENTS, KnownClient, find_client
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.error_events import StreamError, error_event
from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy, HeartbeatWriter
from sseproxy.core.stream.scanner import Scanner

_CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36"
)
_STAINLESS_PYTHON = {
    "accept": "application/json",
    "x-stainless-lang": "python",
    "x-stainless-os": "Linux",
    "x-stainless-arch": "x64",
    "x-stainless-runtime": "CPython",
    "x-stainless-runtime-version": "3.11.7",
    "x-stainless-retry-count": "0",
}
_STAINLESS_NODE = {
    "accept": "application/json",
    "x-stainless-lang": "js",
    "x-stainless-os": "Linux",
    "x-stainless-arch": "x64",
    "x-stainless-runtime": "node",
    "x-stainless-runtime-version": "v20.20.2",
    "x-stainless-retry-count": "0",
    "accept-language": "*",
    "sec-fetch-mode": "cors",
}
_NODE_FETCH = {"accept-language": "*", "sec-fetch-mode": "cors", "user-agent": "node"}

GOOGLE, GOOGLE_API, CODEX, GO, JAVA, STAINLESS, HTTPX, REQUESTS, FETCH = (client.name for client in KNOWN_CLIENTS)

#: What each client sent, by the row that must know it.
RECORDED: list[tuple[str, str, Mapping[str, str]]] = [
    (
        GOOGLE,
        "google-genai 3.4.0, sync on httpx2 and async on aiohttp alike",
        {
            "accept": "*/*",
            "x-goog-api-key": "k",
            "user-agent": "google-genai-sdk/3.4.0 gl-python/3.11.7",
            "x-goog-api-client": "google-genai-sdk/3.4.0 gl-python/3.11.7",
        },
    ),
    (
        GOOGLE,
        "@google/genai 2.32.0 in Node",
        {
            "accept": "*/*",
            "x-goog-api-key": "k",
            "user-agent": "google-genai-sdk/2.32.0 gl-node/v20.20.2",
            "x-goog-api-client": "google-genai-sdk/2.32.0 gl-node/v20.20.2",
            "accept-language": "*",
            "sec-fetch-mode": "cors",
        },
    ),
    (
        GOOGLE_API,
        "@google/genai 2.32.0 in a page: the browser keeps its own User-Agent",
        {
            "accept": "*/*",
            "x-goog-api-key": "k",
            "user-agent": _CHROME,
            "x-goog-api-client": "google-genai-sdk/2.32.0 gl-node/web",
            "sec-fetch-mode": "cors",
        },
    ),
    (
        CODEX,
        "Codex CLI: the User-Agent that codex-rs sends",
        {"accept": "text/event-stream", "user-agent": "codex_cli_rs/0.157.0 (Debian 12; x86_64) unknown"},
    ),
    (
        GO,
        "go-openai 1.41 on net/http",
        {"accept": "text/event-stream", "cache-control": "no-cache", "user-agent": "Go-http-client/1.1"},
    ),
    (
        JAVA,
        "MCP's Java SDK 0.17, its old SSE transport",
        {"accept": "text/event-stream", "cache-control": "no-cache", "user-agent": "Java-http-client/17.0.15"},
    ),
    (JAVA, "Spring AI on WebClient", {"accept": "text/event-stream", "user-agent": "ReactorNetty/1.2.8"}),
    (
        STAINLESS,
        "openai 3.54.0 for Python",
        {**_STAINLESS_PYTHON, "user-agent": "OpenAI/Python 3.54.0", "x-stainless-async": "false"},
    ),
    (
        STAINLESS,
        "openai 3.54.0 for Python, async",
        {**_STAINLESS_PYTHON, "user-agent": "AsyncOpenAI/Python 3.54.0", "x-stainless-async": "async:asyncio"},
    ),
    (
        STAINLESS,
        "anthropic 2.12.0 for Python",
        {**_STAINLESS_PYTHON, "user-agent": "Anthropic/Python 2.12.0", "anthropic-version": "2026-10-21"},
    ),
    (STAINLESS, "groq 1.7.0 for Python", {**_STAINLESS_PYTHON, "user-agent": "Groq/Python 1.7.0"}),
    (STAINLESS, "openai 6.49.0 for Node", {**_STAINLESS_NODE, "user-agent": "OpenAI/JS 6.49.0"}),
    (STAINLESS, "@anthropic-ai/sdk 1.12.0 for Node", {**_STAINLESS_NODE, "user-agent": "Anthropic/JS 1.12.0"}),
    (
        STAINLESS,
        "openai 6.49.0 in a page: the browser keeps its own User-Agent",
        {
            "accept": "application/json",
            "user-agent": _CHROME,
            "x-stainless-lang": "js",
            "x-stainless-runtime": "browser:chrome",
            "x-stainless-runtime-version": "156.0.0",
            "sec-fetch-mode": "cors",
        },
    ),
    (
        HTTPX,
        "httpx-sse 0.4.3 on httpx 0.28.1",
        {"accept": "text/event-stream", "cache-control": "no-store", "user-agent": "python-httpx/0.28.1"},
    ),
    (HTTPX, "httpx 0.28.1 alone", {"accept": "*/*", "user-agent": "python-httpx/0.28.1"}),
    (HTTPX, "httpx2 2.16.2 alone", {"accept": "*/*", "user-agent": "python-httpx2/2.16.2"}),
    (
        REQUESTS,
        "sseclient 0.0.27 on requests 2.34.2",
        {"accept": "text/event-stream", "cache-control": "no-cache", "user-agent": "python-requests/2.34.2"},
    ),
    (
        FETCH,
        "@microsoft/fetch-event-source 2.0.1 in Node",
        {**_NODE_FETCH, "accept": "text/event-stream"},
    ),
    (
        FETCH,
        "eventsource 4.1.1 in Node",
        {**_NODE_FETCH, "accept": "text/event-stream", "cache-control": "no-cache", "pragma": "no-cache"},
    ),
    (
        FETCH,
        "undici 6 in Node",
        {**_NODE_FETCH, "accept": "text/event-stream", "user-agent": "undici"},
    ),
    (
        FETCH,
        "fetch in a page, asking for an event stream",
        {"accept": "text/event-stream", "user-agent": _CHROME, "sec-fetch-mode": "cors"},
    ),
    (
        FETCH,
        "EventSource in a page",
        {
            "accept": "text/event-stream",
            "cache-control": "no-cache",
            "pragma": "no-cache",
            "user-agent": _CHROME,
            "sec-fetch-mode": "cors",
        },
    ),
]

#: Clients that get the rule of the form ``auto``: what parses their streams cannot be told.
UNKNOWN: list[tuple[str, Mapping[str, str]]] = [
    ("nothing at all", {}),
    ("curl 7.88.1", {"accept": "text/event-stream", "user-agent": "curl/7.88.1"}),
    ("sseclient-py on requests 2.34.2", {"accept": "*/*", "user-agent": "python-requests/2.34.2"}),
    ("aiohttp 3.14.5", {"accept": "text/event-stream", "user-agent": "Python/3.11 aiohttp/3.14.5"}),
    ("urllib", {"user-agent": "Python-urllib/3.11"}),
    ("eventsource-parser on fetch in Node", {**_NODE_FETCH, "accept": "*/*"}),
    ("fetch in a page", {"accept": "*/*", "user-agent": _CHROME, "sec-fetch-mode": "cors"}),
    (
        "ai-sdk 6 in Node",
        {
            **_NODE_FETCH,
            "accept": "*/*",
            "user-agent": "ai-sdk/openai-compatible/2.0.91 ai-sdk/provider-utils/4.0.64 runtime/node.js/v20.20.2",
        },
    ),
    ("a program that names httpx in passing", {"accept": "*/*", "user-agent": "my-tool/1.0 (python-httpx/0.28.1)"}),
    ("a Go program that asks for anything", {"accept": "*/*", "user-agent": "Go-http-client/1.1"}),
    ("a program whose name begins like Node's", {"accept": "text/event-stream", "user-agent": "node-tool/1.0"}),
]


def row_for(headers: Mapping[str, str]) -> KnownClient | None:
    return find_client({name.encode(): [value.encode()] for name, value in headers.items()})


@pytest.mark.parametrize(("row", "headers"), [pytest.param(row, sent, id=name) for row, name, sent in RECORDED])
def test_a_recorded_client_is_known_by_its_row(row: str, headers: Mapping[str, str]) -> None:
    found = row_for(headers)
    assert found is not None
    assert found.name == row


@pytest.mark.parametrize("headers", [pytest.param(sent, id=name) for name, sent in UNKNOWN])
def test_other_clients_are_not_known(headers: Mapping[str, str]) -> None:
    assert row_for(headers) is None


@pytest.mark.parametrize("client", KNOWN_CLIENTS, ids=lambda client: client.name)
def test_every_row_has_a_recorded_client(client: KnownClient) -> None:
    assert client.name in {row for row, _, _ in RECORDED}


@pytest.mark.parametrize("client", KNOWN_CLIENTS, ids=lambda client: client.name)
def test_a_row_can_be_found_and_says_why(client: KnownClient) -> None:
    assert client.fields
    assert all(name == name.lower() for name in client.fields)
    assert client.reason
    assert client.form in {HeartbeatForm.COMMENT_LINE, HeartbeatForm.BLANK, HeartbeatForm.EVENT}
    assert client.takes_retry is (client.name != JAVA)
    assert (client.event is not None) is (client.form is HeartbeatForm.EVENT)


def go_openai(stream: bytes) -> str | None:
    """What go-openai makes of the error in `stream`: the row's `source` says how it reads.

    Lines without data are kept, blanks stripped, and what is kept is the error's JSON together with the error's line.
    """
    kept = b""
    for line in stream.split(b"\n"):
        stripped = line.strip()
        if stripped.startswith(b'data: {"error":'):
            try:
                return str(json.loads(kept + stripped.removeprefix(b"data: "))["error"]["message"])
            except ValueError:
                return None
        if not stripped.startswith(b"data: "):
            kept += stripped
    return None


@pytest.mark.parametrize("form", [HeartbeatForm.BLANK, HeartbeatForm.COMMENT_LINE])
def test_go_openai_reads_our_error_behind_the_heartbeat_of_its_row_only(form: HeartbeatForm) -> None:
    heartbeat = HeartbeatWriter(HeartbeatPolicy(form=form)).write(Scanner())
    assert heartbeat is not None
    error = error_event(Dialect.OPENAI_CHAT, StreamError("idle_timeout", 504, "silent for too long"))
    row = next(client for client in KNOWN_CLIENTS if client.name == "go-openai")
    assert go_openai(heartbeat + error) == ("silent for too long" if form is row.form else None)
