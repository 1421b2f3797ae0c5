"""Is nothing left of questions that were asked and answered, without any help of the garbage collector?"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.proxy.test_circles import alive, what_is_left, without_collector
from tests.support.guarded import NO, YES, Guarded, guarded, head, silent
from tests.support.raw_upstream import OK, Script, Visit, replies
from tests.support.settled import eventually

POST = head(b"Content-Length: 4", line=b"POST /a") + b"body"


def closes(answer: bytes) -> Script:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(answer)

    return script


async def asks(on: Guarded) -> None:
    async with on.proxy.connect() as client:
        for _ in range(4):
            await client.ask(POST)


async def ask_together(on: Guarded) -> None:
    await asyncio.gather(*(asks(on) for _ in range(4)))


async def leaves(on: Guarded) -> None:
    async with on.proxy.connect() as client:
        before = len(on.service.visits)
        await client.send(POST)
        visit = await on.service.visit(before)
        await visit.wait_received(b"\r\n\r\n")
    await visit.wait_closed()


async def is_cut(on: Guarded) -> None:
    async with on.proxy.connect() as client:
        before = len(on.service.visits)
        await client.send(head())
        visit = await on.service.visit(before)
        await visit.wait_received(b"\r\n\r\n")
        on.proxy.app.abort()
        await client.response()


Way = tuple[Script, Callable[[Guarded], Awaitable[None]], int]
HALF = b"HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\nhalf"

WAYS: dict[str, Way] = {
    "yes": (replies(YES), asks, 500),
    "yes, together": (replies(YES), ask_together, 100),
    "a yes with a body": (replies(OK), asks, 20),
    "no": (replies(NO), asks, 500),
    "no, together": (replies(NO), ask_together, 100),
    "no answer": (closes(b""), asks, 20),
    "half an answer": (closes(HALF), asks, 20),
    "half an answer, together": (closes(HALF), ask_together, 20),
    "no HTTP": (closes(b"what?\r\n\r\n"), asks, 20),
    "too late": (silent, asks, 1),
    "too late, together": (silent, ask_together, 1),
    "the client leaves": (silent, leaves, 20),
    "the process ends": (silent, is_cut, 20),
}


@pytest.mark.parametrize("cache", [None, 0.001])
@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_left(way: str, cache: float | None) -> None:
    script, client, times = WAYS[way]
    # Long enough for a connection to stand: uvloop leaves a circle of its own where it is cancelled while it connects.
    timeout = 0.3 if way.startswith("too late") else 20.0
    async with guarded(script, policy={"cache": cache, "timeout": timeout}) as on:
        for _ in range(2):
            await client(on)
        await at_rest(on)
        with without_collector():
            before = alive()
            for _ in range(times):
                await client(on)
            await at_rest(on)
            left = await what_is_left(before)
    assert not left


async def at_rest(on: Guarded) -> None:
    await on.proxy.app.wait_until_idle()
    await eventually(lambda: on.leased == 0)
    await eventually(lambda: on.proxy.clients == 1)  # that of the test's own client
    for _ in range(10):
        await asyncio.sleep(0)
