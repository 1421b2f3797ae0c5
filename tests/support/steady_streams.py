"""Does anything disturb the streams of a running proxy? Their bytes are compared, and their heartbeats timed."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import urlsplit

from tests.support.settled import eventually

#: Seconds between two events of a stream that is not silent.
_PACE = 0.02

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class SteadyUpstream:
    """Its streams bring a numbered event each `_PACE` seconds; those of ``/quiet`` bring one, and fall silent."""

    port: int

    def __init__(self) -> None:
        self._is_over = asyncio.Event()
        self.sent: dict[str, bytes] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def serving(cls) -> "AsyncIterator[SteadyUpstream]":
        upstream = cls()
        async with await asyncio.start_server(upstream.serve, "127.0.0.1", 0, backlog=1024) as server:
            upstream.port = server.sockets[0].getsockname()[1]
            yield upstream

    def finish(self) -> None:
        """End all streams in good order."""
        self._is_over.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
            writer.write(_HEAD)
            number = 0
            while not self._is_over.is_set():
                if number == 0 or not path.startswith("/quiet"):
                    event = b"data: %d\n\n" % number
                    writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                    self.sent[path] = self.sent.get(path, b"") + event
                    number += 1
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._is_over.wait(), _PACE)
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        writer.close()


@dataclass(slots=True, eq=False)
class Reader:
    """The client of one stream. times: when something came."""

    path: str
    data: bytearray = field(default_factory=bytearray)
    times: list[float] = field(default_factory=list)

    async def read(self, port: int) -> None:
        """Read to the end of the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET %b HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n" % self.path.encode()
        )
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(1 << 16):
                self.data += piece
                self.times.append(asyncio.get_running_loop().time())
        writer.close()

    @property
    def heartbeats(self) -> int:
        return self.data.count(b": heartbeat\n")

    @property
    def body(self) -> bytes:
        """Without heartbeats and framing. AssertionError: it is not whole."""
        _, _, framed = bytes(self.data).partition(b"\r\n\r\n")
        assert framed.endswith(b"\r\n0\r\n\r\n"), framed[-200:]
        chunks = re.findall(rb"(?s)[0-9a-f]+\r\n(.*?)\r\n(?=[0-9a-f]+\r\n)", framed)
        return b"".join(chunks).replace(b": heartbeat\n", b"")

    def longest_gap(self, since: float) -> float:
        """Seconds, between two things that came after `since`."""
        times = [since, *(time for time in self.times if time >= since)]
        return max(after - before for before, after in pairwise(times))


@dataclass(slots=True)
class SteadyStreams:
    """Some streams of one proxy, half of which are silent but for their heartbeats. lost: need not come whole."""

    upstream: SteadyUpstream
    readers: list[Reader]
    lost: list[Reader] = field(default_factory=list)

    async def beat(self, times: int) -> None:
        """Wait until each silent stream has had some more heartbeats. TimeoutError: it has not."""
        quiet = (reader for reader in self.readers if reader.path.startswith("/quiet") and reader not in self.lost)
        wanted = [(reader, reader.heartbeats + times) for reader in quiet]
        await eventually(lambda: all(reader.heartbeats >= count for reader, count in wanted))

    def longest_gap(self, since: float) -> float:
        """Of all streams that are not lost."""
        return max(reader.longest_gap(since) for reader in self.readers if reader not in self.lost)


@contextlib.asynccontextmanager
async def steady_streams(upstream: SteadyUpstream, url: str, count: int) -> AsyncIterator[SteadyStreams]:
    """Open `count` streams of the proxy at `url`. In the end all must have come whole: AssertionError."""
    port = urlsplit(url).port
    assert port is not None
    readers = [Reader(f"/{('quiet', 'events')[number % 2]}/{number}") for number in range(count)]
    reading = [asyncio.create_task(reader.read(port)) for reader in readers]
    try:
        await eventually(lambda: all(b"data: 0\n\n" in reader.data for reader in readers))
        streams = SteadyStreams(upstream, readers)
        yield streams
    finally:
        upstream.finish()
        async with asyncio.timeout(60):
            await asyncio.gather(*reading)
    for reader in readers:
        assert reader in streams.lost or reader.body == upstream.sent[reader.path]
