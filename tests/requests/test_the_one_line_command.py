"""Does the proxy do to each kind of request what the table in docs/requests.md says?

The configuration is that of the command, and so are the times: the clock jumps.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sseproxy.config.loader import load
from sseproxy.config.settings import Config
from sseproxy.engine.live import LiveStreams
from tests.support.proxy_server import ProxyServer
from tests.support.raw_upstream import RawUpstream, Script, Visit
from tests.support.timed_client import Client, request, sent
from tests.support.virtual_clock import passing

MANUAL = (Path(__file__).parents[2] / "docs/requests.md").read_text(encoding="utf-8")

BEFORE_RESPONSE, LIMIT = 10.0, 15 * 60.0
INTERVAL, LEAD = 15.0, 1.5
DRAIN, SPREAD = 25.0, 5.0

#: Seconds after which a silence that still lasts has no limit.
LONG = LIMIT + 5 * 60.0

#: Seconds in which nothing happens but work.
SOON = 0.5

#: Seconds for which a stream that breaks stays open.
LINGER = 1.0


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request, and how an upstream answers it.

    first: what follows the head, before the silence. last_word: what a stream of sseproxy's making ends with.
    beat: a heartbeat.
    """

    request: bytes
    head: bytes
    first: bytes
    last_word: bytes = rb'data: \{[^\n]*"error"[^\n]*\}\n\n\Z'
    beat: bytes = b": heartbeat\n"


def part_of(media: bytes) -> tuple[bytes, bytes]:
    """The head of a plain body, and a part of it."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: " + media + b"\r\nContent-Length: 1000\r\n\r\n", b"a part\n"


EVENT = b'data: {"n": 1}\n\n'
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"%x\r\n%b\r\n" % (len(EVENT), EVENT),
)
RECORD = b'{"n":1}\n'
RECORDS = STREAM[0].replace(b"text/event-stream", b"application/x-ndjson"), b"%x\r\n%b\r\n" % (len(RECORD), RECORD)
ERROR_RECORD = rb'(?:\A|\n) *\{"error": "[^\n]*\}\n\Z'
JSON = b'{"n": 1}'
WHOLE_JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(JSON), JSON
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", b"\x81\x01a"

ANY, EVENTS = b"Accept: */*", b"Accept: text/event-stream"
BOTH, SESSION = b"Accept: application/json, text/event-stream", b"Mcp-Session-Id: 1"
ASK = b'{"model": "m", "stream": true}'
CHAT = b'{"model": "m", "messages": []}'
CALL = b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {}}'
OLLAMA = b"User-Agent: ollama-python/0.6.3 (x86_64 linux) Python/3.11.7"
UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: a", b"Sec-WebSocket-Version: 13")

ANSWER = request(b"POST /v1/chat/completions", ANY, body=ASK)

FORM = b'--x\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n--x--\r\n'
UPLOAD = b"POST /upload HTTP/1.1\r\nHost: a.test\r\nContent-Type: multipart/form-data; boundary=x\r\n"
UPLOAD += b"Content-Length: %d\r\n\r\n%b" % (len(FORM), FORM)

#: By the beginning of the row's first cell.
KINDS: Mapping[str, Kind] = {
    "a page": Kind(request(b"GET /", b"Accept: text/html,*/*"), *part_of(b"text/html")),
    "a download": Kind(request(b"GET /file", ANY), *part_of(b"application/octet-stream")),
    "a feed by `EventSource`": Kind(request(b"GET /events", EVENTS, b"Cache-Control: no-cache"), *STREAM),
    "a feed by another client": Kind(request(b"GET /events", ANY), *STREAM),
    "an answer": Kind(ANSWER, *STREAM),
    "the same": Kind(ANSWER, *WHOLE_JSON),
    "an upload": Kind(UPLOAD, *part_of(b"text/plain")),
    "a plain JSON POST": Kind(request(b"POST /items", ANY, body=b'{"a": 1}'), *part_of(b"application/json")),
    "MCP, a tool call": Kind(request(b"POST /mcp", BOTH, SESSION, body=CALL), *STREAM),
    "MCP, `initialize`": Kind(request(b"POST /mcp", BOTH, body=CALL.replace(b"tools/call", b"initialize")), *STREAM),
    "MCP, the GET of a session": Kind(request(b"GET /mcp", BOTH, SESSION), *STREAM, rb": \w+\n\Z"),
    "Ollama: POST": Kind(request(b"POST /api/chat", ANY, OLLAMA, body=CHAT), *RECORDS, ERROR_RECORD, b" "),
    'Ollama, `"stream": false`': Kind(
        request(b"POST /api/chat", ANY, OLLAMA, body=b'{"stream": false}'), *part_of(b"application/json")
    ),
    "NDJSON of another service": Kind(request(b"GET /export", ANY), *part_of(b"application/x-ndjson")),
    "a WebSocket": Kind(request(b"GET /ws", *UPGRADE), *SWITCH),
    "HEAD": Kind(request(b"HEAD /", ANY), b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b""),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """A request that has been sent, through the proxy that the command starts."""

    kind: Kind
    client: Client
    proxy: ProxyServer
    config: Config

    @property
    def heartbeats(self) -> int:
        return self.client.body.count(self.kind.beat)

    def drain(self) -> None:
        server = self.config.server
        self.proxy.app.drain(timeout=server.drain_timeout, spread=server.drain_spread)


@contextlib.asynccontextmanager
async def scene(kind: Kind, *, head_after: float | None, places: int | None = None) -> AsyncIterator[Scene]:
    """head_after: seconds after which the upstream answers, and falls silent; ``None``: it never does.

    places: `limits.streams`.
    """
    async with RawUpstream.serve(_silent_after(kind, head_after)) as upstream:
        flags = {"--upstream": f"http://127.0.0.1:{upstream.port}", "--before-response": "10s"}
        config = load(None, flags=flags, environ={})
        routes = [replace(route, limits=replace(route.limits, streams=places)) for route in config.routes]
        async with (
            ProxyServer.serve(*routes, streams=LiveStreams(linger=LINGER)) as proxy,
            sent(kind.request, proxy.port) as client,
        ):
            yield Scene(kind, client, proxy, config)


def _silent_after(kind: Kind, head_after: float | None) -> Script:
    async def script(visit: Visit) -> None:
        await visit.request()
        if head_after is not None:
            await passing(head_after)
            await visit.send(kind.head + kind.first)
        await passing(2 * LONG)

    return script


# Before the response head.


async def it_waits(kind: Kind) -> None:
    async with scene(kind, head_after=None) as on:
        await passing(LIMIT - 1)
        assert on.client.data == b""
        await passing(1 + SOON)
        assert on.client.status == 504


async def it_is_answered_early(kind: Kind) -> None:
    async with scene(kind, head_after=None) as on:
        await passing(LIMIT - 1)
        assert on.client.first_at == pytest.approx(BEFORE_RESPONSE, abs=SOON)
        assert on.client.status == 200
        assert on.heartbeats >= (LIMIT - 1 - BEFORE_RESPONSE) // INTERVAL
        await passing(1 + LINGER + SOON)
        assert_told_and_broken(on)


# In the middle.


async def it_beats_without_a_limit(kind: Kind) -> None:
    async with scene(kind, head_after=0.0) as on:
        await passing(LONG)
        assert on.client.ended_at is None
        assert LONG // INTERVAL <= on.heartbeats <= LONG // (INTERVAL - LEAD) + 1


async def it_beats_and_is_given_up(kind: Kind) -> None:
    async with scene(kind, head_after=0.0) as on:
        await passing(LIMIT - 1)
        assert on.client.ended_at is None
        assert on.heartbeats >= (LIMIT - 1) // INTERVAL
        await passing(1 + LINGER + SOON)
        assert_told_and_broken(on)


async def it_is_untouched(kind: Kind) -> None:
    async with scene(kind, head_after=0.0) as on:
        await passing(LONG)
        assert on.client.ended_at is None
        assert on.client.body == kind.first
        assert on.client.last_at < SOON


async def it_becomes_one_event(kind: Kind) -> None:
    async with scene(kind, head_after=3 * BEFORE_RESPONSE) as on:
        await passing(3 * BEFORE_RESPONSE + SOON)
        assert on.client.body.replace(b": heartbeat\n\n", b"") == b"data: " + kind.first + b"\n\n"
        assert on.client.is_whole


async def it_has_no_body(kind: Kind) -> None:
    async with scene(kind, head_after=0.0) as on:
        await passing(SOON)
        assert on.client.status == 200
        assert on.client.body == b""


# On a drain.


async def it_is_told_to_come_back(kind: Kind) -> None:
    async with scene(kind, head_after=0.0) as on:
        await passing(SOON)
        on.drain()
        await passing(SPREAD + SOON)
        assert re.search(rb"\nretry: \d+\n", on.client.body)
        assert on.client.is_whole


async def it_may_finish_and_gets_an_error_event(kind: Kind) -> None:
    is_late = kind.first == JSON
    async with scene(kind, head_after=None if is_late else 0.0) as on:
        await passing(BEFORE_RESPONSE + SOON)
        on.drain()
        await passing(DRAIN - 1)
        assert on.client.ended_at is None
        assert b"error" not in on.client.body
        await passing(1 + LINGER + SOON)
        assert_told_and_broken(on)


async def it_may_finish_and_breaks(kind: Kind) -> None:
    async with scene(kind, head_after=0.0) as on:
        await passing(SOON)
        on.drain()
        await passing(DRAIN - 1)
        assert on.client.ended_at is None
        await passing(1 + LINGER + SOON)
        assert on.client.ended_at is not None
        assert on.client.body == kind.first


async def it_may_finish_and_is_refused(kind: Kind) -> None:
    async with scene(kind, head_after=None) as on:
        await passing(SOON)
        on.drain()
        await passing(DRAIN - SOON)
        assert on.client.data == b""
        on.proxy.app.abort()
        await passing(SOON)
        assert on.client.status == 503


def assert_told_and_broken(on: Scene) -> None:
    """The body ends with the error event, or the comment where there is none, and has no last chunk."""
    assert re.search(on.kind.last_word, on.client.body), on.client.body[-200:]
    assert on.client.ended_at is not None
    assert not on.client.is_whole


Check = Callable[[Kind], Awaitable[None]]

#: What each cell of a column may say, and what shows it.
BEFORE: Mapping[str, Check] = {
    "waits; 504 after 15 min": it_waits,
    "200 and heartbeats after 10 s": it_is_answered_early,
    "200 and spaces after 10 s": it_is_answered_early,
}
MIDDLE: Mapping[str, Check] = {
    "heartbeats; silence has no limit": it_beats_without_a_limit,
    "heartbeats; error event and broken after 15 min": it_beats_and_is_given_up,
    "spaces; error record and broken after 15 min": it_beats_and_is_given_up,
    "untouched; silence has no limit": it_is_untouched,
    "one event with the JSON, and a clean end": it_becomes_one_event,
    "no body": it_has_no_body,
}
ON_DRAIN: Mapping[str, Check] = {
    "`retry:` and a clean end within 5 s": it_is_told_to_come_back,
    "may finish; error event and broken after 25 s": it_may_finish_and_gets_an_error_event,
    "may finish; error record and broken after 25 s": it_may_finish_and_gets_an_error_event,
    "may finish; broken after 25 s": it_may_finish_and_breaks,
    "may finish; 503 after 25 s": it_may_finish_and_is_refused,
}


def rows() -> dict[str, list[str]]:
    """The cells behind the first one, by the beginning of that."""
    table = re.search(r"(?ms)^\|---[^\n]*\n(.*?)\n\n", MANUAL)
    assert table
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]
    by_name = sorted(KINDS, key=len, reverse=True)
    return {next(name for name in by_name if cells[0].startswith(name)): cells[1:] for cells in lines}


ROWS = rows()


def test_the_document_has_each_kind_of_request() -> None:
    assert list(ROWS) == list(KINDS)


@pytest.mark.parametrize("name", KINDS)
async def test_whether_it_is_declared(name: str) -> None:
    """A declared request takes a place among the streams before its response is known, and no other does."""
    kind = KINDS[name]
    async with scene(kind, head_after=None, places=1) as on:
        await passing(SOON)
        async with sent(kind.request, on.proxy.port) as second:
            await passing(SOON)
            assert ("yes" if second.data and second.status == 503 else "no") == ROWS[name][0]


@pytest.mark.parametrize(("kind", "counts"), [("a feed by `EventSource`", True), ("an answer", False)])
async def test_what_the_head_declares_counts_from_the_head_on(kind: str, counts: bool) -> None:
    """With a body that does not end: one that only the body declares does not count yet."""
    asked = KINDS[kind].request.removesuffix(ASK)
    if counts:
        asked = request(b"POST /events", EVENTS, b"Content-Length: 9")
    async with (
        scene(replace(KINDS[kind], request=asked), head_after=None, places=1) as on,
        sent(KINDS["a feed by `EventSource`"].request, on.proxy.port) as second,
    ):
        await passing(SOON)
        assert (bool(second.data) and second.status == 503) is counts


@pytest.mark.parametrize("name", KINDS)
async def test_before_the_response_head(name: str) -> None:
    await BEFORE[ROWS[name][1]](KINDS[name])


@pytest.mark.parametrize("name", KINDS)
async def test_in_the_middle(name: str) -> None:
    await MIDDLE[ROWS[name][2]](KINDS[name])


@pytest.mark.parametrize("name", KINDS)
async def test_on_a_drain(name: str) -> None:
    await ON_DRAIN[ROWS[name][3]](KINDS[name])
