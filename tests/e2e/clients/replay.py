"""How is a recorded stream, or a fault, sent to a client?

The path of a request is the script: ``/ROUTE/RUN/STREAM/IDS/CUTTING/…`` replays a stream with pauses,
``/ROUTE/RUN/fault/NAME/…`` misbehaves as its name says. Route and run are for the proxy and for its log.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Self

from tests.e2e.clients.recordings import Cutting, Ids, pieces, recorded_names, recording

Fault = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[object, object, None]]

#: Seconds of silence before each piece: room for three heartbeats of 20 ms.
PAUSE = 0.07

RATE_LIMIT_BODY = (
    b'{"type": "error", "error": {"type": "rate_limit_error", "message": "Too many tokens per minute",'
    b' "code": 429, "status": "RESOURCE_EXHAUSTED"}}'
)
_LATE = 0.4  # longer than the error routes' heartbeat.before_response

_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n"


class ReplayUpstream:
    """A server on a loopback port of the kernel's choice, on a thread of its own.

    Requests of the route ``direct`` are answered without pauses.
    """

    url: str

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="replay-upstream")
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[object, object, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=256)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await asyncio.gather(*self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left: its own business
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        await _read_body(reader, head)
        route, _run, *script = head.split(" ", 2)[1].removeprefix("/").split("/")
        if script[0] == "fault":
            await FAULTS[script[1]](reader, writer)
        else:
            body = recording(script[0], Ids(script[1]))
            await _replay(writer, pieces(body, Cutting(script[2])), pause=0.0 if route == "direct" else PAUSE)


async def _read_body(reader: asyncio.StreamReader, head: str) -> None:
    fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    if fields.get("transfer-encoding") == "chunked":
        await reader.readuntil(b"0\r\n\r\n")
    else:
        await reader.readexactly(int(fields.get("content-length", "0")))


async def _replay(writer: asyncio.StreamWriter, script: list[bytes], *, pause: float) -> None:
    writer.write(_STREAM_HEAD)
    for piece in script:
        await asyncio.sleep(pause)
        writer.write(piece)
        await writer.drain()


async def _rate_limit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _late_answer(
        writer,
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 7\r\n",
        RATE_LIMIT_BODY,
    )


async def _server_error(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _late_answer(
        writer,
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\n",
        b"the model fell over",
    )


async def _late_answer(writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
    await asyncio.sleep(_LATE)
    writer.write(head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
    await writer.drain()


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the proxy, which has given up, closes the connection


def _stalling(stream: str, after: int) -> Fault:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _replay(writer, pieces(recording(stream), Cutting.EVENTS)[:after], pause=PAUSE)
        await _silent(reader, writer)

    return stall


FAULTS: dict[str, Fault] = {
    "rate-limit": _rate_limit,
    "server-error": _server_error,
    "silent": _silent,
    **{f"stall-{name}": _stalling(name, 5) for name in recorded_names()},
}
