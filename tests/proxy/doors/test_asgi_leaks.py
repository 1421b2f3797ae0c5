"""Is anything left of a request once the app's call has ended, without any help of the garbage collector?"""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sseproxy.core.frames import release_frames
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.proxy.on_asgi import ResponseAborted
from tests.support.asgi_exchange import Exchange
from tests.support.asgi_proxy import AsgiStage, asgi_stage
from tests.support.patience import LIMIT
from tests.support.raw_upstream import OK, Script, Visit, replies, replies_once
from tests.support.settled import eventually

#: In each of so many turns there are so many requests at once.
TURNS, AT_ONCE = 20, 100

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"
LAST = b"0\r\n\r\n"

Meanwhile = Callable[[AsgiStage, list[Exchange]], Awaitable[None]]


async def holds(visit: Visit) -> None:
    await visit.head()
    await visit.send(STREAM + EVENT)
    await visit.wait_closed()


async def mute(visit: Visit) -> None:
    await visit.head()
    await visit.wait_closed()


async def early(visit: Visit) -> None:
    await visit.head()
    await visit.send(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
    await visit.wait_closed()


async def nothing(_: AsgiStage, __: list[Exchange]) -> None:
    """They end by themselves."""


async def leave(_: AsgiStage, exchanges: list[Exchange]) -> None:
    await eventually(lambda: all(b"data: 1" in each.body for each in exchanges))
    for each in exchanges:
        each.leave()


async def leave_early(on: AsgiStage, exchanges: list[Exchange]) -> None:
    await eventually(lambda: on.app.requests == len(exchanges))
    for each in exchanges:
        each.leave()


async def refuse(on: AsgiStage, exchanges: list[Exchange]) -> None:
    for each in exchanges:
        each.refuse_to_send(RuntimeError)
    await eventually(lambda: on.app.requests == 0)


async def freeze(on: AsgiStage, exchanges: list[Exchange]) -> None:
    for each in exchanges:
        each.freeze()
    await eventually(lambda: on.app.requests == 0)


async def cancel(on: AsgiStage, exchanges: list[Exchange]) -> None:
    await eventually(lambda: on.app.requests == len(exchanges))
    for each in exchanges:
        assert each.task is not None
        each.task.cancel()


async def speak_on(_: AsgiStage, exchanges: list[Exchange]) -> None:
    for each in exchanges:
        each.say(b"abc")
        each.leave()


async def leave_behind_an_early_answer(_: AsgiStage, exchanges: list[Exchange]) -> None:
    await eventually(lambda: all(each.body == b"no" for each in exchanges))
    assert not any(each.is_whole for each in exchanges)
    for each in exchanges:
        each.leave()


async def cancel_behind_an_early_answer(_: AsgiStage, exchanges: list[Exchange]) -> None:
    await eventually(lambda: all(each.body == b"no" for each in exchanges))
    for each in exchanges:
        assert each.task is not None
        each.task.cancel()


POST = {"method": "POST", "headers": [(b"content-length", b"9")], "body": []}

WAYS: dict[str, tuple[Script, Meanwhile, dict[str, Any], dict[str, Any]]] = {
    "an answer": (replies(OK), nothing, {}, {}),
    "a stream": (replies(STREAM + EVENT + LAST), nothing, {}, {}),
    "an upload": (replies(OK), nothing, {**POST, "body": [b"abc", b"defghi"]}, {}),
    "gone in the stream": (holds, leave, {}, {}),
    "gone before the response": (mute, leave_early, {}, {}),
    "gone in the request body": (mute, speak_on, POST, {}),
    "gone behind an early answer": (early, leave_behind_an_early_answer, POST, {}),
    "the server cancels behind an early answer": (early, cancel_behind_an_early_answer, POST, {}),
    "malformed": (replies(OK), nothing, {"method": "FOO"}, {}),
    "the upstream breaks off": (replies_once(STREAM + EVENT), nothing, {}, {}),
    "the server fails": (holds, refuse, {}, {}),
    "the client takes nothing": (holds, freeze, {}, {"timeouts": TimeoutPolicy(write=0.02)}),
    "the server cancels": (holds, cancel, {}, {}),
}


def alive() -> Counter[str]:
    """What there is of the proxy, by kind, and tasks."""
    found: Counter[str] = Counter()
    for each in gc.get_objects():
        kind = type(each)
        if str(kind.__module__).startswith("sseproxy.") or kind is asyncio.Task:
            found[kind.__qualname__] += 1
    return found


async def run(on: AsgiStage, meanwhile: Meanwhile, request: dict[str, Any], many: int) -> None:
    exchanges = [on.exchange(**{**request, "headers": list(request.get("headers", ()))}) for _ in range(many)]
    for each in exchanges:
        each.start()
    await meanwhile(on, exchanges)
    for each in exchanges:
        try:
            async with asyncio.timeout(LIMIT):
                await each.finish()
        except (ResponseAborted, RuntimeError, asyncio.CancelledError) as error:
            release_frames(error)  # those of the test's end lead back to it
        each.task = None
    await on.app.wait_until_idle()


@pytest.mark.usefixtures("endless_read_off")
@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_left(way: str) -> None:
    script, meanwhile, request, options = WAYS[way]
    async with asgi_stage(script, **options) as on:
        await run(on, meanwhile, request, AT_ONCE)
        gc.collect()
        gc.disable()
        try:
            before = alive()
            for _ in range(TURNS):
                await run(on, meanwhile, request, AT_ONCE)
            await eventually(lambda: not _more(before), limit=20)
        finally:
            gc.enable()


def _more(before: Counter[str]) -> Counter[str]:
    """What is there many times more than before: as often as there were requests in a turn, or more often."""
    return Counter({kind: count for kind, count in (alive() - before).items() if count >= AT_ONCE})
