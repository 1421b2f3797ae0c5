"""Does a whole process serve a stream of Redis, and does it say when Redis is away?"""

import json
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.async_peer import AsyncPeer
from tests.support.redis_routes import EVENT_SOURCE, events, get
from tests.support.redis_server import RedisServer, wait_for
from tests.support.sseproxy_process import SseproxyProcess

ROUTE = "{match: {path: /a}, heartbeat: {interval: 100ms}, redis: {stream: news, start: oldest}}"
WEB = "{match: {path: /web}, upstream: 'http://127.0.0.1:1', dialect: auto, timeouts: {response: 15m, idle: auto}}"


def configured(folder: Path, redis: RedisServer, *routes: str) -> SseproxyProcess:
    text = f"""\
server: {{listen: '127.0.0.1:0'}}
admin: {{listen: '127.0.0.1:0'}}
store: {{url: '{redis.url}', timeout: 1s}}
routes: [{", ".join(routes)}]
"""
    (folder / "c.yaml").write_text(text)
    return SseproxyProcess("-c", str(folder / "c.yaml"), may_report=True)


def ready(process: SseproxyProcess) -> tuple[int, object]:
    try:
        with urllib.request.urlopen(process.urls[1] + "/readyz") as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


READY = (200, {"status": "ready", "away": []})
AWAY = (503, {"status": "away", "away": ["redis"]})


@pytest.mark.parametrize("routes", [(ROUTE,), (ROUTE, WEB)])
def test_readiness_follows_redis(routes: tuple[str, ...], tmp_path: Path) -> None:
    """A process that never reached its Redis is not ready; later it is as long as it can serve anything."""
    with RedisServer(password="geheimnis") as redis:
        redis.kill()
        with configured(tmp_path, redis, *routes) as process:
            wait_for(lambda: ready(process) == AWAY, "a process that says that Redis is away")
            redis.restart()
            wait_for(lambda: ready(process) == READY, "a process that has reached Redis")
            redis.kill()
            expected = AWAY if len(routes) == 1 else (200, {"status": "ready", "away": ["redis"]})
            wait_for(lambda: ready(process) == expected, "a process that says that Redis is away again")
            redis.restart()
            wait_for(lambda: ready(process) == READY, "a process that has reached Redis again")
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0
            said = process.stderr.text
        assert "away" in said
        assert "geheimnis" not in said


async def test_a_process_pushes_and_drains(tmp_path: Path) -> None:
    with RedisServer() as redis, configured(tmp_path, redis, ROUTE) as process:
        port = int(process.urls[0].rpartition(":")[2])
        async with AsyncPeer.connect(port) as client:
            await client.send(get(b"/a", *EVENT_SOURCE))
            assert (await client.head()).status == 200
            redis.cli("XADD", "news", "1-1", "data", "hello")
            assert await events(client, 1) == [b"id: 1-1\ndata: hello"]
            process.send_signal(signal.SIGTERM)
            said = b""
            while b"retry: " not in said:
                said += await client.chunk()
            while await client.chunk():
                pass
        assert process.wait() == 0


def test_a_stream_needs_no_redis_to_be_refused(tmp_path: Path) -> None:
    with RedisServer() as redis, configured(tmp_path, redis, ROUTE) as process:
        request = urllib.request.Request(process.urls[0] + "/a", data=b"x", method="POST")
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request)
        with raised.value as error:
            assert (error.code, error.headers["Allow"]) == (405, "GET, HEAD")
