"""Does an upstream that sends without end leave the others their turn?"""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field

from sseproxy.core.errors import OriginError
from sseproxy.core.routes import Upstream
from sseproxy.core.timeouts import TimeoutPolicy
from sseproxy.origins.base import OriginRequest
from sseproxy.origins.http import HttpOrigin

SIZE = 24 * 1024 * 1024


@dataclass
class Turns:
    """Takes a body, and notes how much of it comes in each turn of the event loop."""

    bytes_in_turn: Counter[int] = field(default_factory=Counter)
    turn: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def next(self) -> None:
        self.turn += 1
        if not self.ended.is_set():
            asyncio.get_running_loop().call_soon(self.next)

    def receive_data(self, data: bytes) -> None:
        self.bytes_in_turn[self.turn] += len(data)

    def receive_eof(self) -> None:
        self.ended.set()

    def receive_error(self, error: OriginError) -> None:
        raise error


async def _flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + bytes(SIZE))
    with contextlib.suppress(ConnectionError):
        await writer.drain()
    writer.close()


async def test_no_upstream_has_more_than_one_long_read_in_a_turn() -> None:
    server = await asyncio.start_server(_flood, "127.0.0.1", 0)
    origin = HttpOrigin(Upstream("http", "127.0.0.1", server.sockets[0].getsockname()[1]))
    try:
        exchange = await origin.open(OriginRequest("GET", "/", [(b"Host", b"a.test")], None), TimeoutPolicy())
        turns = Turns()
        turns.next()
        exchange.attach(turns)
        async with asyncio.timeout(60):
            await turns.ended.wait()
        assert sum(turns.bytes_in_turn.values()) == SIZE
        # The first may hold what came with the head; and what is short is no sign that more is waiting.
        assert max(turns.bytes_in_turn.values()) <= 2 * 256 * 1024
    finally:
        await origin.close()
        server.close()
        await server.wait_closed()
