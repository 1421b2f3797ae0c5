"""How do clients look at a service that is restarted: who asks again and again, and which of them sees an error?"""

import asyncio
import contextlib
import itertools
import re
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field

from tests.support.busy_app import FIRST, answer
from tests.support.http1_reader import CRLF, Message, read_head

#: Seconds after which a response that was promised is not going to come any more.
LIMIT = 60.0

#: Host and port.
Place = tuple[str, int]

FEED = b"GET /feed HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\nCache-Control: no-cache\r\n\r\n"
GET = b"GET /short HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST = b"POST /short HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"

_RETRY = re.compile(rb"(?:^|\n)retry: (\d+)\n")


def ask_for_answer(count: int, pause: int) -> bytes:
    """Return a request for so many tokens, `pause` ms apart."""
    return b"POST /answer/%d/%d HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\n{}" % (count, pause)


@dataclass
class Tally:
    """What all clients together have seen. ends: when feeds ended, in the order of time (`time.monotonic`)."""

    whole: int = 0
    opened: int = 0
    open: int = 0
    ends: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def judging(self, what: str) -> Iterator[None]:
        """Note any failure of the block as one of `what`."""
        try:
            yield
        except (OSError, AssertionError, ValueError, asyncio.IncompleteReadError) as error:
            self.failures.append(f"{what}: {error!r}")

    async def whole_answer(self, place: Place, count: int, pause: int) -> None:
        """Ask for one answer, on a connection of its own. It is a failure if it is not whole."""
        with self.judging("answer"):
            async with connected(place) as (reader, writer):
                writer.write(ask_for_answer(count, pause))
                async with asyncio.timeout(LIMIT):
                    response = await read_response(reader)
                assert (response.status, response.body) == (200, answer(count)), response
                self.whole += 1

    async def answers(self, place: Place, count: int, pause: int) -> None:
        """Ask for one answer after the other."""
        while True:
            await self.whole_answer(place, count, pause)

    async def short_requests(self, place: Place, pause: float) -> None:
        """Send GET and POST in turn, on one connection for as long as it is kept."""
        requests = itertools.cycle((GET, POST))
        while True:
            with self.judging("request"):
                async with connected(place) as (reader, writer):
                    is_kept = True
                    while is_kept:
                        writer.write(next(requests))
                        async with asyncio.timeout(LIMIT):
                            response = await read_response(reader)
                        assert (response.status, response.body) == (200, b"ok"), response
                        self.whole += 1
                        is_kept = b"close" not in response.all(b"Connection")
                        await asyncio.sleep(pause)

    async def event_source(self, places: Sequence[Place]) -> None:
        """Follow a feed as a browser does: after a clean end come back, when the stream has said so, to the next place.

        A status other than 200, and a refused connection, end an `EventSource`, or cost it seconds: they are failures.
        """
        for place in itertools.cycle(places):
            retry = 100
            with self.judging("feed"):
                async with connected(place) as (reader, writer):
                    writer.write(FEED)
                    async with asyncio.timeout(LIMIT):
                        head = Message(await read_head(reader))
                    assert head.status == 200, head
                    self.opened += 1
                    self.open += 1
                    try:
                        body = await read_chunks(reader)
                    finally:
                        self.open -= 1
                    self.ends.append(time.monotonic())
                    assert body.startswith(FIRST), body
                    said = _RETRY.search(body)
                    retry = int(said[1]) if said is not None else retry
            await asyncio.sleep(retry / 1000)


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Read a whole chunked body. Gateways write the sizes in ways of their own: with zeros, or in upper case."""
    pieces = []
    while size := int(await reader.readuntil(CRLF), 16):
        pieces.append(await reader.readexactly(size))
        assert await reader.readexactly(2) == CRLF
    assert await reader.readexactly(2) == CRLF
    return b"".join(pieces)


async def read_response(reader: asyncio.StreamReader) -> Message:
    """Read a whole response, of which chunks or a length tell the end."""
    head = Message(await read_head(reader))
    length = head.all(b"Content-Length")
    return Message(head.head, await reader.readexactly(int(length[0])) if length else await read_chunks(reader))


@contextlib.asynccontextmanager
async def connected(place: Place) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect. Raises `OSError`."""
    reader, writer = await asyncio.open_connection(*place)
    try:
        yield reader, writer
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def at_work(*clients: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Let clients work for the time of the block."""
    tasks = [asyncio.create_task(client) for client in clients]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [end for end in ends if isinstance(end, Exception)] == []
