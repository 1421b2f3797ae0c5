"""How many event streams may a client and a route have, and when does a place become free? (docs/configuration.md)"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sseproxy.core.limits import LimitPolicy
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.timeouts import TimeoutPolicy
from tests.support.async_peer import AsyncPeer
from tests.support.http1_reader import Message
from tests.support.patience import LIMIT
from tests.support.proxy_server import SILENT, ProxyServer, Stage, stage
from tests.support.raw_upstream import Visit, replies
from tests.support.settled import eventually

ASK = b"GET /a HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\n%b\r\n"
PLAIN = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"
TWO = LimitPolicy(streams_per_client=2)
EARLY = HeartbeatPolicy(interval=None, before_response=0.01)


class Gate:
    """An upstream that answers nobody until it is told to."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.response = STREAM + b"0\r\n\r\n"

    async def script(self, visit: Visit) -> None:
        while True:
            await visit.request()
            await self.opened.wait()
            await visit.send(self.response)


def forwarded(address: str) -> bytes:
    return ASK % f"X-Forwarded-For: {address}\r\n".encode()


@contextlib.asynccontextmanager
async def clients(proxy: ProxyServer, count: int) -> AsyncIterator[list[AsyncPeer]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(proxy.connect()) for _ in range(count)]


def check_refused(response: Message) -> None:
    assert response.status == 503
    assert response.one(b"Proxy-Status") == b"sseproxy; error=connection_limit_reached"
    assert int(response.one(b"Retry-After") or b"") > 0


@pytest.mark.parametrize("limits", [TWO, LimitPolicy(streams=2)])
@pytest.mark.parametrize("heartbeat", [SILENT, EARLY])
async def test_a_place_is_taken_from_the_request_on(limits: LimitPolicy, heartbeat: HeartbeatPolicy) -> None:
    gate = Gate()
    async with (
        stage(gate.script, limits=limits, heartbeat=heartbeat) as on,
        clients(on.proxy, 10) as ten,
    ):
        asked = [asyncio.ensure_future(client.ask(ASK % b"")) for client in ten]
        await eventually(lambda: sum(each.done() for each in asked) == 8)
        for each in asked:
            if each.done():
                check_refused(each.result())
        await eventually(lambda: len(on.upstream.requests) == 2)
        gate.opened.set()
        assert sorted([(await each).status for each in asked]) == [200] * 2 + [503] * 8
        assert len(on.upstream.requests) == 2
        assert (await on.client.ask(ASK % b"")).status == 200


DECLARING = b'{"stream": true}'
POST = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/json\r\n"
WITH_LENGTH = POST + b"Content-Length: %d\r\n\r\n" % len(DECLARING), DECLARING
IN_CHUNKS = POST + b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(DECLARING), DECLARING)


@pytest.mark.parametrize("limits", [LimitPolicy(streams_per_client=1), LimitPolicy(streams=1)], ids=["client", "route"])
@pytest.mark.parametrize("heartbeat", [SILENT, EARLY], ids=["", "early"])
@pytest.mark.parametrize(("head", "body"), [WITH_LENGTH, IN_CHUNKS], ids=["length", "chunks"])
@pytest.mark.parametrize("cut", ["not", "behind the head", "in the body"])
async def test_what_a_body_declares_counts_however_it_is_cut(
    limits: LimitPolicy, heartbeat: HeartbeatPolicy, head: bytes, body: bytes, cut: str
) -> None:
    gate = Gate()
    async with stage(gate.script, limits=limits, heartbeat=heartbeat) as on, clients(on.proxy, 2) as [first, second]:
        held = asyncio.ensure_future(first.ask(ASK % b""))
        await on.upstream.visit()
        await second.send(head + body if cut == "not" else head)
        if cut != "not":
            await eventually(lambda: on.proxy.app.requests == 2)
            pieces = [body[:5], body[5:]] if cut == "in the body" else [body]
            for piece in pieces:
                await asyncio.sleep(0.02)
                await second.send(piece)
        check_refused(await second.response())
        gate.opened.set()
        assert (await held).status == 200


async def test_what_turns_out_to_be_a_stream_counts_too() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(STREAM + EVENT)
        await visit.wait_closed()

    async with stage(script, limits=TWO) as on, clients(on.proxy, 3) as three:
        for client in three[:2]:
            await client.send(PLAIN)
            assert (await client.head()).status == 200
        check_refused(await three[2].ask(PLAIN))


async def test_other_responses_take_no_place() -> None:
    async with stage(replies(), limits=LimitPolicy(streams_per_client=1)) as on, clients(on.proxy, 2) as two:
        assert [(await client.ask(PLAIN)).status for client in two for _ in range(2)] == [200] * 4


# When a place becomes free.


async def leaves(on: Stage) -> None:
    await on.client.send(ASK % b"")
    await on.upstream.visit()
    on.client.reset()


async def is_not_answered(on: Stage) -> None:
    assert (await on.client.ask(ASK % b"")).status in (502, 504)


async def gets_something_else(on: Stage) -> None:
    assert (await on.client.ask(ASK % b"")).status == 200


async def sends_nonsense(on: Stage) -> None:
    post = (ASK % b"Transfer-Encoding: chunked\r\n").replace(b"GET", b"POST")
    assert (await on.client.ask(post + b"zz\r\n")).status == 400


Ending = tuple[bytes | None, Callable[[Stage], Awaitable[None]]]


@pytest.mark.parametrize(
    "ending",
    [
        (None, leaves),
        (None, is_not_answered),
        (b"nonsense\r\n\r\n", is_not_answered),
        (STREAM + EVENT + b"0\r\n\r\n", gets_something_else),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", gets_something_else),
        (None, sends_nonsense),
    ],
    ids=["client gone", "timeout", "nonsense", "stream", "no stream", "malformed"],
)
async def test_a_place_becomes_free(ending: Ending) -> None:
    response, act = ending

    async def script(visit: Visit) -> None:
        await visit.request()
        if response is None:
            await visit.wait_closed()
        else:
            await visit.send(response)

    only = LimitPolicy(streams_per_client=1)
    timeouts = TimeoutPolicy(response=0.2 if response is None and act is is_not_answered else LIMIT)
    async with stage(script, limits=only, timeouts=timeouts) as on:
        await act(on)
        await eventually(lambda: len(on.proxy.app.admissions) == 0)


# Whose place it is.


@pytest.mark.parametrize(
    ("said", "same"),
    [
        (["192.0.2.1:1000", "192.0.2.1:2000"], True),
        (["192.0.2.1", "192.0.2.1:2000"], True),
        (["[2001:db8::1]:1000", "2001:db8::1"], True),
        (["[::ffff:192.0.2.1]:1000", "192.0.2.1"], True),
        (["192.0.2.1", "192.0.2.1, ::FFFF:127.0.0.2"], True),
        (["::ffff:192.0.2.1", "::ffff:192.0.2.2"], False),
        (["192.0.2.1:1000", "192.0.2.2:1000"], False),
        (["192.0.2.7, 192.0.2.1", "192.0.2.8, 192.0.2.1"], True),
        (["192.0.2.1, 127.0.0.2", "192.0.2.2, 127.0.0.2"], False),
        (["2001:db8::1", "2001:DB8:0:0:ffff::2"], True),
        (["2001:db8:0:0::1", "2001:db8:0:1::1"], False),
        (["one", "two"], True),
        (["192.0.2.1, unknown", "192.0.2.2, unknown"], True),
    ],
)
async def test_whose_place_it_is(said: list[str], same: bool) -> None:
    gate = Gate()
    only = LimitPolicy(streams_per_client=1)
    async with (
        stage(gate.script, limits=only, trusted=("127.0.0.0/8",)) as on,
        clients(on.proxy, 1) as [second],
    ):
        first = asyncio.ensure_future(on.client.ask(forwarded(said[0])))
        await on.upstream.visit()
        if same:
            check_refused(await second.ask(forwarded(said[1])))
        else:
            await second.send(forwarded(said[1]))
            await on.upstream.visit(1)
        gate.opened.set()
        assert (await first).status == 200


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ("192.0.2.1:1000", "client=192.0.2.1 "),
        ("[2001:db8::1]:80", "client=2001:db8::1 "),
        ("192.0.2.9, 192.0.2.1", "client=192.0.2.1 "),
        ("garbage", None),
        ("[", None),
    ],
)
async def test_the_client_in_the_log(said: str, client: str | None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="sseproxy.access")
    async with stage(replies(), trusted=("127.0.0.0/8",)) as on:
        await on.client.ask(forwarded(said))
        await eventually(lambda: bool(caplog.messages))
    [line] = caplog.messages
    assert (client in line) if client is not None else ("client=" not in line)
