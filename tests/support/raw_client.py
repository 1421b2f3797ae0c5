"""How does a test talk to a server byte by byte?"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self, TypeVar

from tests.support import wire
from tests.support.wire import Message

Client = TypeVar("Client", bound="RawClient")

#: Seconds after which a wait is given up: far more than any wait needs.
LIMIT = 20.0


class RawClient:
    """One connection to a server under test. What it sends is up to the test; what it reads must be HTTP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, port: int, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        name = "localhost" if tls is not None else None
        async with _closing(cls(*await asyncio.open_connection(host, port, ssl=tls, server_hostname=name))) as client:
            yield client

    @classmethod
    @contextlib.asynccontextmanager
    async def connect_unix(cls, path: Path) -> AsyncIterator[Self]:
        async with _closing(cls(*await asyncio.open_unix_connection(path))) as client:
            yield client

    async def send(self, data: bytes) -> None:
        """In one write. It does not matter whether the server still listens."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def send_bytewise(self, data: bytes) -> None:
        """Each byte in a packet and a turn of the event loop of its own."""
        for index in range(len(data)):
            await self.send(data[index : index + 1])
            await asyncio.sleep(0)

    async def response(self, *, to_head: bool = False) -> Message:
        """The next response, whole; interim ones count."""
        async with asyncio.timeout(LIMIT):
            return await wire.read_response(self.reader, to_head=to_head)

    async def head(self) -> Message:
        """The head of the next response, so that its body can be read in pieces."""
        async with asyncio.timeout(LIMIT):
            return Message(await wire.read_head(self.reader))

    async def chunk(self) -> bytes:
        async with asyncio.timeout(LIMIT):
            return await wire.read_chunk(self.reader)

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(LIMIT):
            return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """All bytes until the server closes. A reset counts as an end: what was read before is given."""
        pieces = []
        async with asyncio.timeout(LIMIT):
            with contextlib.suppress(ConnectionError):
                while piece := await self.reader.read(65536):
                    pieces.append(piece)
        return b"".join(pieces)

    async def ask(self, request: bytes, *, to_head: bool = False) -> Message:
        """Send a request and read its response."""
        await self.send(request)
        return await self.response(to_head=to_head)

    def pause(self) -> None:
        """Stop to read: the client is frozen, and its kernel's buffer fills up."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    def resume(self) -> None:
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]

    def finish_sending(self) -> None:
        self._writer.write_eof()

    def reset(self) -> None:
        """Vanish: a TCP reset."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def _closing(client: Client) -> AsyncIterator[Client]:
    try:
        yield client
    finally:
        await client.close()
