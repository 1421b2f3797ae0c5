"""Does the relay between two sides delay, drop, cut and heal?"""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.nemesis import Nemesis
from tests.support.patience import LIMIT
from tests.support.settled import eventually

_Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def relay() -> AsyncIterator[Nemesis]:
    """In front of an echo."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            pass
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Nemesis(server.sockets[0].getsockname()[1]) as relay:
        yield relay


async def _open(relay: Nemesis) -> _Pair:
    return await asyncio.open_connection("127.0.0.1", relay.port)


async def _echoed(pair: _Pair, data: bytes) -> bytes:
    pair[1].write(data)
    async with asyncio.timeout(LIMIT):
        return await pair[0].readexactly(len(data))


async def _broken(pair: _Pair) -> bool:
    async with asyncio.timeout(LIMIT):
        try:
            return await pair[0].read(1) == b""
        except ConnectionError:
            return True
        finally:
            pair[1].close()


async def test_fair(relay: Nemesis) -> None:
    pair = await _open(relay)
    data = bytes(range(256)) * 4000
    assert await _echoed(pair, data) == data
    assert relay.connections == 1
    pair[1].close()
    await eventually(lambda: relay.connections == 0)


async def test_delay_holds_each_byte_but_keeps_the_rate(relay: Nemesis) -> None:
    pair = await _open(relay)
    relay.delay(0.2)
    began = time.monotonic()
    await _echoed(pair, b"x" * 10_000_000)
    assert 0.4 <= time.monotonic() - began < 20  # piece by piece it would be half a minute
    pair[1].close()


async def test_dropped_bytes_come_when_it_heals(relay: Nemesis) -> None:
    pair = await _open(relay)
    assert await _echoed(pair, b"before") == b"before"
    relay.drop()
    pair[1].write(b"meanwhile")
    fresh = await _open(relay)
    fresh[1].write(b"new")
    for side in (pair, fresh):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(side[0].read(1), 0.2)
    relay.heal()
    async with asyncio.timeout(LIMIT):
        assert await pair[0].readexactly(9) == b"meanwhile"
        assert await fresh[0].readexactly(3) == b"new"
    pair[1].close()
    fresh[1].close()


async def test_a_forgotten_connection_stays_silent_and_a_new_one_works(relay: Nemesis) -> None:
    pair = await _open(relay)
    await _echoed(pair, b"before")
    relay.forget()
    relay.heal()
    pair[1].write(b"lost")
    fresh = await _open(relay)
    assert await _echoed(fresh, b"new") == b"new"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pair[0].read(1), 0.2)
    pair[1].close()
    fresh[1].close()


async def test_cut(relay: Nemesis) -> None:
    pair = await _open(relay)
    await _echoed(pair, b"before")
    relay.cut()
    assert await _broken(pair)
    assert await _broken(await _open(relay))
    relay.heal()
    fresh = await _open(relay)
    assert await _echoed(fresh, b"after") == b"after"
    fresh[1].close()
