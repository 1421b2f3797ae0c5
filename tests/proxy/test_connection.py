"""What becomes of a client's connection: in which order is it served, what may wait on it, when is it closed?"""

import asyncio
import logging

import pytest

from sseproxy.core.routes import Match
from sseproxy.http1.listener import ClientConnections
from sseproxy.http1.policy import ServerPolicy
from sseproxy.http1.requests import PIECE
from sseproxy.http1.server import DownstreamConnection
from sseproxy.logs import LOGGER
from sseproxy.proxy import resolve
from tests.support.proxy_server import ProxyServer, Stage, route_to, stage
from tests.support.raw_upstream import OK, RawUpstream, Visit, replies
from tests.support.settled import eventually, settled

POLICY = ServerPolicy()

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"


def get(number: int) -> bytes:
    return b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % number


def only(on: Stage) -> DownstreamConnection:
    [found] = on.proxy.connections
    return found


def is_read(connection: DownstreamConnection) -> bool:
    """True if what the client sends is read."""
    return connection.transport is not None and connection.transport.is_reading()


async def never(visit: Visit) -> None:
    await visit.request()
    await visit.wait_closed()


# One after the other.


async def test_requests_that_come_together_are_answered_in_their_order() -> None:
    bodies = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d" % number for number in range(50)]
    async with stage(replies(*bodies)) as on:
        await on.client.send(b"".join(map(get, range(50))))
        assert [(await on.client.response()).body for _ in range(50)] == [b"%02d" % number for number in range(50)]
        assert [each.target for each in on.upstream.requests] == [b"/%d" % number for number in range(50)]


async def test_the_next_request_waits_for_the_end_of_the_response() -> None:
    goes_on = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\non")
        await goes_on.wait()
        await visit.send(b"ce")
        await replies()(visit)

    async with stage(script) as on:
        await on.client.send(get(1) + get(2))
        assert (await on.client.head()).status == 200
        assert await on.client.exactly(2) == b"on"
        assert len(on.upstream.requests) == 1
        goes_on.set()
        assert await on.client.exactly(2) == b"ce"
        assert (await on.client.response()).body == b"ok"


async def test_what_comes_behind_a_request_under_way_is_not_collected() -> None:
    """Reading stops with the second request; a client that goes on sending is slowed down by its kernel."""
    async with stage(never) as on:
        await on.client.send(GET)
        await on.upstream.visit()
        sent = 0
        try:
            async with asyncio.timeout(1):
                while sent < 64 * 2**20:
                    await on.client.send(GET * 1000)
                    sent += 1000 * len(GET)
        except TimeoutError:
            pass
        assert sent < 32 * 2**20, "all of it was read"
        assert await settled(lambda: only(on).queued) < POLICY.queued + PIECE / len(GET) + 1
        assert only(on).unread <= 2 * 2**18  # what a read or two hold
        on.client.reset()


async def test_of_many_requests_in_one_read_few_are_kept_as_such() -> None:
    """They take many times the space of their bytes. All are answered in the end, each with its own body."""
    many = 2000
    post = b"POST /%04d HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc"
    async with stage(replies(), match=Match(path="/a")) as on:
        await eventually(lambda: len(on.proxy.connections) == 1)
        only(on).data_received(b"".join(post % number for number in range(many)) + GET)  # as if read at once
        most = only(on).queued
        for _ in range(many):
            assert (await on.client.response()).status == 404
            most = max(most, only(on).queued)
        assert POLICY.queued <= most <= POLICY.queued + PIECE // len(post)
        assert (await on.client.response()).status == 200
        await eventually(lambda: is_read(only(on)))


async def test_a_client_that_leaves_while_reading_has_stopped_is_noticed() -> None:
    async with stage(never) as on:
        await on.client.send(GET + GET)
        visit = await on.upstream.visit()
        await eventually(lambda: len(on.proxy.door.disconnects) == 1)
        on.client.reset()
        await visit.wait_closed()
        assert len(on.proxy.door.disconnects) == 0


async def test_reading_goes_on_when_nobody_waits() -> None:
    async with stage(replies()) as on:
        await on.client.send(GET * 3)
        for _ in range(3):
            await on.client.response()
        await eventually(lambda: is_read(only(on)))
        assert len(on.proxy.door.disconnects) == 0
        assert (await on.client.ask(GET)).status == 200


async def test_what_waits_for_another_protocol_is_not_collected() -> None:
    async with stage(never) as on:
        await on.client.send(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: x\r\n\r\n")
        visit = await on.upstream.visit()
        for _ in range(3):
            await on.client.send(bytes(POLICY.tail))
        await eventually(lambda: len(on.proxy.door.disconnects) == 1)
        assert only(on).unread <= POLICY.tail + 2**18
        on.client.reset()
        await visit.wait_closed()


# The end.


@pytest.mark.parametrize("fields", [b"Connection: close\r\n", b"connection: foo, Close\r\n"])
async def test_a_client_that_wants_no_more_gets_no_more(fields: bytes) -> None:
    async with stage(replies()) as on:
        response = await on.client.ask(GET[:-2] + fields + b"\r\n" + GET)
        assert response.one(b"Connection") == b"close"
        assert await on.client.rest() == b""
        assert len(on.upstream.requests) == 1


async def test_an_old_client_says_that_it_wants_more() -> None:
    old = GET.replace(b"HTTP/1.1", b"HTTP/1.0")
    async with stage(replies()) as on:
        response = await on.client.ask(old[:-2] + b"Connection: keep-alive\r\n\r\n")
        assert response.one(b"Connection") == b"keep-alive"
        assert (await on.client.ask(old)).one(b"Connection") == b"close"
        assert await on.client.rest() == b""


async def test_an_answer_arrives_although_the_client_goes_on_sending() -> None:
    """A connection that is closed while bytes come in is reset, and the client's kernel forgets the answer."""
    big = 8 * 2**20
    async with stage(replies()) as on:
        await on.client.send(b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5, 6\r\n\r\n")
        for _ in range(big // 2**16):
            await on.client.send(bytes(2**16))
        assert (await on.client.response()).status == 400
        assert await on.client.rest() == b""
        assert not on.client.was_reset


async def test_whoever_does_not_stop_sending_is_cut_off() -> None:
    async with stage(replies(), policy=ServerPolicy(read_off=0.05)) as on:
        await on.client.send(b"BAD\r\n\r\n")
        assert (await on.client.response()).status == 400
        await eventually(lambda: len(on.proxy.connections) == 0)


async def test_the_rest_of_a_body_that_nobody_wanted_is_passed_over() -> None:
    """The upstream has answered before the end: the connection can be used again once that has come."""

    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(OK)

    post = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello"
    async with stage(script) as on:
        assert (await on.client.ask(post)).status == 200
        await on.client.send(b"world" + GET)
        assert (await on.client.response()).status == 200
        assert len(on.proxy.connections) == 1


async def test_the_rest_of_a_body_is_not_waited_for_for_ever() -> None:
    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(OK)

    async with stage(script, policy=ServerPolicy(read_off=0.05)) as on:
        assert (await on.client.ask(b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n")).status == 200
        assert await on.client.rest() == b""
        await eventually(lambda: len(on.proxy.connections) == 0)


# Connections that are not used.


async def test_an_unused_connection_is_closed_in_the_end() -> None:
    async with stage(replies()) as on:
        assert (await on.client.ask(GET)).status == 200
        server, now = on.proxy.connections, asyncio.get_running_loop().time()
        server.close_idle(since=now - POLICY.idle)
        assert (await on.client.ask(GET)).status == 200
        server.close_idle(since=asyncio.get_running_loop().time())
        assert await on.client.rest() == b""


async def test_a_head_that_does_not_come_to_its_end_is_no_use() -> None:
    async with stage(replies()) as on:
        await on.client.send(GET[:-2])
        await eventually(lambda: not only(on).is_idle)
        on.proxy.connections.close_idle(since=asyncio.get_running_loop().time())
        assert await on.client.rest() == b""


async def test_a_request_under_way_is_a_use() -> None:
    release = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await release.wait()
        await visit.send(OK)

    async with stage(script) as on:
        await on.client.send(GET)
        await on.upstream.visit()
        on.proxy.connections.close_idle(since=asyncio.get_running_loop().time())
        on.proxy.connections.close_idle()
        release.set()
        assert (await on.client.response()).status == 200


async def test_one_look_at_all_connections_is_repeated_as_long_as_there_are_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0
    close_idle = ClientConnections.close_idle

    def look(self: ClientConnections, *, since: float | None = None) -> None:
        nonlocal looks
        looks += since is not None
        close_idle(self, since=since)

    monkeypatch.setattr(ClientConnections, "close_idle", look)
    async with stage(replies(), policy=ServerPolicy(look_every=0.01)) as on:
        for _ in range(2):
            async with on.proxy.connect() as client:
                assert (await client.ask(GET)).status == 200
                await eventually(lambda before=looks: looks > before + 2)  # type: ignore[misc]
            await on.client.close()
            await eventually(lambda: len(on.proxy.connections) == 0)
            await asyncio.sleep(0.05)
            before = looks
            await asyncio.sleep(0.05)
            assert looks == before


async def test_a_drain_lets_a_head_that_has_begun_come_to_its_end() -> None:
    async with (
        RawUpstream.serve(replies()) as upstream,
        ProxyServer.serve(route_to(upstream)) as proxy,
        proxy.connect() as slow,
        proxy.connect() as idle,
    ):
        await slow.send(GET[:-2])
        await eventually(lambda: any(not each.is_idle for each in proxy.connections))
        await eventually(lambda: len(proxy.connections) == 2)
        proxy.app.drain(timeout=None, spread=0)
        assert await idle.rest() == b""
        await slow.send(b"\r\n")
        response = await slow.response()
        assert (response.status, response.one(b"Connection")) == (200, b"close")


async def test_a_defect_of_ours_is_a_500_and_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[object] = []
    monkeypatch.setattr(logging.getLogger(LOGGER), "exception", lambda *words: logged.append(words))
    async with stage(replies()) as on:
        with monkeypatch.context() as patch:
            patch.setattr(resolve, "find_route", lambda *_, **__: 1 / 0)
            response = await on.client.ask(GET)
        assert response.status == 500
        assert response.one(b"Content-Type") == b"application/problem+json"
        assert b"division" not in response.body
        assert len(logged) == 1
        assert (await on.client.ask(GET)).status == 200
