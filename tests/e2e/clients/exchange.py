"""How is one request read, and a script sent for it, byte by byte? HTTP/1.1, chunked; nothing is repaired."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from tests.e2e.clients.endings import REQUEST_ID, Script

_PAUSE = 0.01  # seconds before each piece: a client gets them in several reads
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    """fields: in their order, as they came."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes = b""

    def field(self, name: str) -> str:
        """The first value of `name`, or the empty string."""
        return _first(self.fields, name)

    @property
    def service(self) -> str:
        """The second segment of the path."""
        return self.target.split("/")[2]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer. request_id: of the JSON-RPC request, where it is one."""

    request: Request
    request_id: object
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, status: str, body: bytes, *fields: str) -> None:
        """A response with a length."""
        head = "\r\n".join((f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}", "", ""))
        self.writer.write(head.encode() + body)
        await self.writer.drain()

    async def send_json(self, status: str, body: bytes, *fields: str) -> None:
        """The same, of JSON."""
        await self.send(status, body, "Content-Type: application/json", *fields)

    async def send_half_json(self, body: bytes) -> None:
        """A head that announces all of `body`, and the first half of it."""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body[: len(body) // 2])
        await self.writer.drain()

    async def send_script(self, script: Script) -> None:
        """Head, pieces and end; the last chunk, if there is one, goes out together with the last piece."""
        await self.send_head(script)
        await self.send_pieces(script.pieces, end=script.clean)

    async def send_head(self, script: Script) -> None:
        """The head of a chunked response."""
        fields = [f"Content-Type: {script.media}", "Transfer-Encoding: chunked", *script.fields]
        self.writer.write("\r\n".join(("HTTP/1.1 200 OK", *fields, "", "")).encode())
        await self.writer.drain()

    async def send_pieces(self, pieces: Sequence[bytes], *, end: bool = False) -> None:
        """One chunk for each piece."""
        for number, piece in enumerate(pieces, start=1):
            await asyncio.sleep(_PAUSE)
            data = piece.replace(REQUEST_ID, json.dumps(self.request_id).encode())
            last = _LAST_CHUNK if end and number == len(pieces) else b""
            self.writer.write(b"%x\r\n%s\r\n%s" % (len(data), data, last))
            await self.writer.drain()

    async def send_end(self) -> None:
        """The last chunk."""
        self.writer.write(_LAST_CHUNK)
        await self.writer.drain()

    async def linger(self, limit: float) -> float | None:
        """Wait for the client to leave. Returns the seconds that it took, or None if it was there at the `limit`."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        try:
            async with asyncio.timeout(limit):
                await self.reader.read(1)
        except TimeoutError:
            return None
        except ConnectionError:
            pass
        return loop.time() - since


async def read_request(reader: asyncio.StreamReader) -> Request:
    """The next request of a connection. IncompleteReadError: there is none."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines if line)]
    if _first(fields, "Transfer-Encoding").lower() == "chunked":
        body = await _chunks(reader)
    else:
        body = await reader.readexactly(int(_first(fields, "Content-Length") or 0))
    return Request(method, target, fields, body)


def _first(fields: Sequence[tuple[str, str]], name: str) -> str:
    return next((value for key, value in fields if key.lower() == name.lower()), "")


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body
