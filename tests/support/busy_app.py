"""What stands behind replicas that are restarted? An app with answers and feeds, which can be restarted itself."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from sseproxy.http1.sockets import accept_waiting
from tests.support import http1_reader
from tests.support.http1_reader import Message

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SHORT = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
FIRST = b"data: hello\n\n"
DONE = b"data: [DONE]\n\n"


def token(number: int) -> bytes:
    return b"data: %d\n\n" % number


def answer(count: int) -> bytes:
    """The body of a whole answer."""
    return b"".join(token(number) for number in range(count)) + DONE


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class BusyApp:
    """``/answer/N/PAUSE``: N tokens, one each PAUSE ms. ``/feed``: one event, then silence. Anything else: at once.

    goes_on: while it is not set, answers stop behind their first token.
    Each connection serves one request, so none is reused at the moment in which the app closes it.
    """

    def __init__(self, bound: socket.socket) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self._end = asyncio.Event()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._listener.bind(bound.getsockname())
        self._listener.listen(4096)
        self._server: asyncio.Server

    @classmethod
    @contextlib.asynccontextmanager
    async def serve(cls, bound: socket.socket) -> "AsyncIterator[BusyApp]":
        """Listen on the port of `bound` (`reserved_port`). In the end answers finish and feeds end, as at a restart."""
        app = cls(bound)
        await app.start()
        try:
            yield app
        finally:
            await app.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._visited, sock=self._listener.dup())

    async def stop(self) -> None:
        """Refuse new connections, serve those that are there, and wait until the last one has ended."""
        self._server.close()
        waiting = [sock for sock, _ in accept_waiting(self._listener)]
        self._listener.close()
        await asyncio.gather(*map(self._take, waiting))
        self._end.set()
        self.goes_on.set()
        await asyncio.sleep(0.05)  # connections that were just made have no task yet
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _take(self, sock: socket.socket) -> None:
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        await loop.connect_accepted_socket(lambda: asyncio.StreamReaderProtocol(reader, self._visited), sock)

    async def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._respond(await http1_reader.read_request(reader), writer)
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _respond(self, request: Message, writer: asyncio.StreamWriter) -> None:
        path = request.target.decode()
        if path.startswith("/answer/"):
            count, pause = map(int, path.split("/")[2:4])
            writer.write(HEAD)
            for number in range(count):
                writer.write(chunk(token(number)))
                await writer.drain()
                await self.goes_on.wait()
                await asyncio.sleep(pause / 1000)
            writer.write(chunk(DONE) + b"0\r\n\r\n")
        elif path == "/feed":
            writer.write(HEAD + chunk(FIRST))
            await self._end.wait()
            writer.write(b"0\r\n\r\n")
        else:
            writer.write(SHORT)
        await writer.drain()


def reserved_port() -> socket.socket:
    """Return a socket that keeps a port for what is to listen there now and then; it never listens itself."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", 0))
    return sock
