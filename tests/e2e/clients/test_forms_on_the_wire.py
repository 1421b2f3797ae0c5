"""Which bytes does a client get, of which it hands out nothing?"""

import http.client
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tests.e2e.clients.recordings import Cutting, Ids, recording
from tests.e2e.clients.replay import ReplayUpstream
from tests.support.sseproxy_process import SseproxyProcess

STAINLESS = {"X-Stainless-Lang": "python"}
GOOGLE = {"X-Goog-Api-Client": "google-genai-sdk/3.4.0 gl-python/3.11.7"}
HTTPX = {"User-Agent": "python-httpx/0.28.1"}
PAGE = {"User-Agent": "Mozilla/5.0", "Accept": "text/event-stream"}
NOBODY: Mapping[str, str] = {}

LINE, BLOCK = b": heartbeat\n", b": heartbeat\n\n"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
KEEPALIVE = b'event: keepalive\ndata: {"type":"keepalive"}\n\n'


@dataclass(frozen=True)
class Case:
    """heartbeat: the bytes that a client with these `headers` must get on this `route`."""

    name: str
    route: str
    stream: str
    headers: Mapping[str, str]
    heartbeat: bytes

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> str:
        return f"/{self.route}/wire/{self.stream}/{Ids.PLAIN}/{Cutting.EVENTS}"


CASES = (
    Case("auto, unknown client", "generic", "openai-chat", NOBODY, BLOCK),
    Case("auto, Stainless", "generic", "openai-chat", STAINLESS, LINE),
    Case("auto, httpx", "generic", "generic", HTTPX, LINE),
    Case("auto, a page", "generic", "generic", PAGE, LINE),
    Case("auto, Google", "generic", "anthropic", GOOGLE, b"\n"),
    Case("dialect openai-chat", "openai-chat", "openai-chat", STAINLESS, LINE),
    Case("dialect openai-responses", "openai-responses", "openai-responses", STAINLESS, LINE),
    Case("dialect anthropic", "anthropic", "anthropic", NOBODY, PING),
    Case("dialect anthropic, Stainless", "anthropic", "anthropic", STAINLESS, LINE),
    Case("form blank", "form-blank", "openai-chat", STAINLESS, b"\n"),
    Case("form anthropic", "form-anthropic", "anthropic", NOBODY, PING),
    Case("form event", "form-event", "generic", PAGE, b"event: heartbeat\ndata: {}\n\n"),
)


@pytest.fixture(scope="module")
def bodies(proxy: SseproxyProcess) -> Mapping[str, bytes]:
    """What came, by the name of the case."""
    with ThreadPoolExecutor(len(CASES)) as pool:
        read = pool.map(lambda case: _read(proxy.url, case.path, case.headers), CASES)
        return dict(zip(map(str, CASES), read, strict=True))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_heartbeats_have_the_form(case: Case, bodies: Mapping[str, bytes]) -> None:
    body, sent = bodies[case.name], recording(case.stream)
    assert body.count(case.heartbeat) - sent.count(case.heartbeat) >= 3
    assert body.replace(case.heartbeat, b"") == sent.replace(case.heartbeat, b"")


def test_keepalives_begin_behind_the_first_event(proxy: SseproxyProcess) -> None:
    """The helpers of the SDKs insist on ``response.created`` as the first event."""
    body = _read(proxy.url, f"/form-openai-responses/wire/openai-responses/{Ids.PLAIN}/{Cutting.EVENTS}", NOBODY)
    first, rest = body.split(b"event: response.created\n")
    assert first == first.count(BLOCK) * BLOCK
    assert rest.count(KEEPALIVE) >= 3
    assert rest.replace(KEEPALIVE, b"") == recording("openai-responses").split(b"event: response.created\n")[1]


def test_a_comment_block_becomes_a_line_once_an_id_was_sent(proxy: SseproxyProcess) -> None:
    body = _read(proxy.url, f"/generic/wire/openai-chat/{Ids.IDS}/{Cutting.EVENTS}", NOBODY)
    before, _, after = body.partition(b"id: evt_1\n")
    assert before == before.count(BLOCK) * BLOCK
    assert after.count(LINE) >= 3
    assert after.count(BLOCK) == 0
    assert after.replace(LINE, b"") == recording("openai-chat", Ids.IDS).partition(b"id: evt_1\n")[2]


def test_flags_are_enough(upstream: ReplayUpstream) -> None:
    flags = ("--upstream", upstream.url, "--listen", "127.0.0.1:0", "--heartbeat", "20ms", "--dialect", "anthropic")
    with SseproxyProcess(*flags) as process:
        body = _read(process.url, f"/any/wire/anthropic/{Ids.PLAIN}/{Cutting.CUT}", NOBODY)
    assert body.count(PING) > recording("anthropic").count(PING)


def _read(url: str, path: str, headers: Mapping[str, str]) -> bytes:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request("GET", path, headers=dict(headers))
        return connection.getresponse().read()
    finally:
        connection.close()
