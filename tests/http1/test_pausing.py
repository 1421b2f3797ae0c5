"""Is a client's connection read again when the last reason for a pause has gone, and who leaves meanwhile?"""

import asyncio
import itertools
import select
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sseproxy.http1.disconnects import DisconnectWatch
from sseproxy.http1.pausing import Pause, ReadingPauses
from tests.support.patience import LIMIT


class Connection(asyncio.Transport):
    """A transport of which only the reading matters. sock: its socket; client: the other end."""

    def __init__(self) -> None:
        super().__init__()
        listener = socket.create_server(("127.0.0.1", 0))
        self.client = socket.create_connection(listener.getsockname())
        self.sock, _ = listener.accept()
        listener.close()
        self.reads = True
        self.is_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.sock if name == "socket" else default

    def pause_reading(self) -> None:
        assert self.reads
        self.reads = False

    def resume_reading(self) -> None:
        assert not self.reads
        self.reads = True

    def is_closing(self) -> bool:
        return self.is_closed


@pytest.fixture
async def transport() -> AsyncIterator[Connection]:
    made = Connection()
    yield made
    made.sock.close()
    made.client.close()


@pytest.fixture
async def watch() -> AsyncIterator[DisconnectWatch]:
    made = DisconnectWatch()
    yield made
    made.close()


@pytest.mark.parametrize("reasons", list(itertools.permutations(Pause, 2)), ids=str)
async def test_it_is_read_while_no_reason_holds(
    transport: Connection, watch: DisconnectWatch, reasons: tuple[Pause, Pause]
) -> None:
    pauses = ReadingPauses(transport, watch, lambda: None)
    first, second = reasons
    for _ in range(2):
        pauses.begin(first)
        pauses.begin(second)
        pauses.begin(second)
        pauses.end(first)
        pauses.end(first)
        assert (transport.reads, len(watch)) == (False, 1)
        pauses.end(second)
        assert (transport.reads, len(watch)) == (True, 0)


async def test_all_reasons_can_be_ended_at_once(transport: Connection, watch: DisconnectWatch) -> None:
    pauses = ReadingPauses(transport, watch, lambda: None)
    pauses.end_all()
    for why in Pause:
        pauses.begin(why)
    pauses.end_all()
    assert (transport.reads, len(watch), len(pauses.holding)) == (True, 0, 0)


async def test_a_connection_that_closes_is_neither_paused_nor_read(
    transport: Connection, watch: DisconnectWatch
) -> None:
    pauses = ReadingPauses(transport, watch, lambda: None)
    transport.is_closed = True
    pauses.begin(Pause.QUEUE)
    assert (transport.reads, len(watch)) == (True, 0)
    pauses.end(Pause.QUEUE)
    transport.is_closed = False
    pauses.begin(Pause.QUEUE)
    transport.is_closed = True
    pauses.end(Pause.QUEUE)
    assert not transport.reads
    pauses.close()
    assert len(watch) == 0


@pytest.mark.parametrize("why", Pause)
async def test_a_client_that_leaves_during_a_pause_is_noticed(
    transport: Connection, watch: DisconnectWatch, why: Pause
) -> None:
    """In a tunnel only if it resets the connection: what it has sent before an orderly end has to be read first."""
    gone = asyncio.Event()
    pauses = ReadingPauses(transport, watch, gone.set)
    pauses.begin(why)
    if why is Pause.RAW:
        transport.client.shutdown(socket.SHUT_WR)
        select.select([transport.sock], [], [])  # the end has come
        for _ in range(3):
            await asyncio.sleep(0)
        assert not gone.is_set()
        transport.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.client.close()
    async with asyncio.timeout(LIMIT):
        await gone.wait()
    assert len(watch) == 0
