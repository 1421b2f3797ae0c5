"""How is one HTTP/1.x head read from a connection, and what does it say?"""

import asyncio

from sseproxy.core.frozen import frozen


@frozen
class Head:
    """A start line and its fields (RFC 9112 section 2.1); `raw` is what came, with the empty line at its end."""

    start: tuple[str, str, str]
    fields: tuple[tuple[str, str], ...]
    raw: bytes

    @property
    def version(self) -> str:
        """The version of a request's start line."""
        return self.start[2]

    @property
    def status(self) -> int:
        """The status of a response's start line."""
        return int(self.start[1])

    def field(self, name: str) -> str | None:
        """The first field of that name, which is given in lower case."""
        return next((value for key, value in self.fields if key.lower() == name), None)


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head; ``None`` when the connection ends before one is complete."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    start, *lines = raw.decode("latin-1").split("\r\n")[:-2]
    first, second, third = [*start.split(" ", 2), "", ""][:3]
    pairs = (line.partition(":") for line in lines)
    return Head((first, second, third), tuple((name, value.strip()) for name, _, value in pairs), raw)
