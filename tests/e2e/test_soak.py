"""Does a stream stay what it was under random writes, random reads and heartbeats every few milliseconds?"""

import asyncio
import random
import re
import socket
from pathlib import Path

import pytest

from tests.support import whatwg
from tests.support.fault_stand import LOOPS
from tests.support.inside import Inside, inside, run_on

_SECONDS = 6.0
_AT_ONCE = 24
_BEAT = re.compile(rb": heartbeat(\r\n|\n|\r)")

_OPTIONS = "heartbeat: {interval: 5ms, form: comment-line, prelude: true}, timeouts: {write: 10s}, limits: {line: 2KiB}"


@pytest.mark.parametrize("loop", LOOPS)
def test_streams_stay_what_they_were(loop: str, tmp_path: Path) -> None:
    run_on(loop, lambda: _soak(tmp_path))


async def _soak(folder: Path) -> None:
    clock = asyncio.get_running_loop()
    until = clock.time() + _SECONDS
    seeds = iter(range(10**9))
    beats = streams = 0

    async def stream_after_stream(proxy: Inside) -> None:
        nonlocal beats, streams
        while clock.time() < until:
            seen = await _one_stream(proxy, next(seeds))
            beats, streams = beats + seen, streams + 1

    async with inside(_OPTIONS, _serve, folder) as proxy, asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(stream_after_stream(proxy))
    assert streams > _AT_ONCE
    assert beats > 4 * streams


def _stream(seed: int) -> bytes:
    """An event stream in one style of line ends; now and then a line over the limit."""
    dice = random.Random(seed)
    eol = _eol(seed)
    lines = []
    for number in range(dice.randrange(1, 60)):
        lines.append(b"id: %d" % number)
        size = dice.choice((0, 5, 40, 40, 400, 400, 4000 if dice.random() < 0.3 else 1))
        lines += [b"data: " + dice.randbytes(size).hex().encode() for _ in range(dice.randrange(1, 4))]
        lines.append(b"")
    return eol.join(lines) + eol


def _eol(seed: int) -> bytes:
    return random.Random(-seed).choice((b"\n", b"\n", b"\r\n", b"\r"))


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    seed = int(head.split(b" ")[1][1:])
    dice = random.Random(seed + 1)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    rest = _stream(seed)
    while rest:
        size = dice.choice((1, 3, 20, 100, 1000, 5000))
        piece, rest = rest[:size], rest[size:]
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(dice.choice((0, 0, 0.001, 0.004, 0.006, 0.011)))
    writer.close()
    await writer.wait_closed()


async def _one_stream(proxy: Inside, seed: int) -> int:
    """Read one stream and judge it. Returns how many heartbeats there were."""
    body = _dechunked(await _read(proxy.port, seed))
    sent = _stream(seed)
    stripped, beats = _BEAT.subn(b"", body)
    expected, got = whatwg.parse(sent), whatwg.parse(body)
    assert got.events == expected.events, seed
    assert got.retries == expected.retries
    if _eol(seed) != b"\r\n":  # there an LF whose CR was sent on its own may be sseproxy's
        assert stripped == sent, seed
    return beats


async def _read(port: int, seed: int) -> bytes:
    dice = random.Random(seed + 2)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, dice.choice((2048, 65536)))
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    writer.write(b"GET /%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % seed)
    data = bytearray()
    while piece := await reader.read(dice.choice((1, 10, 1000, 10000))):
        data += piece
        if dice.random() < 0.1:
            await asyncio.sleep(dice.choice((0, 0.003, 0.012)))
    writer.close()
    await writer.wait_closed()
    return bytes(data)


def _dechunked(response: bytes) -> bytes:
    """The body. AssertionError: it is not framed as RFC 9112 section 7.1 has it, to the last byte."""
    head, _, rest = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    body = b""
    while True:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line, 16)
        piece, end, rest = rest[:size], rest[size : size + 2], rest[size + 2 :]
        assert (len(piece), end) == (size, b"\r\n")
        body += piece
        if not size:
            assert rest == b""
            return body
