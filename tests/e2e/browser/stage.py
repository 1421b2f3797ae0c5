"""What does the service behind an `EventSource` answer, what was it asked for, and when has a heartbeat come past?

The service plays a script for each path. Between it and the browser there may be sseproxy, and then a tap before that:
it sees the heartbeats, so that a script can let one pass between any two of its pieces without a look at a clock.
"""

import asyncio
import contextlib
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, TypeVar

from sseproxy.demo.embedded import embedded
from sseproxy.demo.ports import listener, port_of
from sseproxy.demo.wire import Head, read_head

_T = TypeVar("_T")

_Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]

_LIMIT = 60.0
_PAGE = b"<!doctype html><meta charset=utf-8><title>EventSource</title><link rel=icon href='data:,'><script>%b</script>"
_HEARTBEAT = b": heartbeat"

STREAM = "Content-Type: text/event-stream"


class End(Enum):
    """How an answer ends."""

    CLEAN = auto()  # with the last chunk
    BROKEN = auto()  # in the middle of a chunk
    HELD = auto()  # not before the other side leaves
    SILENT = auto()  # likewise, and there is not even a head
    NOTHING = auto()  # before its head


@dataclass(frozen=True, slots=True)
class Answer:
    """One response. In its head, ``{here}`` and ``{other}`` are the two origins as the browser knows them.

    heartbeats: how many go between the pieces, before the first and behind the last, where sseproxy is in between.
    by_hand: each piece waits for `Stage.send_next`.
    """

    pieces: tuple[bytes, ...] = ()
    end: End = End.CLEAN
    status: str = "200 OK"
    fields: tuple[str, ...] = (STREAM,)
    heartbeats: int = 1
    by_hand: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether its status says that no body follows."""
        return self.status.startswith(("204", "304"))


@dataclass(frozen=True, slots=True)
class Request:
    """What the service was asked for. fields: by lower-case name."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes

    @property
    def last_event_id(self) -> str | None:
        return self.fields.get("last-event-id")


@dataclass(slots=True)
class Way:
    """How the browser gets to the service: its two origins there. tapped: heartbeats are to be waited for."""

    name: str
    here: str
    other: str
    tapped: bool = False

    def filled(self, text: str) -> str:
        return text.replace("{here}", self.here).replace("{other}", self.other)


@dataclass(slots=True)
class _Story:
    """What happens below one path."""

    answers: list[Answer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    left: int = 0
    permits: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))


class Stage:
    """The service on two ports, so that it is two origins. Paths without answers that are left get 204."""

    def __init__(self, script: str) -> None:
        self._page = _PAGE % script.encode()
        self._stories: defaultdict[str, _Story] = defaultdict(_Story)
        self._changed = asyncio.Condition()
        self._heartbeats = 0
        self._loop = asyncio.new_event_loop()
        self.way = Way("", "", "")

    @classmethod
    @contextlib.contextmanager
    def set_up(cls, script: str) -> "Iterator[Stage]":
        """script: the page's own."""
        stage = cls(script)
        with stage.running():
            yield stage

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Serve, on a loop in a thread of its own."""
        thread = threading.Thread(target=self._loop.run_forever, name="stage")
        thread.start()
        running = contextlib.AsyncExitStack()
        try:
            self.way = self._way("direct", running, self._serve)
            yield
        finally:
            self._run(running.aclose())
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    @contextlib.contextmanager
    def tapped(self, port: int) -> Iterator[Way]:
        """Let the browser come through what listens on `port`, and scripts wait for heartbeats, for a while."""

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._tap(port, reader, writer)

        running, before = contextlib.AsyncExitStack(), self.way
        try:
            self.way = self._way("through", running, pass_on, tapped=True)
            yield self.way
        finally:
            self.way = before
            self._run(running.aclose())

    def play(self, path: str, *answers: Answer) -> None:
        """Below `path`, these are the answers to the requests as they come; what was there is forgotten."""
        self._stories[path] = _Story(list(answers))

    def forget(self) -> None:
        """Forget all that was played and asked for."""
        self._stories.clear()

    def send_next(self, path: str) -> None:
        """Let the next piece of an answer go whose pieces go by hand."""
        self._loop.call_soon_threadsafe(self._stories[path].permits.release)

    def requests(self, path: str) -> list[Request]:
        return list(self._stories[path].requests)

    def wait_for_requests(self, path: str, number: int) -> list[Request]:
        """The requests below `path`, once there are so many. TimeoutError: there never are."""
        story = self._stories[path]
        self._run(self._until(lambda: len(story.requests) >= number))
        return list(story.requests)

    def wait_until_left(self, path: str, number: int = 1) -> None:
        """Until so many requests below `path` have lost their client before their answer had ended."""
        story = self._stories[path]
        self._run(self._until(lambda: story.left >= number))

    def _way(self, name: str, running: contextlib.AsyncExitStack, handle: _Handler, *, tapped: bool = False) -> Way:
        here, other = (self._run(running.enter_async_context(_serving(handle))) for _ in range(2))
        return Way(name, f"http://127.0.0.1:{here}", f"http://127.0.0.1:{other}", tapped)

    def _run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_LIMIT + 10)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(_LIMIT), self._changed:
            await self._changed.wait_for(condition)

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of one connection."""
        head = await read_head(reader)
        if head is None:
            return
        body = await _body(head, reader)
        method, target, _ = head.start
        if target == "/page":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n" + self._page)
            return
        story = self._stories["/" + target.split("/")[1].split("?")[0]]
        fields = {name.lower(): value.encode("latin-1").decode() for name, value in head.fields}
        story.requests.append(Request(method, target, fields, body))
        await self._note()
        answer = story.answers.pop(0) if story.answers else Answer(status="204 No Content", fields=())
        if await self._left_before_the_end(answer, story, reader, writer):
            story.left += 1
            await self._note()

    async def _left_before_the_end(
        self, answer: Answer, story: _Story, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        playing = asyncio.ensure_future(self._play(answer, story, writer))
        leaving = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return not playing.done() or isinstance(playing.exception(), ConnectionError)
        finally:
            for task in (playing, leaving):
                task.cancel()
            await asyncio.gather(playing, leaving, return_exceptions=True)

    async def _play(self, answer: Answer, story: _Story, writer: asyncio.StreamWriter) -> None:
        if answer.end is End.NOTHING:
            return
        if answer.end is not End.SILENT:
            self._begin(answer, writer)
            await self._send_pieces(answer, story, writer)
        if answer.end in (End.SILENT, End.HELD):
            await asyncio.get_running_loop().create_future()
        if answer.end is End.BROKEN:
            writer.write(b"ff\r\n")
        elif not answer.is_empty:
            writer.write(b"0\r\n\r\n")
        await writer.drain()

    def _begin(self, answer: Answer, writer: asyncio.StreamWriter) -> None:
        framing = () if answer.is_empty else ("Transfer-Encoding: chunked",)
        lines = [f"HTTP/1.1 {answer.status}", *answer.fields, *framing, "Connection: close", "", ""]
        writer.write(self.way.filled("\r\n".join(lines)).encode())

    async def _send_pieces(self, answer: Answer, story: _Story, writer: asyncio.StreamWriter) -> None:
        for piece in answer.pieces:
            await self._let_pass(answer.heartbeats)
            if answer.by_hand:
                await story.permits.acquire()
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        if answer.pieces:
            await self._let_pass(answer.heartbeats)

    async def _let_pass(self, heartbeats: int) -> None:
        """Wait for heartbeats to come past, where any are sent."""
        if self.way.tapped:
            wanted = self._heartbeats + heartbeats
            await self._until(lambda: self._heartbeats >= wanted)

    async def _tap(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on, and its end as it comes: a reset stays one."""
        inner, sending = await asyncio.open_connection("127.0.0.1", port)
        tasks = [asyncio.ensure_future(_pass(reader, sending)), asyncio.ensure_future(self._watch(inner, writer))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            sending.transport.abort()
            if any(isinstance(result, ConnectionError) for result in results):
                writer.transport.abort()

    async def _watch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tail = b""
        while data := await reader.read(65536):
            found = (tail + data).count(_HEARTBEAT)
            tail = (tail + data)[-len(_HEARTBEAT) + 1 :]
            writer.write(data)
            await writer.drain()
            if found:
                self._heartbeats += found
                await self._note()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def _body(head: Head, reader: asyncio.StreamReader) -> bytes:
    if (head.field("transfer-encoding") or "").lower() != "chunked":
        return await reader.readexactly(int(head.field("content-length") or 0))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


@contextlib.asynccontextmanager
async def _serving(handle: _Handler) -> AsyncIterator[int]:
    sock = listener()
    port = port_of(sock)
    async with embedded(handle, sock):
        yield port
