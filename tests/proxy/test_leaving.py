"""What do clients see between the stop signal and the drain? (`server.drain.delay`)"""

import asyncio

import pytest

from tests.support.proxy_server import Stage, stage
from tests.support.raw_upstream import OK, Script, Visit, replies
from tests.support.settled import eventually

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
GET_10 = b"GET /a HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


def when(answer: asyncio.Event, response: bytes) -> Script:
    """An upstream that answers when the test says so."""

    async def script(visit: Visit) -> None:
        while True:
            await visit.request()
            await answer.wait()
            await visit.send(response)

    return script


async def ask(on: Stage, request: bytes = GET) -> None:
    await on.client.send(request)
    await eventually(lambda: on.proxy.app.requests == 1)


@pytest.mark.parametrize("response", [OK, CHUNKED], ids=["a length", "chunks"])
async def test_every_response_says_that_it_is_the_last(response: bytes) -> None:
    async with stage(replies(response)) as on:
        assert (await on.client.ask(GET)).one(b"Connection") is None
        on.proxy.app.leave()
        last = await on.client.ask(GET)
        assert (last.status, last.body, last.one(b"Connection")) == (200, b"ok", b"close")
        assert await on.client.rest() == b""


async def test_one_that_is_waited_for_says_so_too() -> None:
    answer = asyncio.Event()
    async with stage(when(answer, OK)) as on:
        await ask(on)
        on.proxy.app.leave()
        answer.set()
        last = await on.client.response()
        assert last.one(b"Connection") == b"close"
        assert await on.client.rest() == b""


async def test_a_client_of_http_10_hears_it_in_its_own_words() -> None:
    async with stage(replies(OK)) as on:
        assert (await on.client.ask(GET_10)).one(b"Connection") == b"keep-alive"
        on.proxy.app.leave()
        assert (await on.client.ask(GET_10)).one(b"Connection") == b"close"


async def test_refusals_of_our_own_say_it() -> None:
    async with stage(replies(OK)) as on:
        on.proxy.app.leave()
        assert (await on.client.ask(b"TRACE /a HTTP/1.1\r\nHost: a.test\r\n\r\n")).one(b"Connection") == b"close"


async def test_an_event_stream_does_not_say_it_and_its_connection_goes_on() -> None:
    """Node's fetch takes each end of a response that says ``Connection: close`` for a clean one."""
    async with stage(replies(STREAM + EVENT + LAST_CHUNK, OK)) as on:
        on.proxy.app.leave()
        stream = await on.client.ask(GET)
        assert (stream.body, stream.one(b"Connection")) == (b"data: 1\n\n", None)
        # Nothing has told the client that the connection ends, so it may send its next request already.
        assert (await on.client.ask(GET)).one(b"Connection") == b"close"


async def test_a_response_that_has_begun_keeps_its_connection() -> None:
    rest = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await rest.wait()
        await visit.send(b"cd")
        await visit.request()
        await visit.send(OK)

    async with stage(script) as on:
        await on.client.send(GET)
        head = await on.client.head()
        assert head.one(b"Connection") is None
        on.proxy.app.leave()
        rest.set()
        assert await on.client.exactly(4) == b"abcd"
        assert (await on.client.ask(GET)).one(b"Connection") == b"close"


async def test_a_stream_of_the_delay_is_drained_like_any_other() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(STREAM + EVENT)
        await visit.wait_closed()

    comes_back = GET[:-2] + b"Accept: text/event-stream\r\nCache-Control: no-cache\r\n\r\n"
    async with stage(script) as on:
        on.proxy.app.leave()
        await on.client.send(comes_back)
        await on.client.head()
        assert await on.client.chunk() == b"data: 1\n\n"
        assert not on.client.reader.at_eof()
        on.proxy.app.drain(timeout=60.0, spread=0.0)
        assert (await on.client.chunk()).startswith(b"retry: ")
        assert await on.client.rest() == LAST_CHUNK


async def test_an_idle_connection_is_closed_by_the_drain_and_not_before() -> None:
    async with stage(replies(OK)) as on:
        await on.client.ask(GET)
        on.proxy.app.leave()
        await asyncio.sleep(0.1)
        assert not on.client.reader.at_eof()
        on.proxy.app.drain(timeout=60.0, spread=0.0)
        assert await on.client.rest() == b""


async def test_a_request_that_has_arrived_unread_is_served_by_the_drain() -> None:
    """The kernel has it, and the event loop has not had its turn. To close the connection would reset it."""
    async with stage(replies(OK)) as on:
        await on.client.ask(GET)
        on.client.send_now(GET)
        on.proxy.app.drain(timeout=60.0, spread=0.0)
        last = await on.client.response()
        assert (last.status, last.one(b"Connection")) == (200, b"close")
        assert not on.client.was_reset
