"""How does a test talk to a server byte by byte?"""

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from pathlib import Path

from tests.support import http1_reader
from tests.support.http1_reader import Message
from tests.support.patience import LIMIT

#: Bytes that are taken from the network before the test reads them.
READ_LIMIT = 256 * 1024


class _Patient(asyncio.StreamReaderProtocol):
    """What came before a reset can still be read; the reset itself is noted and reads as the end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.reader = asyncio.StreamReader(limit=READ_LIMIT, loop=loop)
        self.was_reset = False
        self.heard = False
        super().__init__(self.reader, loop=loop)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.was_reset = isinstance(exc, ConnectionResetError)
        super().connection_lost(None)


class AsyncPeer:
    """One connection to a server under test. What it sends is up to the test; what it reads must be HTTP."""

    def __init__(self, transport: asyncio.Transport, protocol: _Patient) -> None:
        self._transport = transport
        self._protocol = protocol
        self._writer = asyncio.StreamWriter(transport, protocol, protocol.reader, asyncio.get_running_loop())
        self.reader = protocol.reader

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls, port: int, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> "AsyncIterator[AsyncPeer]":
        """Connect to a port of this machine. tls: trusts the server's certificate, which names ``localhost``."""
        loop = asyncio.get_running_loop()
        name = "localhost" if tls is not None else None
        made = await loop.create_connection(lambda: _Patient(loop), host, port, ssl=tls, server_hostname=name)
        async with cls._closing(*made) as client:
            yield client

    @classmethod
    @contextlib.asynccontextmanager
    async def connect_unix(cls, path: Path) -> "AsyncIterator[AsyncPeer]":
        """Connect to a unix socket."""
        loop = asyncio.get_running_loop()
        async with cls._closing(*await loop.create_unix_connection(lambda: _Patient(loop), str(path))) as client:
            yield client

    @classmethod
    @contextlib.asynccontextmanager
    async def _closing(cls, transport: asyncio.Transport, protocol: _Patient) -> "AsyncIterator[AsyncPeer]":
        client = cls(transport, protocol)
        try:
            yield client
        finally:
            await client.close()

    @property
    def was_reset(self) -> bool:
        """Whether the connection has ended with a TCP reset."""
        return self._protocol.was_reset

    @property
    def unsent(self) -> int:
        """Bytes that the network has not taken yet."""
        return self._transport.get_write_buffer_size()

    async def send(self, data: bytes) -> None:
        """In one write. It does not matter whether the server still listens."""
        if not self.reader.at_eof():
            with contextlib.suppress(ConnectionError, RuntimeError):  # the latter is what uvloop says
                self._writer.write(data)
                await self._writer.drain()

    def send_now(self, data: bytes) -> None:
        """Hand `data`, which is small, to the kernel. The event loop gets no turn, so the server has not read it."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        assert os.write(sock.fileno(), data) == len(data)

    async def send_in_pieces(self, data: bytes, *, size: int) -> None:
        """Each `size` bytes in a packet and a turn of the event loop of its own, until the server says something."""
        for index in range(0, len(data), size):
            if self._protocol.heard or self.reader.at_eof():
                return
            await self.send(data[index : index + size])
            await asyncio.sleep(0)

    async def response(self, *, to_head: bool = False) -> Message:
        """The next response, whole; interim ones count."""
        async with asyncio.timeout(LIMIT):
            return await http1_reader.read_response(self.reader, to_head=to_head)

    async def head(self) -> Message:
        """The head of the next response, so that its body can be read in pieces."""
        async with asyncio.timeout(LIMIT):
            return Message(await http1_reader.read_head(self.reader))

    async def chunk(self) -> bytes:
        """Return the data of the next chunk; empty for the last one."""
        async with asyncio.timeout(LIMIT):
            return await http1_reader.read_chunk(self.reader)

    async def exactly(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        async with asyncio.timeout(LIMIT):
            return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """All bytes until the server closes or resets the connection."""
        async with asyncio.timeout(LIMIT):
            return await self.reader.read()

    async def ask(self, request: bytes, *, to_head: bool = False) -> Message:
        """Send a request and read its response."""
        await self.send(request)
        return await self.response(to_head=to_head)

    def shrink_receive_buffer(self, size: int) -> None:
        """Let the kernel keep so many bytes that the client has not read, or about twice as many (SO_RCVBUF)."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    def pause(self) -> None:
        """Stop to read: the client is frozen, and its kernel's buffer fills up."""
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read again, after `pause`."""
        self._transport.resume_reading()

    def finish_sending(self) -> None:
        """Close the sending half: a FIN, after which the client still reads."""
        self._writer.write_eof()

    def reset(self) -> None:
        """Vanish: a TCP reset."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    async def close(self) -> None:
        """Close the connection, and wait until it is closed."""
        self._writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self._writer.wait_closed()
