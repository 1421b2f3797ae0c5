"""Does each configuration in docs/recipes.md and docs/gateways.md do what the recipe promises?"""

import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from sseproxy.config.loader import load
from sseproxy.engine.live import LiveStreams
from tests.support.http1_reader import Message
from tests.support.proxy_server import ProxyServer
from tests.support.raw_upstream import RawUpstream, Script, Visit
from tests.support.timed_client import Client, request, sent
from tests.support.virtual_clock import passing

DOCS = Path(__file__).parents[2] / "docs"
RECIPES = "\n".join((DOCS / name).read_text(encoding="utf-8") for name in ("recipes.md", "gateways.md"))

#: Seconds: longer than an answer may be silent.
LONG = 20 * 60.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
BEAT = b": heartbeat\n"

ANY, EVENTS, NO_CACHE = b"Accept: */*", b"Accept: text/event-stream", b"Cache-Control: no-cache"
BOTH = b"Accept: application/json, text/event-stream"
ASK = b'{"model": "m", "stream": true}'


@dataclass(frozen=True, slots=True)
class Kitchen:
    """A proxy with a recipe's routes, and one upstream for all of them."""

    proxy: ProxyServer

    @contextlib.asynccontextmanager
    async def asked(self, request: bytes, *, after: float) -> AsyncIterator[Client]:
        """Send a request and let time pass."""
        async with sent(request, self.proxy.port) as client:
            await passing(after)
            yield client


def blocks(heading: str) -> list[str]:
    """The YAML under a heading."""
    section = re.search(rf"(?ms)^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", RECIPES)
    assert section, heading
    return re.findall(r"(?ms)^```yaml\n(.*?)^```", section[1])


@contextlib.asynccontextmanager
async def kitchen(
    heading: str, script: Script, folder: Path, *, number: int = 0, **environ: str
) -> AsyncIterator[Kitchen]:
    """number: of the configuration under the heading."""
    (folder / "c.yaml").write_text(blocks(heading)[number], encoding="utf-8")
    config = load(folder / "c.yaml", flags={}, environ=environ)
    async with RawUpstream.serve(script) as upstream:
        routes = [
            replace(
                route,
                upstream=replace(route.upstream, host="127.0.0.1", port=upstream.port),
                authorize=route.authorize
                and replace(route.authorize, upstream=replace(route.authorize.upstream, port=upstream.port)),
            )
            for route in config.routes
            if route.upstream is not None
        ]
        async with ProxyServer.serve(*routes, streams=LiveStreams(linger=0.0), end_key=b"k" * 32) as proxy:
            yield Kitchen(proxy)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answers(response: bytes = b"", *, after: float = 0.0) -> Script:
    """Each request gets `response`, and then silence; without a response, nothing."""

    async def script(visit: Visit) -> None:
        await visit.request()
        if response:
            await passing(after)
            await visit.send(response)
        await passing(10 * LONG)

    return script


MODEL = "An LLM service behind a gateway"
TOOL = request(b"POST /mcp", BOTH, b"Mcp-Session-Id: 1", body=b'{"jsonrpc":"2.0","id":7,"method":"tools/call"}')
FIRST_CALL = request(b"POST /mcp", BOTH, body=b'{"jsonrpc":"2.0","id":1,"method":"initialize"}')


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/responses", b"/v1/messages"])
async def test_a_model_that_thinks_is_kept_alive(path: bytes, tmp_path: Path) -> None:
    async with (
        kitchen(MODEL, answers(), tmp_path) as on,
        on.asked(request(b"POST " + path, ANY, body=ASK), after=60.0) as client,
    ):
        assert client.first_at == pytest.approx(10.0, abs=0.5)
        assert client.body.count(BEAT) == 4


async def test_a_late_error_of_a_model_keeps_its_code(tmp_path: Path) -> None:
    error = b'{"error": {"message": "Too long.", "code": "context_length_exceeded"}}'
    refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(error)
    async with (
        kitchen(MODEL, answers(refusal + error, after=20.0), tmp_path) as on,
        on.asked(request(b"POST /v1/chat/completions", ANY, body=ASK), after=21.0) as client,
    ):
        assert b'data: {"error": {"message": "Too long."' in client.body
        assert b'"code": "context_length_exceeded"' in client.body
        assert not client.is_whole


@pytest.mark.parametrize(("number", "field"), [(None, b"User-Agent: codex_exec/0.171.0"), (0, b"User-Agent: hidden")])
async def test_codex_gets_events(number: int | None, field: bytes, tmp_path: Path) -> None:
    asked = request(b"POST /v1/responses", EVENTS, field, body=ASK)
    cooked = (
        kitchen(MODEL, answers(), tmp_path) if number is None else kitchen("Agents", answers(), tmp_path, number=number)
    )
    async with cooked as on, on.asked(asked, after=60.0) as client:
        assert client.body == b'event: keepalive\ndata: {"type":"keepalive"}\n\n' * 4


async def test_cursor_gets_a_byte_within_ten_seconds(tmp_path: Path) -> None:
    asked = request(b"POST /v1/chat/completions", ANY, body=ASK)
    async with (
        kitchen("Agents", answers(), tmp_path, number=1) as on,
        on.asked(asked, after=30.0) as client,
    ):
        assert client.first_at == pytest.approx(5.0, abs=0.5)
        assert client.body.count(BEAT) >= 6


async def test_a_tool_call_is_kept_alive_and_initialize_is_not_answered_early(tmp_path: Path) -> None:
    async with kitchen("An MCP server behind a gateway", answers(), tmp_path) as on:
        async with on.asked(TOOL, after=20.0) as client:
            assert client.body == BEAT
        async with on.asked(FIRST_CALL, after=20.0) as client:
            assert client.data == b""


async def test_a_late_result_in_json_becomes_a_message(tmp_path: Path) -> None:
    result = b'{"jsonrpc":"2.0","id":7,"result":{}}'
    late = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(result) + result
    async with (
        kitchen("An MCP server behind a gateway", answers(late, after=12.0), tmp_path) as on,
        on.asked(TOOL, after=13.0) as client,
    ):
        assert client.body == BEAT + b"event: message\ndata: " + result + b"\n\n"
        assert client.is_whole


@pytest.mark.parametrize("field", [b"Cache-Control: no-cache", b"Cache-Control: no-store"])
async def test_the_session_of_the_old_mcp_transport_lives_through_a_drain(field: bytes, tmp_path: Path) -> None:
    async with (
        kitchen("An MCP server behind a gateway", answers(HEAD + chunk(b"data: x\n\n")), tmp_path) as on,
        on.asked(request(b"GET /sse", EVENTS, field), after=LONG) as client,
    ):
        on.proxy.app.drain(timeout=25.0, spread=5.0)
        await passing(24.0)
        assert client.ended_at is None


async def test_both_apis_of_ollama_are_kept_alive(tmp_path: Path) -> None:
    async with kitchen("Ollama", answers(), tmp_path) as on:
        async with on.asked(request(b"POST /api/chat", ANY, body=b'{"model": "m"}'), after=60.0) as client:
            assert (client.status, client.body) == (200, b"    ")
        async with on.asked(request(b"POST /api/embed", ANY, body=b'{"model": "m"}'), after=60.0) as client:
            assert client.data == b""
        async with on.asked(request(b"POST /v1/chat/completions", ANY, body=ASK), after=60.0) as client:
            assert client.status == 200


@pytest.mark.parametrize(
    "asked",
    [
        request(b"GET /notifications", EVENTS, NO_CACHE),
        request(b"GET /notifications", ANY),
        request(b"POST /graphql", EVENTS, body=b'{"query": "subscription { n }"}'),
    ],
    ids=["EventSource", "curl", "subscription"],
)
async def test_a_feed_may_be_silent_for_longer_than_an_answer(asked: bytes, tmp_path: Path) -> None:
    async with (
        kitchen("Feeds that are silent for hours", answers(HEAD + chunk(b"data: x\n\n")), tmp_path) as on,
        on.asked(asked, after=LONG) as client,
    ):
        assert client.ended_at is None
        assert client.body.count(BEAT) >= LONG // 15


@pytest.mark.parametrize(("event", "is_last"), [(b"data: 1\n\n", False), (b"event: done\ndata: 1\n\n", True)])
async def test_a_browser_stops_behind_the_marker_only(event: bytes, is_last: bool, tmp_path: Path) -> None:
    async with (
        kitchen("A service that sends pages of events", answers(HEAD + chunk(event) + END), tmp_path) as on,
        on.asked(request(b"GET /jobs", EVENTS, NO_CACHE), after=0.5) as client,
    ):
        assert client.body.startswith(event)
        assert (b"id: sseproxy-end-" in client.body) is is_last
        assert client.is_whole


@pytest.mark.parametrize(
    ("line", "body", "is_declared"),
    [
        (b"POST /api/v1/prediction/1", b'{"question": "q", "streaming": true}', True),
        (b"POST /api/v1/prediction/1", b'{"question": "q", "streaming": false}', False),
        (b"POST /v1/chat-messages", b'{"query": "q", "response_mode": "streaming"}', True),
        (b"POST /v1/chat-messages", b'{"query": "q", "response_mode": "blocking"}', False),
        (b"POST /api/v1/run/1?stream=true", b'{"input_value": "q"}', True),
        (b"POST /api/v1/run/1?stream=false", b'{"input_value": "q"}', False),
        (b"POST /v1/audio/transcriptions", b"--a\r\n", False),
        (b"POST /other", b'{"streaming": true}', False),
    ],
)
async def test_another_word_for_stream_declares_one(
    line: bytes, body: bytes, is_declared: bool, tmp_path: Path
) -> None:
    async with (
        kitchen('Services with other words for "stream"', answers(), tmp_path) as on,
        on.asked(request(line, ANY, body=body), after=11.0) as client,
    ):
        assert (client.data[9:12] == b"200") is is_declared


@pytest.mark.parametrize("fields", [[], [b"Cookie: session=1"], [b"X-User: root", b"Cookie: session=1"]])
async def test_who_may_read_a_stream(fields: list[bytes], tmp_path: Path) -> None:
    """The app that is asked and the service are one program here: it tells them apart by the path."""
    asked: list[Message] = []

    async def script(visit: Visit) -> None:
        while True:
            asked.append(await visit.request())
            if asked[-1].target != b"/whoami":
                await visit.send(HEAD)
            elif asked[-1].one(b"Cookie") is None:
                await visit.send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
            else:
                await visit.send(b"HTTP/1.1 204 Yes\r\nX-User: alice\r\n\r\n")

    async with (
        kitchen("Who may read this stream", script, tmp_path) as on,
        on.asked(request(b"GET /events", EVENTS, NO_CACHE, *fields), after=0.5) as client,
    ):
        assert client.data[9:12] == (b"200" if fields else b"401")
        assert [each.target for each in asked] == [b"/whoami", b"/events"][: 2 if fields else 1]
        assert not fields or asked[1].all(b"X-User") == [b"alice"]


async def test_a_load_balancer_gets_a_byte_with_the_head_and_every_five_seconds(tmp_path: Path) -> None:
    async with (
        kitchen("AWS ALB", answers(HEAD), tmp_path) as on,
        on.asked(request(b"GET /events", EVENTS, NO_CACHE), after=30.0) as client,
    ):
        assert client.first_at == pytest.approx(0.0, abs=0.5)
        assert client.body.count(BEAT) >= 7


async def test_a_model_behind_nginx_is_kept_alive(tmp_path: Path) -> None:
    asked = request(b"POST /v1/chat/completions", ANY, body=ASK)
    async with kitchen("nginx", answers(), tmp_path) as on, on.asked(asked, after=60.0) as client:
        assert client.first_at == pytest.approx(10.0, abs=0.5)
        assert client.body.count(BEAT) == 4


def test_the_container_of_a_pod_listens_where_it_is_asked_and_drains_in_time() -> None:
    pod = yaml.safe_load(blocks("Kubernetes")[0])["spec"]
    (container,) = pod["initContainers"]
    command, *flags = container["args"]
    assert command == "serve"
    config = load(None, flags=dict(zip(flags[::2], flags[1::2], strict=True)), environ={})
    assert config.admin is not None
    assert [{"containerPort": address.port} for address in config.server.listen] == container["ports"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == config.admin.listen.port
    drain = config.server.drain_timeout
    assert drain is not None
    assert pod["terminationGracePeriodSeconds"] > drain + 5.0


async def test_a_heartbeat_can_be_two_kilobytes_long(tmp_path: Path) -> None:
    heading = "Hops that hold small pieces back"
    async with (
        kitchen(heading, answers(HEAD), tmp_path, PADDING="0" * 2048) as on,
        on.asked(request(b"GET /events", ANY), after=0.5) as client,
    ):
        assert client.body == b": " + b"0" * 2048 + b"\n\n"
