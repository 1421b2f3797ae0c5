"""How does a client of the soak read an event stream over HTTP/1.1, one event at a time?"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

_SILENCE = 20.0


class Broken(Exception):
    """The connection is over, or was never there."""


class Refused(Exception):
    """The answer is not 200."""


class Silent(Exception):
    """Neither an event nor a heartbeat came for 20 s."""


@dataclass(frozen=True, slots=True)
class Event:
    """One block of the stream; "" where it has no such field."""

    id: str
    name: str
    data: str


class Stream:
    """One connection with one GET, as EventSource sends it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._text = b""

    @classmethod
    async def open(cls, port: int, path: str, *, cookie: str = "", position: str = "") -> Self:
        """Return the stream once its head is there. Broken, Refused, Silent: there is none."""
        fields = [f"GET {path} HTTP/1.1", "Host: localhost", "Accept: text/event-stream", "Cache-Control: no-cache"]
        fields += [f"Cookie: {cookie}"] if cookie else []
        fields += [f"Last-Event-ID: {position}"] if position else []
        async with _in_time():
            stream = cls(*await asyncio.open_connection("127.0.0.1", port))
        try:
            await stream.ask("\r\n".join([*fields, "", ""]))
        except BaseException:
            stream.abort()
            raise
        return stream

    async def ask(self, request: str) -> None:
        """Send the request and read the head; `open` does it."""
        self._writer.write(request.encode())
        async with _in_time():
            head = await self._reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise Refused(head.decode("latin-1"))

    async def events(self) -> AsyncIterator[Event]:
        """Yield event after event, blocks with an id alone too, to the end. Broken: it ended, cleanly or not."""
        while True:
            async with _in_time():
                size = int(await self._reader.readuntil(b"\r\n"), 16)
                chunk = await self._reader.readexactly(size + 2)
            if size == 0:
                raise Broken("a clean end")
            *blocks, self._text = (self._text + chunk[:-2]).split(b"\n\n")
            for block in blocks:
                event = _parsed(block.decode())
                if event is not None:
                    yield event

    def abort(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()


@contextlib.asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        # Not `wait_for`: up to Python 3.11 it can lose a cancellation that comes together with its result.
        async with asyncio.timeout(_SILENCE):
            yield
    except TimeoutError:
        raise Silent from None
    except (OSError, EOFError) as error:
        raise Broken(repr(error)) from None


def _parsed(block: str) -> Event | None:
    fields: dict[str, list[str]] = {"id": [], "event": [], "data": []}
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        if name in fields:
            fields[name].append(value.removeprefix(" "))
    if not any(fields.values()):
        return None  # a heartbeat, or `retry`
    return Event("".join(fields["id"][-1:]), "".join(fields["event"][-1:]), "\n".join(fields["data"]))
