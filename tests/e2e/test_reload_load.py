"""Do reloads, one after the other, disturb the streams and requests of a busy proxy, or leave anything behind?"""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.reloading import UNCHANGED, Reloadable, reloadable
from tests.support import http1_reader
from tests.support.async_peer import AsyncPeer
from tests.support.blocking_client import fetch
from tests.support.processes import children, open_sockets, resident

STREAMS = 60
CLIENTS = 10
#: Of each client. A tenth of them come on a connection of their own.
REQUESTS = 150
RELOADS = 12

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class BusyUpstream:
    """Answers requests at once, and sends numbered events on all streams until `stop` is set."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.sent: Counter[bytes] = Counter()
        self.port = 0

    @contextlib.asynccontextmanager
    async def serve(self) -> "AsyncIterator[BusyUpstream]":
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while True:
                request = await http1_reader.read_request(reader)
                if request.target.startswith(b"/stream/"):
                    await self._stream(request.target, writer)
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def _stream(self, name: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(_HEAD)
        while not self.stop.is_set():
            event = b"data: %d\n\n" % self.sent[name]
            self.sent[name] += 1
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
            await asyncio.sleep(0.05)  # the pace of a model, and no condition of the test
        writer.write(b"0\r\n\r\n")


async def read_stream(port: int, name: bytes, opened: asyncio.Semaphore) -> tuple[bytes, int]:
    """The number of events of a stream that ended cleanly. They come in order, each once."""
    async with AsyncPeer.connect(port) as client:
        await client.send(b"GET %b HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n" % name)
        assert (await client.head()).status == 200
        opened.release()
        body = b""
        while chunk := await client.chunk():
            body += chunk
    events = [line for line in body.splitlines() if line.startswith(b"data: ")]
    assert events == [b"data: %d" % number for number in range(len(events))]
    return name, len(events)


async def ask_often(port: int) -> Counter[int]:
    """The statuses of many requests, most of them on one connection."""
    statuses: Counter[int] = Counter()
    async with AsyncPeer.connect(port) as kept:
        for number in range(REQUESTS):
            if number % 10:
                statuses[(await kept.ask(b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n")).status] += 1
            else:
                async with AsyncPeer.connect(port) as other:
                    statuses[(await other.ask(b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n")).status] += 1
            await asyncio.sleep(0.02)
    return statuses


def reload_often(proxy: Reloadable, upstream: str, done: list[bool]) -> int:
    """Reload until the requests are done, but `RELOADS` times at least; each third time the file is broken."""
    for count in itertools.count():
        if count >= RELOADS and done:
            return count
        if count % 3 == 2:
            proxy.write(routes=[{"upstream": upstream, "hartbeat": {}}])
            proxy.hang_up(UNCHANGED)
        else:
            # Another route in front each time, another pool for the same service, and another lead of the heartbeats.
            extra = {"name": f"extra-{count}", "match": {"path": f"/extra/{count}"}, "upstream": upstream}
            host = "127.0.0.1" if count % 2 else "localhost"
            main = {
                "name": "main",
                "upstream": upstream.replace("127.0.0.1", host),
                "limits": {"streams": 1000 + count},
            }
            proxy.reload(routes=[extra, main])
    raise AssertionError


@pytest.mark.parametrize("workers", [1, 2])
async def test_reloads_disturb_no_stream_and_no_request(tmp_path: Path, workers: int) -> None:
    async with BusyUpstream().serve() as upstream:
        url = f"http://127.0.0.1:{upstream.port}"
        with reloadable(tmp_path, workers=workers, routes=[{"name": "main", "upstream": url}]) as proxy:
            port = int(proxy.url.rpartition(":")[2])
            opened = asyncio.Semaphore(0)
            names = [b"/stream/%d" % number for number in range(STREAMS)]
            streams = [asyncio.create_task(read_stream(port, name, opened)) for name in names]
            for _ in names:
                await opened.acquire()
            done: list[bool] = []
            reloading = asyncio.create_task(asyncio.to_thread(reload_often, proxy, url, done))
            statuses = sum(await asyncio.gather(*(ask_often(port) for _ in range(CLIENTS))), Counter())
            done.append(True)
            assert await reloading >= RELOADS
            assert statuses == {200: CLIENTS * REQUESTS}
            assert not any(stream.done() for stream in streams)
            upstream.stop.set()
            assert dict(await asyncio.gather(*streams)) == upstream.sent
            await asyncio.to_thread(
                proxy.process.stdout.wait_for,
                lambda lines: (
                    sum("reason=upstream_end" in line and "path=/stream/" in line for line in lines) == STREAMS
                ),
            )


@pytest.mark.parametrize("workers", [1, 2])
def test_two_hundred_reloads_leave_nothing_behind(tmp_path: Path, workers: int) -> None:
    def routes(number: int) -> list[dict[str, object]]:
        """Another upstream, service, name and ticket path each time."""
        upstream = f"http://127.0.0.1:{20_000 + number}"
        tickets = {} if workers > 1 else {"tickets": {"path": f"/_t{number % 4}"}}
        guard = {"authorize": {"url": upstream + "/who"}}
        many: list[dict[str, object]] = [
            {"match": {"path": f"/{index}"}, "upstream": upstream, **guard, **tickets} for index in range(20)
        ]
        return [*many, {"name": f"number-{number}", "upstream": upstream}]

    def sizes() -> list[tuple[int, int, int]]:
        return [(open_sockets(pid), threads(pid), resident(pid)) for pid in processes]

    with reloadable(tmp_path, workers=workers, log={"level": "info"}, routes=routes(0)) as proxy:
        processes = [proxy.process.pid, *(children(proxy.process.pid) if workers > 1 else [])]
        for number in range(60):
            proxy.reload(routes=routes(number))
        before = sizes()
        for number in range(200):
            proxy.reload(routes=routes(number))
        after = sizes()
        assert fetch(proxy.admin, "/readyz").status == 200
    for (sockets, running, memory), (sockets_now, running_now, memory_now) in zip(before, after, strict=True):
        assert sockets_now <= sockets + 1
        assert running_now <= running + 1
        assert memory_now < memory + 6 * 2**20, f"{(memory_now - memory) / 200 / 1024:.0f} KiB each time"


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))
