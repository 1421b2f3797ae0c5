"""What do the apps of the matrix stream, and how does a test learn what became of a stream inside the server?"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

#: Seconds. A pause is longer, so heartbeats fall into it.
HEARTBEAT = 0.1
PAUSE = 0.25

#: Names the file that a server's app writes to.
RECORD = "SSEPROXY_TEST_RECORD"


class Said(NamedTuple):
    """One event, as an app has it in mind."""

    type: str
    data: str
    id: str


#: Lines, characters beyond ASCII, and colons: whatever serialisers get wrong.
EVENTS = (
    Said("message", "one", "1"),
    Said("tick", "two\nlines", "2"),
    Said("message", '{"text": "drei: \N{LATIN SMALL LETTER U WITH DIAERESIS}"}', "3"),
)


def as_bytes(event: Said) -> bytes:
    lines = [f"id: {event.id}", f"event: {event.type}", *(f"data: {line}" for line in event.data.split("\n")), "", ""]
    return "\n".join(lines).encode()


async def events() -> AsyncIterator[Said]:
    """With a pause after each; then the stream is over."""
    for event in EVENTS:
        yield event
        await asyncio.sleep(PAUSE)


async def silence() -> AsyncIterator[Said]:
    """One event, and then nothing for ever. Records that it was stopped, and when."""
    try:
        yield EVENTS[0]
        await asyncio.get_running_loop().create_future()
    finally:
        record(f"at {time.monotonic()}")  # of the machine, so that other processes can compare
        record("stopped")


async def bytes_of(source: AsyncIterator[Said]) -> AsyncIterator[bytes]:
    async for event in source:
        yield as_bytes(event)


def record(what: str) -> None:
    with Path(os.environ[RECORD]).open("a") as file:
        file.write(what + "\n")
