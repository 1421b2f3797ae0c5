"""What does a client get for one request, when, and how does it end?"""

import asyncio
import contextlib
import zlib
from collections.abc import Callable
from enum import StrEnum

from sseproxy.core.frozen import frozen
from sseproxy.demo.embedded import closed
from sseproxy.demo.wire import Head, read_head


class Ending(StrEnum):
    """How a response ended on the wire."""

    CLEAN = "clean end"
    TRUNCATED = "cut"
    RESET = "reset"
    NO_RESPONSE = "closed without a response"
    LEFT = "the client left"


@frozen
class Piece:
    """Body bytes that came together, so many seconds after the request."""

    at: float
    data: bytes


@frozen
class Answer:
    """One response as the client saw it. `seconds` runs from the request to the end, `ended` is the loop's clock."""

    head: Head | None
    pieces: tuple[Piece, ...]
    ending: Ending
    seconds: float
    ended: float

    @property
    def status(self) -> int | None:
        """The status, where a head came."""
        return None if self.head is None else self.head.status

    @property
    def body(self) -> bytes:
        """All that came of the body, without chunk framing, decoded if it was gzip."""
        return b"".join(piece.data for piece in self.pieces)


class _TruncatedError(Exception):
    """The connection ended inside a body that says how long it is."""


async def exchange(
    port: int, request: bytes, *, limit: float, leave_after: float | None = None, host: str = "127.0.0.1"
) -> Answer:
    """Send `request` to a port, of the loopback interface if `host` is left out, and read the response to its end.

    limit: seconds after which it is an error that nothing has ended. leave_after: the client goes after so many
    seconds. Raises `TimeoutError` when the limit is reached, `OSError` where nothing listens.
    """
    reader, writer = await asyncio.open_connection(host, port)
    reading = _Reading(reader)
    try:
        writer.write(request)
        if leave_after is None:
            return reading.answer(await asyncio.wait_for(reading.run(), limit))
        with contextlib.suppress(TimeoutError):
            return reading.answer(await asyncio.wait_for(reading.run(), leave_after))
        return reading.answer(Ending.LEFT)
    finally:
        await closed(writer)


def post(path: str, body: bytes, *, accept_encoding: str = "identity", user_agent: str = "curl/8.5.0") -> bytes:
    """A POST request with a JSON body, as curl would write it."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"User-Agent: {user_agent}",
        "Accept: */*",
        f"Accept-Encoding: {accept_encoding}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class _Reading:
    """The reading half of one exchange."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._head: Head | None = None
        self._pieces: list[Piece] = []
        self._decode: Callable[[bytes], bytes] = bytes

    async def run(self) -> Ending:
        """Read to the end and say how that came."""
        try:
            self._head = await read_head(self._reader)
            if self._head is None:
                return Ending.NO_RESPONSE
            if self._head.field("content-encoding") == "gzip":
                self._decode = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress
            await self._body(self._head)
        except ConnectionError:
            return Ending.RESET
        except _TruncatedError:
            return Ending.TRUNCATED
        return Ending.CLEAN

    def answer(self, ending: Ending) -> Answer:
        """What has come until now."""
        now = self._clock()
        return Answer(self._head, tuple(self._pieces), ending, now - self._began, now)

    async def _body(self, head: Head) -> None:
        if (head.field("transfer-encoding") or "").lower() == "chunked":
            while size := int((await self._line()).split(b";")[0], 16):
                await self._exactly(size)
                await self._line()
            while await self._line() != b"\r\n":
                pass  # a trailer field
        elif (length := head.field("content-length")) is not None:
            await self._exactly(int(length))
        else:
            while data := await self._reader.read(65536):
                self._take(data)

    async def _line(self) -> bytes:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise _TruncatedError
        return line

    async def _exactly(self, size: int) -> None:
        try:
            self._take(await self._reader.readexactly(size))
        except asyncio.IncompleteReadError as error:
            self._take(error.partial)
            raise _TruncatedError from None

    def _take(self, data: bytes) -> None:
        decoded = self._decode(data)
        if decoded:
            self._pieces.append(Piece(self._clock() - self._began, decoded))
