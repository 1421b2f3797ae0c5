"""How does a test see when each byte of a response comes, on a loop whose clock may jump?

Unlike `AsyncPeer` it has no time limit: it waits for as long as the response takes.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

from tests.support.virtual_clock import now


def request(line: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    """A request to a.test; a body is JSON."""
    sized = [b"Content-Type: application/json", b"Content-Length: %d" % len(body)] if body else []
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: a.test", *fields, *sized]) + b"\r\n\r\n" + body


class Client:
    """Notes what comes over one connection, and how many seconds after the request."""

    def __init__(self, reader: asyncio.StreamReader, sent_at: float) -> None:
        self._reader = reader
        self._sent_at = sent_at
        self.data = b""
        self.first_at: float | None = None
        self.last_at = 0.0
        self.ended_at: float | None = None

    async def read(self) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await self._reader.read(1 << 16):
                self.last_at = now() - self._sent_at
                self.first_at = self.last_at if self.first_at is None else self.first_at
                self.data += piece
        self.ended_at = now() - self._sent_at

    @property
    def status(self) -> int:
        return int(self.data[9:12])

    @property
    def body(self) -> bytes:
        """What came behind the head, without the framing of chunks."""
        head, _, body = self.data.partition(b"\r\n\r\n")
        if b"chunked" not in head.lower():
            return body
        return b"".join(re.findall(rb"(?s)[0-9a-f]+\r\n(.*?)\r\n(?=[0-9a-f]+\r\n|\Z)", body))

    @property
    def is_whole(self) -> bool:
        return self.data.endswith(b"\r\n0\r\n\r\n")

    @property
    def heartbeats(self) -> int:
        return self.body.count(b": heartbeat\n")


@contextlib.asynccontextmanager
async def sent(request: bytes, port: int) -> AsyncIterator[Client]:
    """Send a request over a connection of its own, and note what comes until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = Client(reader, now())
    reading = asyncio.ensure_future(client.read())
    try:
        writer.write(request)
        yield client
    finally:
        writer.close()
        await reading
