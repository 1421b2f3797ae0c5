"""What becomes of a client that cannot agree on TLS, on each event loop?"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from sseproxy.http1.handshake import TlsAcceptor, server_context
from sseproxy.http1.policy import ServerPolicy
from tests.support.proxy_server import ProxyServer, route_to
from tests.support.raw_upstream import RawUpstream, replies
from tests.support.settled import eventually

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@contextlib.asynccontextmanager
async def secured(context: ssl.SSLContext, *, within: float = 10.0) -> AsyncIterator[int]:
    """The port of a proxy that speaks TLS. within: seconds for a handshake."""
    async with (
        RawUpstream.serve(replies(ANSWER)) as upstream,
        ProxyServer.serve(route_to(upstream), policy=ServerPolicy(tls_handshake=within)) as proxy,
    ):
        listening = socket.create_server(("127.0.0.1", 0))
        connections = proxy.door.server(scheme="https")
        acceptor = TlsAcceptor(listening, partial(connections.secure, context=context))
        try:
            yield listening.getsockname()[1]
        finally:
            acceptor.close()
            await connections.shutdown(1.0)
        await eventually(lambda: proxy.door.connections == 0)  # each failure has given its place back


async def said(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Wait until the log has `text`."""
    await eventually(lambda: any(text in record.getMessage() for record in caplog.records))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_without_a_certificate(
    tls_files: tuple[Path, Path], version: ssl.TLSVersion, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    certificate, key = map(str, tls_files)
    trust = ssl.create_default_context(cafile=certificate)
    trust.minimum_version = trust.maximum_version = version
    async with secured(server_context(certificate, key, certificate)) as port:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="localhost")
            writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert await reader.read() == b""
        await said(caplog, "failed: it shows no certificate")
        trust.load_cert_chain(certificate, key)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="localhost")
        writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"hello")
        writer.close()


@pytest.mark.parametrize(
    ("sent", "within", "why"),
    [
        (b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 10.0, "it speaks HTTP without TLS"),
        (b"\x16\x03\x01\x00\xff" + bytes(255), 10.0, "it breaks the rules of TLS"),
        (b"\x16", 0.05, "it takes too long"),
        (None, 10.0, "it disconnects"),
    ],
    ids=["http", "noise", "silence", "gone"],
)
async def test_a_client_that_speaks_no_tls(
    tls_files: tuple[Path, Path], sent: bytes | None, within: float, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with secured(server_context(*map(str, tls_files)), within=within) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        if sent is None:
            writer.close()
        else:
            writer.write(sent)
        await said(caplog, f"TLS handshake with 127.0.0.1 failed: {why}")
        writer.close()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
