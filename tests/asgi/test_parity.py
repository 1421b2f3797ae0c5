"""Does the same stream look the same behind the proxy and behind the middleware, to the byte?

Time is virtual for both, and passes only when nothing is under way any more on a socket.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from sseproxy.asgi import SSEKeepaliveMiddleware, StreamAborted
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy
from sseproxy.core.stream.timeouts import TimeoutPolicy
from tests.support.asgi_exchange import HB, Exchange, Step, head, on_time, script
from tests.support.proxy_server import stage
from tests.support.raw_client import RawClient
from tests.support.raw_upstream import Visit
from tests.support.virtual_clock import passing
from tests.support.whatwg import parse
from tests.support.wire import read_chunk

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
INTERVAL = 0.25
IDLE, LONGEST = 1.5, 4.0
TIMEOUTS = TimeoutPolicy(idle=IDLE, write=None, max_duration=LONGEST)

PARTS = (
    b"data: 1\n\n",
    b"id: 7\r\nevent: tick\r\ndata: a\r\ndata: b\r\n\r\n",
    b"data: c\rdata: d\r\r",
    b": comment\n\n",
    "data: \N{SNOWMAN}\n\n".encode(),
    b'data: {"id": "x", "object": "chat.completion.chunk", "model": "m", "created": 1, "choices": [{"index": 0}]}\n\n',
    b"\xef\xbb\xbfdata: bom\n\n",
    b"retry: 5\ndata\n\n",
)


def made_up(seed: int) -> list[Step]:
    """Events cut anywhere, with pauses: most too short for a heartbeat, some with several, few with the end of all."""
    dice = random.Random(seed)
    stream = b"".join(dice.choices(PARTS, k=dice.randint(2, 6)))
    cuts = sorted(dice.sample(range(1, len(stream)), k=min(len(stream) - 1, dice.randint(0, 8))))
    steps: list[Step] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        steps += [stream[start:end], dice.choices([0.01, 0.3, 0.9, 1.7], weights=[6, 4, 2, 0.3])[0]]
    return steps


async def through_the_middleware(steps: list[Step], form: HeartbeatForm, dialect: Dialect) -> tuple[bytes, bool]:
    """The body, and whether its end was a clean one."""
    app = SSEKeepaliveMiddleware(
        script(*steps),
        heartbeat=INTERVAL,
        form=form,
        dialect=dialect,
        idle_timeout=IDLE,
        write_timeout="off",
        max_duration=LONGEST,
        streams=on_time(),
    )
    seen = Exchange(app).start()
    try:
        await seen.finish()
    except StreamAborted:
        assert not seen.is_whole
    return seen.body, seen.is_whole


async def through_the_proxy(steps: list[Step], form: HeartbeatForm, dialect: Dialect) -> tuple[bytes, bool]:
    policy = HeartbeatPolicy(interval=INTERVAL, form=form)
    async with stage(
        upstream_of(steps), heartbeat=policy, timeouts=TIMEOUTS, dialect=dialect, streams=on_time()
    ) as stand:
        await stand.client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await stand.client.head()).status == 200
        return await _body(stand.client)


def upstream_of(steps: list[Step]) -> Callable[[Visit], Awaitable[None]]:
    async def visited(visit: Visit) -> None:
        await visit.request()
        await visit.send(HEAD)
        for step in steps:
            if isinstance(step, bytes):
                await visit.send(b"%x\r\n%b\r\n" % (len(step), step))
            elif isinstance(step, float):
                await passing(step)
        await visit.send(b"0\r\n\r\n")

    return visited


async def _body(client: RawClient) -> tuple[bytes, bool]:
    body = b""
    try:
        while piece := await read_chunk(client.reader):
            body += piece
    except asyncio.IncompleteReadError:
        return body, False
    return body, True


@pytest.mark.parametrize("seed", range(60))
async def test_the_same_script_gives_the_same_bytes(seed: int) -> None:
    steps = made_up(seed)
    form = list(HeartbeatForm)[seed % len(HeartbeatForm)]
    dialect = list(Dialect)[seed % len(Dialect)]
    mine = await through_the_middleware(steps, form, dialect)
    theirs = await through_the_proxy(steps, form, dialect)
    assert mine == theirs


OWN_FIELDS = [
    (b"Content-Type", b"text/event-stream; charset=utf-8"),
    (b"Cache-Control", b"no-store"),
    (b"Connection", b"keep-alive, X-Hop"),
    (b"X-Hop", b"1"),
    (b"Keep-Alive", b"timeout=5"),
    (b"Trailer", b"X-Sum"),
    (b"Set-Cookie", b"a=1"),
    (b"Set-Cookie", b"b=2"),
    (b"X-Accel-Buffering", b"yes"),
    (b"X-Own", b"\xe4"),
]

#: Fields of the connection, and of whoever serves it.
_OF_SERVERS = (b"date", b"server", b"via", b"transfer-encoding", b"connection")


async def test_the_same_head_gives_the_same_head() -> None:
    app = SSEKeepaliveMiddleware(script(start={**head(), "headers": OWN_FIELDS}))
    mine = (await Exchange(app).run()).messages[0]["headers"]
    lines = b"".join(b"%b: %b\r\n" % field for field in [*OWN_FIELDS, (b"Transfer-Encoding", b"chunked")])

    async def upstream(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n0\r\n\r\n")

    async with stage(upstream) as stand:
        await stand.client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        theirs = [field for field in (await stand.client.head()).fields if field[0].lower() not in _OF_SERVERS]
    assert mine == theirs


async def test_the_scripts_have_something_to_show() -> None:
    """Heartbeats, ends of every kind, cuts inside lines: otherwise being alike would mean little."""
    scripts = [made_up(seed) for seed in range(60)]
    silences = [[step for step in steps if isinstance(step, float)] for steps in scripts]
    assert sum(any(pause > INTERVAL for pause in pauses) for pauses in silences) > 30
    assert any(max(pauses) > IDLE for pauses in silences)
    assert any(sum(pauses) > LONGEST for pauses in silences)
    ends = [await through_the_middleware(steps, HeartbeatForm.AUTO, Dialect.GENERIC) for steps in scripts]
    assert sum(HB.strip() in body for body, _ in ends) > 30
    assert {is_whole for _, is_whole in ends} == {True, False}
    assert all(parse(body).events for body, _ in ends if body.count(b"data: ") > 3)
