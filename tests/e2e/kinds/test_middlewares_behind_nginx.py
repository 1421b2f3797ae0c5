"""Do JSON lines and a JSON answer of an app survive its silence behind nginx, with the middleware and without it?"""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest

from sseproxy.demo.exchange import Answer, Ending, exchange, post
from tests.e2e.kinds.slow_answers import LINES_PATH, RECORDS, SILENCE, TEXT, TEXT_PATH
from tests.support.nginx import nginx_before
from tests.support.server_process import ServerProcess

_READ_TIMEOUT = 1.5  # seconds; the heartbeats come every 150 ms, the apps are silent for longer
_LIMIT = 60.0
_PATHS = (LINES_PATH, TEXT_PATH)
_SERVERS = {
    "starlette": "uvicorn --port 0 tests.e2e.kinds.slow_starlette:APP",
    "aiohttp": "python -m aiohttp.web -H 127.0.0.1 -P 0 tests.e2e.kinds.slow_aiohttp:APP",
}


@pytest.mark.parametrize("server", _SERVERS)
async def test_an_app_with_the_middleware_is_kept_alive(server: str) -> None:
    async with AsyncExitStack() as stack:
        ports = {}
        for app in ("plain", "kept"):
            process = stack.enter_context(ServerProcess(*_SERVERS[server].replace("APP", app).split()))
            ports[app] = await stack.enter_async_context(nginx_before(process.port, read_timeout=_READ_TIMEOUT))
        asked = [(app, path) for app in ports for path in _PATHS]
        answers = dict(zip(asked, await asyncio.gather(*(_ask(ports[app], path) for app, path in asked)), strict=True))
    assert [answers["plain", path].status for path in _PATHS] == [504, 504]
    lines, text = answers["kept", LINES_PATH], answers["kept", TEXT_PATH]
    assert [answer.status for answer in (lines, text)] == [200, 200]
    assert [answer.ending for answer in (lines, text)] == [Ending.CLEAN, Ending.CLEAN]
    assert [json.loads(line) for line in lines.body.splitlines()] == [json.loads(record) for record in RECORDS]
    assert lines.body.replace(b"\n ", b"\n").lstrip(b" ").endswith(RECORDS[-1])
    assert json.loads(text.body) == json.loads(TEXT)
    assert text.body.endswith(TEXT)
    assert lines.seconds > 2 * SILENCE
    for answer in (lines, text):
        assert sum(piece.data.strip() == b"" for piece in answer.pieces) > 2


async def _ask(port: int, path: str) -> Answer:
    """As a client of Ollama asks, which streams JSON lines if it is not refused them."""
    body = json.dumps({"model": "m", "stream": path == LINES_PATH}).encode()
    return await exchange(port, post(path, body, user_agent="ollama-python/0.6.3"), limit=_LIMIT)
