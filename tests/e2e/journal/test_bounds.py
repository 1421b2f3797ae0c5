"""Does a process with journals stay within its memory, whatever upstreams send, and clients ask for or leave unread?

`make journal-bounds` asks for a million keys, 15 minutes to an hour of two cores.
`JOURNAL_KEYS=20000 make journal-bounds`: fewer.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.processes import forget_peak, peak_resident, resident, wait_until
from tests.support.scrape import scrape
from tests.support.settled import eventually
from tests.support.sseproxy_process import SseproxyProcess

pytestmark = pytest.mark.timeout(7200 if "JOURNAL_KEYS" in os.environ else 600)

MIB = 2**20
MEMORY = 16 * MIB

#: What a process may take beside its memory: what the allocator holds back, buffers, and clients that come and go.
ROOM = 16 * MIB
#: And for each client that does not read: a piece of the window, and what waits in its buffers.
PER_READER = MIB // 2

KEYS = int(os.environ.get("JOURNAL_KEYS", "1500"))
_AT_ONCE = 16

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
_EVENT = b"data: " + b"x" * (32 * 1024) + b"\n\n"

_CONFIG = """
server: {{listen: "127.0.0.1:0", drain: {{timeout: 1s, spread: off}}}}
admin: {{listen: "127.0.0.1:0"}}
log: {{access: false}}
store: {{memory: {memory}}}
defaults: {{dialect: auto, timeouts: {{response: 15m, idle: auto, write: off}}}}
routes:
  - name: feed
    match: {{path: /feed}}
    upstream: http://127.0.0.1:{port}
    journal: {{kind: feed, login: anyone, start: oldest, detach: off, keep: {{bytes: 1MiB, age: 2s}}}}
"""


class Upstream:
    """Answers each request with what `serve` writes. sent: bytes so far."""

    def __init__(self, serve: "Callable[[Upstream, asyncio.StreamWriter], Awaitable[None]]") -> None:
        self._serve = serve
        self.sent = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_HEAD)
            await self._serve(self, writer)
            await reader.read()
        writer.close()


@contextlib.asynccontextmanager
async def running(upstream: Upstream, folder: Path) -> AsyncIterator[SseproxyProcess]:
    server = await asyncio.start_server(upstream.answer, "127.0.0.1", 0, backlog=1024)
    config = folder / "sseproxy.yaml"
    config.write_text(_CONFIG.format(memory=MEMORY, port=server.sockets[0].getsockname()[1]))
    with contextlib.ExitStack() as stack:
        process = await asyncio.to_thread(stack.enter_context, SseproxyProcess("-c", str(config)))
        yield process
        server.close()
        await asyncio.to_thread(stack.close)


def of_journal(process: SseproxyProcess, name: str) -> float:
    return sum(number for (metric, _), number in scrape(process.urls[-1]).items() if metric == name)


async def _one_event(_: Upstream, writer: asyncio.StreamWriter) -> None:
    writer.write(_EVENT)
    await writer.drain()


async def _for_ever(upstream: Upstream, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(_EVENT)
        upstream.sent += len(_EVENT)
        await writer.drain()


async def _ask(port: int, key: int, room: asyncio.Semaphore) -> None:
    async with room:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /feed?key=%d HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n" % key)
        await reader.readuntil(b"x\n\n")
        writer.close()


async def _ask_for(keys: range, port: int) -> None:
    room = asyncio.Semaphore(_AT_ONCE)
    for first in range(keys.start, keys.stop, 1000):
        part = keys[first - keys.start : first - keys.start + 1000]
        await asyncio.gather(*(_ask(port, key, room) for key in part))


async def test_many_keys_take_no_more_than_the_store_may_and_give_it_back(tmp_path: Path) -> None:
    async with running(Upstream(_one_event), tmp_path) as process:
        port = int(process.urls[0].rpartition(":")[2])
        await _ask_for(range(50), port)
        before = resident(process.pid)
        forget_peak(process.pid)
        await _ask_for(range(50, 50 + KEYS), port)
        assert peak_resident(process.pid) - before < MEMORY + ROOM
        await asyncio.to_thread(wait_until, lambda: of_journal(process, "sseproxy_journal_bytes") == 0)


async def test_a_producer_that_never_stops_and_readers_that_never_read(tmp_path: Path) -> None:
    upstream = Upstream(_for_ever)
    async with running(upstream, tmp_path) as process:
        port = int(process.urls[0].rpartition(":")[2])
        before = resident(process.pid)
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                client = stack.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", port))
                client.sendall(b"GET /feed HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
            await eventually(lambda: upstream.sent > 8 * MEMORY)
            assert peak_resident(process.pid) - before < MEMORY + ROOM + 20 * PER_READER
        await asyncio.to_thread(wait_until, lambda: of_journal(process, "sseproxy_journal_bytes") == 0)
