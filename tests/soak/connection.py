"""How does a client of the soak make one request, and write down all that comes?"""

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.soak.log import Log
from tests.soak.wire import Block, Response, kind, read_data

#: Heartbeats come each second. After so many seconds without a byte a client takes the connection for dead.
SILENCE = 6.0

_PIECE = 65536


@dataclass
class Tally:
    """What the clients of a process share: numbers for connections, and how many events they got."""

    log: Log
    events: int = 0
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, and what the checker has to know of it; see `history.Requested`.

    source: of which answer; empty: a feed, or the newest answer of a key. buffer: bytes of the receive buffer.
    """

    method: str
    target: str
    fields: Mapping[str, str]
    body: str = ""
    source: str = ""
    login: str = ""
    position: str = ""
    buffer: int = 0


class Connection:
    """One request and its response. position: the last id that came, or was named. last: the last event's number."""

    def __init__(self, tally: Tally, ask: Ask) -> None:
        self.status, self.position, self.last = 0, ask.position, 0
        self.has_failed = self.is_whole = self.has_gap = False
        self.url = ""
        self._tally, self._ask = tally, ask
        self._number = next(tally.numbers)
        self._response = Response()
        self._readable = asyncio.Event()
        self._readable.set()

    async def run(self, port: int) -> None:
        """Ask, and read to the end. Cancelled: the client leaves."""
        ask = self._ask
        self._note(
            "requested",
            request=0,
            key=ask.target,
            login=ask.login,
            position=ask.position,
            starts_latest=not (ask.source or ask.login),
            source=ask.source,
        )
        try:
            reader, writer = await self._connected(port)
        except OSError:
            self._note("ended", is_clean=False)
            return
        except asyncio.CancelledError:
            self._note("left")
            raise
        try:
            writer.write(self._request())
            await self._read(reader)
        except asyncio.CancelledError:
            self._note("left")
            raise
        finally:
            writer.transport.abort()

    async def pause(self, seconds: float) -> None:
        """Read nothing for a while."""
        self._note("paused")
        self._readable.clear()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._readable.set()
            self._note("resumed")

    async def _connected(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = socket.socket()
        sock.setblocking(False)
        try:
            if self._ask.buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._ask.buffer)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            return await asyncio.open_connection(sock=sock, limit=self._ask.buffer or _PIECE)
        except BaseException:
            sock.close()
            raise

    def _request(self) -> bytes:
        ask, body = self._ask, self._ask.body.encode()
        lines = [f"{ask.method} {ask.target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in ask.fields.items()]
        lines += [f"Last-Event-ID: {ask.position}"] if ask.position and "last-event-id" not in ask.target else []
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
        return "\r\n".join([*lines, "", ""]).encode() + body

    async def _read(self, reader: asyncio.StreamReader) -> None:
        piece = b"first"
        while piece and not self._response.is_whole:
            await self._readable.wait()
            try:
                async with asyncio.timeout(SILENCE):
                    piece = await reader.read(_PIECE)
            except TimeoutError:
                if self._readable.is_set():
                    break
                continue
            except OSError:
                break
            blocks = self._response.feed(piece)
            if not self.status and self._response.status:
                self.status = self._response.status
                self.url = self._response.fields.get("content-location", "")
                self._note("head", status=self.status)
            if self.status == 200:
                for block in blocks:
                    self._take(block)
        self.is_whole = self._response.is_whole
        self._note("ended", is_clean=self.is_whole, has_rest=bool(self._response.text) and self.status == 200)

    def _take(self, block: Block) -> None:
        self.position = self.position if block.id is None else block.id
        if not block.data:
            self._note("given", position=self.position)
        elif block.type == "gap":
            said = json.loads(block.data)
            self.has_gap = True
            self._note(
                "gap", reason=said["reason"], origin=said["from"] or "", lost=said["lost"], position=self.position
            )
        elif block.type == "error":
            self.has_failed = True
            self._note("failed", position=block.id or "")
        else:
            source, n, is_intact = read_data(block.data)
            self.last = n
            self._tally.events += 1
            more: dict[str, object] = {} if is_intact else {"is_intact": False}
            more |= {} if block.type == kind(0) else {"type": block.type}
            self._note("got", source=source, n=n, position=self.position, **more)

    def _note(self, what: str, **fields: object) -> None:
        self._tally.log.note(what, client=self._number, **fields)


async def stay(connection: Connection, port: int, seconds: float) -> None:
    """Read for a while, then leave; or until the connection ends."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await connection.run(port)
