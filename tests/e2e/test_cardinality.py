"""Do metrics stay as many as the file makes them, whatever clients say?"""

import asyncio
import json
from pathlib import Path
from typing import ClassVar

import pytest

from tests.support.aiohttp_app import until
from tests.support.async_peer import AsyncPeer
from tests.support.scrape import scrape, value
from tests.support.sseproxy_process import SseproxyProcess

MANY, AT_ONCE, FIRST = 10_000, 8, 64
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata: 1\n\n"


class Upstream(asyncio.Protocol):
    """One connection of an upstream that answers each request with a short event stream."""

    open: ClassVar[set[asyncio.BaseTransport]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._head = b""
        self.open.add(transport)

    def data_received(self, data: bytes) -> None:
        *heads, self._head = (self._head + data).split(b"\r\n\r\n")
        self._transport.write(ANSWER * len(heads))

    def connection_lost(self, exc: Exception | None) -> None:
        self.open.discard(self._transport)


def ask(number: int) -> bytes:
    """A request that differs from all others in all that a client chooses."""
    lines = (
        f"GET /path/{number}?key={number} HTTP/1.1",
        f"Host: h{number}.test",
        f"X-Forwarded-For: 10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
        f"User-Agent: agent/{number}",
        f"Authorization: Bearer key-{number}",
        f"Cookie: session={number}",
        f"X-Request-Id: id-{number}",
        f"Last-Event-ID: {number}",
        f"Accept: {'text/event-stream' if number % 2 else '*/*'}",
    )
    return "\r\n".join((*lines, "", "")).encode()


async def ask_all(port: int, numbers: range) -> None:
    async with AsyncPeer.connect(port) as client:
        for number in numbers:
            assert (await client.ask(ask(number))).status == 200


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_number_of_series_depends_on_the_file_alone(tmp_path: Path, workers: int) -> None:
    """10,000 paths, hosts, clients, agents, keys, sessions, positions and request ids."""
    upstream = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}"
    config = {
        "server": {"listen": "127.0.0.1:0", "workers": workers, "trusted_proxies": ["127.0.0.1"]},
        "admin": {"listen": "127.0.0.1:0"},
        "log": {"access": False},
        "routes": [{"name": "chat", "upstream": url, "dialect": "generic", "limits": {"streams_per_client": 4}}],
    }
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    with SseproxyProcess("-c", str(tmp_path / "c.yaml")) as process:
        port, admin = int(process.url.rpartition(":")[2]), process.urls[-1]
        # As many connections as it takes until each worker has had one.
        await asyncio.gather(*(ask_all(port, range(number, number + 2)) for number in range(0, FIRST * 2, 2)))
        before = (await asyncio.to_thread(scrape, admin)).keys()
        parts = [range(FIRST * 2 + number, MANY, AT_ONCE) for number in range(AT_ONCE)]
        await asyncio.gather(*(ask_all(port, part) for part in parts))
        after = (await asyncio.to_thread(scrape, admin)).keys()
        assert await asyncio.to_thread(value, admin, "sseproxy_streams_total", route="chat") == MANY
    assert after == before
    upstream.close()
    await until(lambda: not Upstream.open)
