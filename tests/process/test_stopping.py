"""Does a process end without refusing what has reached it already?"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sseproxy.http1.handshake import TlsAcceptor
from sseproxy.http1.listener import ClientConnections
from sseproxy.process.stopping import StopRequest, close_entrances
from tests.support.certificates import new_authority, new_certificate
from tests.support.patience import LIMIT
from tests.support.proxy_server import ProxyServer, route_to
from tests.support.raw_upstream import RawUpstream, replies

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
WAITING = 20


@contextlib.asynccontextmanager
async def proxy() -> AsyncIterator[ProxyServer]:
    async with RawUpstream.serve(replies()) as upstream, ProxyServer.serve(route_to(upstream)) as server:
        yield server


async def answer_of(client: socket.socket) -> bytes:
    loop, said = asyncio.get_running_loop(), b""
    client.setblocking(False)
    async with asyncio.timeout(LIMIT):
        while data := await loop.sock_recv(client, 65536):
            said += data
    return said


async def close(listener: socket.socket, connections: ClientConnections, server: asyncio.Server | TlsAcceptor) -> None:
    entrances = [(listener, connections, server)]
    await close_entrances(entrances, StopRequest(), close_sockets=listener.close, was_delayed=True)


@pytest.mark.parametrize("is_unix", [False, True])
async def test_who_waits_to_be_accepted_is_served(is_unix: bool, tmp_path: Path) -> None:
    """The event loop has no turn in between: all of them are in the queue of the socket, with their requests."""
    async with proxy() as on:
        with contextlib.ExitStack() as stack:
            if is_unix:
                listener = stack.enter_context(socket.socket(socket.AF_UNIX))
                listener.bind(str(tmp_path / "s"))
                listener.listen(WAITING)
            else:
                listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=WAITING))
            address = listener.getsockname()
            connections = on.door.server(scheme="http", is_unix=is_unix)
            server = await asyncio.get_running_loop().create_server(connections, sock=listener.dup())
            clients = [stack.enter_context(socket.socket(listener.family)) for _ in range(WAITING)]
            for client in clients:
                client.connect(address)
                client.send(GET)
            await close(listener, connections, server)
            on.app.drain(timeout=60.0, spread=0.0)
            for client in clients:
                assert (await answer_of(client)).startswith(b"HTTP/1.1 200")
            late = stack.enter_context(socket.socket(listener.family))
            with pytest.raises(ConnectionRefusedError):
                late.connect(address)


async def test_who_has_no_request_yet_has_a_moment_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sseproxy.process.stopping.LAST_REQUESTS", 2.0)
    async with proxy() as on:
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            server = await asyncio.get_running_loop().create_server(on.connections, sock=listener.dup())
            client.connect(listener.getsockname())

            async def end() -> None:
                await close(listener, on.connections, server)
                on.app.drain(timeout=60.0, spread=0.0)

            ending = asyncio.create_task(end())
            await asyncio.sleep(0.05)
            client.send(GET)
            await ending
            assert (await answer_of(client)).startswith(b"HTTP/1.1 200")


async def test_who_waits_to_speak_tls_is_served(tmp_path: Path) -> None:
    authority = new_authority(tmp_path)
    context = new_certificate(tmp_path, authority, "proxy", "DNS:localhost").server_context()
    async with proxy() as on:
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            server = TlsAcceptor(listener.dup(), lambda sock, address: on.connections.secure(sock, address, context))
            client.connect(listener.getsockname())
            closing = asyncio.create_task(close(listener, on.connections, server))
            client.setblocking(False)
            reader, writer = await asyncio.open_connection(
                sock=client, ssl=authority.client_context(), server_hostname="localhost"
            )
            writer.write(GET)
            await closing
            async with asyncio.timeout(LIMIT):
                assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()


async def test_a_second_signal_ends_the_delay() -> None:
    stop = StopRequest()
    with stop.by_signals([signal.SIGUSR2]):
        os.kill(os.getpid(), signal.SIGUSR2)
        async with asyncio.timeout(LIMIT):
            await stop.wait_for_drain()
        await stop.wait_for_end(within=0.01)
        waiting = asyncio.create_task(stop.wait_for_end(within=3600.0))
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGUSR2)
        async with asyncio.timeout(LIMIT):
            await waiting
