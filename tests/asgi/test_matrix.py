"""Does the middleware keep its promises under every ASGI server and in every framework? All of them really run."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.asgi.apps.source import EVENTS, HEARTBEAT
from tests.support.asgi_servers import SERVERS, AsgiServer, ServerLine
from tests.support.blocking_peer import ClientPeer
from tests.support.processes import wait_until
from tests.support.whatwg import Event, parse

BEAT = b": heartbeat"

#: Framework to its response styles: prefixes of the paths under which its app has both streams.
FRAMEWORKS: dict[str, tuple[str, ...]] = {
    "raw": ("",),
    "starlette_app": ("",),
    "fastapi_app": ("/generator", "/class", "/streaming"),
    "sse_starlette_app": ("",),
    "django_app": ("",),
    "quart_app": ("",),
    "litestar_app": ("",),
}

CELLS = [(server, framework) for server in SERVERS for framework in FRAMEWORKS]
STYLES = [(server, framework, style) for server, framework in CELLS for style in FRAMEWORKS[framework]]

EXPECTED = [Event(event.type, event.data, event.id) for event in EVENTS]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerLine]:
    tmp_path_factory.getbasetemp()  # now, by one: servers are started by several threads, and each would make it

    def start(cell: tuple[str, str]) -> AsgiServer:
        server, framework = cell
        record = tmp_path_factory.mktemp("record") / "record"
        started = AsgiServer(server, f"tests.asgi.apps.{framework}:application", record)
        started.wait_until_ready()
        return started

    line = ServerLine(CELLS, start)
    yield line
    line.close()


@pytest.fixture(scope="module")
def server(line: ServerLine, request: Any) -> Iterator[AsgiServer]:
    with line.use(request.param) as server:
        yield server


def everywhere(test: Any) -> Any:
    """In each cell, and in each of its response styles; a server runs for all tests of its cell."""
    values = [((server, framework), style) for server, framework, style in STYLES]
    ids = [f"{server}-{framework.removesuffix('_app')}{style.replace('/', '-')}" for server, framework, style in STYLES]
    return pytest.mark.parametrize(("server", "style"), values, indirect=["server"], ids=ids, scope="module")(test)


@everywhere
def test_in_each_cell(server: AsgiServer, style: str) -> None:
    with ClientPeer(server.url) as client:
        _events_are_unchanged_and_the_end_is_an_end(client, style)
        _silence_is_kept_alive(client, style)
        before = server.recorded().count("stopped")
        left = time.monotonic()
    wait_until(lambda: server.recorded().count("stopped") == before + 1)
    stopped = [float(line.removeprefix("at ")) for line in server.recorded() if line.startswith("at ")]
    assert stopped[-1] - left < 20  # and not only when the server gives the connection up, after a minute or never
    assert server.wrongs() == []


def _events_are_unchanged_and_the_end_is_an_end(client: ClientPeer, style: str) -> None:
    client.ask(f"{style}/events")
    answer = client.read_head()
    assert answer.status == 200
    assert "no-transform" in answer.headers["cache-control"]
    body = client.read_body()
    assert body.is_whole
    assert body.rest == b""
    assert parse(body.data).events == EXPECTED
    assert body.data.count(BEAT) >= len(EVENTS)
    assert parse(re.sub(BEAT + rb"\r?\n", b"", body.data)).events == EXPECTED
    client.expect_silence(3 * HEARTBEAT)


def _silence_is_kept_alive(client: ClientPeer, style: str) -> None:
    """On the same connection: the end of the stream before was well-formed."""
    asked = time.monotonic()
    client.ask(f"{style}/silence")
    assert client.read_head().status == 200
    seen = b""
    while seen.count(BEAT) < 4:
        seen += client.read_chunk()
    # Not before its time, which is up to a tenth early; how late it is, the machine decides.
    assert time.monotonic() - asked > 4 * HEARTBEAT * 0.9 * 0.99
    assert parse(seen).events == EXPECTED[:1]
