"""How do tests make the network between two sides slow, silent or broken?"""

import asyncio
import contextlib
import enum
from collections.abc import Callable
from types import TracebackType
from typing import Self


class _Weather(enum.Enum):
    FAIR = enum.auto()
    SILENT = enum.auto()
    CUT = enum.auto()


class Nemesis:
    """A TCP relay on a port of the loopback, in front of `port`. A context manager, as wide as a test wants it.

    It begins fair. All calls act at once on the connections there are and on those to come, unless they say otherwise.
    attempts: how many connections were made to it, broken ones included.
    """

    port: int

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._host, self._behind = host, port
        self._delay = 0.0
        self._weather = _Weather.FAIR
        self._fair = asyncio.Event()
        self._fair.set()
        self._links: set[_Link] = set()
        self.attempts = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for link in list(self._links):
            link.cancel()
        await asyncio.gather(*(link.ended() for link in list(self._links)))

    @property
    def connections(self) -> int:
        """How many connections go through it now."""
        return len(self._links)

    def delay(self, seconds: float) -> None:
        """From now on each byte arrives `seconds` later, in both directions; the rate stays."""
        self._delay = seconds

    def drop(self) -> None:
        """Forward nothing, without a word: what is sent meanwhile arrives after `heal`, as TCP would repeat it."""
        self._set(_Weather.SILENT)

    def forget(self) -> None:
        """Leave the connections of now half open for ever, as a NAT does that has lost them. New ones work."""
        for link in self._links:
            link.forgotten.set()

    def cut(self) -> None:
        """Break all connections, and each new one at once."""
        self._set(_Weather.CUT)
        self.break_all()

    def break_all(self) -> None:
        """Break the connections of now. New ones work."""
        for link in list(self._links):
            link.cancel()

    def heal(self) -> None:
        """Forward at once again; what `forget` has lost stays lost."""
        self._delay = 0.0
        self._set(_Weather.FAIR)

    def _set(self, weather: _Weather) -> None:
        self._weather = weather
        if weather is _Weather.SILENT:
            self._fair.clear()
        else:
            self._fair.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.attempts += 1
        if self._weather is _Weather.CUT:
            writer.transport.abort()
            return
        link = _Link(lambda: self._delay, self._fair)
        self._links.add(link)
        try:
            await link.run((reader, writer), (self._host, self._behind))
        finally:
            self._links.discard(link)


class _Link:
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, delay: Callable[[], float], fair: asyncio.Event) -> None:
        self.forgotten = asyncio.Event()
        self._delay, self._fair = delay, fair
        self._cancelled = asyncio.Event()
        self._ended = asyncio.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    async def ended(self) -> None:
        await self._ended.wait()

    async def run(self, client: tuple[asyncio.StreamReader, asyncio.StreamWriter], server: tuple[str, int]) -> None:
        """Forward until a side ends or the link is cancelled; both connections are broken then."""
        writers = [client[1]]
        work = asyncio.ensure_future(self._forward(client, server, writers))
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait([work, cancelled], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, cancelled):
                task.cancel()
            await asyncio.gather(work, cancelled, return_exceptions=True)
            for writer in writers:
                writer.transport.abort()
            self._ended.set()

    async def _forward(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[str, int],
        writers: list[asyncio.StreamWriter],
    ) -> None:
        await self._fair.wait()
        with contextlib.suppress(OSError):
            behind = await asyncio.open_connection(*server)
            writers.append(behind[1])
            async with asyncio.TaskGroup() as tasks:
                for reader, writer in ((client[0], behind[1]), (behind[0], client[1])):
                    held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
                    tasks.create_task(self._take(reader, held))
                    tasks.create_task(self._give(writer, held))

    async def _take(self, reader: asyncio.StreamReader, held: "asyncio.Queue[tuple[float, bytes]]") -> None:
        loop, data = asyncio.get_running_loop(), b"first"
        while data:
            try:
                data = await reader.read(65536)
            except OSError:
                data = b""
            await held.put((loop.time() + self._delay(), data))

    async def _give(self, writer: asyncio.StreamWriter, held: "asyncio.Queue[tuple[float, bytes]]") -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await held.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self._fair.wait()
            if self.forgotten.is_set():
                continue  # read on, so that the sender's buffers do not betray it
            if not data:
                self._cancelled.set()  # a side has ended: Redis' clients know no half-closed connections
                return
            if writer.is_closing():
                continue  # its reader is about to say so
            writer.write(data)
            with contextlib.suppress(OSError):
                await writer.drain()
