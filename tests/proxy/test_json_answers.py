"""What does a client get that was promised JSON before the upstream had answered? (docs/configuration.md)"""

import asyncio

from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from tests.support.async_peer import AsyncPeer
from tests.support.proxy_server import stage
from tests.support.raw_upstream import Script, Visit

EARLY = HeartbeatPolicy(interval=0.02, json=0.05)
ASK = b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"


def late(response: bytes, *, before: int = 2) -> Script:
    """Answer when the client has heard so many spaces: a test lets it go on by reading them."""

    async def visited(visit: Visit) -> None:
        await visit.request()
        await asyncio.sleep(0.12)
        await visit.send(response)

    return visited


async def promised(client: AsyncPeer) -> dict[bytes, bytes]:
    head = await client.head()
    assert head.status == 200
    return {name.lower(): value for name, value in head.fields}


async def body_of(client: AsyncPeer) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size = int((await client.reader.readline()).strip(), 16)
        if not size:
            trailer = await client.reader.readuntil(b"\r\n")
            if trailer != b"\r\n":
                assert await client.reader.readuntil(b"\r\n") == b"\r\n"
            return body, trailer
        body += (await client.reader.readexactly(size + 2))[:-2]


async def test_white_space_and_then_the_answer() -> None:
    answer = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"a": "\xc3\xa4"}'
    async with stage(late(answer), heartbeat=EARLY) as stand:
        await stand.client.send(ASK)
        fields = await promised(stand.client)
        print(fields)
        print(await body_of(stand.client))
        await stand.client.send(ASK)
        fields = await promised(stand.client)
        print(await body_of(stand.client))
