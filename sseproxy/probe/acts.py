"""How does the probe's origin do what a script asks for?"""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime

from sseproxy.probe.script import FIELD, Act, Script


class Events:
    """The response of one request: its head, then events, as `script` says."""

    def __init__(self, writer: asyncio.StreamWriter, script: Script, *, version: str) -> None:
        self._writer = writer
        self.script = script
        self._has_chunks = version != "HTTP/1.0"
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._number = 0

    async def begin(self) -> None:
        """Send the head; the times of events count from here."""
        hints = self.script.hints
        lines = [
            "HTTP/1.1 200 OK",
            "Content-Type: text/event-stream",
            f"Cache-Control: no-cache{', no-transform' if hints else ''}",
            f"{FIELD}: 1",
            *(["X-Accel-Buffering: no"] if hints else []),
            *(["Transfer-Encoding: chunked"] if self._has_chunks else []),
            "Connection: close",
        ]
        self._began = self._clock()
        await self._write("\r\n".join([*lines, "", ""]).encode())

    async def event(self, at: float, name: str = "") -> None:
        """Wait until so many seconds after the head, and send an event that says so."""
        await asyncio.sleep(at - (self._clock() - self._began))
        data = json.dumps({"n": self._number, "at": round(self._clock() - self._began, 4), "time": now()})
        self._number += 1
        text = f"{f'event: {name}' + chr(10) if name else ''}data: {data}\n\n".encode()
        await self._write(b"%x\r\n%b\r\n" % (len(text), text) if self._has_chunks else text)

    async def finish(self) -> None:
        """Send the last chunk."""
        if self._has_chunks:
            await self._write(b"0\r\n\r\n")

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


async def steady(events: Events) -> None:
    """Known events a step apart, then one now and then."""
    *times, last = events.script.times
    for at in times:
        await events.event(at)
    await events.event(last, "end")
    await events.finish()


async def before(events: Events) -> None:
    """The silence before the head is over: one event."""
    await events.event(0, "end")
    await events.finish()


async def after(events: Events) -> None:
    """An event, silence, an event."""
    await events.event(0)
    await events.event(events.script.seconds, "end")
    await events.finish()


async def broken(events: Events) -> None:
    """Two events, and no end."""
    await events.event(0)
    await events.event(events.script.step)
    # What was sent may reach the client before the break does.
    await asyncio.sleep(events.script.step)


#: What follows the head.
ACTS = {Act.STEADY: steady, Act.BEFORE: before, Act.AFTER: after, Act.BROKEN: broken}


async def send_ping(writer: asyncio.StreamWriter, facts: Mapping[str, object]) -> None:
    """Send a small answer, whole."""
    body = json.dumps(facts).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\n{FIELD}: 1\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()


def now() -> str:
    """The time of day, as text."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
