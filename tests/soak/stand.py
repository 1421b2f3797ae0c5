"""What does the soak of the journal run on: a service, sseproxy and clients in processes, and bad networks between?"""

import asyncio
import contextlib
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.log import Log, now
from tests.support import processes
from tests.support.nemesis import Nemesis
from tests.support.sseproxy_process import SseproxyProcess

ROOT = Path(__file__).parents[2]

#: Events that are kept of the feeds, by the first word of their name.
KEPT = {"feed": 60, "named": 150, "fat": 40}

#: Bytes.
MEMORY = 64 * 2**20

_FEED = """
  - name: {name}
    match: {{prefix: /{name}}}
    upstream: "http://127.0.0.1:{port}"
    journal: {{kind: feed, login: anyone, detach: 2s, reopen: 10, keep: {{events: {kept}}}}}
"""

_CONFIG = """
server:
  listen: "127.0.0.1:{front}"
  drain: {{timeout: 2s, spread: 500ms}}
admin: {{listen: "127.0.0.1:0"}}
store: {{file: "{folder}/journal", secret: the-same-in-the-whole-soak, memory: 64MiB}}
defaults:
  dialect: auto
  heartbeat: {{interval: 1s, before_response: 300ms}}
  timeouts: {{response: 30s, idle: 4s, write: 5s}}
  limits: {{detached_per_client: 1000}}
routes:
{feeds}
  - name: ask
    match: {{path: /ask}}
    upstream: "http://127.0.0.1:{back}"
    journal: {{kind: answer, keep: {{age: 90s}}}}
  - name: chat
    match: {{path: /api/chat, methods: [POST]}}
    upstream: "http://127.0.0.1:{back}"
    stream: always
    journal:
      kind: answer
      key: "body:id"
      login: [cookie:session]
      keep: {{age: 90s}}
      resume: {{path: "/api/chat/{{key}}/stream"}}
"""


@dataclass
class Stand:
    """What is under way. front: between clients and proxy; back: between proxy and service.

    folder: logs, one of each process, and the configuration. samples: the proxy's pid, and the bytes
    that it had in memory.
    """

    folder: Path
    rate: float
    front: Nemesis
    back: Nemesis
    port: int
    upstream_port: int
    log: Log
    began: float = field(default_factory=now)
    samples: list[tuple[int, int]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    async def start_upstream(self) -> None:
        command = ["-m", "tests.soak.upstream", self.upstream_port, self.folder / "upstream.log", self.rate, self.began]
        self._upstream = await asyncio.create_subprocess_exec(
            sys.executable, *map(str, command), cwd=ROOT, stdout=subprocess.PIPE
        )
        assert self._upstream.stdout is not None
        await self._upstream.stdout.readline()

    async def kill_upstream(self) -> None:
        if self._upstream.returncode is None:
            self._upstream.kill()
        await self._upstream.wait()

    async def start_proxy(self) -> None:
        """AssertionError: it does not begin."""
        self.proxy = await asyncio.to_thread(SseproxyProcess("-c", str(self.folder / "sseproxy.yaml")).__enter__)

    async def stop_proxy(self) -> None:
        """Let it drain, and end. What it said that it should not is among `troubles`."""
        code = await asyncio.to_thread(self.proxy.stop)
        if code or "Traceback" in self.proxy.stderr.text or "is not used" in self.proxy.stderr.text:
            self.troubles.append(f"sseproxy ended with {code}: {self.proxy.stderr.text}")

    async def measure(self) -> dict[str, float]:
        """Return what the metrics say, and note it."""
        with await asyncio.to_thread(urllib.request.urlopen, f"{self.proxy.urls[-1]}/metrics") as response:
            lines = [line for line in response.read().decode().splitlines() if not line.startswith("#")]
        sums: dict[str, float] = {}
        for line in lines:
            name, _, value = line.rpartition(" ")
            name = name.partition("{")[0]
            sums[name] = sums.get(name, 0.0) + float(value)
        self.samples.append((self.proxy.pid, processes.resident(self.proxy.pid)))
        sums["sockets"] = processes.open_sockets(self.proxy.pid)
        self.log.note(
            "measured",
            bytes=int(sums["sseproxy_journal_bytes"]),
            runs=int(sums["sseproxy_journal_runs"]),
            readers=int(sums["sseproxy_streams_open"]),
        )
        return sums


@contextlib.asynccontextmanager
async def soak_stand(rate: float) -> AsyncIterator[Stand]:
    """Start all but the clients. rate: events a second of each feed."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sseproxy-soak-")))
        kept = [stack.enter_context(_reserved()) for _ in range(2)]
        port, upstream_port = (sock.getsockname()[1] for sock in kept)
        front, back = [await stack.enter_async_context(Nemesis(each)) for each in (port, upstream_port)]
        feeds = "".join(_FEED.format(name=name, kept=kept, port=back.port) for name, kept in KEPT.items())
        config = _CONFIG.format(front=port, back=back.port, folder=folder, feeds=feeds)
        (folder / "sseproxy.yaml").write_text(config)
        log = Log(folder / "stand.log")
        stack.callback(log.close)
        stand = Stand(folder, rate, front, back, port, upstream_port, log)
        for feed in ("feed-0", "feed-1", "named-0", "named-1", "fat-0"):
            name = feed.partition("-")[0]
            stand.log.note("stream", source=feed, key=feed, events=KEPT[name])
        await stand.start_upstream()
        stack.push_async_callback(stand.kill_upstream)
        await stand.start_proxy()
        try:
            yield stand
        finally:
            await stand.stop_proxy()


def _reserved() -> socket.socket:
    """Return a socket that keeps a port for processes that follow one another; it never listens itself."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    return sock
