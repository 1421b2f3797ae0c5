"""Which responses may be silent for as long as they like while `timeouts.idle` is `auto`? (contract section 4)"""

import pytest

from sseproxy.core.stream.plan import StreamKind
from sseproxy.core.stream.timeouts import TimeoutPolicy
from tests.support.async_peer import RawClient
from tests.support.proxy_server import Stage, stage
from tests.support.raw_upstream import Visit

#: So long may an answer be silent here.
SHORT = TimeoutPolicy(answer_idle=0.2)

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FILE = b"HTTP/1.1 200 OK\r\nContent-Type: application/zip\r\nTransfer-Encoding: chunked\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
UPGRADE = b"GET /socket HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
ONE, TWO = b"data: one\n\n", b"data: two\n\n"


def ask(method: bytes, target: bytes, *fields: bytes) -> bytes:
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: a.test", *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def silent_after_one(visit: Visit) -> None:
    """A WebSocket, a file or a stream, which all say one thing and go on when the test says so."""
    request = await visit.head()
    if request.one(b"Upgrade"):
        await visit.send(SWITCHED + ONE)
    else:
        await visit.send((FILE if b"/file" in request.first_line else STREAM) + chunk(ONE))
    await visit.wait_closed()


async def begin(client: RawClient, request: bytes) -> None:
    await client.send(request)
    assert (await client.head()).status == 200
    assert await client.chunk() == ONE


async def told_to(on: Stage, target: bytes, data: bytes) -> None:
    """Let the upstream of one request say something more."""
    [number] = [
        number for number, visit in enumerate(on.upstream.visits) if visit.requests[0].first_line.split()[1] == target
    ]
    await (await on.upstream.visit(number)).send(data)


async def test_only_an_answer_has_a_limit() -> None:
    async with (
        stage(silent_after_one, timeouts=SHORT) as on,
        on.proxy.connect() as tunnel,
        on.proxy.connect() as download,
        on.proxy.connect() as answer,
    ):
        await begin(on.client, ask(b"GET", b"/feed", b"Accept: text/event-stream"))
        await begin(download, ask(b"POST", b"/file", b"Content-Length: 0"))
        await tunnel.send(UPGRADE)
        assert (await tunnel.head()).status == 101
        assert await tunnel.exactly(len(ONE)) == ONE
        # The answer is the last to fall silent: if the others had its limit, they would have ended before it.
        await begin(answer, ask(b"POST", b"/answer", b"Content-Length: 0"))
        assert b'"type": "idle_timeout"' in await answer.rest()
        for target, client in ((b"/feed", on.client), (b"/file", download)):
            await told_to(on, target, chunk(TWO))
            assert await client.chunk() == TWO
        await told_to(on, b"/socket", TWO)
        assert await tunnel.exactly(len(TWO)) == TWO


@pytest.mark.parametrize(
    ("method", "kind"), [(b"POST", StreamKind.AUTO), (b"GET", StreamKind.ANSWER)], ids=["a POST", "a GET of a route"]
)
async def test_what_is_an_answer(method: bytes, kind: StreamKind) -> None:
    async with stage(silent_after_one, timeouts=SHORT, kind=kind) as on:
        await begin(on.client, ask(method, b"/a", b"Content-Length: 0"))
        assert b'"type": "idle_timeout"' in await on.client.rest()


async def test_a_limit_by_name_holds_for_everything() -> None:
    async with stage(silent_after_one, timeouts=TimeoutPolicy(idle=0.1)) as on:
        await begin(on.client, ask(b"GET", b"/feed"))
        assert b'"type": "idle_timeout"' in await on.client.rest()
