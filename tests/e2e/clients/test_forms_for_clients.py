"""Which heartbeats does a client get that we cannot run here, by what it sends? And what never comes where?

The header fields are those that the clients sent when they were measured; the proxy knows nothing of its upstream but
the address.
"""

import http.client
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tests.e2e.clients.endings import REQUEST_ID, SERVICES
from tests.e2e.clients.ends_upstream import EndsUpstream, serving
from tests.e2e.clients.scenes import Scene
from tests.support.sseproxy_process import SseproxyProcess

_CONFIG = """
server: {listen: 127.0.0.1:0}
defaults:
  heartbeat: {interval: 30ms, before_response: 50ms}
routes:
  - {match: {prefix: /form-chat}, upstream: UPSTREAM, heartbeat: {form: openai-chat}}
  - {match: {prefix: /form-responses}, upstream: UPSTREAM, heartbeat: {form: openai-responses}}
  - {match: {prefix: /}, upstream: UPSTREAM}
"""
JSON = {"Content-Type": "application/json"}
MCP = {**JSON, "Accept": "application/json, text/event-stream"}
STREAM = {**JSON, "Accept": "text/event-stream"}
CODEX = {**STREAM, "Originator": "codex_exec", "User-Agent": "codex_exec/0.171.0 (Debian 12.0.0; x86_64) unknown"}
GO_OPENAI = {**STREAM, "User-Agent": "Go-http-client/1.1", "Cache-Control": "no-cache", "Connection": "keep-alive"}
MCP_JAVA = {**MCP, "User-Agent": "Java-http-client/17.0.15", "Mcp-Session-Id": "session-1"}
MCP_JAVA_OLDER = {**MCP, "User-Agent": "ReactorNetty/1.2.4"}
CURL = {**JSON, "Accept": "*/*", "User-Agent": "curl/8.5.0"}

LEAST = 1  # heartbeats in a silence: a busy machine has no time for more
LINE, BLANK = b": heartbeat\n", b"\n"
KEEPALIVE = b'event: keepalive\ndata: {"type":"keepalive"}\n\n'
_ASK = b'{"model": "m", "stream": true}'
_CALL = b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "slow", "arguments": {}}}'
_PATHS = {
    "openai-chat": "v1/chat/completions",
    "openai-completions": "v1/completions",
    "openai-responses": "v1/responses",
    "mcp": "mcp",
}


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """heartbeat: the bytes of each. MCP has no terminal event: there they go on behind the answer."""

    name: str
    service: str
    headers: Mapping[str, str]
    heartbeat: bytes
    route: str = "any"

    def __str__(self) -> str:
        return self.name


CASES = (
    Case("Codex", "openai-responses", CODEX, KEEPALIVE),
    Case("go-openai", "openai-chat", GO_OPENAI, BLANK),
    Case("MCP Java SDK", "mcp", MCP_JAVA, LINE),
    Case("MCP Java SDK in older Spring AI", "mcp", MCP_JAVA_OLDER, LINE),
    Case("any MCP client", "mcp", {**MCP, "User-Agent": "node"}, LINE),
)
#: Forms that carry data, whose own place is not everywhere.
CHAT_OF_ANOTHER_OBJECT = Case("chat form, text completion", "openai-completions", CURL, b"", route="form-chat")
RESPONSES = Case("responses form", "openai-responses", CURL, KEEPALIVE, route="form-responses")


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[Case, bytes]]:
    with serving(EndsUpstream()) as upstream:
        config = tmp_path_factory.mktemp("forms") / "sseproxy.yaml"
        config.write_text(_CONFIG.replace("UPSTREAM", upstream.url))
        cases = [*CASES, CHAT_OF_ANOTHER_OBJECT, RESPONSES]
        with SseproxyProcess("-c", str(config)) as proxy, ThreadPoolExecutor(len(cases)) as pool:
            read = pool.map(lambda case: _read(proxy.url, case), cases)
            yield dict(zip(cases, read, strict=True))


def _read(url: str, case: Case) -> bytes:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        target = f"/{case.route}/{case.service}/scene/{Scene.PAUSES}/{_PATHS[case.service]}"
        connection.request("POST", target, _CALL if case.service == "mcp" else _ASK, dict(case.headers))
        return connection.getresponse().read()
    finally:
        connection.close()


def _events(case: Case) -> list[bytes]:
    return [event.replace(REQUEST_ID, b"7") for event in SERVICES[case.service].events]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_client_gets_the_form_that_it_understands(case: Case, bodies: Mapping[Case, bytes]) -> None:
    some = SERVICES[case.service].some
    silences, rest = [], bodies[case]
    for event in _events(case):
        # On a busy machine heartbeats may come between any two events, and not in the pauses alone.
        silence, found, rest = rest.partition(event)
        assert found == event
        silences.append(silence)
    assert {silence.replace(case.heartbeat, b"") for silence in (*silences, rest)} == {b""}
    assert min(silence.count(case.heartbeat) for silence in (silences[0], silences[some])) >= LEAST
    assert case.service == "mcp" or rest == b""


def test_a_chat_chunk_is_no_heartbeat_for_another_object(bodies: Mapping[Case, bytes]) -> None:
    assert b"chat.completion.chunk" not in bodies[CHAT_OF_ANOTHER_OBJECT]
    assert bodies[CHAT_OF_ANOTHER_OBJECT].count(LINE) >= LEAST


def test_nothing_follows_the_end_of_a_response(bodies: Mapping[Case, bytes]) -> None:
    events = _events(RESPONSES)
    assert bodies[RESPONSES].endswith(events[-1])
    assert bodies[RESPONSES].count(KEEPALIVE) >= LEAST
