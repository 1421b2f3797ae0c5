"""Is what is connected to the admin listener bounded, in number and in time?"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sseproxy.process.admin_connections import AdminConnections
from tests.support.patience import LIMIT


class Echo(asyncio.Protocol):
    """Says what it hears, and closes, or has its connection kept, when it is asked to."""

    transport: asyncio.Transport
    keep: Callable[[asyncio.BaseTransport], None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if data == b"close":
            self.transport.close()
        if data == b"keep":
            self.keep(self.transport)
        self.transport.write(data)


@asynccontextmanager
async def listening(most: int, seconds: float, most_kept: int = 2) -> AsyncIterator[Callable[[], "Client"]]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        connections = AdminConnections(Echo, most=most, seconds=seconds, most_kept=most_kept)
        Echo.keep = connections.keep
        await connections.start([sock])
        clients: list[Client] = []

        def connect() -> Client:
            clients.append(Client(sock.getsockname()[1]))
            return clients[-1]

        yield connect
        connections.stop()
        for client in clients:
            await client.ended()
        await asyncio.sleep(0)


class Client:
    def __init__(self, port: int) -> None:
        self.port = port

    async def ask(self, word: bytes) -> bytes:
        """What comes back; nothing: it was closed instead."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        return await self.ask_again(word)

    async def ask_again(self, word: bytes) -> bytes:
        try:
            self._writer.write(word)
            return await self._reader.read(100)
        except ConnectionError:
            return b""

    async def ended(self) -> None:
        """Until it is closed from the other side. TimeoutError: it is not."""
        async with asyncio.timeout(LIMIT):
            try:
                while await self._reader.read(100):
                    pass
            except ConnectionError:
                pass
        self._writer.close()


async def test_one_too_many_closes_the_oldest() -> None:
    async with listening(3, 600) as connect:
        clients = [connect() for _ in range(5)]
        for client in clients:
            assert await client.ask(b"x") == b"x"
        for client in clients[:2]:
            await client.ended()
        assert [await client.ask_again(b"y") for client in clients[2:]] == [b"y"] * 3


async def test_what_has_ended_takes_no_place() -> None:
    async with listening(2, 600) as connect:
        first = connect()
        assert await first.ask(b"x") == b"x"
        for _ in range(5):
            short = connect()
            await short.ask(b"close")
            await short.ended()
        assert await first.ask_again(b"y") == b"y"


async def test_none_lives_longer_than_its_time() -> None:
    async with listening(3, 2.0) as connect:
        client = connect()
        assert await client.ask(b"x") == b"x"
        await client.ended()


async def test_many_at_once_do_not_close_each_other_before_they_are_answered() -> None:
    """All of them have connected and asked before the event loop looks: a health check may be any of these."""
    async with listening(8, 600) as connect:
        first = connect()
        assert await first.ask(b"x") == b"x"
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", first.port))) for _ in range(50)]
            for client in clients:
                client.sendall(b"x")
                client.setblocking(False)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(LIMIT):
                assert [await loop.sock_recv(client, 1) for client in clients] == [b"x"] * 50


async def test_one_that_is_kept_outlives_its_time() -> None:
    async with listening(3, 2.0) as connect:
        dashboard, other = connect(), connect()
        assert await dashboard.ask(b"keep") == b"keep"
        assert await other.ask(b"x") == b"x"
        await other.ended()
        assert await dashboard.ask_again(b"y") == b"y"


async def test_those_that_are_kept_and_the_others_take_no_place_of_each_other() -> None:
    async with listening(2, 600) as connect:
        dashboards = [connect() for _ in range(2)]
        for client in dashboards:
            assert await client.ask(b"keep") == b"keep"
        stuck = [connect() for _ in range(6)]
        for client in stuck:
            assert await client.ask(b"x") == b"x"
        for client in stuck[:4]:
            await client.ended()
        assert [await client.ask_again(b"y") for client in (*dashboards, *stuck[4:])] == [b"y"] * 4


async def test_of_those_that_are_kept_one_too_many_closes_the_oldest() -> None:
    async with listening(5, 600) as connect:
        clients = [connect() for _ in range(4)]
        for client in clients:
            assert await client.ask(b"keep") == b"keep"
        for client in clients[:2]:
            await client.ended()
        assert [await client.ask_again(b"y") for client in clients[2:]] == [b"y"] * 2


async def test_one_that_was_kept_and_left_takes_no_place() -> None:
    async with listening(5, 600) as connect:
        first = connect()
        assert await first.ask(b"keep") == b"keep"
        for _ in range(4):
            short = connect()
            assert await short.ask(b"keep") == b"keep"
            await short.ask_again(b"close")
            await short.ended()
        assert await first.ask_again(b"y") == b"y"
