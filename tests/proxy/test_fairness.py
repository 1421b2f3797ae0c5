"""Does an upstream that sends without end leave the others their turn?"""

import asyncio
import contextlib
import gzip
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from sseproxy.core.errors import OriginError
from sseproxy.core.routes import Upstream
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.http1.messages import OriginRequest
from sseproxy.origins.codings import DecodingSource, decoder_for
from sseproxy.origins.http import HttpExchange, HttpOrigin
from tests.support.settled import eventually

SIZE = 24 * 1024 * 1024

Respond = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Turns:
    """Takes a body, and notes how much of it comes in each turn of the event loop."""

    bytes_in_turn: Counter[int] = field(default_factory=Counter)
    turn: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    data: bytearray = field(default_factory=bytearray)
    when_data: Callable[[], None] | None = None

    def next(self) -> None:
        self.turn += 1
        if not self.ended.is_set():
            asyncio.get_running_loop().call_soon(self.next)

    def receive_data(self, data: bytes) -> None:
        self.bytes_in_turn[self.turn] += len(data)
        self.data += data
        if self.when_data is not None:
            self.when_data()

    def receive_eof(self) -> None:
        self.ended.set()

    def receive_error(self, error: OriginError) -> None:
        raise error


@asynccontextmanager
async def _answered(respond: Respond) -> AsyncIterator[tuple[HttpExchange, HttpOrigin]]:
    """An exchange whose response head has come, from an upstream that answers like this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await respond(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    origin = HttpOrigin(Upstream("http", "127.0.0.1", server.sockets[0].getsockname()[1]))
    try:
        yield await origin.open(OriginRequest("GET", "/", [(b"Host", b"a.test")], None), TimeoutPolicy()), origin
    finally:
        await origin.close()
        server.close()
        await server.wait_closed()


def _whole(body: bytes) -> Respond:
    """A response with this body, in one write."""

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    return respond


async def test_no_upstream_has_more_than_one_long_read_in_a_turn() -> None:
    async with _answered(_whole(bytes(SIZE))) as (exchange, _):
        turns = Turns()
        turns.next()
        exchange.attach(turns)
        async with asyncio.timeout(60):
            await turns.ended.wait()
        assert sum(turns.bytes_in_turn.values()) == SIZE
        # The first may hold what came with the head; and what is short is no sign that more is waiting.
        assert max(turns.bytes_in_turn.values()) <= 2 * 256 * 1024


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_what_comes_at_once_goes_on_in_turns(coding: str, end: bytes) -> None:
    """A sink may have to look at each line. So much comes in one read that this would take half a second."""
    size = 3 * 1024 * 1024
    body = (b"data: 1" + end * 2) * (size // 9)
    coded = gzip.compress(body) if coding == "gzip" else body
    async with _answered(_whole(coded)) as (exchange, _):
        turns = Turns()
        turns.next()
        decoder = decoder_for([(b"Content-Encoding", coding.encode())])
        exchange.attach(turns if decoder is None else DecodingSource(decoder, exchange, turns), by_line=True)
        async with asyncio.timeout(60):
            await turns.ended.wait()
        assert turns.data == body
        assert max(turns.bytes_in_turn.values()) <= 64 * 1024


async def test_a_sink_that_pauses_in_its_turn_gets_no_more_until_it_resumes() -> None:
    body = b"data: 1\n\n" * 100_000
    async with _answered(_whole(body)) as (exchange, _):
        turns = Turns(when_data=exchange.pause)
        exchange.attach(turns, by_line=True)
        async with asyncio.timeout(60):
            while not turns.ended.is_set():
                before = len(turns.data)
                for _ in range(3):
                    await asyncio.sleep(0)
                assert len(turns.data) <= before + 2 * 16 * 1024
                exchange.resume()
                await asyncio.sleep(0)
        assert turns.data == body


async def test_an_abort_between_two_turns_ends_it() -> None:
    body = b"\n" * (4 * 1024 * 1024)
    async with _answered(_whole(body)) as (exchange, origin):
        turns = Turns()
        exchange.attach(turns, by_line=True)
        await eventually(lambda: 0 < len(turns.data) < len(body))
        exchange.abort()
        before = len(turns.data)
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(turns.data) == before
        assert not turns.ended.is_set()
        assert origin.pool.leased == 0
