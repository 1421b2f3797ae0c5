"""What does the slow service behind everything do, and what does it notice of its clients?"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sseproxy.core.frozen import frozen
from sseproxy.demo.embedded import embedded
from sseproxy.demo.ports import listener, port_of
from sseproxy.demo.wire import Head, read_head


@frozen
class Silence:
    """Nothing is sent for so many seconds."""

    seconds: float


@frozen
class Begin:
    """The response head is sent."""

    media_type: str = "text/event-stream"


@frozen
class Send:
    """These bytes are sent, as one chunk where the client speaks HTTP/1.1."""

    data: bytes


@frozen
class Die:
    """The connection ends in the midst of the answer, as it does when the process is killed."""


Step = Silence | Begin | Send | Die
Script = Sequence[Step]


class Noticed(StrEnum):
    """How a request ended, seen from the service."""

    RUNNING = "still running"
    SENT_ALL = "sent everything"
    PEER_LEFT = "connection closed"
    DIED = "died itself"


@dataclass(slots=True)
class Visit:
    """One request, seen from the service. Times are those of the event loop's clock."""

    user: str
    version: str
    began: float
    noticed: Noticed = Noticed.RUNNING
    ended: float | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, noticed: Noticed) -> None:
        """Note how the request ended, and when."""
        self.noticed, self.ended = noticed, asyncio.get_running_loop().time()
        self.over.set()


class ModelServer:
    """A service that plays a script per model; it writes its bytes itself, so that a script can break the protocol."""

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self.visits: list[Visit] = []
        self._scripts = scripts

    async def visit(self, user: str, *, limit: float) -> Visit | None:
        """The request of `user` once it has ended; after `limit` seconds as it is. ``None`` if none came."""
        found = next((visit for visit in self.visits if visit.user == user), None)
        if found is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(found.over.wait(), limit)
        return found

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it ends."""
        while (head := await read_head(reader)) is not None:
            wish = _wish(await reader.readexactly(int(head.field("content-length") or 0)))
            script = self._scripts.get(str(wish.get("model")))
            if script is None:
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                continue
            visit = Visit(str(wish.get("user")), head.version, asyncio.get_running_loop().time())
            self.visits.append(visit)
            if not await self._watch(visit, _Playback(head, writer), script, reader):
                return

    async def _watch(self, visit: Visit, answer: "_Playback", script: Script, reader: asyncio.StreamReader) -> bool:
        """Play until the script or the peer ends. Return True if the connection can be used again."""
        playing = asyncio.ensure_future(answer.play(script))
        leaving = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done() or playing.exception() is not None:
                visit.end(Noticed.PEER_LEFT)
                return False
            visit.end(playing.result())
            return answer.reusable
        finally:
            for task in (playing, leaving):
                task.cancel()
            await asyncio.gather(playing, leaving, return_exceptions=True)


class _Playback:
    """The writing half of one request."""

    def __init__(self, head: Head, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._chunked = head.version == "HTTP/1.1"
        close = (head.field("connection") or "").lower() == "close"
        self.reusable = self._chunked and not close

    async def play(self, script: Script) -> Noticed:
        """Carry the steps out, then end the body."""
        for step in script:
            if isinstance(step, Die):
                self._writer.transport.abort()
                return Noticed.DIED
            if isinstance(step, Silence):
                await asyncio.sleep(step.seconds)
            else:
                if isinstance(step, Begin):
                    data = self._head(step.media_type)
                else:
                    data = b"%x\r\n%b\r\n" % (len(step.data), step.data) if self._chunked else step.data
                self._writer.write(data)
                await self._writer.drain()
        if self._chunked:
            self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()
        return Noticed.SENT_ALL

    def _head(self, media_type: str) -> bytes:
        framing = b"Transfer-Encoding: chunked\r\n" if self._chunked else b""
        connection = b"" if self.reusable else b"Connection: close\r\n"
        return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b%b\r\n" % (media_type.encode(), framing, connection)


def _wish(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


@contextlib.asynccontextmanager
async def serving(scripts: Mapping[str, Script]) -> AsyncIterator[tuple[ModelServer, int]]:
    """Run the service on a free port of the loopback interface, as long as the block runs."""
    model, sock = ModelServer(scripts), listener()
    port = port_of(sock)
    async with embedded(model.serve, sock):
        yield model, port
