"""What do the tests of this room share?"""

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Self

from sseproxy.core.errors import StoreAway
from sseproxy.stores.redis.blocking import BlockingLimits, BlockingReads
from sseproxy.stores.redis.link import Link, LinkLimits
from sseproxy.stores.redis.ports import Backoff, Reply
from sseproxy.stores.redis.subscriber import Subscriber, SubscriberLimits, Subscription
from sseproxy.stores.redis.urls import RedisURL
from tests.support.patience import LIMIT

#: Faster than in production, so that a test is over soon; a busy machine may need a second for what takes milliseconds.
BACKOFF = Backoff(0.01, 0.2)
LINK = LinkLimits(timeout=2.0, idle=0.5, backoff=BACKOFF)
SUBSCRIBER = SubscriberLimits(silence=0.3, backoff=BACKOFF)
BLOCKING = BlockingLimits(block=0.5, timeout=0.5, backoff=BACKOFF)
NODE = b"node1"

#: Seconds in which a call is over that takes milliseconds, or as long as the limits above. A hang is longer.
SOON = 20.0


@contextlib.asynccontextmanager
async def a_link(url: str, limits: LinkLimits = LINK) -> AsyncIterator[Link]:
    """A link that is closed at the end."""
    link = Link(RedisURL.parse(url), limits=limits)
    try:
        yield link
    finally:
        await link.close()


@contextlib.asynccontextmanager
async def a_subscriber(link: Link, limits: SubscriberLimits = SUBSCRIBER) -> AsyncIterator[Subscriber]:
    """A subscriber that is closed at the end."""
    subscriber = Subscriber(link.url, link, node=NODE, limits=limits)
    try:
        yield subscriber
    finally:
        await subscriber.close()


@contextlib.asynccontextmanager
async def blocking_reads(link: Link, limits: BlockingLimits = BLOCKING) -> AsyncIterator[BlockingReads]:
    """Blocking reads that are closed at the end."""
    reads = BlockingReads(link.url, link, node=NODE, limits=limits)
    try:
        yield reads
    finally:
        await reads.close()


@dataclass
class Listener:
    """A caller of `subscribe` that writes down what it hears."""

    heard: list[bytes] = field(default_factory=list)
    ready: int = 0

    def subscribe(self, subscriber: Subscriber, channel: bytes, *, everywhere: bool = False) -> Subscription:
        return subscriber.subscribe(channel, self.heard.append, self.note_ready, everywhere=everywhere)

    def note_ready(self) -> None:
        self.ready += 1


async def recovered(link: Link, *command: bytes | str | int) -> Reply:
    """Run a command again and again until Redis is back. Each call must be over soon."""
    async with asyncio.timeout(LIMIT):
        while True:
            try:
                async with asyncio.timeout(SOON):
                    return await link.run(*command)
            except StoreAway:
                await asyncio.sleep(0.01)


def open_sockets() -> int:
    """How many sockets of this process are open."""
    return sum(isinstance(each, socket.socket) and each.fileno() >= 0 for each in gc.get_objects())


class HandRedis:
    """Counts its connections. Each read is taken for one command."""

    _GREETING = b"%1\r\n$5\r\nproto\r\n:3\r\n"

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self.dials = 0
        self._answer = answer

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.dials += 1
        while data := await reader.read(65536):
            answer = self._GREETING if b"HELLO" in data else self._answer(data)
            if answer is None:
                break
            writer.write(answer)
        writer.close()
