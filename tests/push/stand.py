"""What does the soak run on: two replicas, a service that knows who is who, and one Redis behind a bad network?"""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.nemesis import Nemesis
from tests.support.redis_server import RedisServer
from tests.support.sseproxy_process import SseproxyProcess

_CONFIG = """
server: {{listen: "127.0.0.1:0"}}
log: {{access: false}}
store: {{url: "{redis}", timeout: 2s}}
defaults: {{heartbeat: {{interval: 1s}}}}
routes:
  - name: inbox
    match: {{path: /inbox}}
    authorize: {{url: "{whoami}", take: {{user: X-User}}}}
    redis: {{stream: "inbox:{{auth:user}}", format: json, start: oldest}}
  - name: both
    match: {{path: /both}}
    authorize: {{url: "{whoami}", take: {{user: X-User}}}}
    redis: {{stream: ["inbox:{{auth:user}}", news], format: text, start: oldest}}
  - name: push
    match: {{path: /push}}
    authorize: {{url: "{whoami}", take: {{user: X-User}}}}
    redis: {{channel: ["user:{{auth:user}}", broadcast], format: text}}
"""


@dataclass(frozen=True, slots=True)
class PushStand:
    """replicas: they reach `redis` through `network`; publishers go to it directly."""

    redis: RedisServer
    network: Nemesis
    replicas: tuple[SseproxyProcess, ...]

    @property
    def ports(self) -> list[int]:
        """Of the replicas."""
        return [urlsplit(replica.url).port or 0 for replica in self.replicas]


@contextlib.asynccontextmanager
async def push_stand(replicas: int = 2) -> AsyncIterator[PushStand]:
    """Start all of it; a user is who its cookie ``user`` says.

    AssertionError: a replica ended otherwise than it should, or wrote a traceback.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sseproxy-push-")))
        server = stack.enter_context(RedisServer(notifications="Kt"))
        network = await stack.enter_async_context(Nemesis(server.port))
        whoami = await stack.enter_async_context(_whoami())
        config = folder / "sseproxy.yaml"
        config.write_text(_CONFIG.format(redis=server.url_at(network.port), whoami=f"http://127.0.0.1:{whoami}/whoami"))
        started = [await stack.enter_async_context(_replica(config)) for _ in range(replicas)]
        yield PushStand(server, network, tuple(started))


@contextlib.asynccontextmanager
async def _replica(config: Path) -> AsyncIterator[SseproxyProcess]:
    """Start and end it without holding the loop, which it needs to reach Redis."""
    process = await asyncio.to_thread(SseproxyProcess("-c", str(config)).__enter__)
    try:
        yield process
    finally:
        await asyncio.to_thread(process.__exit__, *sys.exc_info())


@contextlib.asynccontextmanager
async def _whoami() -> AsyncIterator[int]:
    """A service for `authorize`; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                cookies = (line for line in head.split("\r\n") if line.lower().startswith("cookie:"))
                user = "".join(cookies).partition("user=")[2]
                answer = f"200 OK\r\nX-User: {user}" if user else "401 Unauthorized"
                writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
