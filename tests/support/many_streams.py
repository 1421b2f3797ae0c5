"""How does a test have thousands of open streams through a proxy, and its own hand on each?"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

_T = TypeVar("_T")

_LIMIT = 60.0
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENT = b"data: 1\n\n"


class ManyStreams:
    """A service whose streams begin with one event and are silent then, and clients that read them.

    Both run on an event loop in a thread of its own. A context manager.
    """

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._calls: dict[str, asyncio.StreamWriter] = {}
        self._clients: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._run(self._listen())}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def open(self, proxy: str, targets: Sequence[str]) -> None:
        """Open a stream through `proxy` for each target, and wait for the first event of each."""
        self._run(self._open_all(proxy, targets))

    def send(self, target: str, data: bytes = _EVENT) -> None:
        """Let the service send an event in the stream of `target`."""
        self._run(self._send(target, data))

    def leave(self) -> None:
        """Let all clients leave."""
        self._run(self._leave())

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_LIMIT)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096)
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ", 2)[1].decode()
            self._calls[target] = writer
            writer.write(_HEAD + b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT))
            await reader.read()
        writer.transport.abort()

    async def _open_all(self, proxy: str, targets: Sequence[str]) -> None:
        for at in range(0, len(targets), 100):
            await asyncio.gather(*(self._open(proxy, target) for target in targets[at : at + 100]))

    async def _open(self, proxy: str, target: str) -> None:
        parts = urlsplit(proxy)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        self._clients.append(writer)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode("latin-1"))
        await reader.readuntil(_EVENT)

    async def _send(self, target: str, data: bytes) -> None:
        self._calls[target].write(b"%x\r\n%b\r\n" % (len(data), data))

    async def _leave(self) -> None:
        for writer in self._clients:
            writer.transport.abort()
        self._clients.clear()

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._leave()
        for writer in self._calls.values():
            writer.transport.abort()
        while rest := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(rest)
