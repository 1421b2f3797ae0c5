"""What does a client get of a stream that sseproxy breaks off: which words, how much time, which end? (docs/ends.md)"""

import asyncio
import json

import pytest

from sseproxy.core.eventsource.policies import TicketPolicy
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.engine.live import LiveStreams
from sseproxy.stores.memory import MemoryTicketStore
from tests.support.patience import LIMIT
from tests.support.proxy_server import ProxyServer, route_to, stage
from tests.support.raw_upstream import RawUpstream, Script, Visit, replies
from tests.support.whatwg import parse

EVENT = b"data: one\n\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
#: More than any test waits: a stream that lingers stays until its client leaves.
FOR_EVER = 10 * LIMIT


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def breaks_off(visit: Visit) -> None:
    await visit.request()
    await visit.send(STREAM + chunk(EVENT))


async def falls_silent(visit: Visit) -> None:
    await visit.request()
    await visit.send(STREAM + chunk(EVENT))
    await visit.wait_closed()


def error_in(body: bytes) -> tuple[str, int]:
    """The type and the status of the one error event in `body`."""
    [event] = [event for event in parse(body).events if event.type == "error"]
    said = json.loads(event.data)
    return said["type"], said["status"]


# Time for the last bytes.


async def test_a_stream_that_breaks_stays_open_until_its_client_leaves() -> None:
    """Node's fetch drops what its reader has not taken when the connection ends, the error event included."""
    async with stage(breaks_off, streams=LiveStreams(linger=FOR_EVER)) as on:
        await on.client.send(POST)
        assert (await on.client.head()).status == 200
        assert await on.client.chunk() == EVENT
        assert error_in(await on.client.chunk()) == ("upstream_error", 502)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await on.client.reader.read(1)
    # The client has left, and the stage found nothing under way: it did not wait for the rest of the time.


async def test_the_upstream_is_closed_before_the_client_has_left() -> None:
    timeouts = TimeoutPolicy(idle=0.05)
    async with stage(falls_silent, timeouts=timeouts, streams=LiveStreams(linger=FOR_EVER)) as on:
        await on.client.send(POST)
        await on.client.head()
        assert await on.client.chunk() == EVENT
        assert error_in(await on.client.chunk()) == ("idle_timeout", 504)
        await (await on.upstream.visit()).wait_closed()


async def test_then_the_connection_ends_without_the_last_chunk() -> None:
    async with stage(breaks_off, streams=LiveStreams(linger=0.05)) as on:
        await on.client.send(POST)
        await on.client.head()
        rest = await on.client.rest()
        assert not rest.endswith(LAST_CHUNK)
        assert not on.client.was_reset


@pytest.mark.parametrize(
    "response",
    [STREAM + chunk(EVENT) + LAST_CHUNK, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"],
    ids=["a stream that ends", "another body"],
)
async def test_nothing_else_lingers(response: bytes) -> None:
    async with stage(replies(response), streams=LiveStreams(linger=FOR_EVER)) as on:
        for _ in range(2):
            assert (await on.client.ask(POST)).status == 200


async def test_a_body_that_is_no_stream_breaks_at_once() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf")

    async with stage(script, streams=LiveStreams(linger=FOR_EVER)) as on:
        await on.client.send(POST)
        await on.client.head()
        assert await on.client.rest() == b"half"


# Which head says what about the connection.


def closing(version: bytes) -> bytes:
    return b"POST /a HTTP/%b\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % version


WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"ok") + LAST_CHUNK


@pytest.mark.parametrize(
    ("response", "version", "said"),
    [
        (STREAM + chunk(b"ok") + LAST_CHUNK, b"1.1", None),
        (CHUNKED, b"1.1", b"close"),
        (WHOLE, b"1.1", b"close"),
        (WHOLE, b"1.0", b"close"),
        (STREAM + chunk(b"ok") + LAST_CHUNK, b"1.0", b"close"),
    ],
    ids=["stream", "chunked", "length", "length to HTTP/1.0", "stream to HTTP/1.0"],
)
async def test_a_stream_closes_the_connection_without_a_word(
    response: bytes, version: bytes, said: bytes | None
) -> None:
    """Node's fetch takes every end of a response with `Connection: close` for a clean one."""
    async with stage(replies(response)) as on:
        await on.client.send(closing(version))
        head = await on.client.head()
        assert head.one(b"Connection") == said
        body = await on.client.rest()  # which is there because the connection is closed
        assert body.replace(chunk(b"ok"), b"ok").removesuffix(LAST_CHUNK) == b"ok"


async def test_nor_does_one_that_begins_during_a_drain_say_so() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        on.proxy.app.drain(timeout=None, spread=0.0)
        await visit.send(STREAM + chunk(EVENT) + LAST_CHUNK)

    async with stage(script) as on:
        await on.client.send(POST)
        assert (await on.client.head()).one(b"Connection") is None
        assert await on.client.rest() == chunk(EVENT) + LAST_CHUNK


# A stream that was promised.


async def test_an_upstream_that_has_not_answered_is_closed_when_its_stream_is() -> None:
    """Not only when the client has had its time to read the error event."""
    early = HeartbeatPolicy(interval=60.0, before_response=0.0001)

    async def never(visit: Visit) -> None:
        await visit.request()
        await visit.wait_closed()

    timeouts = TimeoutPolicy(max_duration=1.0)
    async with stage(never, heartbeat=early, timeouts=timeouts, streams=LiveStreams(linger=FOR_EVER)) as on:
        await on.client.send(POST.replace(b"\r\n\r\n", b"\r\nAccept: text/event-stream\r\n\r\n"))
        assert (await on.client.head()).status == 200
        body = await on.client.chunk() + await on.client.chunk()
        assert error_in(body) == ("max_duration", 504)
        await (await on.upstream.visit()).wait_closed()


# A defect of ours.


class DefectiveStore(MemoryTicketStore):
    """Fails when the request of a ticket has been sent, which is when its stream has begun."""

    async def release(self, key: bytes, opening: bytes) -> None:
        raise RuntimeError("a defect")


async def with_a_defect(script: Script, got: list[bytes]) -> None:
    """Collect what the client of a ticket gets behind the head."""
    async with RawUpstream.serve(script) as upstream:
        store = DefectiveStore(asyncio.get_running_loop())
        route = route_to(upstream, tickets=TicketPolicy())
        async with ProxyServer.serve(route, store=store) as proxy, proxy.connect() as client:
            made = await client.ask(POST.replace(b"/a", b"/_tickets/a"))
            url = made.one(b"Location") or b""
            await client.send(b"GET " + url + b" HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\n\r\n")
            assert (await client.head()).status == 200
            got.append(await client.rest())


async def test_a_defect_while_a_stream_runs_is_an_error_event_and_a_broken_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="sseproxy.access")
    got: list[bytes] = []
    with pytest.raises(AssertionError, match="RuntimeError: a defect"):  # by the server: it was logged
        await with_a_defect(falls_silent, got)
    [body] = got
    assert not body.endswith(LAST_CHUNK)
    said = [line for line in body.split(b"\r\n") if b"data: {" in line]
    assert error_in(b"".join(said)) == ("internal_error", 500)
    assert " reason=internal_error " in caplog.text
