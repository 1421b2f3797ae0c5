"""Is a dashboard an event stream like any other, and is there no work once it is closed?"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Collection

from sseproxy.aiohttp.middleware import sse_keepalive
from sseproxy.process.admin import EVENTS, AdminServer
from sseproxy.process.dashboard.view import View
from sseproxy.process.dashboard.watchers import Watchers
from sseproxy.process.pages import Pages
from sseproxy.process.siblings import Place, Siblings
from sseproxy.proxy.backing.readiness import Readiness
from tests.support.patience import LIMIT
from tests.support.settled import eventually

#: Bytes of a snapshot that no socket buffers whole.
_LARGE = 1 << 22


class Stand:
    """An admin listener whose snapshots are of `size` bytes; with 0 none ever comes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.made = 0
        self.watchers = Watchers(self.make, every=0.001)
        self.port = 0

    async def make(self, views: Collection[View]) -> dict[View, bytes]:
        if not self.size:
            await asyncio.Event().wait()
        self.made += 1
        return dict.fromkeys(views, b"x" * self.size)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve as long as the block runs; heartbeats and timeouts are short."""

        async def nothing(question: str) -> bytes:
            return b""

        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.port = sock.getsockname()[1]
            server = AdminServer(
                readiness=Readiness,
                pages=Pages(Place(), Siblings(Place(), nothing)),
                watchers=self.watchers,
                keepalive=sse_keepalive(paths=(EVENTS,), heartbeat="20ms", write_timeout="300ms"),
            )
            await server.start([sock])
            try:
                yield
            finally:
                await server.stop()

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Ask for the stream of a dashboard."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        return reader, writer


async def read_until(reader: asyncio.StreamReader, wanted: bytes) -> bytes:
    async with asyncio.timeout(LIMIT):
        return await reader.readuntil(wanted)


async def test_the_work_ends_when_the_dashboard_is_closed() -> None:
    stand = Stand(3)
    async with stand.serving():
        assert stand.made == 0
        reader, writer = await stand.open()
        head = await read_until(reader, b"data: xxx\n\n")
        assert b"text/event-stream" in head
        assert b"no-transform" in head
        await read_until(reader, b"data: xxx\n\n")
        writer.transport.abort()
        await eventually(lambda: stand.watchers.is_idle)
        made = stand.made
        await asyncio.sleep(0.05)
        assert stand.made == made


async def test_a_dashboard_without_news_is_kept_alive() -> None:
    stand = Stand(0)
    async with stand.serving():
        reader, writer = await stand.open()
        for _ in range(3):
            await read_until(reader, b": heartbeat")
        writer.transport.abort()
        await eventually(lambda: stand.watchers.is_idle)


async def test_a_dashboard_that_reads_nothing_is_ended() -> None:
    stand = Stand(_LARGE)
    async with stand.serving():
        reader, writer = await stand.open()
        await read_until(reader, b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # of the reading side
        await eventually(lambda: stand.watchers.is_idle)
        writer.transport.abort()


async def test_one_too_many_is_told_and_ended_cleanly() -> None:
    stand = Stand(3)
    async with stand.serving():
        clients = [await stand.open() for _ in range(5)]
        for reader, _ in clients[1:]:
            await read_until(reader, b"data: xxx\n\n")
        last = await read_until(clients[0][0], b"\r\n0\r\n\r\n")
        assert last.endswith(b"event: replaced\ndata: {}\n\n\r\n0\r\n\r\n")
        for reader, writer in clients[1:]:
            await read_until(reader, b"data: xxx\n\n")
            writer.transport.abort()
        clients[0][1].close()
        await eventually(lambda: stand.watchers.is_idle)


async def test_a_page_of_another_origin_takes_no_place() -> None:
    """Browsers send no Fetch Metadata to plain addresses of other machines, but they name the origin."""
    stand = Stand(3)
    async with stand.serving():
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(b"GET /events HTTP/1.1\r\nHost: 10.0.0.7\r\nOrigin: http://evil.example\r\n\r\n")
        assert b" 403 " in await read_until(reader, b"\r\n")
        assert stand.watchers.is_idle
        writer.close()
