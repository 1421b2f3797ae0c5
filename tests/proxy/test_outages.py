"""What do clients see of an upstream that is away for a while? (`timeouts.connect_retry`)"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sseproxy.core.routes import AuthorizePolicy, Upstream
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.timeouts import TimeoutPolicy
from tests.support.async_peer import AsyncPeer
from tests.support.guarded import YES
from tests.support.proxy_server import ProxyServer, route_to
from tests.support.raw_upstream import OK, RawUpstream, Script, Visit, replies
from tests.support.settled import eventually, settled

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"
ASK = b"GET /a HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\n\r\n"
UPGRADE = b"GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"

PATIENT = TimeoutPolicy(connect_retry=60.0)


class Away:
    """A proxy before an upstream that does not listen yet."""

    def __init__(self, proxy: ProxyServer, client: AsyncPeer, bound: socket.socket) -> None:
        self.proxy = proxy
        self.client = client
        self._bound = bound

    @classmethod
    @contextlib.asynccontextmanager
    async def standing(cls, *, where: Upstream | None = None, **options: Any) -> "AsyncIterator[Away]":
        """where: the upstream, if that is no port. options: of the route."""
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            upstream = RawUpstream(replies())
            upstream.port = bound.getsockname()[1]
            route = route_to(upstream, **{"timeouts": PATIENT, **options})
            if where is not None:
                route = replace(route, upstream=where)
            async with ProxyServer.serve(route) as proxy, proxy.connect() as client:
                yield cls(proxy, client, bound)

    async def wait(self, request: bytes) -> None:
        """Let the client ask, and wait until its request waits for the upstream."""
        await self.client.send(request)
        await eventually(lambda: self.proxy.app.requests == 1)
        await asyncio.sleep(0.2)  # so that it is tried again a few times; nothing depends on how often

    def comes(self, script: Script) -> "contextlib.AbstractAsyncContextManager[RawUpstream]":
        """Let the upstream listen."""
        return RawUpstream.serve(script, bound=self._bound)


@pytest.mark.parametrize("request_", [GET, POST])
async def test_a_request_waits_whatever_its_method_and_is_sent_once(request_: bytes) -> None:
    async with Away.standing() as on:
        await on.wait(request_)
        async with on.comes(replies()) as upstream:
            assert (await on.client.response()).status == 200
            [request] = upstream.requests
            assert request.body == (b"hello" if request_ is POST else b"")


async def test_an_upstream_that_does_not_come_is_a_bad_gateway_in_the_end() -> None:
    async with Away.standing(timeouts=TimeoutPolicy(connect_retry=0.3)) as on:
        began = asyncio.get_running_loop().time()
        response = await on.client.ask(GET)
        assert response.status == 502
        assert response.one(b"Proxy-Status") == b"sseproxy; error=connection_refused"
        assert asyncio.get_running_loop().time() - began >= 0.3


@pytest.mark.parametrize("is_stale", [False, True], ids=["no file", "a file that was left behind"])
async def test_a_unix_socket_that_is_not_there_yet(is_stale: bool, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    if is_stale:
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(path))
    async with Away.standing(where=Upstream("http+unix", socket_path=str(path))) as on:
        await on.wait(POST)
        path.unlink(missing_ok=True)
        async with RawUpstream.serve(replies(), socket_path=path):
            assert (await on.client.response()).status == 200


async def test_heartbeats_of_an_early_answer_go_on() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(STREAM + EVENT + b"0\r\n\r\n")

    heartbeat = HeartbeatPolicy(interval=0.02, before_response=0.02)
    async with Away.standing(heartbeat=heartbeat) as on:
        await on.client.send(ASK)
        assert (await on.client.head()).status == 200
        for _ in range(5):
            assert b": heartbeat" in await on.client.chunk()
        async with on.comes(script):
            while (chunk := await on.client.chunk()) != b"data: 1\n\n":
                assert b": heartbeat" in chunk


async def test_a_client_that_leaves_ends_its_wait() -> None:
    async with Away.standing() as on:
        alone = len(asyncio.all_tasks())
        async with on.proxy.connect() as client:
            await client.send(POST)
            await eventually(lambda: on.proxy.app.requests == 1)
        await eventually(lambda: on.proxy.app.requests == 0)
        assert await settled(lambda: len(asyncio.all_tasks())) <= alone
        async with on.comes(replies()) as upstream:
            assert (await on.client.ask(GET)).status == 200
            assert [request.head.partition(b" ")[0] for request in upstream.requests] == [b"GET"]


async def test_a_drain_ends_the_wait() -> None:
    async with Away.standing() as on:
        await on.wait(GET)
        on.proxy.app.drain(timeout=60.0, spread=0.0)
        response = await on.client.response()
        assert response.status == 503
        assert response.one(b"Retry-After") == b"1"


async def test_a_drain_sends_an_event_source_away() -> None:
    """It does not come back after a 503."""
    async with Away.standing() as on:
        await on.wait(GET[:-2] + b"Accept: text/event-stream\r\nCache-Control: no-cache\r\n\r\n")
        on.proxy.app.drain(timeout=60.0, spread=0.0)
        response = await on.client.response()
        assert (response.status, response.body[:7]) == (200, b"retry: ")


async def test_a_drain_ends_the_wait_behind_an_early_answer() -> None:
    async with Away.standing(heartbeat=HeartbeatPolicy(interval=60.0, before_response=0.01)) as on:
        await on.client.send(ASK)
        assert (await on.client.head()).status == 200
        on.proxy.app.drain(timeout=60.0, spread=0.0)
        rest = await on.client.rest()
        assert b'"status": 503' in rest
        assert not rest.endswith(b"0\r\n\r\n")


async def test_the_body_is_not_collected_meanwhile() -> None:
    size = 64 * 1024 * 1024
    async with Away.standing() as on:
        head = b"PUT /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % size
        sending = asyncio.create_task(on.client.send(head + bytes(size)))
        await eventually(lambda: on.proxy.app.requests == 1)
        await settled(lambda: on.client.unsent)
        assert on.client.unsent > size / 2  # what the kernel keeps is up to the kernel
        async with on.comes(replies()) as upstream:
            assert (await on.client.response()).status == 200
            await sending
            assert len(upstream.requests[0].body) == size


async def test_a_client_that_waits_to_be_asked_for_its_body_waits_on() -> None:
    async with Away.standing() as on:
        await on.wait(POST.replace(b"\r\n\r\nhello", b"\r\nExpect: 100-continue\r\n\r\n"))
        async with on.comes(replies()):
            assert (await on.client.head()).status == 100
            await on.client.send(b"hello")
            assert (await on.client.response()).status == 200


async def test_a_websocket_waits_too() -> None:
    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(SWITCHED + b"hello")
        await visit.wait_closed()

    async with Away.standing() as on:
        await on.wait(UPGRADE)
        async with on.comes(script):
            assert (await on.client.head()).status == 101
            assert await on.client.exactly(5) == b"hello"
            await on.client.close()


async def test_the_service_that_authorizes_is_waited_for() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        where = Upstream("http", "127.0.0.1", bound.getsockname()[1])
        policy = AuthorizePolicy(where, target="/whoami", timeout=60.0)
        async with (
            RawUpstream.serve(replies(OK)) as upstream,
            ProxyServer.serve(route_to(upstream, timeouts=PATIENT, authorize=policy)) as proxy,
            proxy.connect() as client,
        ):
            await client.send(GET)
            await eventually(lambda: proxy.app.requests == 1)
            async with RawUpstream.serve(replies(YES), bound=bound):
                assert (await client.response()).status == 200


async def test_the_time_of_authorize_is_the_shorter_one() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        policy = AuthorizePolicy(Upstream("http", "127.0.0.1", bound.getsockname()[1]), timeout=0.2)
        async with (
            RawUpstream.serve(replies(OK)) as upstream,
            ProxyServer.serve(route_to(upstream, timeouts=PATIENT, authorize=policy)) as proxy,
            proxy.connect() as client,
        ):
            assert (await client.ask(GET)).status == 503
