"""How does a test serve routes with a journal inside its own event loop, and play upstream and clients by hand?"""

import asyncio
import contextlib
import gc
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sseproxy.config.loader import load
from sseproxy.core.routes import Route
from sseproxy.core.store import StorePolicy
from sseproxy.engine.relay import Relay
from sseproxy.journal.reader import Reader
from sseproxy.origins.http import HttpExchange
from sseproxy.proxy.journal.journalled import Journalled
from sseproxy.proxy.journal.reading import Reading
from sseproxy.proxy.journal.run_requests import RunRequest
from sseproxy.proxy.origins import Origins
from sseproxy.proxy.tail import ResponseTail
from sseproxy.runs.desk import Desk
from sseproxy.runs.live_run import Attendance, LiveRun
from tests.support.async_peer import AsyncPeer
from tests.support.http1_reader import Message
from tests.support.patience import LIMIT
from tests.support.proxy_server import ProxyServer
from tests.support.raw_upstream import RawUpstream, Script, Visit
from tests.support.settled import eventually

#: What a browser's `EventSource` sends, and what takes ids, but does not come back by itself.
EVENT_SOURCE = (b"Accept: text/event-stream", b"Cache-Control: no-cache")
TAKES_IDS = (b"Accept: text/event-stream",)

JSON = b"Content-Type: application/json"

#: What must be gone when the proxy is closed, without the help of the garbage collector.
_FLEETING = (LiveRun, Attendance, Reader, Reading, Journalled, RunRequest, Relay, HttpExchange, ResponseTail)


_POLICY = StorePolicy(secret="s")


def ask(line: bytes, *fields: bytes, body: bytes | None = None) -> bytes:
    """A request, such as ``GET /a``."""
    length = () if body is None else (b"Content-Length: %d" % len(body),)
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: a.test", *fields, *length]) + b"\r\n\r\n" + (body or b"")


def at(position: bytes) -> bytes:
    """The field by which a client says where it is."""
    return b"Last-Event-ID: " + position


def id_of(event: bytes) -> bytes | None:
    """The id of one event."""
    found = [line.removeprefix(b"id: ") for line in event.split(b"\n") if line.startswith(b"id:")]
    assert len(found) < 2, event
    return found[0] if found else None


def data_of(events: Sequence[bytes]) -> list[bytes]:
    """The data of each event that has some."""
    return [event.partition(b"data: ")[2] for event in events if b"data: " in event]


@dataclass(eq=False)
class Call:
    """One request, as it has reached the upstream. It is answered by hand."""

    visit: Visit
    request: Message

    async def begin(self, *fields: bytes, status: bytes = b"200 OK", first: bytes = b"") -> None:
        """Send the head of an event stream. first: an event that comes with it."""
        lines = [b"HTTP/1.1 " + status, b"Content-Type: text/event-stream", *fields, b"Transfer-Encoding: chunked"]
        await self.visit.send(b"\r\n".join([*lines, b"", b""]) + (_chunk(first) if first else b""))

    async def send(self, data: bytes) -> None:
        """Send one chunk."""
        await self.visit.send(_chunk(data))

    async def finish(self) -> None:
        """Send the last chunk."""
        await self.visit.send(_chunk(b""))

    async def answer(self, status: bytes, body: bytes = b"", *fields: bytes) -> None:
        """Send a whole response that is no stream."""
        length = () if status.startswith(b"204") else (b"Content-Length: %d" % len(body),)
        await self.visit.send(b"\r\n".join([b"HTTP/1.1 " + status, *fields, *length, b"", b""]) + body)

    def break_off(self) -> None:
        """End the connection before its body is complete."""
        self.visit.reset()

    @property
    def is_left(self) -> bool:
        """Whether the proxy has closed the connection."""
        return self.visit.closed.is_set()

    async def left(self) -> None:
        """Until the proxy has closed the connection."""
        await self.visit.wait_closed()


class Tab:
    """One client, and the event stream that it reads."""

    def __init__(self, peer: AsyncPeer) -> None:
        self.peer = peer
        self._text = b""

    async def head(self) -> Message:
        """The head of its response."""
        return await self.peer.head()

    async def reading(self) -> Self:
        """This client, once it has the head of a stream."""
        head = await self.head()
        assert (head.status, (head.one(b"Content-Type") or b"")[:17]) == (200, b"text/event-stream"), head
        return self

    async def event(self) -> bytes:
        """The next block, without its blank line."""
        while b"\n\n" not in self._text:
            data = await self.peer.chunk()
            assert data, "the stream has ended"
            self._text += data
        event, _, self._text = self._text.partition(b"\n\n")
        return event

    async def events(self, count: int) -> list[bytes]:
        """The next blocks."""
        return [await self.event() for _ in range(count)]

    async def body(self) -> tuple[bytes, bool]:
        """What still comes, and whether the end behind it is a clean one."""
        try:
            while data := await self.peer.chunk():
                self._text += data
        except asyncio.IncompleteReadError:
            return self._text, False
        return self._text, True

    async def ending(self) -> tuple[list[bytes], bool]:
        """The blocks that still come, and whether the end behind them is a clean one."""
        text, is_clean = await self.body()
        *blocks, rest = text.split(b"\n\n")
        assert not rest, rest
        return blocks, is_clean

    @property
    def is_silent(self) -> bool:
        """Whether nothing has come that was not looked at."""
        return not self._text and not vars(self.peer.reader)["_buffer"]

    async def leave(self) -> None:
        """Close the connection."""
        await self.peer.close()


@dataclass
class RunStand:
    """A proxy, its upstream, and its clients, who leave at the end.

    calls: all requests that have reached the upstream. arrival: set when there is another one. clients: their sockets.
    """

    proxy: ProxyServer
    upstream: RawUpstream
    calls: list[Call]
    arrival: asyncio.Event
    clients: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    @classmethod
    @contextlib.asynccontextmanager
    async def serve(
        cls, *routes: str, defaults: str = "", policy: StorePolicy = _POLICY, **options: Any
    ) -> "AsyncIterator[RunStand]":
        """routes: YAML mappings without braces and without `upstream`. options: of `ProxyServer.serve`.

        Asserts at the end that all requests have ended, and that nothing is left of them.
        """
        gc.collect()
        gc.disable()
        try:
            calls: list[Call] = []
            arrival = asyncio.Event()
            before = _alive()
            async with RawUpstream.serve(_listening(calls, arrival)) as upstream:
                served = ProxyServer.serve(*routes_of(routes, upstream.port, defaults), runs=policy, **options)
                async with served as proxy:
                    stand = cls(proxy, upstream, calls, arrival)
                    async with stand.clients:
                        yield stand
                    await proxy.app.wait_until_idle()
                    assert [run.attended for run in stand.desk if run.attended] == []
                await eventually(lambda: all(visit.closed.is_set() for visit in upstream.visits))
            del stand, proxy, served
            await eventually(lambda: len(asyncio.all_tasks()) == 1)
            left = _alive() - before
            assert not left, left
        finally:
            gc.enable()

    @property
    def desk(self) -> Desk:
        """All runs of the proxy."""
        service = self.proxy.app.journal.service
        assert service is not None
        return service.desk

    @property
    def run(self) -> LiveRun:
        """The only run."""
        (run,) = self.desk
        return run

    async def call(self, number: int = 0) -> Call:
        """The request with this number, once all of it has reached the upstream."""
        async with asyncio.timeout(LIMIT):
            while len(self.calls) <= number:
                self.arrival.clear()
                await self.arrival.wait()
        return self.calls[number]

    async def client(self) -> Tab:
        """A client that has sent nothing yet."""
        return Tab(await self.clients.enter_async_context(self.proxy.connect()))

    async def send(self, line: bytes, *fields: bytes, body: bytes | None = None) -> Tab:
        """A client that has sent a request."""
        tab = await self.client()
        await tab.peer.send(ask(line, *fields, body=body))
        return tab

    async def read(self, line: bytes, *fields: bytes, body: bytes | None = None) -> Tab:
        """A client that has the head of its stream."""
        return await (await self.send(line, *fields, body=body)).reading()

    async def ask(self, line: bytes, *fields: bytes, body: bytes | None = None) -> Message:
        """The whole response to a request."""
        async with self.proxy.connect() as peer:
            return await peer.ask(ask(line, *fields, body=body), to_head=line.startswith(b"HEAD "))

    async def open(
        self, line: bytes, *fields: bytes, body: bytes | None = None, first: bytes = b""
    ) -> tuple[Tab, Call]:
        """A client whose request has reached the upstream, and was answered with a stream."""
        number = len(self.calls)
        tab = await self.send(line, *fields, body=body)
        call = await self.call(number)
        await call.begin(first=first)
        return await tab.reading(), call

    async def reload(self, *routes: str) -> None:
        """Serve new requests by other routes, to the same upstream."""
        read = routes_of(routes, self.upstream.port)
        origins = Origins(
            {each.upstream: origin for each in read for origin in self.proxy.origins.values() if each.upstream}
        )
        self.proxy.app.reload(read, origins, trusted_proxies=())

    async def attended(self, count: int) -> None:
        """Until all runs together have so many clients."""
        await eventually(lambda: sum(run.attended for run in self.desk) == count)


def routes_of(routes: Sequence[str], port: int, defaults: str = "") -> tuple[Route, ...]:
    """What YAML says of routes that lead to a port of this machine; without heartbeats, unless it says otherwise."""
    defaults = defaults or "heartbeat: {interval: off}"
    lines = [f"  - {{upstream: 'http://127.0.0.1:{port}', {each}}}" for each in routes]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.yaml"
        path.write_text("\n".join([f"defaults: {{{defaults}}}", "routes:", *lines, ""]))
        return load(path, flags={}, environ={}).routes


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _listening(calls: list[Call], arrival: asyncio.Event) -> Script:
    async def script(visit: Visit) -> None:
        while True:
            calls.append(Call(visit, await visit.request()))
            arrival.set()

    return script


def _alive() -> Counter[str]:
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, _FLEETING))
