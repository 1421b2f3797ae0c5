"""Does a client of an aiohttp app see the end that the upstream has made?"""

import pytest
from pytest_aiohttp.plugin import AiohttpServer

from tests.support.aiohttp_app import broken_body
from tests.support.aiohttp_proxy import END, EVENT, GET, STREAM, app_stage
from tests.support.raw_upstream import Visit, replies


async def breaks(visit: Visit) -> None:
    await visit.request()
    await visit.send(STREAM + EVENT)


async def test_a_whole_stream_leaves_the_connection_open(aiohttp_server: AiohttpServer) -> None:
    async with app_stage(aiohttp_server, replies(STREAM + EVENT + END)) as on, on.connect() as client:
        for _ in range(5):
            response = await client.ask(GET)
            assert response.body == b"data: 1\n\n"
            assert response.one(b"X-Accel-Buffering") == b"no"


async def test_a_broken_stream_breaks_the_connection(aiohttp_server: AiohttpServer) -> None:
    async with app_stage(aiohttp_server, breaks) as on, on.connect() as client:
        await client.send(GET + GET)
        assert (await client.head()).status == 200
        body = await broken_body(client)
        assert body.startswith(b"data: 1\n\nevent: error\n")
        assert len(on.upstream.visits) == 1


async def test_a_broken_stream_of_http_10_ends_with_a_reset(aiohttp_server: AiohttpServer) -> None:
    async with app_stage(aiohttp_server, breaks) as on, on.connect() as client:
        await client.send(GET.replace(b"1.1", b"1.0"))
        assert (await client.head()).one(b"Transfer-Encoding") is None
        assert (await client.rest()).startswith(b"data: 1\n\nevent: error\n")
        assert client.was_reset


async def test_a_whole_stream_of_http_10_ends_without_one(aiohttp_server: AiohttpServer) -> None:
    async with app_stage(aiohttp_server, replies(STREAM + EVENT + END)) as on, on.connect() as client:
        await client.send(GET.replace(b"1.1", b"1.0"))
        await client.head()
        assert await client.rest() == b"data: 1\n\n"
        assert not client.was_reset


async def test_a_body_that_is_shorter_than_it_says(aiohttp_server: AiohttpServer) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")

    async with app_stage(aiohttp_server, script) as on, on.connect() as client:
        await client.send(GET + GET)
        assert (await client.head()).status == 200
        assert await client.rest() == b"hello"


async def test_an_upstream_that_is_not_there(aiohttp_server: AiohttpServer) -> None:
    async with app_stage(aiohttp_server, replies()) as on, on.connect() as client:
        assert (await client.ask(GET)).status == 200
        await on.upstream.close()
        response = await client.ask(b"POST" + GET[3:])
        assert response.status in (502, 200)


@pytest.mark.parametrize("form", ["comment-line", "comment-block"])
async def test_heartbeats_go_out(aiohttp_server: AiohttpServer, form: str) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(STREAM + EVENT)
        await visit.closed.wait()

    async with app_stage(aiohttp_server, script, heartbeat="20ms", form=form) as on, on.connect() as client:
        await client.send(GET)
        await client.head()
        assert await client.chunk() == b"data: 1\n\n"
        for _ in range(3):
            assert (await client.chunk()).startswith(b": heartbeat\n")


async def test_an_answer_before_the_response(aiohttp_server: AiohttpServer) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.closed.wait()

    async with (
        app_stage(aiohttp_server, script, before_response="10ms", heartbeat="10ms", stream="always") as on,
        on.connect() as client,
    ):
        await client.send(GET)
        assert (await client.head()).one(b"Content-Type") == b"text/event-stream"
        assert (await client.chunk()).startswith(b": ")
