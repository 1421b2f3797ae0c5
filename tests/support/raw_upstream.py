"""What exactly reaches an upstream, and what does the proxy make of whatever it answers?"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import http1_reader
from tests.support.http1_reader import Message
from tests.support.patience import LIMIT
from tests.support.settled import eventually

#: Bytes that are taken from the network before the script reads them; a script that does not read pushes back.
READ_LIMIT = 256 * 1024

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(eq=False)
class Visit:
    """One connection of the proxy.

    received: every byte that came over it. closed: the proxy has ended it; lost: nothing can be sent any more either.
    requests: those read by the script.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    received: bytearray
    closed: asyncio.Event
    lost: asyncio.Event
    requests: list[Message] = field(default_factory=list)

    async def request(self) -> Message:
        """The next request, whole. IncompleteReadError: it never came."""
        message = await http1_reader.read_request(self.reader)
        self.requests.append(message)
        return message

    async def head(self) -> Message:
        """The next request's head; its body stays to be read."""
        message = Message(await http1_reader.read_head(self.reader))
        self.requests.append(message)
        return message

    async def send(self, data: bytes) -> None:
        """In one write; a proxy that has left is no error."""
        with contextlib.suppress(ConnectionError, RuntimeError):  # the latter is what uvloop says
            self.writer.write(data)
            await self.writer.drain()

    def close(self) -> None:
        """Close the connection, once what was sent has gone out."""
        self.writer.close()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def wait_received(self, data: bytes) -> None:
        """Until these bytes have come, read by the script or not."""
        await eventually(lambda: data in self.received)

    async def wait_closed(self) -> None:
        """Until the proxy has closed this connection."""
        async with asyncio.timeout(LIMIT):
            await self.closed.wait()


Script = Callable[[Visit], Awaitable[None]]


def replies(*responses: bytes) -> Script:
    """Each request, over whatever connection, gets the next response, later ones the last; connections are kept."""
    left = list(responses or (OK,))

    async def script(visit: Visit) -> None:
        while True:
            await visit.request()
            await visit.send(left.pop(0) if len(left) > 1 else left[0])

    return script


def replies_once(response: bytes) -> Script:
    """One request, one response, and the upstream closes."""

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(response)

    return script


class _Recorder(asyncio.StreamReaderProtocol):
    """Notes every byte before anybody reads it, and the end of the connection."""

    def __init__(self, visitor: Callable[[Visit], Awaitable[None]], loop: asyncio.AbstractEventLoop) -> None:
        self._visitor = visitor
        super().__init__(asyncio.StreamReader(limit=READ_LIMIT, loop=loop), self._connected, loop=loop)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._visitor(Visit(reader, writer, self._all, self._gone, self._lost))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._all = bytearray()
        self._gone = asyncio.Event()
        self._lost = asyncio.Event()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._all += data
        super().data_received(data)

    def eof_received(self) -> bool | None:
        self._gone.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        self._lost.set()
        super().connection_lost(exc)


class RawUpstream:
    """A server that records every byte and answers as `script` says. The end of the script closes the connection."""

    def __init__(self, script: Script) -> None:
        self.visits: list[Visit] = []
        self.port = 0
        self._script = script
        self._arrived = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def serve(
        cls,
        script: Script,
        *,
        socket_path: Path | None = None,
        tls: ssl.SSLContext | None = None,
        bound: socket.socket | None = None,
    ) -> "AsyncIterator[RawUpstream]":
        """On a port that the kernel chooses, on a unix socket, or on a socket that is bound and does not listen yet."""
        upstream = cls(script)
        loop = asyncio.get_running_loop()
        server: asyncio.Server

        def factory() -> _Recorder:
            return _Recorder(upstream.play, loop)

        if socket_path is not None:
            server = await loop.create_unix_server(factory, str(socket_path))
        elif bound is not None:
            server = await loop.create_server(factory, sock=bound, ssl=tls)
        else:
            server = await loop.create_server(factory, "127.0.0.1", 0, ssl=tls)
            upstream.port = server.sockets[0].getsockname()[1]
        try:
            yield upstream
        finally:
            server.close()
            await upstream.close()

    @property
    def received(self) -> bytes:
        """All bytes of all connections."""
        return b"".join(bytes(visit.received) for visit in self.visits)

    @property
    def requests(self) -> list[Message]:
        """What the script has read."""
        return [request for visit in self.visits for request in visit.requests]

    async def visit(self, number: int = 0) -> Visit:
        """The connection with this number, once it is there."""
        async with asyncio.timeout(LIMIT), self._arrived:
            await self._arrived.wait_for(lambda: len(self.visits) > number)
        return self.visits[number]

    async def play(self, visit: Visit) -> None:
        """Run the script for a connection, and close that."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            async with self._arrived:
                self.visits.append(visit)
                self._arrived.notify_all()
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._script(visit)
        except asyncio.CancelledError:
            visit.writer.transport.abort()  # the test is over
        finally:
            self._tasks.discard(task)
            if not visit.writer.transport.is_closing():
                visit.close()

    async def close(self) -> None:
        """Abort all connections, and end their scripts."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for visit in self.visits:
            if not visit.lost.is_set():
                visit.writer.transport.abort()
                await visit.lost.wait()
