"""Can what happens at the admin listener disturb a stream, or keep a health check out? (docs/operations.md)"""

import asyncio
import contextlib
import functools
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest

from tests.support import processes
from tests.support.admin_abusers import HASTE, STORM, STUCK, Way
from tests.support.blocking_client import fetch
from tests.support.scrape import Sample, samples, wait_until
from tests.support.scrape import streams as live_streams
from tests.support.sseproxy_process import Output, SseproxyProcess
from tests.support.steady_streams import Reader, SteadyStreams, SteadyUpstream, steady_streams

ABUSERS = Path(__file__).parents[1] / "support/admin_abusers.py"

#: Streams, half of which are silent; and seconds between two heartbeats of those.
STREAMS, INTERVAL = 20, 0.1

#: Routes with long names make a long page of metrics: more than the kernel keeps for a client that does not read.
ROUTES = 400

#: Seconds that a stream may be late when the machine has much else to do. A client that is waited for takes 15 s.
LATE = 12.0

#: Seconds that a test waits for the last of ten thousand connections.
LIMIT = 120.0

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

    def __enter__(self) -> Self:
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


@pytest.mark.parametrize(
    ("way", "workers"), [*((way, 1) for way in Way), *((way, 2) for way in (Way.DEAF, Way.STORM, Way.HASTY))]
)
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
            wanted = {Way.STORM: STORM, Way.HASTY: HASTE}.get(way, STUCK)
            await asyncio.to_thread(abuse.output.wait_for, lambda lines: int(lines[-1]) >= wanted, LIMIT)
            await streams.beat(2)
            gap = streams.longest_gap(begun)
        record_property("longest gap meanwhile", gap)
        assert gap < INTERVAL + LATE
        assert processes.open_sockets(proxy.pid) < 2 * STREAMS + STUCK, "those that are stuck are closed"
        assert (await asyncio.to_thread(fetch, proxy.urls[-1], "/metrics")).status == 200


class Scrapes:
    """What a scraper sees that asks again and again, in a thread. pages: those that it got, in their order."""

    def __init__(self, admin: str) -> None:
        self._admin = admin
        self._is_over = threading.Event()
        self.pages: list[dict[Sample, float]] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        host, _, port = self._admin.partition("://")[2].rpartition(":")
        while not self._is_over.is_set():
            # The kernel deals connections out to a worker that is stopped, too: there is no answer then, and none from
            # a worker that dies meanwhile.
            with (
                contextlib.suppress(TimeoutError, ConnectionError),
                socket.create_connection((host, int(port))) as client,
            ):
                client.settimeout(3)
                client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                said = b""
                while data := client.recv(1 << 16):
                    said += data
                head, _, page = said.partition(b"\r\n\r\n")
                if b"\r\nContent-Length: %d\r\n" % len(page) in head + b"\r\n":
                    self.pages.append(samples(page.decode()))

    def up(self) -> list[str]:
        """The workers that have answered the last scrape."""
        name = "sseproxy_worker_up"
        return [dict(labels)["worker"] for (each, labels), up in self.pages[-1].items() if each == name and up]

    async def wait_until_up(self, count: int) -> None:
        """Wait for a page that so many workers have answered, begun after this call."""
        before = len(self.pages)
        wanted = functools.partial(self._is_up, before, count)
        await asyncio.to_thread(wait_until, wanted, f"{count} workers are up")

    def _is_up(self, before: int, count: int) -> bool:
        return len(self.pages) > before + 1 and len(self.up()) == count

    def assert_no_counter_has_fallen(self) -> None:
        for page, later in pairwise(self.pages):
            falling = {each for each in page if each[0].endswith(("_total", "_count")) and later[each] < page[each]}
            assert falling == set()


def of_worker(streams: SteadyStreams, admin: str, index: str) -> list[Reader]:
    """The streams that a worker has. Must be asked while all workers answer."""
    rows = {row["path"]: row["id"].partition("-")[0] for row in live_streams(admin)}
    return [reader for reader in streams.readers if rows[reader.path] == index]


@pytest.mark.parametrize("dies", [False, True], ids=["a worker is stopped, and goes on", "a worker dies"])
async def test_a_worker_that_does_not_answer_the_others(dies: bool, tmp_path: Path) -> None:
    """In mid-scrape. The streams of the other one go on as ever."""
    clock = asyncio.get_running_loop().time
    async with stand(tmp_path, workers=2) as (proxy, streams):
        admin = proxy.urls[-1]
        shares = {index: of_worker(streams, admin, index) for index in ("0", "1")}
        victim = processes.children(proxy.pid)[0]
        with Scrapes(admin) as scrapes:
            await scrapes.wait_until_up(2)
            begun = clock()
            os.kill(victim, signal.SIGSTOP)
            try:
                await scrapes.wait_until_up(1)
                [living] = scrapes.up()
                away = shares["1" if living == "0" else "0"]
                streams.lost.extend(away)
                await streams.beat(5)
                assert streams.longest_gap(begun) < INTERVAL + LATE
            finally:
                os.kill(victim, signal.SIGKILL if dies else signal.SIGCONT)
            await scrapes.wait_until_up(2)
            if not dies:
                streams.lost.clear()
            await streams.beat(5)
        scrapes.assert_no_counter_has_fallen()
    assert len(away) + len(shares[living]) == STREAMS


async def test_what_is_no_request_is_answered_and_not_logged(tmp_path: Path) -> None:
    """`SseproxyProcess` looks for tracebacks."""
    async with stand(tmp_path) as (proxy, _):
        port = int(proxy.urls[-1].rpartition(":")[2])
        for said in (b"\x16\x03\x01\r\n\r\n", b"tr / HTTP/1.1\r\n\r\n", b"GET / HTTP/9\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                client.sendall(said)
                assert b" 400 " in client.recv(1 << 16).split(b"\r\n")[0]
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")
            assert b" 400 " in client.recv(1 << 16).split(b"\r\n")[0]
        assert "ERROR" not in proxy.stderr.text


async def test_an_admin_listener_that_cannot_be_reached_any_more(tmp_path: Path) -> None:
    async with SteadyUpstream.serving() as upstream:
        path = tmp_path / "admin.sock"
        arguments = ("--upstream", f"http://127.0.0.1:{upstream.port}", "--listen", "127.0.0.1:0")
        with SseproxyProcess(
            *arguments, "--admin", f"unix:{path}", "--heartbeat", "100ms", "--heartbeat-form", "comment-line"
        ) as proxy:
            async with steady_streams(upstream, proxy.url, STREAMS) as streams:
                path.unlink()
                begun = asyncio.get_running_loop().time()
                await streams.beat(5)
                assert streams.longest_gap(begun) < INTERVAL + LATE
