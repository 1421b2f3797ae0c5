"""What does an HTTP/1.1 message say, read without any library and without mercy?

Only what tests and scripted servers need: heads byte for byte, bodies by length, by chunks or until the end.
"""

import asyncio
import re
from dataclasses import dataclass

CRLF = b"\r\n"


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it was on the wire. head: first line and fields with the blank line; body: decoded."""

    head: bytes
    body: bytes = b""

    @property
    def first_line(self) -> bytes:
        return self.head.split(CRLF, 1)[0]

    @property
    def undated(self) -> bytes:
        """The head without ``Date``, which the proxy adds where there is none."""
        return re.sub(rb"\r\nDate: [^\r]*", b"", self.head)

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """All fields in their order, names and values as they were spelled."""
        lines = self.head.split(CRLF)[1:-2]
        return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]

    def all(self, name: bytes) -> list[bytes]:
        """The values of all fields called `name` (in any case)."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def one(self, name: bytes) -> bytes | None:
        """The value of the only field called `name`; ``None`` without it."""
        values = self.all(name)
        assert len(values) < 2, self.head
        return values[0] if values else None

    @property
    def status(self) -> int:
        return int(self.first_line.split(b" ", 2)[1])

    @property
    def target(self) -> bytes:
        """Of a request: whatever stands between the method and the version."""
        return self.first_line.split(b" ", 1)[1].rsplit(b" ", 1)[0]


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Up to and with the blank line. IncompleteReadError: the connection ended before."""
    return await reader.readuntil(CRLF + CRLF)


async def read_chunk(reader: asyncio.StreamReader, trailers: list[bytes] | None = None) -> bytes:
    """The data of one chunk; empty for the last one. trailers: gets the lines behind it; left out, there are none."""
    line = await reader.readuntil(CRLF)
    size = int(line, 16)
    assert line == b"%x\r\n" % size, f"a chunk size that should have been written otherwise: {line!r}"
    data = await reader.readexactly(size)
    while not size and trailers is not None and (line := await reader.readuntil(CRLF)) != CRLF:
        trailers.append(line.removesuffix(CRLF))
    if not size and trailers is not None:
        return b""
    assert await reader.readexactly(2) == CRLF
    return data


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    """A whole chunked body, without trailers."""
    pieces = []
    while piece := await read_chunk(reader):
        pieces.append(piece)
    return b"".join(pieces)


async def read_request(reader: asyncio.StreamReader) -> Message:
    """Return the next request, whole. A body has a length or chunks."""
    message = Message(await read_head(reader))
    return Message(message.head, await _read_body(reader, message, until_eof=False))


async def read_response(reader: asyncio.StreamReader, *, to_head: bool = False) -> Message:
    """The next response, interim ones included. to_head: the request was a HEAD."""
    message = Message(await read_head(reader))
    if to_head or message.status < 200 or message.status in (204, 304):
        return message
    return Message(message.head, await _read_body(reader, message, until_eof=True))


async def _read_body(reader: asyncio.StreamReader, message: Message, *, until_eof: bool) -> bytes:
    length, coding = message.one(b"Content-Length"), message.one(b"Transfer-Encoding")
    assert length is None or coding is None, message.head
    if coding is not None:
        assert coding == b"chunked", message.head
        return await read_chunks(reader)
    if length is not None:
        return await reader.readexactly(int(length))
    return await reader.read() if until_eof else b""
