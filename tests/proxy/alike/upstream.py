"""Which requests reach the upstream, and how does it answer them as their case says?"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from tests.proxy.alike.cases import ANSWER, Answer, Ending, Framing
from tests.proxy.alike.records import Arrived
from tests.support.http1_reader import Message, read_chunks
from tests.support.raw_upstream import RawUpstream, Visit
from tests.support.settled import eventually

#: Seconds until what was sent has arrived.
_ARRIVES = 0.02

_SURPRISE = Answer(599, b"no such answer")


class RecordingUpstream:
    """Behind one door. answers: to the requests of the case that is played; arrived: those that have come."""

    def __init__(self) -> None:
        self.answers: tuple[Answer, ...] = ()
        self.arrived: list[Arrived] = []
        self.port = 0
        self._begun = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def serve(cls) -> "AsyncIterator[RecordingUpstream]":
        upstream = cls()
        async with RawUpstream.serve(upstream.play) as served:
            upstream.port = served.port
            yield upstream

    def begin(self, answers: tuple[Answer, ...]) -> None:
        """Forget what was, and answer as the next case says."""
        self.answers = answers
        self.arrived = []
        self._begun = 0

    async def wait_begun(self, count: int) -> None:
        """Until the heads of so many requests have come."""
        await eventually(lambda: self._begun >= count)

    async def wait_settled(self) -> None:
        """Until nothing is under way."""
        await eventually(lambda: self._begun == len(self.arrived))

    async def play(self, visit: Visit) -> None:
        """Answer the requests of one connection, and record them, until the answer is one that closes it."""
        answer = Answer()
        while not answer.closes:
            head = await visit.head()
            self._begun += 1
            number = int(head.one(ANSWER) or b"0")
            answer = self.answers[number] if number < len(self.answers) else _SURPRISE
            line = head.first_line.split(b" ")
            arrived = Arrived(line[0].decode(), head.target, tuple(head.fields), _framing(head))
            try:
                arrived = replace(arrived, body=await _body(visit.reader, head), is_whole=True)
                arrived = replace(arrived, left=await _answer(visit, answer, to_head=arrived.method == "HEAD"))
            finally:
                self.arrived.append(arrived)


async def _answer(visit: Visit, answer: Answer, *, to_head: bool) -> bool:
    """Answer a request. Return whether the proxy has left before the end."""
    await asyncio.sleep(answer.before)
    await visit.send(answer.head(to_head=to_head))
    if to_head:
        return False
    await visit.send(answer.framed_body)
    if answer.ending is Ending.NEVER:
        await visit.wait_closed()
        return True
    if answer.ending is Ending.RESET:
        await asyncio.sleep(_ARRIVES)  # a reset overtakes what the kernel still has
        visit.reset()
    return False


def _framing(head: Message) -> Framing:
    if head.one(b"Transfer-Encoding") is not None:
        return Framing.CHUNKED
    return Framing.NONE if head.one(b"Content-Length") is None else Framing.LENGTH


async def _body(reader: asyncio.StreamReader, head: Message) -> bytes:
    framing = _framing(head)
    if framing is Framing.CHUNKED:
        return await read_chunks(reader)
    return await reader.readexactly(int(head.one(b"Content-Length") or b"0"))
