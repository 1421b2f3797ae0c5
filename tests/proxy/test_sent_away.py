"""What does a client get that comes back by itself, and waits for its response while the process drains?

A browser's `EventSource` does not come back after a 503.
"""

import asyncio
from typing import Any

import pytest

from sseproxy.core.eventsource.policies import CorsPolicy
from sseproxy.core.http.fields import HeaderRules
from sseproxy.core.stream.end_message import EndPolicy
from sseproxy.core.stream.plan import StreamMode
from sseproxy.engine.live import LiveStreams
from tests.support.proxy_server import REQUEST_ID, Stage, stage
from tests.support.raw_upstream import Visit
from tests.support.settled import eventually

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n"
EVENT_SOURCE = GET + b"Accept: text/event-stream\r\nCache-Control: no-cache\r\n\r\n"
MCP = GET + b"Accept: text/event-stream\r\nMcp-Session-Id: 1\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\nContent-Length: 0\r\n\r\n"
FETCH = GET + b"Accept: text/event-stream\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"


async def silent(visit: Visit) -> None:
    """An upstream that takes the request and never answers."""
    await visit.request()
    await visit.wait_closed()


async def ask(on: Stage, request: bytes) -> None:
    await on.client.send(request)
    await eventually(lambda: bool(on.upstream.requests))


@pytest.mark.parametrize("request_", [EVENT_SOURCE, MCP], ids=["EventSource", "MCP"])
async def test_it_is_sent_away_with_a_stream_that_ends(request_: bytes) -> None:
    async with stage(silent) as on:
        await ask(on, request_)
        on.proxy.app.drain(timeout=60.0, spread=0.0)
        response = await on.client.response()
        assert response.status == 200
        assert response.one(b"Content-Type") == b"text/event-stream"
        assert response.one(b"X-Accel-Buffering") == b"no"
        assert response.one(b"X-Request-Id") == REQUEST_ID.encode()
        name, _, milliseconds = response.body.removesuffix(b"\n\n").partition(b": ")
        assert name == b"retry"
        assert 1000 <= int(milliseconds) <= 2000
        assert await on.client.rest() == b""


async def test_the_access_log_names_the_drain(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with stage(silent) as on:
        await ask(on, EVENT_SOURCE)
        on.proxy.app.drain(timeout=60.0, spread=0.0)
        await on.client.response()
    [line] = [record for record in caplog.records if "reason=drain" in record.getMessage()]
    assert line.levelname == "INFO"
    assert "status=200" in line.getMessage()


async def test_each_at_its_moment() -> None:
    """The moment and the time after which it comes back are spread, as those of streams that have begun."""
    async with stage(silent, streams=LiveStreams(chance=lambda: 0.5, linger=0.0)) as on:
        await ask(on, EVENT_SOURCE)
        began = asyncio.get_running_loop().time()
        on.proxy.app.drain(timeout=60.0, spread=1.0)
        assert (await on.client.response()).body == b"retry: 1500\n\n"
        assert asyncio.get_running_loop().time() - began >= 0.5


async def test_one_that_asks_during_the_drain_is_sent_away_at_its_end() -> None:
    async with stage(silent) as on:
        await on.client.send(EVENT_SOURCE[:-2])  # the head has begun: its connection is not closed
        await eventually(lambda: not next(iter(on.proxy.connections)).is_idle)
        on.proxy.app.drain(timeout=60.0, spread=0.0)
        await ask(on, b"\r\n")
        on.proxy.app.abort()
        response = await on.client.response()
        assert (response.status, response.body[:7]) == (200, b"retry: ")


async def test_a_stream_that_comes_in_time_is_drained_as_one() -> None:
    answer = asyncio.Event()

    async def late(visit: Visit) -> None:
        await visit.request()
        await answer.wait()
        await visit.send(STREAM)
        await visit.wait_closed()

    async with stage(late, streams=LiveStreams(chance=lambda: 1.0, linger=0.0)) as on:
        await ask(on, EVENT_SOURCE)
        on.proxy.app.drain(timeout=60.0, spread=1.5)
        answer.set()
        await on.client.head()
        assert await on.client.chunk() == b"data: 1\n\n"
        await asyncio.sleep(1.8)  # its moment passes, and it is no request that waits any more
        assert not on.client.reader.at_eof()
        on.proxy.app.abort()
        assert b"retry: " in await on.client.rest()


async def test_a_page_of_another_origin_may_read_it() -> None:
    """Without the fields of CORS a browser takes it for an error, and does not come back."""
    origin = b"https://app.test"
    rules = HeaderRules(set=(("X-Team", "blue"),))
    cors = CorsPolicy(frozenset({origin.decode()}))
    async with stage(silent, cors=cors, response_headers=rules) as on:
        await ask(on, EVENT_SOURCE[:-2] + b"Origin: " + origin + b"\r\n\r\n")
        on.proxy.app.drain(timeout=60.0, spread=0.0)
        response = await on.client.response()
        assert response.one(b"Access-Control-Allow-Origin") == origin
        assert response.one(b"X-Team") == b"blue"


@pytest.mark.parametrize(
    ("request_", "options"),
    [
        (POST, {}),
        (FETCH, {}),
        (GET + b"\r\n", {}),
        (EVENT_SOURCE, {"stream": StreamMode.NEVER}),
        (EVENT_SOURCE, {"end": EndPolicy()}),
    ],
    ids=["POST", "fetch", "no stream", "a route without streams", "an answer"],
)
async def test_all_others_wait_for_the_deadline_and_get_503(request_: bytes, options: dict[str, Any]) -> None:
    async with stage(silent, **options) as on:
        await ask(on, request_)
        on.proxy.app.drain(timeout=60.0, spread=0.0)
        await asyncio.sleep(0.1)
        assert on.proxy.app.requests == 1
        on.proxy.app.abort()
        response = await on.client.response()
        assert (response.status, response.one(b"Retry-After")) == (503, b"1")
