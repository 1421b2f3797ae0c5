"""Is anything left of a stream once it has ended, however it ended?"""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from sseproxy.asgi import SSEKeepaliveMiddleware, StreamAborted
from sseproxy.asgi.types import Receive, Scope, Send
from tests.support.asgi_exchange import Exchange, Step, for_ever, script
from tests.support.virtual_clock import VirtualLoop, passing

EVENT = b"data: 1\n\n"
NEVER = 1e9
STREAMS = 5000
AT_ONCE = 250

#: Objects that may be there afterwards and were not before: caches, the test's own.
SPARE = 300

OURS = {"ResponseSwitch", "Responder", "Relay", "StreamSession", "SendQueue", "ReceiveChannel", "LiveStream"}

Meanwhile = Callable[[SSEKeepaliveMiddleware, list[Exchange]], Awaitable[None]]


async def nothing(app: SSEKeepaliveMiddleware, exchanges: list[Exchange]) -> None:
    """The stream comes to its end by itself."""


async def leave(app: SSEKeepaliveMiddleware, exchanges: list[Exchange]) -> None:
    await passing(20)
    for exchange in exchanges:
        exchange.leave()


async def refuse(app: SSEKeepaliveMiddleware, exchanges: list[Exchange]) -> None:
    """The next heartbeat finds that the client has left."""
    await passing(1)
    for exchange in exchanges:
        exchange.refuse_to_send(ConnectionResetError)


async def fail_to_send(app: SSEKeepaliveMiddleware, exchanges: list[Exchange]) -> None:
    await passing(1)
    for exchange in exchanges:
        exchange.refuse_to_send(RuntimeError)


async def freeze(app: SSEKeepaliveMiddleware, exchanges: list[Exchange]) -> None:
    await passing(1)
    for exchange in exchanges:
        exchange.freeze()


async def drain(app: SSEKeepaliveMiddleware, exchanges: list[Exchange]) -> None:
    await passing(1)
    app.begin_drain(timeout="10s", spread="5s")


async def fails_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("mine")


async def fails_late(scope: Scope, receive: Receive, send: Send) -> None:
    await passing(12)
    raise RuntimeError("mine")


async def fails_in_its_response(scope: Scope, receive: Receive, send: Send) -> None:
    await app_of(EVENT, 16.0, end=False)(scope, receive, send)
    raise RuntimeError("mine")


def app_of(*steps: Step, **how: Any) -> Any:
    return script(*steps, **how)


WAYS: dict[str, tuple[Any, dict[str, Any], Meanwhile]] = {
    "end": (app_of(EVENT, 16.0, EVENT), {}, nothing),
    "error: the app returns too early": (app_of(EVENT, 16.0, b"data: half", end=False), {}, nothing),
    "client gone": (for_ever, {}, leave),
    "client gone before the response": (app_of(before=NEVER), {"before_response": "10s"}, leave),
    "client gone, says send at a heartbeat": (for_ever, {}, refuse),
    "client gone, says send to the app": (app_of(EVENT, 2.0, EVENT, 2.0, EVENT), {}, refuse),
    "send fails at a heartbeat": (for_ever, {}, fail_to_send),
    "send to the app fails": (app_of(EVENT, 2.0, EVENT, 2.0, EVENT), {}, fail_to_send),
    "client stalled": (app_of(EVENT, 2.0, EVENT, NEVER), {}, freeze),
    "idle timeout": (for_ever, {"idle_timeout": "20s"}, nothing),
    "response timeout": (app_of(before=NEVER), {"before_response": "10s", "response_timeout": "20s"}, nothing),
    "max duration": (for_ever, {"max_duration": "20s"}, nothing),
    "drain": (for_ever, {}, drain),
    "drain, at the deadline": (app_of(b"data: half\n", NEVER), {}, drain),
    "the app raises before its response": (fails_at_once, {}, nothing),
    "the app raises after the early response": (fails_late, {"before_response": "10s"}, nothing),
    "the app raises in its response": (fails_in_its_response, {}, nothing),
    "no stream, though one was asked for": (
        app_of(b"no", before=2.0, start={"type": "http.response.start", "status": 404}),
        {"before_response": "10s"},
        nothing,
    ),
    "late refusal": (
        app_of(b"no", before=12.0, start={"type": "http.response.start", "status": 500}),
        {"before_response": "10s"},
        nothing,
    ),
}


async def many(count: int, app: Any, options: dict[str, Any], meanwhile: Meanwhile) -> None:
    for _ in range(count // AT_ONCE):
        await some(SSEKeepaliveMiddleware(app, **options), meanwhile)


async def some(middleware: SSEKeepaliveMiddleware, meanwhile: Meanwhile) -> None:
    headers = [(b"accept", b"text/event-stream")]
    exchanges = [Exchange(middleware, headers=headers).start() for _ in range(AT_ONCE)]
    await meanwhile(middleware, exchanges)
    for exchange in exchanges:
        try:
            await exchange.finish()
        except (RuntimeError, StreamAborted, ConnectionError):
            pass
        exchange.task = None  # or the test itself would keep what was raised, and the frames with it
    assert middleware.open_streams == 0
    await passing(0.001)  # what was cancelled comes to its end


def alive() -> Counter[str]:
    gc.collect()
    return Counter(type(thing).__qualname__ for thing in gc.get_objects())


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_left(way: str) -> None:
    await many(AT_ONCE, *WAYS[way])
    before = alive()
    await many(STREAMS, *WAYS[way])
    left = alive() - before
    if sum(left.values()) >= SPARE:  # what a cache of Python's has taken, it has taken once
        before = alive()
        await many(STREAMS, *WAYS[way])
        left = alive() - before
    assert sum(left.values()) < SPARE, left.most_common(10)
    assert not OURS & left.keys()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await passing(3600)  # the one timer of all streams finds that nobody is there any more
    assert cast(VirtualLoop, asyncio.get_running_loop()).armed() == []


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_left_for_the_collector(way: str) -> None:
    """What ends in a circle of references stays until it comes, and it comes seldom."""
    app, options, meanwhile = WAYS[way]
    await some(SSEKeepaliveMiddleware(app, **options), meanwhile)
    before = alive()
    gc.disable()
    try:
        await some(SSEKeepaliveMiddleware(app, **options), meanwhile)
        for _ in range(5):
            await asyncio.sleep(0)
        left = Counter(type(thing).__qualname__ for thing in gc.get_objects()) - before
    finally:
        gc.enable()
    assert not {kind: count for kind, count in left.items() if kind in OURS}
    assert sum(left.values()) < SPARE, left.most_common(10)
