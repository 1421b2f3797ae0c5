"""How does a server of ours run inside this process, and end with all its connections?"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

_CLOSE_LIMIT = 1.0

_Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def embedded(handle: _Handler, sock: socket.socket) -> AsyncIterator[None]:
    """Accept on the listening `sock` as long as the block runs, each connection handled in a task of its own."""
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_connection(handle, reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, sock=sock)
    try:
        yield
    finally:
        server.close()
        running = tuple(connections)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _connection(handle: _Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Peers that go in the midst of a request or an answer are nothing unusual here."""
    try:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await handle(reader, writer)
    finally:
        await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close, and see it happen: the transport must not outlive its event loop. A peer that takes nothing is cut off."""
    writer.close()
    try:
        with contextlib.suppress(OSError):
            await asyncio.wait_for(writer.wait_closed(), _CLOSE_LIMIT)
    except TimeoutError:
        writer.transport.abort()
