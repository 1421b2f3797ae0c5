"""Do WebSocket and other protocols get through, and only when both sides agree? (RFC 9110 section 7.8)"""

import asyncio
import gc

import aiohttp
import pytest
from aiohttp import web

from sseproxy.core.http.fields import HeaderRules
from sseproxy.core.routes import Route, Upstream
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.plan import StreamMode
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.http1.client import UpstreamConnection
from sseproxy.proxy import tunnel
from tests.support.patience import LIMIT
from tests.support.proxy_server import SILENT, ProxyServer, Stage, stage
from tests.support.raw_upstream import OK, Visit, replies
from tests.support.settled import eventually, settled

UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: %b\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %b\r\nX-A: b\r\n\r\n"
PROTOCOLS = [b"websocket", b"x-own/2"]


async def echo(visit: Visit) -> None:
    """Switch to whatever is offered, and say everything twice."""
    request = await visit.head()
    await visit.send(SWITCHED % (request.one(b"Upgrade") or b""))
    while data := await visit.reader.read(65536):
        await visit.send(data + data)


async def open_tunnel(on: Stage, protocol: bytes) -> None:
    await on.client.send(UPGRADE % protocol)
    head = await on.client.head()
    assert head.status == 101
    assert head.fields == [(b"X-A", b"b"), (b"Connection", b"upgrade"), (b"Upgrade", protocol)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_bytes_flow_both_ways(protocol: bytes) -> None:
    async with stage(echo) as on:
        await open_tunnel(on, protocol)
        for data in (b"\x81\x00", b"\x00\xff\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"x" * 20000):
            await on.client.send(data)
            assert await on.client.exactly(2 * len(data)) == data + data
        request = on.upstream.requests[0]
        assert request.one(b"Connection") == b"upgrade"
        assert request.one(b"Upgrade") == protocol
        assert request.one(b"Sec-WebSocket-Key") == b"dGhlIHNhbXBsZSBub25jZQ=="


async def test_bytes_that_come_with_the_heads_are_kept() -> None:
    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(SWITCHED % b"websocket" + b"early")
        assert await visit.reader.readexactly(5) == b"eager"
        await visit.send(b"done")

    async with stage(script) as on:
        await on.client.send(UPGRADE % b"websocket" + b"eager")
        await on.client.head()
        assert await on.client.exactly(9) == b"earlydone"


@pytest.mark.parametrize("before", [1, 3])
async def test_a_wish_that_has_to_wait_for_its_turn(before: int) -> None:
    """What is behind it is still not HTTP, whichever responses come before its own."""

    async def script(visit: Visit) -> None:
        for _ in range(before):
            await visit.request()
            await visit.send(OK)
        await echo(visit)

    get = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
    async with stage(script) as on:
        await on.client.send(get * before + UPGRADE % b"x-own/2" + get)
        for _ in range(before):
            assert (await on.client.response()).status == 200
        assert (await on.client.head()).status == 101
        assert await on.client.exactly(2 * len(get)) == get + get
        await on.client.send(b"more")
        assert await on.client.exactly(8) == b"moremore"
        assert len(on.upstream.requests) == before + 1


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_an_upstream_that_is_gone_before_anybody_listens(end: str) -> None:
    """Its answer is awaited by a task of its own here, which takes a turn of the event loop more."""

    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(SWITCHED % b"x-own/2" + b"bye")
        visit.close() if end == "close" else visit.reset()

    heartbeat = HeartbeatPolicy(interval=None, before_response=5.0)
    timeouts = TimeoutPolicy(idle=None)
    async with stage(script, stream=StreamMode.ALWAYS, heartbeat=heartbeat, timeouts=timeouts) as on:
        await open_tunnel(on, b"x-own/2")
        assert await on.client.rest() == b"bye"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_upstream_closes(protocol: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(SWITCHED % protocol + b"bye")

    async with stage(script) as on:
        await open_tunnel(on, protocol)
        assert await on.client.rest() == b"bye"


@pytest.mark.parametrize("vanish", [True, False])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_client_closes(protocol: bytes, vanish: bool) -> None:
    async with stage(echo) as on:
        await open_tunnel(on, protocol)
        if vanish:
            on.client.reset()
        else:
            await on.client.close()
        await (await on.upstream.visit()).wait_closed()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_all_that_a_client_has_sent_arrives_although_it_has_left(protocol: bytes) -> None:
    """The end of the connection is the end of what was sent: nobody could tell that some is missing."""
    read = asyncio.Event()
    size = 8 * 1024 * 1024

    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(SWITCHED % protocol)
        await read.wait()
        while await visit.reader.read(65536):
            pass

    async with stage(script) as on:
        await open_tunnel(on, protocol)
        leaving = asyncio.ensure_future(_send_and_leave(on, bytes(size)))
        visit = await on.upstream.visit()
        await settled(lambda: len(visit.received))
        read.set()
        await leaving
        await visit.wait_closed()
        assert visit.received.endswith(bytes(size))


def upstream_connection() -> UpstreamConnection:
    """The only connection to an upstream that is open."""
    [found] = [each for each in gc.get_objects() if type(each) is UpstreamConnection and each.is_connected()]
    return found


async def test_nor_is_anything_lost_of_what_has_been_read_already() -> None:
    read = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(SWITCHED % b"x-own/2")
        await read.wait()
        while await visit.reader.read(65536):
            pass

    async with stage(script) as on:
        await open_tunnel(on, b"x-own/2")
        transport = upstream_connection().transport
        assert transport is not None
        sent = 0
        while transport.get_write_buffer_size() == 0:
            await on.client.send(bytes(16384))
            sent += 16384
            await asyncio.sleep(0)
        await on.client.close()
        await eventually(lambda: on.proxy.app.requests == 0)
        read.set()
        visit = await on.upstream.visit()
        await visit.wait_closed()
        assert visit.received.endswith(bytes(sent))


async def _send_and_leave(on: Stage, data: bytes) -> None:
    await on.client.send(data)
    await on.client.close()


async def test_a_client_that_vanishes_while_the_upstream_takes_nothing_is_noticed() -> None:
    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(SWITCHED % b"x-own/2")
        await visit.lost.wait()

    async with stage(script, timeouts=TimeoutPolicy(idle=None)) as on:
        await open_tunnel(on, b"x-own/2")
        pouring = asyncio.ensure_future(on.client.send(bytes(64 * 1024 * 1024)))
        await eventually(lambda: len(on.proxy.door.disconnects) == 1)
        on.client.reset()
        await pouring
        await eventually(lambda: on.proxy.app.requests == 0)


async def test_an_upstream_that_does_not_take_the_rest_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "LAST_BYTES", 0.05)

    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(SWITCHED % b"x-own/2")
        await visit.lost.wait()

    async with stage(script, timeouts=TimeoutPolicy(idle=None)) as on:
        await open_tunnel(on, b"x-own/2")
        pouring = asyncio.ensure_future(on.client.send(bytes(64 * 1024 * 1024)))
        await eventually(lambda: len(on.proxy.door.disconnects) == 1)
        upstream = upstream_connection()
        on.client.reset()
        await pouring
        await eventually(lambda: upstream.closed is None or upstream.closed.done())


async def test_a_silent_tunnel_is_closed() -> None:
    async with stage(echo, timeouts=TimeoutPolicy(idle=0.1)) as on:
        await open_tunnel(on, b"websocket")
        assert await on.client.rest() == b""
        await (await on.upstream.visit()).wait_closed()


async def test_a_tunnel_goes_on_until_the_end_of_a_drain(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="sseproxy.access")
    async with stage(echo, timeouts=TimeoutPolicy(idle=None)) as on:
        await open_tunnel(on, b"websocket")
        await on.client.send(b"12345")
        assert await on.client.exactly(10) == b"1234512345"
        on.proxy.app.drain(timeout=2.0, spread=0.0)
        await on.client.send(b"678")
        assert await on.client.exactly(6) == b"678678"
        assert await on.client.rest() == b""
        await (await on.upstream.visit()).wait_closed()
    [line] = caplog.messages
    assert " reason=drain " in line
    assert " bytes=16" in line


async def test_a_tunnel_that_opens_during_a_drain_ends_with_it() -> None:
    async def script(visit: Visit) -> None:
        await visit.head()
        on.proxy.app.drain(timeout=2.0, spread=0.05)
        await visit.send(SWITCHED % b"websocket" + b"hello")
        await visit.wait_closed()

    async with stage(script, timeouts=TimeoutPolicy(idle=None)) as on:
        await open_tunnel(on, b"websocket")
        assert await on.client.rest() == b"hello"


async def test_a_refused_websocket_leaves_an_ordinary_connection() -> None:
    async with stage(replies(b"HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\nno", OK)) as on:
        assert (await on.client.ask(UPGRADE % b"websocket")).status == 400
        for _ in range(2):
            assert (await on.client.ask(b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n")).body == b"ok"
        assert (await on.client.ask(UPGRADE % b"websocket")).status == 200


@pytest.mark.parametrize("protocol", [b"x-own", b"h2c", b"websocket, x-own"])
async def test_what_is_behind_a_refused_protocol_is_another_request(protocol: bytes) -> None:
    async with stage(replies()) as on:
        behind = b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n"
        await on.client.send(UPGRADE % protocol + behind)
        for _ in range(2):
            assert (await on.client.response()).status == 200
        assert (await on.client.ask(behind)).status == 200
        assert [request.target for request in on.upstream.requests] == [b"/chat", b"/next", b"/next"]


async def test_requests_behind_a_refused_upgrade_are_served() -> None:
    async with stage(replies(b"HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\nno", OK)) as on:
        await on.client.send(UPGRADE % b"websocket" + b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert (await on.client.response()).status == 400
        assert (await on.client.response()).body == b"ok"


@pytest.mark.parametrize("protocol", [b"h2c", b"h2", b"H2C", b"websocket, h2c", b"h2c, x-own"])
async def test_http_2_is_not_tunnelled(protocol: bytes) -> None:
    """It would be a way around every rule of the proxy; the request is served as the HTTP/1.1 that it is."""
    async with stage(replies()) as on:
        request = (
            UPGRADE.replace(b"Upgrade\r\n", b"Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", 1)
            % protocol
        )
        assert (await on.client.ask(request)).status == 200
        for name in (b"Upgrade", b"Connection", b"HTTP2-Settings"):
            assert on.upstream.requests[0].all(name) == []


async def test_upgrade_without_connection_is_none() -> None:
    async with stage(replies()) as on:
        await on.client.ask(b"GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\r\n")
        assert on.upstream.requests[0].one(b"Upgrade") is None


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"]
)
async def test_a_101_that_does_not_say_upgrade_is_a_502(head: bytes) -> None:
    async with stage(replies(head)) as on:
        assert (await on.client.ask(UPGRADE % b"websocket")).status == 502
        await (await on.upstream.visit()).wait_closed()


async def test_an_upgrade_with_a_body() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(SWITCHED % b"websocket")
        await visit.send(await visit.reader.readexactly(4))

    async with stage(script) as on:
        request = (
            UPGRADE.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello") % b"websocket"
        )
        await on.client.send(request + b"raw!")
        assert (await on.client.head()).status == 101
        assert await on.client.exactly(4) == b"raw!"
        assert on.upstream.requests[0].body == b"hello"


async def test_header_rules_hold_for_a_101() -> None:
    rules = HeaderRules(set=(("X-Set", "1"),), remove=("x-a",))
    async with stage(echo, response_headers=rules) as on:
        await on.client.send(UPGRADE % b"websocket")
        head = await on.client.head()
        assert head.all(b"X-A") == []
        assert head.one(b"X-Set") == b"1"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_client_that_does_not_read_slows_the_upstream_down(protocol: bytes) -> None:
    sent = 0
    size = 64 * 1024 * 1024
    piece = bytes(1024 * 1024)

    async def script(visit: Visit) -> None:
        nonlocal sent
        await visit.head()
        await visit.send(SWITCHED % protocol)
        while sent < size:
            await visit.send(piece)
            sent += len(piece)

    async with stage(script) as on:
        await open_tunnel(on, protocol)
        on.client.pause()
        assert await settled(lambda: sent) < 32 * 1024 * 1024
        on.client.resume()
        async with asyncio.timeout(LIMIT):
            for _ in range(size // len(piece)):
                await on.client.reader.readexactly(len(piece))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_upstream_that_does_not_read_slows_the_client_down(protocol: bytes) -> None:
    read = asyncio.Event()
    size = 64 * 1024 * 1024

    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(SWITCHED % protocol)
        await read.wait()
        while len(visit.received) < size:
            await visit.reader.read(65536)
        await visit.send(b"all")

    async with stage(script) as on:
        await open_tunnel(on, protocol)
        pouring = asyncio.ensure_future(on.client.send(bytes(size)))
        visit = await on.upstream.visit()
        assert await settled(lambda: len(visit.received)) < 8 * 1024 * 1024
        assert not pouring.done()
        read.set()
        await pouring
        assert await on.client.exactly(3) == b"all"


async def test_websocket_with_a_real_client_and_server() -> None:
    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["chat"])
        await socket.prepare(request)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data + "!")
            elif message.type is aiohttp.WSMsgType.BINARY:
                await socket.send_bytes(message.data[::-1])
        return socket

    app = web.Application()
    app.router.add_get("/ws", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        await _chat(int(runner.addresses[0][1]))
    finally:
        await runner.cleanup()


async def _chat(port: int) -> None:
    route = Route("default", Upstream("http", "127.0.0.1", port), heartbeat=SILENT)
    async with (
        ProxyServer.serve(route) as proxy,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{proxy.port}/ws", protocols=["chat"]) as socket,
    ):
        assert socket.protocol == "chat"
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello!"
        await socket.send_bytes(bytes(range(256)) * 4000)
        assert await socket.receive_bytes() == (bytes(range(256)) * 4000)[::-1]
        await socket.ping()
        assert await socket.close()
