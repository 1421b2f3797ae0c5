"""Is everything back where it was after thousands of streams that ended in every possible way?"""

import asyncio
import contextlib
import gc
import os
import random
import socket
import struct
from collections import Counter
from pathlib import Path

import pytest

from sseproxy.core.stream.session import StreamSession
from sseproxy.engine.relay import Relay
from sseproxy.http1.client import UpstreamConnection
from sseproxy.http1.server import DownstreamConnection
from sseproxy.origins.http import HttpExchange
from sseproxy.proxy.forward import Forwarding
from sseproxy.proxy.tail import ResponseTail
from tests.support.fault_stand import LOOPS
from tests.support.inside import Inside, alive, inside, run_on
from tests.support.processes import open_sockets, resident
from tests.support.settled import eventually

_STREAMS = 2000
_WARM_UP = 400
_AT_ONCE = 16
_RESET = struct.pack("ii", 1, 0)

#: What one request makes, and what must be gone after it.
_KINDS = (Forwarding, ResponseTail, Relay, StreamSession, HttpExchange, UpstreamConnection, DownstreamConnection)

_OPTIONS = "heartbeat: {interval: 5ms, before_response: 8ms}, timeouts: {idle: 60ms, response: 80ms, write: 60ms}"


@pytest.mark.parametrize("loop", LOOPS)
def test_nothing_is_left_of_streams_that_were_dropped_at_random_moments(loop: str, tmp_path: Path) -> None:
    run_on(loop, lambda: _drop_streams(tmp_path))


async def _drop_streams(folder: Path) -> None:
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    sockets, tasks = open_sockets(os.getpid()), len(asyncio.all_tasks())
    of_other_tests = alive(*_KINDS)
    upstream = _Upstream(random.Random(1))
    async with inside(_OPTIONS, upstream.serve, folder) as proxy:
        await _open_and_drop(proxy, _WARM_UP, random.Random(2))
        await _settle(proxy, tasks)
        gc.collect()
        memory = resident(os.getpid())
        await _open_and_drop(proxy, _STREAMS, random.Random(3))
        await _settle(proxy, tasks)
        gc.collect()
        assert resident(os.getpid()) - memory < 48 * 2**20
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
    await eventually(lambda: open_sockets(os.getpid()) <= sockets)
    assert upstream.served > _STREAMS / 4  # the others left before they had asked
    assert not Counter(alive(*_KINDS)) - Counter(of_other_tests)
    assert complaints == []


async def _settle(proxy: Inside, tasks: int) -> None:
    """Wait until no request, stream, connection or task of them is left; kept connections to the upstream may be."""
    app = proxy.app
    await eventually(lambda: app.requests == len(app.streams) == len(proxy.door.disconnects) == 0)
    await eventually(lambda: not any(origin.pool.leased for origin in proxy.origins.values()))
    await eventually(lambda: sum(not _is_upstream(task) for task in asyncio.all_tasks()) <= tasks)


def _is_upstream(task: "asyncio.Task[object]") -> bool:
    """Whether it serves a connection that the proxy keeps for later."""
    return getattr(task.get_coro(), "__qualname__", "") == _Upstream.serve.__qualname__


async def _open_and_drop(proxy: Inside, number: int, dice: random.Random) -> None:
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(seed: int) -> None:
        async with room:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await _Client(random.Random(seed)).visit(proxy.port)

    async with asyncio.TaskGroup() as group:
        for _ in range(number):
            group.create_task(one(dice.getrandbits(32)))


class _Client:
    """One visit that ends at a random moment, in a random way."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    async def visit(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await self._ask(writer)
            await self._listen(reader)
            if self._dice.random() < 0.4:
                _reset(writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _ask(self, writer: asyncio.StreamWriter) -> None:
        kind = self._dice.choice(("get", "get", "accept", "whole body", "part of a body", "upload", "1.0", "pipeline"))
        version = "1.0" if kind == "1.0" else "1.1"
        head = f"/{kind.replace(' ', '-')} HTTP/{version}\r\nHost: x\r\n"
        if kind in ("whole body", "part of a body", "upload"):
            writer.write(f"POST {head}Content-Type: application/json\r\nContent-Length: 400000\r\n\r\n".encode())
            writer.write(b"x" * {"whole body": 400_000, "upload": 399_999}.get(kind, 10))
            await asyncio.sleep(0)
        else:
            accept = "Accept: text/event-stream\r\n" if kind == "accept" else ""
            writer.write(f"GET {head}{accept}\r\n".encode() * (40 if kind == "pipeline" else 1))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        moment = self._dice.choice((0, 0.002, 0.01, 0.03, 0.06, 0.12))
        for _ in range(self._dice.choice((0, 2, 8, 32))):  # time alone is over at once where each turn takes long
            await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(moment):
                while await reader.read(self._dice.choice((10, 65536))):
                    pass


class _Upstream:
    """Answers late, early or never, and ends in a random way."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.served = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, RuntimeError):
            pass  # uvloop says RuntimeError where asyncio ignores what is written to a closed connection
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection may be used once more."""
        await reader.readuntil(b"\r\n\r\n")
        self.served += 1
        dice = self._dice
        await asyncio.sleep(dice.choice((0, 0, 0, 0.002, 0.01, 0.02)))
        how = dice.choice(("clean", "clean", "kept", "close", "reset", "silent", "flood", "mute", "refuse", "plain"))
        if how == "refuse":
            writer.write(b"HTTP/1.1 429 No\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlater")
            return False
        if how == "plain":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\nConnection: close\r\n\r\n" + b"x" * 200_000)
            return False
        if how != "mute":
            await self._stream(writer, how)
        if how in ("silent", "mute"):
            while await reader.read(65536):
                pass
        if how == "reset":
            _reset(writer)
        return how == "kept"

    async def _stream(self, writer: asyncio.StreamWriter, how: str) -> None:
        keep = b"" if how == "kept" else b"Connection: close\r\n"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        writer.write(head + keep + b"\r\n")
        size = 65536 if how == "flood" else 30
        for _ in range(self._dice.randrange(6)):
            data = b"data: " + b"x" * size + b"\n\n"
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()
            await asyncio.sleep(self._dice.choice((0, 0, 0.001, 0.006)))
        if how in ("clean", "kept"):
            writer.write(b"0\r\n\r\n")


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
