"""Does the kernel find out when an upstream's machine has gone without a word?

The sockets are looked at as the kernel has them, among those that this process has open.
"""

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from sseproxy.core.routes import Route, Upstream, UpstreamTLS
from tests.support.proxy_server import SILENT, ProxyServer
from tests.support.raw_upstream import RawUpstream, Visit

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: x\r\n"

#: Reaches this machine, but is not known to: a connection to a loopback address needs no probes.
ANY_ADDRESS = "0.0.0.0"


def sockets_to(port: int) -> Iterator[socket.socket]:
    """This process's connections to `port`."""
    for number in [int(file.name) for file in Path("/proc/self/fd").iterdir()]:
        with contextlib.suppress(OSError):  # it is no socket, it listens, or it has been closed meanwhile
            copy = os.dup(number)
            try:
                sock = socket.socket(fileno=copy)
            except OSError:
                os.close(copy)
                raise
            with sock:
                if sock.family == socket.AF_INET and sock.getpeername()[1] == port:
                    yield sock


def probes(port: int) -> tuple[int, int]:
    """Of the one connection to `port`: whether the kernel probes it, and after how many seconds of silence."""
    [found] = [
        (
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        )
        for sock in sockets_to(port)
    ]
    return found


async def opens(visit: Visit) -> None:
    """A stream, or what the client switches to."""
    request = await visit.request()
    await visit.send(STREAM if request.one(b"Upgrade") is None else SWITCHED)
    await visit.wait_closed()


async def probes_of(upstream: RawUpstream, route: Route, fields: bytes = b"") -> tuple[int, int]:
    """Those of the connection behind an open stream of `route`."""
    async with ProxyServer.serve(route) as proxy, proxy.connect() as client:
        await client.send(GET + fields + b"\r\n")
        await client.head()
        return probes(upstream.port)


@pytest.mark.parametrize("fields", [b"", UPGRADE], ids=["stream", "tunnel"])
@pytest.mark.parametrize("host", ["localhost", ANY_ADDRESS], ids=["name", "address"])
async def test_the_kernel_probes_upstreams_on_other_machines(host: str, fields: bytes) -> None:
    async with RawUpstream.serve(opens) as upstream:
        route = Route("default", Upstream("http", host, upstream.port), heartbeat=SILENT)
        assert await probes_of(upstream, route, fields) == (1, 60)


async def test_so_it_does_over_tls(tls_files: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls_files)
    async with RawUpstream.serve(opens, tls=context) as upstream:
        tls = UpstreamTLS(ca=str(tls_files[0]))
        route = Route("default", Upstream("https", "localhost", upstream.port, tls=tls), heartbeat=SILENT)
        assert await probes_of(upstream, route) == (1, 60)
