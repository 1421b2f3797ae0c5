"""Does everything that is said for a request run in its context, and is that let go of when it is over?

Loggers and tracers that stand outside the middleware read context variables in `send` and `receive`.
"""

import asyncio
import gc
import weakref
from contextvars import ContextVar
from typing import Any

import pytest

from sseproxy.asgi import SSEKeepaliveMiddleware
from sseproxy.asgi.types import ASGIApp, Receive, Scope, Send
from tests.support.asgi_exchange import EVENT_STREAM, Exchange, script
from tests.support.virtual_clock import passing

WHO: ContextVar[Any] = ContextVar("who")
EVENT = b"data: x\n\n"


class Named(Exchange):
    """Notes in whose context it is spoken to."""

    def __init__(self, name: str, app: ASGIApp) -> None:
        super().__init__(app, headers=[(b"accept", b"text/event-stream")])
        self.name = name
        self.spoken: list[tuple[str, Any]] = []

    async def receive(self) -> Any:
        self.spoken.append(("receive", WHO.get(None)))
        return await super().receive()

    async def send(self, message: Any) -> None:
        self.spoken.append((message["type"], WHO.get(None)))
        await super().send(message)

    async def in_its_context(self) -> "Named":
        WHO.set(self.name)
        await self.run()
        return self


@pytest.mark.parametrize("options", [{"before_response": "10s"}, {}], ids=["before the response", "in the stream"])
@pytest.mark.parametrize("end", [{}, {"max_duration": "100s"}, {"idle_timeout": "80s"}], ids=["end", "age", "silence"])
async def test_each_request_is_spoken_for_in_its_own(options: dict[str, str], end: dict[str, str]) -> None:
    before = 25.0 if options else 0.0
    app = SSEKeepaliveMiddleware(script(EVENT, 120.0, EVENT, before=before), heartbeat="5s", **options, **end)  # type: ignore[arg-type]
    exchanges = [Named(name, app) for name in "abc"]
    tasks = []
    for each in exchanges:
        tasks.append(asyncio.get_running_loop().create_task(each.in_its_context()))
        await passing(1)
    await asyncio.wait(tasks)
    for each in exchanges:
        assert len(each.spoken) > 10
        assert {who for _, who in each.spoken} == {each.name}, each.spoken


async def test_a_drain_speaks_for_each_in_its_own() -> None:
    app = SSEKeepaliveMiddleware(script(EVENT, 500.0), heartbeat="5s")
    exchanges = [Named(name, app) for name in "abc"]
    tasks = [asyncio.get_running_loop().create_task(each.in_its_context()) for each in exchanges]
    await passing(12)
    WHO.set("whoever drains")
    app.begin_drain(timeout="20s", spread="5s")
    await asyncio.wait(tasks)
    for each in exchanges:
        assert {who for _, who in each.spoken} == {each.name}, each.spoken


@pytest.mark.parametrize("options", [{"before_response": "10s"}, {}])
async def test_no_context_outlives_its_request(options: dict[str, str]) -> None:
    """Though the clock that it has set going is everybody's, and others keep it going."""

    class Held:
        """What somebody keeps in a context."""

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await script(EVENT, 300.0 if scope["path"] == "/long" else 30.0, EVENT)(scope, receive, send)

    app = SSEKeepaliveMiddleware(inner, heartbeat="5s", idle_timeout="10m", **options)  # type: ignore[arg-type]

    async def one(value: object, path: str) -> None:
        WHO.set(value)
        await Exchange(app, path=path, headers=[(b"accept", EVENT_STREAM[1])]).run()

    held = Held()
    gone = weakref.ref(held)
    first = asyncio.get_running_loop().create_task(one(held, "/short"))
    del held
    await passing(20)
    others = [asyncio.get_running_loop().create_task(one(number, "/long")) for number in range(3)]
    await first
    del first
    await passing(100)  # the event loop itself keeps what was called off until its time has come
    gc.collect()
    assert not any(task.done() for task in others)
    assert gone() is None
    await asyncio.wait(others)
