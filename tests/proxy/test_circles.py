"""Is a request that was broken off gone at once, without any help of the garbage collector?

What ends in a circle of references stays until the collector comes, and it comes seldom: many requests that are broken
off would fill the memory meanwhile. So it is switched off here, and whatever is left must be nothing.
"""

import asyncio
import gc
import gzip
import types
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import sseproxy
from sseproxy.core.eventsource.policies import TicketPolicy
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.routes import Upstream
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.plan import StreamMode
from sseproxy.core.stream.timeouts import TimeoutPolicy
from tests.support.async_peer import AsyncPeer
from tests.support.proxy_server import SILENT, ProxyServer, route_to
from tests.support.raw_upstream import OK, RawUpstream, Script, Visit, replies, replies_once
from tests.support.settled import eventually

TIMES = 20
OURS = str(Path(sseproxy.__file__).parent)

#: An upstream that is away: there is no such file.
NOWHERE = Upstream("http+unix", socket_path="/nowhere/app.sock")

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
GET_10 = b"GET /a HTTP/1.0\r\nHost: a.test\r\n\r\n"
ASK = b"GET /a HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\n\r\n"
ONCE = GET[:-2] + b"Connection: close\r\n\r\n"
ASK_ONCE = ASK[:-2] + b"Connection: close\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/json\r\n"
HALF_A_BODY = POST + b'Content-Length: 100\r\n\r\n{"stream": true'
HALF_A_CHUNK = POST + b'Transfer-Encoding: chunked\r\n\r\n64\r\n{"stream": true'
CALL = POST + b"Content-Length: 2\r\n\r\n{}"
CALL_10 = CALL.replace(b"1.1", b"1.0", 1)
CALL_ONCE = POST + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}"
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n"
LARGE = POST + b"Content-Length: 9000000\r\n\r\n" + bytes(900_000)
UPGRADE = b"GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = STREAM + b"Transfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"
CODED = gzip.compress(b"data: 1\n\n" * 100)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"

SOON = HeartbeatPolicy(interval=0.005, before_response=0.005)
JSON_SOON = HeartbeatPolicy(interval=0.005, json=0.005)


# What upstreams do.


async def mute(visit: Visit) -> None:
    await visit.head()
    await visit.wait_closed()


async def takes_little(visit: Visit) -> None:
    await visit.head()
    await asyncio.Event().wait()


async def hears_all(visit: Visit) -> None:
    await visit.request()
    await visit.wait_closed()


def says(data: bytes, then: str = "waits", *, after: float = 0.0) -> Script:
    """The head of a request, and then this. Then the upstream waits, closes or resets."""

    async def script(visit: Visit) -> None:
        await visit.head()
        await asyncio.sleep(after)
        await visit.send(data)
        if then == "waits":
            await visit.wait_closed()
        elif then == "resets":
            visit.reset()

    return script


def stale_after(response: bytes) -> Script:
    """Answers once, and closes the connection when the next request comes."""

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(response)
        await visit.reader.read(1)

    return script


# What clients do.

Client = Callable[["On"], Awaitable[None]]


@dataclass
class On:
    proxy: ProxyServer
    upstream: RawUpstream
    visits: int = 0

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncPeer]:
        async with self.proxy.connect() as client:
            yield client

    async def visit(self) -> Visit:
        self.visits += 1
        return await self.upstream.visit(self.visits - 1)


def leaves(request: bytes, *, how: str = "closes", sees: bytes = b"", is_noticed: bool = True) -> Client:
    """Sends a request; leaves when the upstream has its head, or when it has seen some of the answer itself.

    is_noticed: the upstream notices the end of its connection.
    """

    async def client(on: On) -> None:
        async with on.client() as client:
            await client.send(request)
            visit = await on.visit()
            if sees:
                await client.reader.readuntil(sees)
            else:
                await visit.wait_received(b"\r\n\r\n")
            if how == "resets":
                client.reset()
        if is_noticed:
            await visit.wait_closed()

    return client


def stays(*requests: bytes) -> Client:
    """Sends requests, and reads until the proxy closes or nothing more is to come."""

    async def client(on: On) -> None:
        async with on.client() as client:
            for request in requests:
                await client.send(request)
            await client.rest()

    return client


def reads(*requests: bytes) -> Client:
    """Sends requests one after the other, and reads the response to each."""

    async def client(on: On) -> None:
        async with on.client() as client:
            for request in requests:
                await client.ask(request)

    return client


async def freezes(on: On) -> None:
    async with on.client() as client:
        client.pause()
        await client.send(ASK)
        visit = await on.visit()
        await visit.wait_closed()


async def deletes_ticket(on: On) -> None:
    async with on.client() as client, on.client() as other:
        created = await client.ask(b"POST /_tickets/a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")
        url = created.one(b"Location") or b""
        await client.send(b"GET " + url + ASK.removeprefix(b"GET /a"))
        visit = await on.visit()
        await visit.wait_received(b"\r\n\r\n")
        await other.ask(b"DELETE " + url + GET.removeprefix(b"GET /a"))
        await client.reader.read(10)
        await visit.wait_closed()


async def is_cut(on: On) -> None:
    async with on.client() as client:
        await client.send(GET)
        visit = await on.visit()
        await visit.wait_received(b"\r\n\r\n")
        on.proxy.app.abort()
        await client.response()


async def is_cut_in_its_stream(on: On) -> None:
    async with on.client() as client:
        await client.send(ONCE)
        await client.reader.readuntil(b"data: 1")
        on.proxy.app.abort()
        await client.rest()


async def is_cut_in_its_body(on: On) -> None:
    async with on.client() as client:
        await client.send(HALF_A_BODY)
        visit = await on.visit()
        await visit.wait_received(b"true")
        on.proxy.app.abort()
        await client.response()


async def gives_up(on: On) -> None:
    """Leaves while the request waits for its upstream."""
    async with on.client() as client:
        await client.send(GET)
        await eventually(lambda: on.proxy.app.requests == 1)
    await eventually(lambda: on.proxy.app.requests == 0)


async def is_drained(on: On) -> None:
    """Is refused, since the process drains. It stays so, and the next request is refused at once."""
    async with on.client() as client:
        await client.send(GET)
        await eventually(lambda: on.proxy.app.requests == 1 or on.proxy.app.draining)
        on.proxy.app.drain(timeout=9.0, spread=0.0)
        await client.response()


@dataclass
class Way:
    """How requests come to their end. options: of the route."""

    script: Script
    client: Client
    options: dict[str, Any] = field(default_factory=dict)


RESPONSE_SOON = TimeoutPolicy(response=0.02)
PATIENT = TimeoutPolicy(connect_retry=60.0)
IDLE_SOON = TimeoutPolicy(idle=0.02)
WRITE_SOON = TimeoutPolicy(write=0.1)
FLOOD = CHUNKED + b"".join(b"8009\r\ndata: %b\n\n\r\n" % (b"x" * 0x8001,) for _ in range(400))

WAYS: dict[str, Way] = {
    # The client goes.
    "gone before the response": Way(mute, leaves(GET)),
    "reset before the response": Way(mute, leaves(GET, how="resets")),
    "gone before the response of a stream that may be late": Way(
        mute, leaves(ASK), {"heartbeat": HeartbeatPolicy(before_response=9.0)}
    ),
    "gone in the body that may declare a stream": Way(mute, leaves(HALF_A_BODY), {"heartbeat": SOON}),
    "gone in the stream": Way(says(CHUNKED + EVENT), leaves(GET, sees=b"data: 1")),
    "reset in the stream": Way(says(CHUNKED + EVENT), leaves(GET, sees=b"data: 1", how="resets")),
    "gone in another response": Way(says(PLAIN), leaves(GET, sees=b"hello")),
    "gone in a stream with a coding": Way(
        says(STREAM + b"Content-Encoding: gzip\r\n\r\n" + CODED), leaves(GET, sees=b"data: 1")
    ),
    "gone in the request body": Way(mute, leaves(HALF_A_BODY)),
    "reset in the request body": Way(mute, leaves(HALF_A_BODY, how="resets")),
    "gone in a chunk of the request body": Way(mute, leaves(HALF_A_CHUNK)),
    "gone in a body that the upstream does not take": Way(takes_little, leaves(LARGE, is_noticed=False)),
    "gone in the request body and the response": Way(says(CHUNKED + EVENT), leaves(HALF_A_BODY, sees=b"data: 1")),
    "gone after the early answer": Way(mute, leaves(ASK, sees=b"heartbeat"), {"heartbeat": SOON}),
    "reset after the early answer": Way(mute, leaves(ASK, sees=b"heartbeat", how="resets"), {"heartbeat": SOON}),
    "gone after the early answer to a body": Way(
        hears_all, leaves(POST + b'Content-Length: 16\r\n\r\n{"stream": true}', sees=b"heartbeat"), {"heartbeat": SOON}
    ),
    "gone after an early answer that was joined": Way(
        says(CHUNKED + EVENT, after=0.05), leaves(ASK, sees=b"data: 1"), {"heartbeat": SOON}
    ),
    "gone after JSON was promised": Way(hears_all, leaves(CALL, sees=b"1\r\n \r\n"), {"heartbeat": JSON_SOON}),
    "reset after JSON was promised": Way(
        hears_all, leaves(CALL, sees=b"1\r\n \r\n", how="resets"), {"heartbeat": JSON_SOON}
    ),
    "gone in the JSON that was promised": Way(
        says(JSON_HEAD + b"[1", after=0.05), leaves(CALL, sees=b"[1"), {"heartbeat": JSON_SOON}
    ),
    "gone from a tunnel": Way(says(SWITCHED + b"data: 1"), leaves(UPGRADE, sees=b"data: 1")),
    "reset from a tunnel": Way(says(SWITCHED + b"data: 1"), leaves(UPGRADE, sees=b"data: 1", how="resets")),
    "stalled": Way(says(FLOOD), freezes, {"timeouts": WRITE_SOON}),
    "stalled in another response": Way(
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + bytes(12_000_000)),
        freezes,
        {"timeouts": WRITE_SOON},
    ),
    # The upstream goes.
    "upstream closes before its response": Way(says(b"", "closes"), reads(POST + b"Content-Length: 2\r\n\r\nhi")),
    "upstream resets before its response": Way(says(b"", "resets"), reads(POST + b"Content-Length: 2\r\n\r\nhi")),
    "upstream resets in the request body": Way(says(b"", "resets"), reads(LARGE)),
    "upstream has closed a kept connection": Way(stale_after(OK), reads(GET, GET)),
    "upstream closes in the stream": Way(says(CHUNKED + EVENT, "closes"), stays(ONCE)),
    "upstream resets in the stream": Way(says(CHUNKED + EVENT, "resets"), stays(ONCE)),
    "upstream closes in another response": Way(says(PLAIN, "closes"), stays(ONCE)),
    "upstream breaks its stream for HTTP/1.0": Way(says(CHUNKED + EVENT, "closes"), stays(GET_10)),
    "upstream resets after the early answer": Way(
        says(b"", "resets", after=0.05), stays(ASK_ONCE), {"heartbeat": SOON}
    ),
    "upstream refuses after the early answer": Way(
        says(b"HTTP/1.1 429 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", after=0.05),
        stays(ASK_ONCE),
        {"heartbeat": SOON},
    ),
    "upstream closes in the JSON that was promised": Way(
        says(JSON_HEAD + b"[1", "closes", after=0.05), stays(CALL_ONCE), {"heartbeat": JSON_SOON}
    ),
    "upstream answers a promise of JSON": Way(
        says(JSON_HEAD + b"[1] ", "closes", after=0.05), stays(CALL_ONCE), {"heartbeat": JSON_SOON}
    ),
    "upstream answers a promise of JSON for HTTP/1.0": Way(
        says(JSON_HEAD + b"[1] ", "closes", after=0.05),
        stays(CALL.replace(b"1.1", b"1.0", 1)),
        {"heartbeat": JSON_SOON},
    ),
    "upstream refuses after a promise of JSON": Way(
        says(b"HTTP/1.1 429 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", after=0.05),
        stays(CALL_ONCE),
        {"heartbeat": JSON_SOON},
    ),
    "upstream closes the tunnel": Way(says(SWITCHED + b"data: 1", "closes"), stays(UPGRADE)),
    "upstream resets the tunnel": Way(says(SWITCHED + b"data: 1", "resets"), stays(UPGRADE)),
    "upstream switches unasked": Way(says(SWITCHED), reads(GET)),
    "upstream speaks no HTTP": Way(says(b"hello?\r\n\r\n", "closes"), reads(GET)),
    "upstream's head is too large": Way(says(b"HTTP/1.1 200 OK\r\nX: " + bytes(b"x" * 70_000)), reads(GET)),
    "upstream's chunks are broken": Way(says(CHUNKED + EVENT + b"what?\r\n"), stays(ONCE)),
    "upstream's coding is broken": Way(says(STREAM + b"Content-Encoding: gzip\r\n\r\n" + b"what?" * 10), stays(ONCE)),
    "upstream's coding is cut short": Way(
        says(STREAM + b"Content-Encoding: gzip\r\n\r\n" + CODED[:-8], "closes"), stays(ONCE)
    ),
    "upstream answers before the body's end": Way(says(OK), reads(HALF_A_BODY)),
    # Time goes.
    "response timeout": Way(mute, reads(GET), {"timeouts": RESPONSE_SOON}),
    "response timeout with a body": Way(
        hears_all, reads(POST + b"Content-Length: 2\r\n\r\nhi"), {"timeouts": RESPONSE_SOON}
    ),
    "response timeout in the body": Way(mute, reads(HALF_A_BODY), {"timeouts": RESPONSE_SOON}),
    "response timeout with a body that is not taken": Way(mute, reads(LARGE), {"timeouts": RESPONSE_SOON}),
    "no body comes": Way(mute, stays(POST + b"Transfer-Encoding: chunked\r\n\r\n"), {"timeouts": RESPONSE_SOON}),
    "response timeout after the early answer": Way(
        mute, stays(ASK_ONCE), {"timeouts": RESPONSE_SOON, "heartbeat": SOON}
    ),
    "response timeout after a promise of JSON": Way(
        hears_all, stays(CALL_ONCE), {"timeouts": RESPONSE_SOON, "heartbeat": JSON_SOON}
    ),
    "idle timeout": Way(says(CHUNKED + EVENT), stays(ONCE), {"timeouts": IDLE_SOON}),
    "idle timeout of another response": Way(says(PLAIN), stays(ONCE), {"timeouts": IDLE_SOON}),
    "idle timeout of a tunnel": Way(says(SWITCHED), stays(UPGRADE), {"timeouts": IDLE_SOON}),
    "max duration": Way(says(CHUNKED + EVENT), stays(ONCE), {"timeouts": TimeoutPolicy(max_duration=0.02)}),
    "cut before the response": Way(mute, is_cut),
    "cut in the request body": Way(mute, is_cut_in_its_body),
    "cut in the stream": Way(says(CHUNKED + EVENT), is_cut_in_its_stream),
    "cut while it may be answered early": Way(
        mute, is_cut, {"heartbeat": HeartbeatPolicy(before_response=9.0), "stream": StreamMode.ALWAYS}
    ),
    # The upstream is away.
    "an upstream that stays away": Way(
        mute, reads(GET), {"upstream": NOWHERE, "timeouts": TimeoutPolicy(connect_retry=0.1)}
    ),
    "gone while the upstream is away": Way(mute, gives_up, {"upstream": NOWHERE, "timeouts": PATIENT}),
    "a drain while the upstream is away": Way(mute, is_drained, {"upstream": NOWHERE, "timeouts": PATIENT}),
    # What is asked is wrong.
    "no HTTP": Way(mute, stays(b"what?\r\n\r\n")),
    "a head without end": Way(mute, stays(b"GET / HTTP/1.1\r\nX: " + b"x" * 300_000)),
    "no Host": Way(mute, stays(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")),
    "a broken chunk": Way(mute, stays(POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nwhat?\r\n")),
    "a body that is too large": Way(
        mute, stays(POST + b"Content-Length: 20\r\nConnection: close\r\n\r\n"), {"limits": LimitPolicy(request_body=10)}
    ),
    "chunks that are too large": Way(
        mute,
        stays(POST + b"Transfer-Encoding: chunked\r\n\r\n14\r\n%b\r\n" % bytes(20)),
        {"limits": LimitPolicy(request_body=10)},
    ),
    "chunks that become too large": Way(
        mute,
        stays(POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", b"14\r\n%b\r\n" % bytes(20)),
        {"limits": LimitPolicy(request_body=10)},
    ),
    "too many streams": Way(mute, stays(ASK_ONCE), {"limits": LimitPolicy(streams=0)}),
    "a ticket that is deleted before the response": Way(hears_all, deletes_ticket, {"tickets": TicketPolicy()}),
    "a ticket that is deleted in the stream": Way(says(CHUNKED + EVENT), deletes_ticket, {"tickets": TicketPolicy()}),
    # Nothing goes wrong.
    "an answer": Way(replies(), reads(GET, GET)),
    "an upload": Way(replies(), reads(LARGE.replace(b"9000000", b"900000"))),
    "a stream": Way(replies(CHUNKED + EVENT + b"0\r\n\r\n"), reads(GET, GET)),
    "a stream with a coding": Way(replies_once(STREAM + b"Content-Encoding: gzip\r\n\r\n" + CODED), reads(GET)),
    "a refusal that comes late": Way(
        says(b"HTTP/1.1 500 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", after=0.05),
        stays(ASK_ONCE),
        {"heartbeat": SOON},
    ),
}


def alive() -> Counter[str]:
    """What there is of the proxy, by kind; frames and tasks of its functions too."""
    found: Counter[str] = Counter()
    for each in gc.get_objects():
        kind = type(each)
        if str(kind.__module__).startswith("sseproxy."):
            found[kind.__qualname__] += 1
        elif kind is types.FrameType and each.f_code.co_filename.startswith(OURS):
            found[f"frame of {each.f_code.co_name}"] += 1
        elif kind is types.CoroutineType and each.cr_code.co_filename.startswith(OURS):
            found[f"coroutine {each.__qualname__}"] += 1
        elif str(kind.__module__).startswith("httptools."):
            found[kind.__qualname__] += 1
    return found


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def at_rest(proxy: ProxyServer) -> None:
    await proxy.app.wait_until_idle()
    await eventually(lambda: not proxy.clients)
    await eventually(lambda: not any(origin.pool.leased for origin in proxy.origins.values()))
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_left_of_requests_that_ended_in_any_way(way: str) -> None:
    how = WAYS[way]
    route = {"heartbeat": SILENT, **how.options}
    async with (
        RawUpstream.serve(how.script) as upstream,
        ProxyServer.serve(replace(route_to(upstream), **route)) as proxy,
    ):
        on = On(proxy, upstream)
        for _ in range(2):
            await how.client(on)
        await at_rest(proxy)
        with without_collector():
            before = alive()
            for _ in range(TIMES):
                await how.client(on)
            await at_rest(proxy)
            left = await what_is_left(before)
    assert not left


async def what_is_left(before: Counter[str]) -> Counter[str]:
    """What there is more than before, once it goes down no further."""
    left = alive() - before
    for _ in range(20):
        if not left:
            break
        await asyncio.sleep(0.05)
        left = alive() - before
    return left
