"""Is a request written to an upstream as HTTP/1.1 wants it, and its target and fields as they came?"""

import asyncio
import socket

from sseproxy.http1.client import UpstreamConnection

FIELDS = [(b"hOST", b"a"), (b"X", b"\xe9")]


async def test_a_request_is_written_byte_for_byte() -> None:
    here, there = socket.socketpair()
    with there:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: UpstreamConnection(loop, is_local=True), sock=here)
        connection.send_request("GET", "/caf\udce9?", FIELDS)
        assert there.recv(1000) == b"GET /caf\xe9? HTTP/1.1\r\nhOST: a\r\nX: \xe9\r\n\r\n"
        connection.send_request("POST", "/", [], b"body")
        assert there.recv(1000) == b"POST / HTTP/1.1\r\n\r\nbody"
        connection.close()


async def test_nothing_is_written_to_a_closed_connection() -> None:
    UpstreamConnection(asyncio.get_running_loop()).send_request("GET", "/", FIELDS)
