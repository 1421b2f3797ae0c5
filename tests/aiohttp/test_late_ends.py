"""Does a client that would come back to an aiohttp app for a late refusal again and again stop?"""

import asyncio
from collections.abc import Callable

import pytest
from aiohttp import web

from tests.support.aiohttp_app import AiohttpApp
from tests.support.async_peer import AsyncPeer
from tests.support.whatwg import parse

EVENT_SOURCE = ("Accept: text/event-stream", "Cache-Control: no-cache")
SECRET = "a secret that all workers share"


def _returned() -> web.StreamResponse:
    return web.Response(status=401, text="no", headers={"WWW-Authenticate": "Basic"})


def _raised() -> web.StreamResponse:
    raise web.HTTPGone(text="no")


def _nothing() -> web.StreamResponse:
    return web.Response(status=204)


class Refuses:
    """A handler that refuses, once its client has been answered early. last_ids: those that its requests brought."""

    def __init__(self, refuse: Callable[[], web.StreamResponse] = _returned) -> None:
        self._refuse = refuse
        self.answered_early = asyncio.Event()
        self.last_ids: list[str | None] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.last_ids.append(request.headers.get("Last-Event-ID"))
        await self.answered_early.wait()
        return self._refuse()

    async def id_for(self, client: AsyncPeer) -> str:
        """The id that the stream of a client ends with, which has asked. The end is a clean one."""
        assert (await client.head()).status == 200
        self.answered_early.set()
        body = b""
        while piece := await client.chunk():
            body += piece
        last = parse(body).last_event_id
        assert last.startswith("sseproxy-end-"), body
        return last


@pytest.mark.parametrize("refuse", [_returned, _raised, _nothing])
async def test_the_reconnect_is_answered_without_the_handler(refuse: Callable[[], web.StreamResponse]) -> None:
    handler = Refuses(refuse)
    async with AiohttpApp.serve(handler, before_response="5ms") as app, app.ask(*EVENT_SOURCE) as client:
        name = await handler.id_for(client)
        for _ in range(2):
            lines = ["GET / HTTP/1.1", "Host: a", *EVENT_SOURCE, f"Last-Event-ID: {name}"]
            again = await client.ask("\r\n".join(lines).encode() + b"\r\n\r\n")
            assert (again.status, again.body) == (204, b"")
            assert again.all(b"Cache-Control") == [b"no-store"]
    assert handler.last_ids == [None]


@pytest.mark.parametrize("name", ["7", "sseproxy-end-" + "A" * 40])
async def test_an_id_of_another_kind_goes_on_to_the_handler(name: str) -> None:
    handler = Refuses()
    handler.answered_early.set()
    async with (
        AiohttpApp.serve(handler, before_response="60s", response_timeout="90s") as app,
        app.ask(*EVENT_SOURCE, f"Last-Event-ID: {name}") as client,
    ):
        assert (await client.response()).status == 401
    assert handler.last_ids == [name]


@pytest.mark.parametrize(("secrets", "is_known"), [((SECRET, SECRET), True), ((SECRET, SECRET + "!"), False)])
async def test_middlewares_with_one_secret_know_each_others_ends(secrets: tuple[str, str], is_known: bool) -> None:
    first, second = Refuses(), Refuses()
    second.answered_early.set()
    async with (
        AiohttpApp.serve(first, before_response="5ms", secret=secrets[0]) as app,
        app.ask(*EVENT_SOURCE) as client,
    ):
        name = await first.id_for(client)
    async with (
        AiohttpApp.serve(second, before_response="60s", response_timeout="90s", secret=secrets[1]) as app,
        app.ask(*EVENT_SOURCE, f"Last-Event-ID: {name}") as client,
    ):
        assert (await client.response()).status == (204 if is_known else 401)
    assert second.last_ids == ([] if is_known else [name])


async def test_a_handler_that_says_too_much_is_stopped() -> None:
    answered_early, stopped = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        await answered_early.wait()
        response = web.StreamResponse(status=404, headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 50_000)
        finally:
            stopped.set()

    async with AiohttpApp.serve(handler, before_response="5ms") as app, app.ask(*EVENT_SOURCE) as client:
        await client.head()
        answered_early.set()
        body = b""
        while piece := await client.chunk():
            body += piece
        await stopped.wait()
    assert parse(body).last_event_id.startswith("sseproxy-end-")
