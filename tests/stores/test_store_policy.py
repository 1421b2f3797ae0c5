"""What the file says of the store: does it reach the processes that serve?"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sseproxy.core.eventsource.policies import TicketPolicy
from sseproxy.core.limits import MIB
from sseproxy.core.store import StorePolicy
from tests.support.async_peer import RawClient
from tests.support.http1_reader import Message
from tests.support.raw_upstream import RawUpstream, replies
from tests.support.sseproxy_process import SseproxyProcess

CLEAN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata: x\n\n"
EVENT_SOURCE = b"Accept: text/event-stream\r\nCache-Control: no-cache\r\n"


def test_a_store_has_room_for_more_than_one_large_body() -> None:
    assert StorePolicy().least_memory(TicketPolicy(max_body=3 * MIB)) == 6 * MIB


@asynccontextmanager
async def process(config: Path) -> AsyncIterator[RawClient]:
    """A client of a process of its own."""
    with SseproxyProcess("-c", str(config)) as sseproxy:
        address = urlsplit(sseproxy.url)
        async with RawClient.connect(address.port or 0) as client:
            yield client


async def ask(
    client: RawClient, *, line: bytes = b"GET /a", fields: bytes = EVENT_SOURCE, body: bytes = b""
) -> Message:
    return await client.ask(line + b" HTTP/1.1\r\nHost: a.test\r\n" + fields + b"\r\n" + body)


async def end_of(client: RawClient) -> bytes:
    """The id with which a stream ends."""
    found = re.search(rb"id: (\S+)", (await ask(client)).body)
    assert found
    return found[1]


@pytest.mark.parametrize(
    ("store", "end", "status"),
    [
        ("{secret: the same in all replicas}", "{}", 204),
        ("memory", "{}", 200),
        ("{secret: the same in all replicas}", "{secret: another in each replica %s}", 200),
    ],
)
async def test_replicas_with_one_secret_know_the_ends_of_each_other(
    tmp_path: Path, store: str, end: str, status: int
) -> None:
    async with RawUpstream.serve(replies(CLEAN)) as upstream:
        configs = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
        for config in configs:
            routes = f"[{{upstream: 'http://127.0.0.1:{upstream.port}', end: {end.replace('%s', config.stem)}}}]"
            config.write_text(f"server: {{listen: '127.0.0.1:0'}}\nstore: {store}\nroutes: {routes}\n")
        async with process(configs[0]) as client:
            name = await end_of(client)
        async with process(configs[1]) as client:
            again = await ask(client, fields=EVENT_SOURCE + b"Last-Event-ID: " + name + b"\r\n")
        assert again.status == status


async def test_what_does_not_fit_into_the_memory_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    route = "{upstream: 'http://127.0.0.1:1', tickets: {max_body: 4KiB}}"
    config.write_text(f"server: {{listen: '127.0.0.1:0'}}\nstore: {{memory: 8KiB}}\nroutes: [{route}]\n")
    async with process(config) as client:
        made = {"line": b"POST /_tickets/a", "fields": b"Content-Length: 4000\r\n", "body": bytes(4000)}
        assert (await ask(client, **made)).status == 201
        assert (await ask(client, **made)).status == 503
