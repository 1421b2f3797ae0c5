"""What can a client do with its connection, to the proxy, to other clients, or to itself?"""

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sseproxy.core.limits import LimitPolicy
from sseproxy.core.routes import Match
from sseproxy.core.stream.request import StreamRequest
from sseproxy.http1.content import MOST_WAITING, RequestContent
from sseproxy.http1.messages import ResponseHead
from sseproxy.http1.policy import ServerPolicy
from sseproxy.http1.requests import ParsedRequest
from sseproxy.http1.server import DownstreamConnection
from sseproxy.origins.http import HttpExchange
from sseproxy.proxy.forward import Forwarding
from sseproxy.proxy.inbound import ClientRequest, InboundRequest
from sseproxy.proxy.tail import ResponseTail
from tests.support.async_peer import AsyncPeer
from tests.support.patience import LIMIT
from tests.support.processes import resident
from tests.support.proxy_server import ProxyServer, route_to, stage
from tests.support.raw_upstream import OK, RawUpstream, Script, Visit, replies
from tests.support.settled import eventually, settled

_Kind = TypeVar("_Kind")

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
NOWHERE = b"GET /nowhere HTTP/1.1\r\nHost: a.test\r\n\r\n"
TRUSTED = ("127.0.0.1/32",)


#: What the one route is for, where some requests are answered without it.
ONLY_A = Match(path="/a")


# Who it is.


class _Nameless:
    """A transport of a client that has reset its connection before anybody asked who it is."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return None if name == "peername" else self._transport.get_extra_info(name, default)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def test_nobody_without_a_name_is_taken_for_a_peer_on_a_unix_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be trusted, and believed where it says that it comes from."""
    made = DownstreamConnection.connection_made

    def lose_its_name(self: DownstreamConnection, transport: asyncio.BaseTransport) -> None:
        made(self, _Nameless(transport))  # type: ignore[arg-type]

    monkeypatch.setattr(DownstreamConnection, "connection_made", lose_its_name)
    async with stage(replies()) as on:
        await on.client.send(GET[:-2] + b"X-Forwarded-For: 192.0.2.66\r\n\r\n")
        assert await on.client.rest() == b""
        assert on.upstream.visits == []


async def test_a_client_that_resets_at_once_is_never_believed() -> None:
    async with RawUpstream.serve(replies()) as upstream, ProxyServer.serve(route_to(upstream)) as proxy:
        for _ in range(100):
            with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
                sock.sendall(GET[:-2] + b"X-Forwarded-For: 192.0.2.66\r\n\r\n")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await asyncio.sleep(0)
        await eventually(lambda: len(proxy.connections) == 0)
        assert b"192.0.2.66" not in upstream.received


# Bodies that nobody reads.


@pytest.mark.parametrize("size", [0, 10, MOST_WAITING + 1, 100_000])
async def test_a_body_that_came_and_was_not_read_does_not_stop_the_connection(size: int) -> None:
    async with stage(replies(), match=ONLY_A) as on:
        for _ in range(3):
            head = b"POST /nowhere HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % size
            assert (await on.client.ask(head + bytes(size))).status == 404
        assert (await on.client.ask(GET)).status == 200
        assert len(on.proxy.connections) == 1


async def test_nor_does_one_of_a_stream_too_many() -> None:
    async with stage(replies(), limits=LimitPolicy(streams=0)) as on:
        head = b"POST /a HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\nContent-Length: 100000\r\n\r\n"
        for _ in range(2):
            assert (await on.client.ask(head + bytes(100_000))).status == 503


async def test_a_body_that_was_never_asked_for_ends_the_connection() -> None:
    """Whether the client sends it now, nobody can know, and what it sends must not be taken for it."""
    async with stage(replies(), match=ONLY_A) as on:
        head = b"POST /nowhere HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 40\r\n\r\n"
        response = await on.client.ask(head)
        assert (response.status, response.one(b"Connection")) == (404, b"close")
        await on.client.send(GET)
        assert await on.client.rest() == b""
        assert on.upstream.visits == []


# Floods.


async def test_a_flood_that_we_answer_ourselves_leaves_others_their_turn() -> None:
    async with stage(replies(), match=ONLY_A) as on, on.proxy.connect() as other:
        flooding = asyncio.ensure_future(on.client.send(NOWHERE * 20_000))
        assert (await on.client.response()).status == 404
        left = next(each.queued for each in on.proxy.connections if each.queued)
        assert (await other.ask(GET)).status == 200
        still = [each.queued for each in on.proxy.connections if each.queued]
        assert still, "the other one waited for all of them"
        assert left > 100
        on.client.reset()
        with contextlib.suppress(ConnectionError):
            await flooding


async def test_whoever_does_not_read_our_answers_gets_no_more_of_them() -> None:
    async with stage(replies(), match=ONLY_A, send_buffer=4096) as on:
        on.client.pause()
        flooding = asyncio.ensure_future(on.client.send(NOWHERE * 100_000))
        [connection] = await _open(on.proxy)
        await eventually(lambda: connection.writing_paused)
        before = resident(os.getpid())
        waiting = await settled(lambda: connection.queued)
        assert waiting > 0
        transport = connection.transport
        assert transport is not None
        assert transport.get_write_buffer_size() < 128 * 1024
        assert resident(os.getpid()) - before < 32 * 2**20
        on.client.reset()
        with contextlib.suppress(ConnectionError):
            await flooding


async def _open(proxy: ProxyServer) -> list[DownstreamConnection]:
    await eventually(lambda: len(proxy.connections) > 0)
    return list(proxy.connections)


async def test_many_wishes_for_another_protocol_in_one_read() -> None:
    wish = (
        b"POST /a HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    async with stage(replies(), match=ONLY_A) as on:
        many = 1500
        sending = asyncio.ensure_future(on.client.send(wish.replace(b"/a", b"/b") * many + GET))
        for _ in range(many):
            assert (await on.client.response()).status == 404
        assert (await on.client.response()).status == 200
        await sending


async def test_a_flood_of_wishes_is_read_no_faster_than_it_is_answered() -> None:
    wish = b"GET /b HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    async with stage(replies(), match=ONLY_A) as on:
        flooding = asyncio.ensure_future(on.client.send(wish * 40_000))
        [connection] = await _open(on.proxy)
        most = 0
        for _ in range(500):
            assert (await on.client.response()).status == 404
            most = max(most, connection.unread)
        assert ServerPolicy().tail < most < 2**19  # one read more than is kept
        on.client.reset()
        with contextlib.suppress(ConnectionError):
            await flooding


# Connections that never come about, or never go.


async def test_a_handshake_that_fails_leaves_nothing(tls_files: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls_files)
    async with RawUpstream.serve(replies()) as upstream, ProxyServer.serve(route_to(upstream), tls=context) as proxy:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # asyncio tells of each
        for number in range(20):
            with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
                if number % 2:
                    sock.sendall(GET)
            await asyncio.sleep(0.001)
        trust = ssl.create_default_context(cafile=str(tls_files[0]))
        async with AsyncPeer.connect(proxy.port, tls=trust) as client:
            assert (await client.ask(GET)).status == 200
            assert len(proxy.connections) == 1


async def test_a_client_that_is_read_to_its_end_but_takes_nothing_is_cut_off() -> None:
    """It has closed its half: the transport would wait for ever until it has taken what is left."""

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not visit.closed.is_set():
                await visit.send(b"data: %b\n\n" % (b"x" * 5000))

    async with stage(script, send_buffer=4096, policy=ServerPolicy(read_off=0.1)) as on:
        on.client.shrink_receive_buffer(4096)
        on.client.pause()
        await on.client.send(GET)
        [connection] = await _open(on.proxy)
        await eventually(lambda: connection.writing_paused)
        on.client.finish_sending()
        await (await on.upstream.visit()).wait_closed()
        await eventually(lambda: len(on.proxy.connections) == 0)
        on.client.reset()


@contextlib.asynccontextmanager
async def _over_tls(
    script: Script, files: tuple[Path, Path], **options: Any
) -> AsyncIterator[tuple[AsyncPeer, RawUpstream, ProxyServer]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    trust = ssl.create_default_context(cafile=str(files[0]))
    async with (
        RawUpstream.serve(script) as upstream,
        ProxyServer.serve(route_to(upstream), tls=context, **options) as proxy,
        AsyncPeer.connect(proxy.port, tls=trust) as client,
    ):
        yield client, upstream, proxy


async def test_a_slow_client_gets_all_of_its_last_answer_over_tls(tls_files: tuple[Path, Path]) -> None:
    """What waits below TLS cannot be seen; it is not thrown away after the moment that a half-closed one gets."""
    size, policy = 300_000, ServerPolicy(read_off=0.05)
    async with _over_tls(replies(_whole(size)), tls_files, send_buffer=4096, policy=policy) as (client, _, proxy):
        client.shrink_receive_buffer(4096)
        client.pause()
        await client.send(GET[:-2] + b"Connection: close\r\n\r\n")
        await eventually(lambda: proxy.app.requests == 0 and len(proxy.connections) > 0)
        await asyncio.sleep(0.3)  # a half-closed connection would be aborted by now
        client.resume()
        assert len((await client.response()).body) == size


async def test_a_client_over_tls_that_says_no_more_is_gone(tls_files: tuple[Path, Path]) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n")
        await visit.wait_closed()

    async with _over_tls(script, tls_files) as (client, upstream, _):
        await client.send(GET)
        assert (await client.head()).status == 200
        await client.close()
        await (await upstream.visit()).wait_closed()


def _connections() -> list[DownstreamConnection]:
    return [each for each in gc.get_objects() if type(each) is DownstreamConnection]


@pytest.mark.parametrize("ends", ["closed", "reset", "refused"])
async def test_a_closed_connection_leaves_no_circle_of_references(ends: str) -> None:
    async with RawUpstream.serve(replies()) as upstream, ProxyServer.serve(route_to(upstream)) as proxy:
        gc.collect()
        of_other_tests = _connections()
        gc.disable()
        try:
            for _ in range(10):
                async with proxy.connect() as client:
                    assert (await client.ask(b"BAD\r\n\r\n" if ends == "refused" else GET)).status in (200, 400)
                    if ends == "reset":
                        client.reset()
            await eventually(lambda: len(proxy.connections) == 0)
            for _ in range(3):
                await asyncio.sleep(0)
            left = [each for each in _connections() if each not in of_other_tests]
            assert left == []
        finally:
            gc.enable()


def _lists_with(field: tuple[bytes, bytes]) -> list[list[Any]]:
    """All lists of header fields that hold `field`."""
    lists = [each for each in gc.get_objects() if type(each) is list]
    return [each for each in lists if any(type(item) is tuple and item == field for item in each)]


def _alive(kind: type[_Kind]) -> list[_Kind]:
    gc.collect()
    return [each for each in gc.get_objects() if type(each) is kind]


async def test_a_stream_that_runs_has_forgotten_what_was_asked() -> None:
    marker, responds = (b"X-Marker", b"1"), asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await responds.wait()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n")
        await visit.wait_closed()

    kinds: tuple[type[Any], ...] = (
        ParsedRequest,
        ResponseTail,
        Forwarding,
        ClientRequest,
        InboundRequest,
        StreamRequest,
    )
    of_other_tests = [each for kind in kinds for each in _alive(kind)]
    async with stage(script) as on:
        await on.client.send(GET[:-2] + b"X-Marker: 1\r\n\r\n")
        await eventually(lambda: len(on.upstream.requests) == 1)
        assert _lists_with(marker) != []
        responds.set()
        await on.client.head()
        assert await on.client.chunk() == b"data: a\n\n"
        assert _lists_with(marker) == []
        new = [each for kind in kinds for each in _alive(kind) if not any(each is old for old in of_other_tests)]
        assert [type(each) for each in new] == [ParsedRequest, ResponseTail]
        assert new[0].headers == []


# Answers that are whole.


def _whole(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)


@pytest.mark.parametrize("end", ["abort", "cancel"])
async def test_an_answer_that_has_come_as_a_whole_is_not_broken_off(end: str) -> None:
    """All of it has been written; a slow client is still taking it when the process, or its ticket, ends."""
    size = 50_000
    async with stage(replies(_whole(size)), send_buffer=4096) as on:
        on.client.pause()
        await on.client.send(GET + GET)
        [connection] = await _open(on.proxy)
        await eventually(lambda: connection.writing_paused)
        [tail] = [each for each in _alive(ResponseTail) if each.connection is connection]
        getattr(tail, end)()
        on.client.resume()
        for _ in range(2):
            response = await on.client.response()
            assert (response.status, len(response.body)) == (200, size)


async def test_a_body_that_breaks_in_the_moment_of_the_answer_makes_it_no_whole_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n")
        await visit.wait_closed()

    responded = HttpExchange.responded

    def and_then_it_breaks(self: HttpExchange, head: ResponseHead) -> None:
        responded(self, head)
        self.break_request()

    monkeypatch.setattr(HttpExchange, "responded", and_then_it_breaks)
    async with stage(script) as on:
        await on.client.send(b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello")
        assert not (await on.client.rest()).endswith(b"0\r\n\r\n")


async def test_a_task_that_dies_takes_its_connection_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is that goes wrong, nobody waits at a connection that nobody serves."""
    async with stage(replies()) as on:
        failed: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
        with monkeypatch.context() as patch:
            patch.setattr(DownstreamConnection, "_settle", lambda *_: 1 / 0)
            await on.client.ask(GET)
            assert await on.client.rest() == b""
        gc.collect()
        await eventually(lambda: len(failed) == 1)


# Small print.


@pytest.mark.parametrize("line", [b"PUT /a HTTP/1.1", b"DELETE /a HTTP/1.1"])
async def test_what_may_be_sent_twice_is_when_all_of_it_is_here(line: bytes) -> None:
    """The upstream has closed the connection that was kept; nobody is to blame, and the client notices nothing."""

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(OK)
        if len(visit.requests) == 1:
            await visit.reader.read(1)  # takes the next one, and is gone
            visit.reset()

    put = line + b"\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"
    async with stage(script) as on:
        assert (await on.client.ask(put)).status == 200
        assert (await on.client.ask(put)).status == 200
        assert len(on.upstream.visits) == 2


async def test_a_body_that_came_without_being_asked_for_ends_nothing() -> None:
    async with stage(replies()) as on:
        head = b"POST /a HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        response = await on.client.ask(head + b"hello")
        assert (response.status, response.one(b"Connection")) == (200, None)
        assert (await on.client.ask(GET)).status == 200


async def test_the_rest_of_a_body_is_waited_for_by_whoever_has_taken_over() -> None:
    """The one who read it before was called off at the same time."""
    content = RequestContent(lambda _: None)
    first = asyncio.ensure_future(content.read())
    await asyncio.sleep(0)
    second = asyncio.ensure_future(content.read())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    content.end()
    async with asyncio.timeout(LIMIT):
        assert await second == b""


@pytest.mark.parametrize("blanks", [b" ", b"\t", b" \t  "])
async def test_blanks_around_a_value_are_no_part_of_it(blanks: bytes) -> None:
    async with stage(replies()) as on:
        fields = b"Content-Length:" + blanks + b"5" + blanks + b"\r\nX-A:" + blanks + b"a b" + blanks + b"\r\n\r\n"
        assert (await on.client.ask(b"POST /a HTTP/1.1\r\nHost: a.test\r\n" + fields + b"hello")).status == 200
        [request] = on.upstream.requests
        assert b"\r\nX-A: a b\r\n" in request.head
        assert request.body == b"hello"


async def test_an_old_client_cannot_ask_for_another_protocol() -> None:
    async with stage(replies()) as on:
        await on.client.send(GET.replace(b"1.1", b"1.0")[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert (await on.client.response()).status == 200
        assert on.upstream.requests[0].one(b"Upgrade") is None


async def test_an_upstream_that_has_not_taken_the_request_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has answered early; what is left of the request would be read as the next one."""

    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(OK)
        await visit.wait_closed()

    async with stage(script) as on:
        # Whatever is written to an upstream does not leave at once.
        monkeypatch.setattr(HttpExchange, "is_sending", property(lambda _: True))
        post = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n"
        assert (await on.client.ask(post + b"hello")).status == 200
        assert (await on.client.ask(post + b"hello")).status == 200
        assert len(on.upstream.visits) == 2
