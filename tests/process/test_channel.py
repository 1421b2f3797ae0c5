"""What passes between the parent and a worker, and in which order?"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from sseproxy.process.channel import WorkerChannel, obey
from tests.support.settled import eventually


class Worker:
    """The worker's end, in the same event loop. taken: the messages; `may_work` holds it back."""

    def __init__(self, sock: socket.socket) -> None:
        self.taken: list[bytes] = []
        self.may_work = asyncio.Event()
        self.may_work.set()
        self._task = asyncio.create_task(obey(sock, self._take))

    async def _take(self, message: bytes) -> None:
        await self.may_work.wait()
        self.taken.append(message)

    @property
    def has_ended(self) -> bool:
        return self._task.done()

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[tuple[WorkerChannel, Worker]]:
    here, there = socket.socketpair()
    channel, worker = WorkerChannel(here), Worker(there)
    yield channel, worker
    channel.close()
    await eventually(lambda: worker.has_ended)


def answered(channel: WorkerChannel) -> bool:
    channel.look(now=0.0)
    return channel.silent_since is None


async def test_messages_arrive_and_are_answered() -> None:
    async with pair() as (channel, worker):
        for message in (b"one", b"two" * 1_000_000):
            channel.send(message, now=1.0)
            await eventually(lambda: answered(channel))
        assert worker.taken == [b"one", b"two" * 1_000_000]


async def test_of_those_that_wait_the_last_counts() -> None:
    async with pair() as (channel, worker):
        worker.may_work.clear()
        large = [bytes([65 + number]) * 4_000_000 for number in range(4)]
        for message in large:
            channel.send(message, now=1.0)
        worker.may_work.set()
        await eventually(lambda: answered(channel) and worker.taken[-1:] == large[-1:])
        assert worker.taken == [large[0], large[-1]], "the first had been begun"


async def test_a_worker_that_does_not_answer_is_seen() -> None:
    async with pair() as (channel, worker):
        channel.ask(now=1.0)
        assert channel.silent_since is None, "it has not begun yet"
        await eventually(lambda: answered(channel))
        worker.may_work.clear()
        channel.send(b"work", now=5.0)
        channel.ask(now=6.0)
        channel.look(now=7.0)
        assert channel.silent_since == 5.0
        worker.may_work.set()
        await eventually(lambda: answered(channel))
        channel.ask(now=9.0)
        assert channel.silent_since == 9.0
        await eventually(lambda: answered(channel))
        assert worker.taken == [b"work"], "a question is no message"


async def test_a_worker_that_has_gone_is_no_error() -> None:
    here, there = socket.socketpair()
    channel = WorkerChannel(here)
    there.close()
    for now in range(3):
        channel.send(b"anything", now=float(now))
    channel.close()
