"""How does a small server run inside this process, and end with all its connections?"""

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
    """Handle one connection. Peers that disconnect in the middle of a request or response are no error here."""
    try:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await handle(reader, writer)
    finally:
        await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close and wait for the end: the transport must not outlive its event loop. Abort where the peer takes nothing."""
    writer.close()
    try:
        with contextlib.suppress(OSError):
            await asyncio.wait_for(writer.wait_closed(), _CLOSE_LIMIT)
    except TimeoutError:
        writer.transport.abort()
