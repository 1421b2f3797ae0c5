"""What can a middleware in front of `sse_keepalive` do to the end of a stream?"""

import asyncio

import pytest
from aiohttp import web

from tests.support.aiohttp_app import AiohttpApp, Handler, open_stream

EVENT = b"data: 1\n\n"


@web.middleware
async def answers_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Put an error of its own in place of what is raised, as many apps do."""
    try:
        return await handler(request)
    except Exception as error:  # noqa: BLE001 - as they do
        return web.json_response({"secret": repr(error)}, status=500)


@web.middleware
async def answers_again(request: web.Request, handler: Handler) -> web.StreamResponse:
    await handler(request)
    return web.Response(text="the secret second answer")


async def fails(request: web.Request) -> web.StreamResponse:
    await (await open_stream(request)).write(EVENT)
    raise RuntimeError("the model fell over")


async def is_silent(request: web.Request) -> web.StreamResponse:
    await (await open_stream(request)).write(EVENT)
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def ends(request: web.Request) -> web.StreamResponse:
    response = await open_stream(request)
    await response.write(EVENT)
    return response


@pytest.mark.parametrize("handler", [fails, is_silent])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_an_error_page_does_not_follow_a_broken_stream(handler: Handler, version: str) -> None:
    """Over HTTP/1.0 a reset tells the broken end from a good one."""
    async with (
        AiohttpApp.serve(handler, in_front=[answers_errors], idle_timeout="100ms") as app,
        app.ask(version=version) as client,
    ):
        await client.head()
        rest = await client.rest()
        assert b"event: error" in rest
        assert b"secret" not in rest
        assert b"HTTP/" not in rest
        assert not rest.endswith(b"0\r\n\r\n")
        assert client.was_reset == (version == "1.0")


async def test_no_second_response_follows_a_stream(caplog: pytest.LogCaptureFixture) -> None:
    """A client would take it for the response to its next request."""
    async with AiohttpApp.serve(ends, in_front=[answers_again]) as app, app.ask() as client:
        await client.head()
        rest = await client.rest()
    assert rest.endswith(b"\r\n0\r\n\r\n")
    assert b"secret" not in rest
    assert "a middleware answers a request again" in caplog.text
