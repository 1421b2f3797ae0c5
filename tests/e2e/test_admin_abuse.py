"""Can what happens at the admin listener disturb a stream, or keep a health check out? (docs/operations.md)"""

import asyncio
import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support import processes
from tests.support.admin_abusers import STORM, STUCK, Way
from tests.support.blocking_client import fetch
from tests.support.settled import eventually
from tests.support.sseproxy_process import Output, SseproxyProcess
from tests.support.steady_streams import SteadyStreams, SteadyUpstream, steady_streams

ABUSERS = Path(__file__).parents[1] / "support/admin_abusers.py"

#: Streams, half of which are silent; and seconds between two heartbeats of those.
STREAMS, INTERVAL = 20, 0.1

#: Routes with long names make a long page of metrics: more than the kernel keeps for a client that does not read.
ROUTES = 400

#: Seconds that a stream may be late when the machine has much else to do. A client that is waited for takes 15 s.
LATE = 5.0

#: How many times in a row an orchestrator asks before it acts.
TRIES = 3


@contextlib.asynccontextmanager
async def stand(folder: Path, *, workers: int = 1) -> AsyncIterator[tuple[SseproxyProcess, SteadyStreams]]:
    async with SteadyUpstream.serving() as upstream:
        url = f"http://127.0.0.1:{upstream.port}"
        others = [
            {"name": f"{'x' * 50}{number}", "match": {"prefix": f"/x{number}"}, "upstream": url}
            for number in range(ROUTES)
        ]
        config = {
            "server": {"listen": "127.0.0.1:0", "workers": workers},
            "admin": {"listen": "127.0.0.1:0"},
            "defaults": {"heartbeat": {"interval": f"{INTERVAL}s", "form": "comment-line"}},
            "routes": [*others, {"name": "all", "upstream": url}],
        }
        (folder / "c.yaml").write_text(json.dumps(config))
        with SseproxyProcess("-c", str(folder / "c.yaml")) as proxy:
            async with steady_streams(upstream, proxy.url, STREAMS) as streams:
                yield proxy, streams


class Abuse:
    """Clients that abuse the admin listener, in a process of their own."""

    def __init__(self, way: Way, admin: str) -> None:
        command = [sys.executable, str(ABUSERS), way.name, str(urlsplit(admin).port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.output = Output(self._process.stdout)
        self.output.wait_for(bool)

    def __enter__(self) -> "Abuse":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        self.output.close()


def health(admin: str) -> int:
    """Return the status that an orchestrator gets. AssertionError: none in `TRIES` tries."""
    for _ in range(TRIES):
        with contextlib.suppress(ConnectionError, http.client.RemoteDisconnected):
            return fetch(admin, "/healthz").status
    raise AssertionError("no answer")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("way", Way)
async def test_neither_streams_nor_health_checks_mind(
    way: Way, workers: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    clock = asyncio.get_running_loop().time
    async with stand(tmp_path, workers=workers) as (proxy, streams):
        begun = clock()
        await streams.beat(5)
        record_property("longest gap before", streams.longest_gap(begun))
        with await asyncio.to_thread(Abuse, way, proxy.urls[-1]) as abuse:
            begun = clock()
            for _ in range(10):
                assert await asyncio.to_thread(health, proxy.urls[-1]) == 200
                await streams.beat(2)
            wanted = STORM if way in (Way.STORM, Way.HASTY) else STUCK
            await eventually(lambda: int(abuse.output.lines[-1]) >= wanted)
            await streams.beat(2)
            gap = streams.longest_gap(begun)
        record_property("longest gap meanwhile", gap)
        assert gap < INTERVAL + LATE
        assert processes.open_sockets(proxy.pid) < 2 * STREAMS + STUCK, "those that are stuck are closed"
        assert (await asyncio.to_thread(fetch, proxy.urls[-1], "/metrics")).status == 200
